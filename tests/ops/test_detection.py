"""TFLite_Detection_PostProcess."""

import numpy as np
import pytest
from flatbuffers import flexbuffers
from hypothesis import given, settings
from hypothesis import strategies as st

from build import Value, const, one_node, run, run_model
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError
from martlet.graph import Quantization
from oracle import litert

OPTIONS = {
    "max_detections": 3,
    "max_classes_per_detection": 1,
    "detections_per_class": 2,
    "nms_score_threshold": 0.0,
    "nms_iou_threshold": 0.5,
    "num_classes": 2,
    "y_scale": 10.0,
    "x_scale": 10.0,
    "h_scale": 5.0,
    "w_scale": 5.0,
}
ANCHORS = np.float32(
    [[0.5, 0.5, 1, 1], [0.5, 0.5, 1, 1], [0.5, 0.5, 1, 1], [0.5, 10.5, 1, 1], [0.5, 10.5, 1, 1],
     [0.5, 100.5, 1, 1]]
)  # fmt: skip
CODES = np.zeros((1, 6, 4), np.float32)
CODES[0, 1, 1], CODES[0, 2, 1], CODES[0, 4, 1] = 1, -1, 1
SCORES = np.float32(
    [[0, 0.9, 0.8], [0, 0.75, 0.72], [0, 0.6, 0.5], [0, 0.93, 0.95], [0, 0.5, 0.4],
     [0, 0.3, 0.2]]
)[None]  # fmt: skip


def facts(**changes):
    raw = np.frombuffer(bytes(flexbuffers.Dumps(OPTIONS | changes)), np.uint8)
    return {"custom": True, "custom_options": raw, "outputs": [DType.FLOAT32] * 4}


def detect(inputs, **changes):
    """What Martlet gives, after comparing all that was found with LiteRT's answer."""
    model, arrays = one_node("TFLite_Detection_PostProcess", inputs, **facts(**changes))
    answers, expected = run_model(model, arrays), litert(model, arrays)
    found = int(expected[3][0]) * changes.get("max_classes_per_detection", 1)
    np.testing.assert_array_equal(answers[3], expected[3])
    for answer, right in zip(answers[:3], expected, strict=False):
        assert answer.shape == right.shape
        # LiteRT leaves what lies behind as it finds it in memory.
        np.testing.assert_allclose(answer[:, :found], right[:, :found], 1e-6, 1e-6)
        assert not answer[:, found:].any()
    return answers


def test_fast_suppression_takes_the_best_class_of_a_box():
    boxes, classes, scores, count = detect([CODES, SCORES, const(ANCHORS)])
    assert count.tolist() == [3]
    assert classes.tolist() == [[1, 0, 0]]
    np.testing.assert_allclose(scores, [[0.95, 0.9, 0.3]])
    np.testing.assert_allclose(boxes[0, 0], [0, 10, 1, 11])


def test_regular_suppression_takes_each_class_by_itself():
    _, classes, scores, count = detect([CODES, SCORES, const(ANCHORS)], use_regular_nms=True)
    assert count.tolist() == [3]
    assert classes.tolist() == [[1, 0, 0]]
    np.testing.assert_allclose(scores, [[0.95, 0.93, 0.9]])


def test_quantised_inputs():
    def quantised(x, scale, zero):
        q = np.clip(np.round(x / scale) + zero, 0, 255).astype(np.uint8)
        return Value(q, None, Quantization.of(scale, zero))

    inputs = [quantised(CODES, 0.1, 100), quantised(SCORES, 1 / 256, 0), quantised(ANCHORS, 0.5, 0)]
    detect(inputs)
    detect(inputs, use_regular_nms=True)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_scores_are_litert_s(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    # Equal scores are common; those of one box are kept apart where several classes are asked for.
    scores = rng.integers(1, 6, (1, 6, 3)).astype(np.float32) / 8
    each = data.draw(st.integers(1, 2))
    if each > 1:
        scores += np.float32([0, 0.01, 0.02])
    detect(
        [CODES, scores, const(ANCHORS)],
        max_classes_per_detection=each,
        use_regular_nms=data.draw(st.booleans()) and each == 1,
        nms_score_threshold=data.draw(st.sampled_from((0.0, 0.3, 0.5))),
        max_detections=6,
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"nms_iou_threshold": 0.0}, "nms_iou_threshold is out of range; expected above 0, to 1"),
        ({"num_classes": 5}, r"scores have the wrong shape; expected \[1, 6, 5 or 6\]"),
        ({"max_detections": -1}, "max_detections is out of range"),
        ({"y_scale": "ten"}, "option y_scale is not a number"),
    ],
)
def test_options_are_checked(changes, problem):
    with pytest.raises(ModelError, match=problem):
        run("TFLite_Detection_PostProcess", [CODES, SCORES, const(ANCHORS)], **facts(**changes))


def test_anchors_must_be_enough():
    with pytest.raises(ModelError, match=r"anchors have the wrong shape; expected \[6, 4\]"):
        run("TFLite_Detection_PostProcess", [CODES, SCORES, const(ANCHORS[:5])], **facts())


def test_a_box_of_negative_size_is_refused():
    anchors = ANCHORS.copy()
    anchors[2, 2] = -1
    with pytest.raises(RunError, match="negative size"):
        run("TFLite_Detection_PostProcess", [CODES, SCORES, const(anchors)], **facts())

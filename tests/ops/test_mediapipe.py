"""MediaPipe's operators on landmarks and sampled images."""

import numpy as np
import pytest

from build import run
from custom_node import flexbuffer
from martlet.errors import ModelError

F32 = np.float32
# A part whose landmarks are the corners of a square around (40, 60), turned by 30 degrees.
ANGLE = np.radians(30)
TURN = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 10 @ TURN.T + [40, 60]
LANDMARKS = np.concatenate([CORNERS, np.ones((4, 1))], 1).astype(F32)
OPTIONS_2 = {
    "left_rotation_idx": 0, "right_rotation_idx": 1, "target_rotation_radians": 0.0,
    "output_height": 16, "output_width": 16, "scale_x": 1.0, "scale_y": 1.0,
    "subset_idxs": [0, 1, 2, 3],
}  # fmt: skip
OPTIONS_1 = {
    "left_rotation_idx": 0, "right_rotation_idx": 1, "dimensions": 3, "landmarks_range": 192,
    "bbox_size_multiplier": 1.0, "input_hw": [192, 192], "output_hw": [16, 16],
    "subset": [0, 1, 2, 3],
}  # fmt: skip


def matrix(version=2, landmarks=LANDMARKS, **changes):
    options = (OPTIONS_2 if version == 2 else OPTIONS_1) | changes
    shape = (1, -1, 3) if version == 2 else (1, 1, 1, landmarks.size)
    node = flexbuffer(**options)
    return run("Landmarks2TransformMatrix", [landmarks.reshape(shape)], version=version, **node)[0]


def moved(transform, x, y):
    return (transform @ [x, y, 0, 1])[:2]


def test_the_crop_covers_the_part_upright():
    transform = matrix()
    np.testing.assert_allclose(moved(transform, 8, 8), [40, 60], atol=1e-4)
    np.testing.assert_allclose(moved(transform, 0, 0), CORNERS[0], atol=1e-4)
    np.testing.assert_allclose(moved(transform, 16, 0), CORNERS[1], atol=1e-4)


def test_the_crop_grows_by_the_scale_and_may_be_turned_further():
    grown = matrix(scale_x=2.0, scale_y=2.0)
    np.testing.assert_allclose(moved(grown, 0, 0), 2 * CORNERS[0] - [40, 60], atol=1e-4)
    turned = matrix(target_rotation_radians=np.pi / 2)
    np.testing.assert_allclose(moved(turned, 0, 0), CORNERS[3], atol=1e-4)


def test_the_older_version_keeps_pixels_at_the_corners():
    transform = matrix(version=1)
    np.testing.assert_allclose(moved(transform, 7.5, 7.5), [39.79, 59.69], atol=0.01)
    assert transform[2].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"subset_idxs": [0, 4]}, "subset_idxs is out of range; expected 0 to 3, found 4"),
        ({"subset_idxs": []}, "names no landmark"),
        ({"scale_x": 0.0}, "scale_x is not positive"),
        ({"output_width": 0}, "output_width is out of range"),
        ({"left_rotation_idx": -1}, "left_rotation_idx is out of range"),
    ],
)
def test_options_are_checked(changes, problem):
    with pytest.raises(ModelError, match=problem):
        matrix(**changes)


SHIFT = np.array([[[0, -1, 9, 5], [1, 0, 9, 7], [0, 0, 1, 0], [0, 0, 0, 1]]], F32)


def test_landmarks_go_through_the_matrix_and_keep_their_depth():
    points = F32([[[1, 2, 3], [4, 5, 6]]])
    result = run("TransformLandmarks", [points, SHIFT], version=2, custom=True)
    assert result.tolist() == [[[3, 8, 3], [0, 11, 6]]]


def test_the_older_version_scales_the_shift():
    points = F32([[[[1, 2, 4, 5]]]])
    node = flexbuffer(dimensions=2, scale=10.0)
    result = run("TransformLandmarks", [points, SHIFT], version=1, **node)
    assert result.tolist() == [[[[48, 71, 45, 74]]]]


def test_landmarks_have_two_or_three_coordinates():
    with pytest.raises(ModelError, match="wrong size; expected 2 or 3, found 4"):
        run("TransformLandmarks", [np.zeros((1, 1, 4), F32), SHIFT], version=2, custom=True)


IMAGE = np.arange(20, dtype=F32).reshape(1, 4, 5, 1)


def crop(transform, height, width):
    node = flexbuffer(output_height=height, output_width=width)
    transform = np.array(transform, F32).reshape(1, 4, 4)
    return run("TransformTensorBilinear", [IMAGE, transform], version=2, **node)[0, :, :, 0]


def test_the_identity_gives_the_image_back():
    np.testing.assert_array_equal(crop(np.eye(4), 4, 5), IMAGE[0, :, :, 0])


def test_places_between_pixels_are_mixed_and_places_outside_are_0():
    transform = np.eye(4)
    transform[:2, 3] = [0.5, 0.25]
    result = crop(transform, 4, 5)
    assert result[0, 0] == 0.5 + 0.25 * 5
    assert not result[:, 4].any()
    assert not result[3].any()


def test_a_scaled_crop_takes_coordinates_at_the_middle_of_pixels():
    transform = np.diag([2.0, 2.0, 1, 1])
    assert crop(transform, 2, 2)[0, 0] == 3  # the mean of 0, 1, 5 and 6


def test_the_older_operator_takes_coordinates_at_the_corners():
    transform = np.diag([2.0, 2.0, 1, 1]).astype(F32)[None]
    node = flexbuffer(mode="bilinear", output_size=[2, 2])
    result = run("TransformTensor", [IMAGE, transform], **node)
    np.testing.assert_array_equal(result, IMAGE[:, :4:2, :4:2])


def test_coordinates_that_are_no_numbers_give_0():
    assert not crop(np.full((4, 4), np.nan), 2, 2).any()


def grid(dy=0.0, dx=0.0):
    y, x = np.mgrid[:4, :5].astype(F32)
    return np.stack([x + dx, y + dy], -1)[None].astype(F32)


def test_resampler_reads_at_the_given_points():
    np.testing.assert_array_equal(run("Resampler", [IMAGE, grid()], custom=True), IMAGE)
    half = run("Resampler", [IMAGE, grid(dx=-0.5)], custom=True)
    assert half[0, 1, :, 0].tolist() == [2.5, 5.5, 6.5, 7.5, 8.5]  # half of 0 and 5 at the edge
    assert not run("Resampler", [IMAGE, grid(dy=99)], custom=True).any()


def test_dense_image_warp_stays_on_the_image():
    flow = np.zeros((1, 4, 5, 2), F32)
    flow[..., 1] = 0.5
    result = run("DenseImageWarp", [IMAGE, flow], custom=True)
    assert result[0, 0, :, 0].tolist() == [0, 0.5, 1.5, 2.5, 3.5]
    flow[...] = np.nan
    assert run("DenseImageWarp", [IMAGE, flow], custom=True).shape == IMAGE.shape


def test_points_must_be_as_many_as_pixels():
    with pytest.raises(ModelError, match="wrong shape"):
        run("Resampler", [IMAGE, grid()[:, :3]], custom=True)
    with pytest.raises(ModelError, match="too small; expected 2 × 2"):
        run("DenseImageWarp", [IMAGE[:, :1], grid()[:, :1]], custom=True)

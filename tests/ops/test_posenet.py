"""PosenetDecoderOp."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import Value, run
from custom_node import flexbuffer
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Quantization
from martlet.ops.posenet import _SKELETON, EDGES, KEYPOINTS, _Queue, _walks

STRIDE = 16
OPTIONS = {"max_detections": 3, "score_threshold": 0.5, "nms_radius": 20.0, "stride": STRIDE}
SIZE = 33


def maps(*people, height=SIZE, width=SIZE):
    """Heat maps, short and middle offsets (in pixels) of people given by their 17 positions."""
    heat = np.full((1, height, width, KEYPOINTS), -20, np.float32)
    short = np.zeros((1, height, width, 2 * KEYPOINTS), np.float32)
    middle = np.zeros((1, height, width, 4 * EDGES), np.float32)
    for logit, places in people:
        for k, (y, x) in enumerate(places):
            heat[0, y, x, k] = logit
        for edge, (a, b) in enumerate(_SKELETON):
            for (start, end), first in (((a, b), 0), ((b, a), 2 * EDGES)):
                gap = STRIDE * (places[end] - places[start])
                y, x = places[start]
                middle[0, y, x, [first + edge, first + EDGES + edge]] = gap
    return heat, short, middle


def person(y, x):
    """Keypoints in a column of pairs."""
    return np.array([(y + k // 2, x + k % 2) for k in range(KEYPOINTS)])


def decode(*inputs, **changes):
    outputs = [DType.FLOAT32] * (len(inputs) + 1)
    return run("PosenetDecoderOp", inputs, outputs=outputs, **flexbuffer(**OPTIONS | changes))


def test_people_are_found_best_first_in_pixels():
    low, high = person(2, 3), person(15, 20)
    points, scores, poses, count = decode(*maps((2.0, low), (4.0, high)))
    assert count.tolist() == [2]
    np.testing.assert_allclose(points[0, :2], STRIDE * np.stack([high, low]))
    np.testing.assert_allclose(scores[0, 0], 1 / (1 + np.exp(-4.0)), rtol=1e-6)
    np.testing.assert_allclose(poses[0, :2], 1 / (1 + np.exp([-4.0, -2.0])), rtol=1e-6)
    assert not points[0, 2].any()
    assert poses[0, 2] == 0


def test_short_offsets_refine_the_place():
    heat, short, middle = maps((3.0, person(5, 5)))
    short[..., :KEYPOINTS] = 0.16  # a little down, in every step
    points, _, _, count = decode(heat, short, middle)
    assert count.tolist() == [1]
    np.testing.assert_allclose(points[0, 0, 0], [5 * STRIDE + 0.16, 5 * STRIDE])
    assert points[0, 0, 1, 0] > 5 * STRIDE + 5 * 0.16


def test_poses_below_the_threshold_are_dropped():
    count = decode(*maps((-1.0, person(2, 3))), score_threshold=0.5)[3]
    assert count.tolist() == [0]


def test_no_more_poses_than_asked_for():
    people = [(3.0, person(2, 2)), (3.0, person(2, 12)), (3.0, person(20, 2))]
    assert decode(*maps(*people), max_detections=2)[3].tolist() == [2]


def test_quantised_maps_give_the_poses_of_their_real_values():
    heat, short, middle = maps((4.0, person(2, 3)))
    real = decode(heat, short, middle)
    scales = [(0.25, 100), (1.0, 128), (4.0, 128)]
    quantised = [
        Value(np.clip(np.round(m / s) + z, 0, 255).astype(np.uint8), None, Quantization.of(s, z))
        for m, (s, z) in zip((heat, short, middle), scales, strict=True)
    ]
    for a, b in zip(decode(*quantised), real, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_long_offsets_give_each_place_to_the_person_they_lead_to():
    left, right = person(2, 3), person(2, 25)
    long = np.zeros((1, SIZE, SIZE, 2 * KEYPOINTS), np.float32)
    y, x = np.mgrid[:SIZE, :SIZE]
    for k in range(KEYPOINTS):
        target = np.where((x < 15)[..., None], left[k], right[k])
        long[0, ..., k] = STRIDE * (target[..., 0] - y)
        long[0, ..., KEYPOINTS + k] = STRIDE * (target[..., 1] - x)
    masks = decode(*maps((3.0, left), (2.0, right)), long)[4]
    np.testing.assert_array_equal(masks[0, 0], x < 15)
    np.testing.assert_array_equal(masks[0, 1], x >= 15)


def test_no_people_have_no_masks():
    long = np.zeros((1, SIZE, SIZE, 2 * KEYPOINTS), np.float32)
    assert not decode(*maps(), long)[4].any()


def test_values_that_are_not_finite_do_no_harm():
    inputs = [np.full(m.shape, np.nan, np.float32) for m in maps()]
    assert decode(*inputs)[3].tolist() == [0]
    heat, short, middle = maps((3.0, person(2, 3)))
    decode(heat, short, np.full_like(middle, np.nan))


def test_every_walk_reaches_all_keypoints_from_those_reached_before():
    for root, walk in enumerate(_walks()):
        reached = [root]
        for parent, child, _ in walk:
            assert parent in reached
            reached.append(child)
        assert sorted(reached) == list(range(KEYPOINTS))


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=30))
def test_the_queue_gives_scores_from_the_best_down(scores):
    queue = _Queue(np.float32(scores))
    popped = [scores[queue.pop()] for _ in scores]
    assert popped == sorted(scores, reverse=True)


def test_equal_scores_leave_the_queue_as_from_the_heap_of_cpp():
    queue = _Queue(np.zeros(6, np.float32))
    assert [queue.pop() for _ in range(6)] == [0, 2, 5, 4, 1, 3]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"stride": 0}, "option stride is out of range"),
        ({"max_detections": -1}, "option max_detections is out of range"),
    ],
)
def test_options_are_checked(changes, problem):
    with pytest.raises(ModelError, match=problem):
        decode(*maps(), **changes)


def test_maps_must_be_of_one_size():
    heat, short, middle = maps()
    with pytest.raises(ModelError, match="another size than the heat maps"):
        decode(heat, short[:, :20], middle)
    with pytest.raises(ModelError, match="input 0 has the wrong shape; expected 1 × height"):
        decode(short, short, middle)

"""RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import const, run
from martlet.errors import ModelError
from oracle import agree

MODES = [{}, {"align_corners": True}, {"half_pixel_centers": True}]
SIZES = st.integers(1, 9)


def size(*values):
    return const(np.array(values, np.int32))


def test_bilinear_by_hand():
    x = np.float32([[0, 4], [8, 12]]).reshape(1, 2, 2, 1)
    corners = run("RESIZE_BILINEAR", [x, size(3, 3)], {"align_corners": True})
    assert corners[0, ..., 0].tolist() == [[0, 2, 4], [4, 6, 8], [8, 10, 12]]
    half = run("RESIZE_BILINEAR", [x, size(1, 1)], {"half_pixel_centers": True})
    assert half.ravel().tolist() == [6]


def test_nearest_by_hand():
    x = np.arange(4, dtype=np.int8).reshape(1, 1, 4, 1)
    assert run("RESIZE_NEAREST_NEIGHBOR", [x, size(1, 2)]).ravel().tolist() == [0, 2]
    half = run("RESIZE_NEAREST_NEIGHBOR", [x, size(1, 2)], {"half_pixel_centers": True})
    assert half.ravel().tolist() == [1, 3]


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int8, np.int16])
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_bilinear_is_litert_s(dtype, data):
    height, width = data.draw(SIZES), data.draw(SIZES)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.integers(-32768, 32768, (2, height, width, 2)).astype(dtype)
    new = size(data.draw(SIZES), data.draw(SIZES))
    tolerance = 1e-4 if dtype is np.float32 else 0
    agree("RESIZE_BILINEAR", [x, new], data.draw(st.sampled_from(MODES)), tolerance)


@settings(deadline=None, max_examples=60)
@given(
    SIZES,
    SIZES,
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([*MODES, MODES[1] | MODES[2]]),
)
def test_nearest_is_litert_s(height, width, rows, columns, mode):
    x = np.arange(height * width, dtype=np.int16).reshape(1, height, width, 1)
    agree("RESIZE_NEAREST_NEIGHBOR", [x, size(rows, columns)], mode)


def test_a_size_that_is_computed():
    x = np.zeros((1, 2, 2, 3), np.float32)
    assert agree("RESIZE_BILINEAR", [x, np.array([4, 1], np.int32)]).shape == (1, 4, 1, 3)


@pytest.mark.parametrize("op", ["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
def test_sizes_are_positive(op):
    with pytest.raises(ModelError, match="new size is not positive"):
        run(op, [np.zeros((1, 2, 2, 1), np.float32), size(0, 3)])
    with pytest.raises(ModelError, match="an empty image"):
        run(op, [np.zeros((1, 0, 2, 1), np.float32), size(1, 3)])


def test_bilinear_has_one_mode():
    with pytest.raises(ModelError, match="exclude each other"):
        run(
            "RESIZE_BILINEAR", [np.zeros((1, 2, 2, 1), np.float32), size(1, 1)], MODES[1] | MODES[2]
        )

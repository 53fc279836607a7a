"""Rows of floats that become 8-bit integers in a run."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from martlet.ops.dynamic_quantization import quantize_rows

ROWS = arrays(
    np.float32,
    (2, 5),
    elements=st.floats(-1000, 1000, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3),
)


def test_symmetric_rows_reach_127_at_their_largest_magnitude() -> None:
    q, scales = quantize_rows(np.array([[1, -2, 0.5]], np.float32), asymmetric=False)
    assert q.tolist() == [[64, -127, 32]]  # 63.5 rounds away from zero
    np.testing.assert_allclose(scales, [[2 / 127]], rtol=1e-7)


def test_asymmetric_rows_spread_their_range_with_zero_in_it() -> None:
    q, scales = quantize_rows(np.array([[1, 2, 255]], np.float32), asymmetric=True)
    assert q.tolist() == [[1, 2, 255]]
    assert scales.tolist() == [[1]]
    q, _ = quantize_rows(np.array([[-255, -1]], np.float32), asymmetric=True)
    assert q.tolist() == [[-255, -1]]


def test_a_row_of_zeros_stays_zero() -> None:
    for asymmetric in (False, True):
        q, scales = quantize_rows(np.zeros((1, 3), np.float32), asymmetric)
        assert q.tolist() == [[0, 0, 0]]
        assert scales.tolist() == [[1]]


def test_rows_may_be_missing_or_empty() -> None:
    for shape in ((0, 3), (2, 0)):
        q, scales = quantize_rows(np.zeros(shape, np.float32), asymmetric=True)
        assert q.shape == shape
        assert scales.shape == (shape[0], 1)


@given(ROWS, st.booleans())
def test_no_value_is_off_by_more_than_a_step(x: np.ndarray, asymmetric: bool) -> None:
    q, scales = quantize_rows(x, asymmetric)
    assert (np.abs(q * scales - x) <= scales * 1.01).all()


@given(ROWS, st.booleans())
def test_rows_do_not_depend_on_each_other(x: np.ndarray, asymmetric: bool) -> None:
    together = quantize_rows(x, asymmetric)
    for i in range(2):
        for whole, alone in zip(together, quantize_rows(x[i : i + 1], asymmetric), strict=True):
            np.testing.assert_array_equal(whole[i : i + 1], alone)

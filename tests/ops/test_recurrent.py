"""Rows quantised when they come, and the order of time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from martlet.ops.recurrent import HybridMatrix, quantize_rows, store, time_first

ROWS = arrays(np.float32, (3, 5), elements=st.floats(-1e3, 1e3, width=32))


def test_symmetric_rows_fill_the_range_of_their_largest_magnitude() -> None:
    x = np.array([[-2.0, 1.0, 0.5], [0, 0, 0]], np.float32)
    rows = quantize_rows(x, asymmetric=False)
    np.testing.assert_array_equal(rows.values, [[-127, 64, 32], [0, 0, 0]])
    assert rows.scale.ravel().tolist() == pytest.approx([2 / 127, 1])
    assert not rows.zero.any()


def test_asymmetric_rows_fill_the_range_from_low_to_high() -> None:
    x = np.array([[-1.0, 0, 3.0], [0.8, 1.6, 4], [0, 0, 0]], np.float32)
    rows = quantize_rows(x, asymmetric=True)
    np.testing.assert_array_equal(rows.values, [[-128, -64, 127], [-77, -26, 127], [0, 0, 0]])
    np.testing.assert_array_equal(rows.zero.ravel(), [-64, -128, 0])


@given(ROWS, st.booleans())
def test_values_come_back_within_a_step(x: np.ndarray, asymmetric: bool) -> None:
    with np.errstate(all="ignore"):
        rows = quantize_rows(x, asymmetric)
    back = rows.scale * (rows.values - rows.zero)
    assert (np.abs(back - x) <= rows.scale * 1.01 + 1e-6).all()


@given(ROWS)
def test_a_row_is_quantised_as_if_alone(x: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        together = quantize_rows(x, asymmetric=True).values
        alone = [quantize_rows(row[None], asymmetric=True).values[0] for row in x]
    np.testing.assert_array_equal(together, alone)


def test_hybrid_products_take_off_the_zero_point() -> None:
    weights = np.array([[127, -127], [1, 2]], np.int8)
    x = np.array([[0.0, 2.55]], np.float32)
    matrix = HybridMatrix(weights, 0.5, asymmetric=True)
    product = matrix.product(matrix.prepare(x))
    np.testing.assert_allclose(product, x @ (weights.T * 0.5), rtol=1e-6)


def test_time_comes_first() -> None:
    x = np.arange(6).reshape(2, 3, 1)
    assert time_first(x, True) is x
    np.testing.assert_array_equal(time_first(x, False)[:, :, 0], [[0, 3], [1, 4], [2, 5]])


def test_a_write_protected_state_stays() -> None:
    state = np.zeros((1, 2))
    store(state, np.ones(2))
    assert state.tolist() == [[1, 1]]
    state.flags.writeable = False
    store(state, np.zeros(2))
    assert state.tolist() == [[1, 1]]

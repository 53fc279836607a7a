"""Tables of quantised functions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from martlet.ops.lookup_table import by_value, interpolate, interpolation_table


def test_a_line_is_kept_by_its_table() -> None:
    table = interpolation_table(lambda x: x, 0.001, 0, 0.001, 0)
    x = np.arange(-32768, 32768).astype(np.int16)
    assert np.abs(interpolate(x, table).astype(int) - x).max() <= 1


@given(st.floats(1e-5, 1e-3))
def test_a_curve_is_kept_to_within_a_step(scale: float) -> None:
    table = interpolation_table(np.sin, scale, 0, 1 / 32768, 0)
    x = np.arange(-32768, 32768, 11).astype(np.int16)
    real = np.sin(x * np.float32(scale)) * 32768
    # A line deviates from a sine by an eighth of its square at most, and its ends by half of that.
    bound = 4 + 32768 * (128 * scale) ** 2 / 4
    assert np.abs(interpolate(x, table) - real).max() <= bound


def test_where_the_function_overflows_entries_are_zero() -> None:
    with np.errstate(all="ignore"):
        table = interpolation_table(np.exp, 0.005, 0, 0.001, 0)
    assert table[300] == 32767  # e^28
    assert table[450] == 0  # e^124


def test_slopes_wrap_as_16_bits() -> None:
    table = np.zeros(513, np.int64)
    table[256], table[257] = -32768, 32767
    assert interpolate(np.array([64], np.int16), table).tolist() == [-32768]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_8_bit_values_are_computed_once_each(dtype: type) -> None:
    seen = []

    def square(x: np.ndarray) -> np.ndarray:
        seen.append(x.size)
        return x.astype(np.int32) ** 2

    x = np.random.default_rng(0).integers(0, 256, (3, 4000)).astype(np.uint8).view(dtype)[:, ::2]
    np.testing.assert_array_equal(by_value(square, x), x.astype(np.int32) ** 2)
    assert seen == [256]
    assert by_value(square, x[:0]).shape == (0, 2000)
    assert by_value(square, x[0, 0].reshape(())).shape == ()

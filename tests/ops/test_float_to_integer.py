"""Floats beyond the range of integer types."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from martlet.dtypes import DType
from martlet.ops.float_to_integer import convert_as_x86, limits, saturate_float

INTEGERS = [d for d in DType if d.is_integer]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("real", [np.float16, np.float32, np.float64])
def test_what_is_too_large_saturates_and_nan_is_the_greatest(dtype: DType, real: type) -> None:
    low, high = limits(dtype)
    x = np.array([-np.inf, np.inf, np.nan, 2.75, -0.75], real)
    assert saturate_float(x, dtype).tolist() == [low, high, high, min(2, high), 0]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_ends_themselves_are_exact(dtype: DType) -> None:
    low, high = limits(dtype)
    x = np.array([float(low), float(high + 1), np.nextafter(float(high + 1), 0)])
    expected = [low, high, int(x[2])]
    assert saturate_float(x, dtype).tolist() == expected


def test_four_bits_have_their_own_limits() -> None:
    assert limits(DType.INT4) == (-8, 7)
    assert limits(DType.UINT4) == (0, 15)


@given(st.floats(-(2.0**31), 2.0**31 - 1))
def test_what_fits_is_truncated(x: float) -> None:
    assert convert_as_x86(np.array([x]))[0] == int(x)


def test_x86_makes_the_least_int32_of_what_does_not_fit() -> None:
    x = np.array([2.0**31, -(2.0**31) - 1, np.inf, -np.inf, np.nan])
    assert convert_as_x86(x).tolist() == [-(2**31)] * 5
    assert convert_as_x86(np.float32([2**31 - 128, -(2**31)])).tolist() == [2**31 - 128, -(2**31)]

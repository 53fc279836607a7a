"""Functions of fixed-point numbers, against the real functions they stand for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from martlet.ops.fixed_point_functions import (
    count_leading_zeros,
    exp_of_negative,
    inverse_sqrt,
    logarithm,
    reciprocal,
    shift_saturated,
)

ONE = 2.0**31


@given(st.integers(-(2**31), 0), st.integers(0, 8))
def test_exp_of_negative_is_exp(x: int, integer_bits: int) -> None:
    real = x / 2.0 ** (31 - integer_bits)
    found = exp_of_negative(np.array([x]), integer_bits)[0] / ONE
    assert abs(found - np.exp(real)) < 1e-6


@given(st.integers(2**19, 2**31 - 1))
def test_reciprocal_is_a_fraction_and_an_exponent(x: int) -> None:
    fraction, exponent = reciprocal(np.array([x]), 12)
    found = fraction[0] / ONE * 2.0 ** -exponent[0]
    np.testing.assert_allclose(found, 2.0**19 / x, rtol=1e-7)


@given(st.integers(2**19, 2**31 - 1))
def test_logarithm_is_log(x: int) -> None:
    found = logarithm(np.array([x]))[0] / 2.0**26
    assert abs(found - np.log(x / 2.0**19)) < 1e-4


@given(st.integers(1, 2**31 - 1))
def test_inverse_sqrt_is_a_multiplier(x: int) -> None:
    mantissa, exponent = inverse_sqrt(np.array([x]))
    np.testing.assert_allclose(mantissa[0] / ONE * 2.0 ** exponent[0], x**-0.5, rtol=1e-5)


def test_shifts_saturate_to_the_left_and_round_to_the_right() -> None:
    x = np.array([3, -3, 1 << 30])
    assert shift_saturated(x, 1).tolist() == [6, -6, (1 << 31) - 1]
    assert shift_saturated(x, -1).tolist() == [2, -2, 1 << 29]


def test_leading_zeros_are_those_of_the_32_bits() -> None:
    assert count_leading_zeros(np.array([0, 1, 255, 1 << 31, -1])).tolist() == [32, 31, 24, 0, 0]

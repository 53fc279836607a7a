"""Rounding of integer arithmetic: products rounded once, reciprocals."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from martlet.ops.fixed_point import (
    INT32_MAX,
    multiply_once,
    quantize_multiplier,
    reciprocal_of_one_plus,
    register_shift_right,
    rounding_shift_right,
)


def test_one_rounding_goes_half_up() -> None:
    half = quantize_multiplier(0.5)
    x = np.array([3, -3, 1, -1, 4])
    assert multiply_once(x, *half).tolist() == [2, -1, 1, 0, 2]


@given(st.integers(-(1 << 40), 1 << 40), st.floats(1e-8, 1e-3))
def test_one_rounding_is_as_near_as_its_16_bits(x: int, multiplier: float) -> None:
    exact = x * multiplier
    if abs(exact) < 1 << 31:
        got = multiply_once(np.array([x]), *quantize_multiplier(multiplier))[0]
        assert abs(got - exact) <= abs(exact) * 2**-15 + 0.5


@given(st.integers(0, INT32_MAX))
def test_reciprocals_are_good_to_28_bits(x: int) -> None:
    real = 1 / (1 + x / (1 << 31))
    assert abs(reciprocal_of_one_plus(np.array([x]))[0] / (1 << 31) - real) < 2**-28


def test_the_reciprocal_of_1_is_the_largest_fraction() -> None:
    assert reciprocal_of_one_plus(np.array([0])).tolist() == [INT32_MAX]


@given(st.integers(-(1 << 31), INT32_MAX), st.integers(0, 31))
def test_register_shifts_are_rounding_shifts_within_the_register(x: int, places: int) -> None:
    assert register_shift_right(np.array(x), places) == rounding_shift_right(np.array(x), places)


def test_register_shifts_beyond_it_wrap() -> None:
    x = np.array([0, 1000, -1000])
    assert register_shift_right(x, 34).tolist() == [1, 251, -250]
    assert register_shift_right(x, 16, 16).tolist() == [1, 1, -1]
    assert register_shift_right(x, -1).tolist() == [1, 1, -1]

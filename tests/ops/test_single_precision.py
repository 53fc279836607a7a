"""Float32 functions with C's roundings, and the complementary error function."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from martlet.ops.single_precision import erfc, erfc_single, single, tanh_single

x32 = np.linspace(-30, 30, 20001).astype(np.float32)


@given(st.floats(-26, 26))
def test_erfc_is_that_of_the_standard_library(x: float) -> None:
    assert erfc(np.array([x]))[0] == pytest.approx(math.erfc(x), rel=1e-12)


def test_erfc_at_its_ends() -> None:
    result = erfc(np.array([-np.inf, 0.0, 1e300, np.nan]))
    np.testing.assert_allclose(result, [2, 1, 0, np.nan], atol=1e-200)
    with np.errstate(all="ignore"):
        result = erfc_single(np.float32([-np.inf, -0.0, 1e30, np.nan]))
    np.testing.assert_array_equal(result, np.float32([2, 1, 0, np.nan]))


def test_single_rounds_once() -> None:
    result = single(np.exp)(x32)
    assert result.dtype == np.float32
    expected = np.float32([math.exp(float(x)) for x in x32])
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("function", "exact"), [(tanh_single, math.tanh), (erfc_single, math.erfc)]
)
def test_c_like_functions_are_off_by_a_last_bit_at_most(function, exact) -> None:  # type: ignore[no-untyped-def]
    found = function(x32)
    assert found.dtype == np.float32
    expected = np.array([exact(float(x)) for x in x32])
    normal = np.abs(expected) > 1e-35
    np.testing.assert_allclose(found[normal], expected[normal], rtol=4e-7)
    assert np.abs(found[~normal]).max(initial=0) < 1e-34


def test_tanh_is_odd_and_ends_at_one() -> None:
    result = tanh_single(np.float32([-np.inf, -3, -0.0, 0.0, 3, np.inf]))
    np.testing.assert_array_equal(result, -result[::-1])
    assert result[-1] == 1

"""SOFTMAX and LOG_SOFTMAX on machine code mean what they mean in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lowered_node import compute
from martlet.kernels.targets import Target
from native import targets

on_targets = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
both = pytest.mark.parametrize("op", ["SOFTMAX", "LOG_SOFTMAX"])
random = np.random.default_rng(8)


def check(target: Target, op: str, x: Any, split: int | None = None, **options: Any) -> np.ndarray:
    (found,), (expected,) = compute(target, op, [np.asarray(x, np.float32)], options, split)
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-6)
    return found


@on_targets
@both
def test_every_length_of_a_row(op: str, target: Target) -> None:
    for length in range(1, 2 * target.lanes + 2):
        check(target, op, random.standard_normal((3, length)) * 5)


@on_targets
@both
@pytest.mark.parametrize("shape", [(1, 1001), (5,), (2, 3, 4, 17), (7, 1), (0, 5), (5, 0)])
def test_any_shape(op: str, shape: tuple[int, ...], target: Target) -> None:
    check(target, op, random.standard_normal(shape))


@on_targets
@pytest.mark.parametrize("beta", [0.0, 0.5, 3.0])
def test_beta_scales_the_exponent(beta: float, target: Target) -> None:
    check(target, "SOFTMAX", random.standard_normal((4, 21)), beta=beta)


@on_targets
def test_rows_add_up_to_one(target: Target) -> None:
    y = check(target, "SOFTMAX", random.standard_normal((9, 77)) * 30)
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-6)


@on_targets
@both
def test_large_values_do_not_overflow(op: str, target: Target) -> None:
    check(target, op, [[1e30, 1e30, -1e30], [-3e38, -3e38, -3e38], [90, 0, -90]])


@on_targets
@both
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 3, 12])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_no_number_and_what_is_infinite(
    op: str, special: float, place: int, target: Target
) -> None:
    x = random.standard_normal((3, 13))
    x[1, place] = special
    check(target, op, x)
    check(target, op, np.full((2, 13), special))


@on_targets
@both
def test_splits_give_the_same_bits(op: str, target: Target) -> None:
    x = random.standard_normal((10, 45))
    np.testing.assert_array_equal(check(target, op, x), check(target, op, x, split=3))

"""The elementary functions keep the error bounds that their file states."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from martlet.kernels import math as vector_math
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import Builder, Pointer, Value, arguments
from martlet.kernels.targets import Target
from native import run_kernel, targets

on_targets = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
BOUNDS: dict[str, tuple[Callable[[float], float], float]] = {
    "exp": (lambda x: math.exp(x) if x < 709 else math.inf, 2),
    "tanh": (math.tanh, 4),
    "logistic": (lambda x: 1 / (1 + math.exp(-x)) if x > -709 else 0.0, 4),
    "log": (lambda x: math.log(x) if x > 0 else -math.inf if x == 0 else math.nan, 2),
    "erf": (math.erf, 5),
}


def kernel(name: str) -> Kernel:
    function = getattr(vector_math, name)

    def write(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
        for i, mask in k.vectors(first, last):
            k.store(y, i, function(k, k.load(x, i, mask)), mask)

    return Kernel(f"test_{name}", write, arguments("x: *float", "y: *float"))


LIMITED: dict[str, tuple[Callable[[float], float], float]] = {
    "sin": (math.sin, 1e15),
    "cos": (math.cos, 1e15),
    "exp_minus_one": (math.expm1, 88),
}
"""Functions that are right to 2 ulp below a limit."""

KERNELS = {name: kernel(name) for name in (*BOUNDS, *LIMITED)}


def computed(name: str, target: Target, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    run_kernel(KERNELS[name], target, x, y, units=x.size)
    return y


def samples() -> np.ndarray:
    """Floats of all exponents and both signs, denser where the functions bend."""
    everywhere = (np.arange(0, 1 << 32, 20011, dtype=np.int64)).astype(np.uint32).view(np.float32)
    dense = np.linspace(-20, 20, 40001, dtype=np.float32)
    wide = np.linspace(-104, 90, 20001, dtype=np.float32)
    near_one = np.linspace(0.9, 1.1, 5001, dtype=np.float32)
    return np.concatenate([everywhere, dense, wide, near_one])


def exact(name: str, x: np.ndarray) -> np.ndarray:
    function: Any = BOUNDS[name][0]
    return np.array([function(float(v)) for v in x])


@on_targets
@pytest.mark.parametrize("name", BOUNDS)
def test_errors_stay_below_the_stated_bound(name: str, target: Target) -> None:
    x = samples()
    x = x[np.isfinite(x)]
    found, expected = computed(name, target, x).astype(np.float64), exact(name, x)
    normal = np.abs(expected) >= 2.0**-126
    representable = np.abs(expected) <= float(np.finfo(np.float32).max)
    checked = normal & representable
    with np.errstate(invalid="ignore", over="ignore"):
        ulp = np.abs(np.spacing(expected.astype(np.float32)).astype(np.float64))
        errors = np.abs(found - expected)[checked] / ulp[checked]
    assert errors.max() <= BOUNDS[name][1]


@on_targets
@pytest.mark.parametrize("name", BOUNDS)
def test_results_too_small_for_a_normal_number_are_off_by_less_than_the_least(
    name: str, target: Target
) -> None:
    x = samples()
    x = x[np.isfinite(x)]
    expected = exact(name, x)
    small = np.abs(expected) < 2.0**-126
    found = computed(name, target, x[small])
    assert np.all(np.abs(found - expected[small]) <= 2.0**-126)


@on_targets
@pytest.mark.parametrize(
    ("name", "at_minus_infinity", "at_zero", "at_infinity"),
    [
        ("exp", 0.0, 1.0, math.inf),
        ("tanh", -1.0, 0.0, 1.0),
        ("logistic", 0.0, 0.5, 1.0),
        ("log", math.nan, -math.inf, math.inf),
        ("erf", -1.0, 0.0, 1.0),
    ],
)
def test_ends_of_the_line(
    name: str, at_minus_infinity: float, at_zero: float, at_infinity: float, target: Target
) -> None:
    x = np.array([-math.inf, 0, math.inf, math.nan, -math.nan], np.float32)
    expected = np.array([at_minus_infinity, at_zero, at_infinity, math.nan, math.nan], np.float32)
    np.testing.assert_array_equal(computed(name, target, x), expected)


@on_targets
def test_odd_functions_keep_the_sign_of_zero(target: Target) -> None:
    x = np.array([0.0, -0.0], np.float32)
    for name in ("tanh", "erf"):
        assert np.signbit(computed(name, target, x)).tolist() == [False, True]


@on_targets
@pytest.mark.parametrize("name", LIMITED)
def test_errors_stay_below_the_stated_bound_up_to_a_limit(name: str, target: Target) -> None:
    function, limit = LIMITED[name]
    x = samples()
    x = x[np.abs(x) < limit]
    expected = np.array([function(float(v)) for v in x])
    normal = np.abs(expected) >= 2.0**-126
    ulp = np.spacing(np.abs(expected[normal]).astype(np.float32))
    assert (np.abs(computed(name, target, x) - expected)[normal] / ulp).max() <= 2


POWER = Kernel(
    "test_power",
    lambda k, x, y, z, first, last: [
        k.store(z, i, vector_math.power(k, k.load(x, i, mask), k.load(y, i, mask)), mask)
        for i, mask in k.vectors(first, last)
    ],
    arguments("x: *float", "y: *float", "z: *float"),
)


@on_targets
def test_powers_are_right_to_one_ulp_denormal_ones_too(target: Target) -> None:
    bases = samples()[::7]
    bases = np.abs(bases[np.isfinite(bases)])
    rng = np.random.default_rng(3)
    for exponents in (
        rng.uniform(-3, 3, bases.size).astype(np.float32),
        rng.uniform(-100, 100, bases.size).astype(np.float32),
        np.full(bases.size, 0.5, np.float32),
    ):
        found = np.empty_like(bases)
        run_kernel(POWER, target, bases, exponents, found, units=bases.size)
        with np.errstate(all="ignore"):
            expected = np.power(bases.astype(np.longdouble), exponents.astype(np.longdouble))
            rounded = expected.astype(np.float32)
            finite = np.isfinite(rounded)
            ulp = np.spacing(rounded[finite])
        assert (np.abs(found[finite] - expected[finite]) <= ulp).all()
        np.testing.assert_array_equal(found[~finite], rounded[~finite])


ATAN2 = Kernel(
    "test_atan2",
    lambda k, y, x, z, first, last: [
        k.store(z, i, vector_math.atan2(k, k.load(y, i, mask), k.load(x, i, mask)), mask)
        for i, mask in k.vectors(first, last)
    ],
    arguments("y: *float", "x: *float", "z: *float"),
)


@on_targets
def test_angles_are_right_to_one_ulp_denormal_ones_too(target: Target) -> None:
    x = samples()[::3]
    x = x[np.isfinite(x)]
    rng = np.random.default_rng(4)
    for y in (
        rng.permutation(x),
        (x * rng.uniform(-1, 1, x.size)).astype(np.float32),
        (x * np.float32(vector_math.TAN_EIGHTH)),
    ):
        found = np.empty_like(x)
        run_kernel(ATAN2, target, y, x, found, units=x.size)
        expected = np.arctan2(y.astype(np.longdouble), x.astype(np.longdouble))
        ulp = np.spacing(np.abs(expected).astype(np.float32))
        assert (np.abs(found - expected) <= ulp).all()

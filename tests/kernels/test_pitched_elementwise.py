"""Elementwise operators and rows whose tensors lie among others; MUL with an ADD behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import const
from martlet.kernels.targets import Target
from native import targets
from pitched_node import compute_pitched

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
ACTIVATED = ("ADD", "SUB", "MUL", "DIV")
WIDER = [(0, 0), (5, 0), (0, 3), (24, 40)]


def floats(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return (3 * rng.standard_normal(shape)).astype(np.float32)


def check(target: Target, op: str, inputs: list[Any], options: Any = None, **how: Any) -> None:
    for wider in WIDER:
        for split in (None, 7):
            found, expected, _ = compute_pitched(
                target, op, inputs, options, wider=wider, split=split, **how
            )
            np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


@each
@pytest.mark.parametrize("op", ["RELU", "TANH", "ABS", "HARD_SWISH"])
@pytest.mark.parametrize("channels", [1, 3, 8, 21])
def test_one_operand(op: str, channels: int, target: Target) -> None:
    check(target, op, [floats(2, 3, 4, channels)])


@each
@pytest.mark.parametrize("op", [*ACTIVATED, "MAXIMUM", "PRELU", "FLOOR_MOD"])
@pytest.mark.parametrize(
    "other", [(2, 3, 4, 21), (21,), (), (1,), (2, 1, 1, 21), (2, 3, 4, 1), (1, 3, 1, 21)]
)
def test_two_operands(op: str, other: tuple[int, ...], target: Target) -> None:
    check(target, op, [floats(2, 3, 4, 21), floats(*other)])
    check(target, op, [floats(2, 3, 4, 21), const(floats(*other))])


@each
@pytest.mark.parametrize("op", ACTIVATED)
def test_an_activation_behind_it(op: str, target: Target) -> None:
    for channels in (1, 3, 17):
        x = floats(2, 3, 4, channels)
        check(target, op, [x, const(floats(channels))], activation="RELU6")


@each
@pytest.mark.parametrize("channels", [1, 3, 8, 21, 300])
@pytest.mark.parametrize(("scale", "shift"), [(0, 0), (1, 1), (1, 0), (0, 1)])
def test_a_shift_behind_a_product(channels: int, scale: int, shift: int, target: Target) -> None:
    x = floats(2, 3, 4, channels)
    a, b = (floats(channels) if n else np.float32(n + 1.5) * floats(1) for n in (scale, shift))
    expected = np.maximum(x * a + b, 0)
    for wider in WIDER:
        found, _, kernels = compute_pitched(
            target, "MUL", [x, const(a)], wider=wider, activation="RELU", shift=b
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        assert kernels == ["scale_shift_f32"]

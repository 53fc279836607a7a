"""Where the largest and smallest elements are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import const
from lowered_node import compute, is_lowered
from martlet.dtypes import DType
from martlet.kernels.targets import Target
from martlet.plan.lowering.extremes import MOST_TOP
from native import targets

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
both = pytest.mark.parametrize("op", ["ARG_MAX", "ARG_MIN"])


def few(dtype: Any, *shape: int) -> np.ndarray:
    """Numbers of which many are equal."""
    return np.random.default_rng(sum(shape)).integers(-4, 5, shape).astype(dtype)


def check(target: Target, op: str, x: np.ndarray, axis: int, output: str = "INT64") -> None:
    inputs, options = [x, const(np.array(axis, np.int32))], {"output_type": output}
    for split in (None, 3):
        (found,), (expected,) = compute(target, op, inputs, options, split, outputs=[DType[output]])
        np.testing.assert_array_equal(found, expected)


@each
@both
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int8, np.uint8, np.bool_])
@pytest.mark.parametrize(
    "shape", [(1,), (7,), (3, 5), (3, 70), (2, 3, 41), (9, 1, 21), (2, 4, 1, 33), (0, 3)]
)
def test_along_every_axis(op: str, shape: tuple[int, ...], dtype: Any, target: Target) -> None:
    for axis in range(-len(shape), len(shape)):
        if shape[axis]:
            check(target, op, few(dtype, *shape), axis, "INT32" if axis < 0 else "INT64")


@each
@both
@pytest.mark.parametrize("length", [*range(1, 20), 31, 32, 33, 63, 64, 65, 200])
def test_every_remainder(op: str, length: int, target: Target) -> None:
    check(target, op, few(np.float32, 3, length), 1)
    check(target, op, few(np.float32, 21, length), 1)
    check(target, op, few(np.float32, length, 5), 0)
    check(target, op, few(np.float32, 5, length), 0)


@each
@both
def test_infinities_and_what_is_not_a_number(op: str, target: Target) -> None:
    rng = np.random.default_rng(1)
    numbers = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1], np.float32)
    for length in (1, 2, 3, 9, 40):
        x = rng.choice(numbers, (50, length))
        x[:5] = np.nan
        check(target, op, x, 1)
        check(target, op, x[:3], 1)
        check(target, op, x, 0)
        check(target, op, x[:, :, None], 1)
        check(target, op, x.T.copy()[:, :, None], 0)


@each
@both
def test_limits_of_integers(op: str, target: Target) -> None:
    for dtype in (np.int32, np.int8, np.uint8):
        info = np.iinfo(dtype)
        x = np.array([[info.min, info.max, 0] * 5, [info.max] * 15, [info.min] * 15], dtype)
        for axis in (0, 1):
            check(target, op, x, axis)


# Several --------------------------------------------------------------------------------------


def check_top(target: Target, x: np.ndarray, count: int) -> None:
    outputs = [DType.of(x), DType.INT32]
    inputs = [x, const(np.array(count, np.int32))]
    for split in (None, 1):
        found, expected = compute(target, "TOPK_V2", inputs, split=split, outputs=outputs)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@each
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("shape", [(1,), (9,), (3, 40), (2, 3, 101), (2, 0), (0, 4)])
def test_the_largest_in_order(shape: tuple[int, ...], dtype: Any, target: Target) -> None:
    for count in {0, 1, 5, shape[-1]}:
        if count <= min(shape[-1], MOST_TOP):
            check_top(target, few(dtype, *shape), count)


@each
def test_many_of_long_rows(target: Target) -> None:
    check_top(target, few(np.float32, 2, 1500), MOST_TOP)
    rng = np.random.default_rng(2)
    check_top(target, rng.standard_normal((2, 1500)).astype(np.float32), 300)
    check_top(target, np.arange(1500, dtype=np.int32), 40)
    check_top(target, -np.arange(1500, dtype=np.int32), 40)


@each
def test_the_order_of_all_floats(target: Target) -> None:
    numbers = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 1e38, -1e38], np.float32)
    check_top(target, np.tile(numbers, 3), 27)
    limits = np.array([-(1 << 31), (1 << 31) - 1, 0, -1], np.int32)
    check_top(target, np.tile(limits, 3), 12)


def test_what_is_left_to_numpy() -> None:
    x = few(np.float32, 2 * MOST_TOP)
    many = const(np.array(MOST_TOP + 1, np.int32))
    assert not is_lowered("TOPK_V2", [x, many], outputs=[DType.FLOAT32, DType.INT32])

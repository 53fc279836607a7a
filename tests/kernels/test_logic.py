"""Comparisons, logical operators and choices on kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import const
from lowered_node import compute, is_lowered
from martlet.dtypes import DType
from martlet.kernels.elementwise import COMPARISON
from martlet.kernels.targets import Target
from native import targets

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
shapes = pytest.mark.parametrize(
    ("shape", "other"),
    [
        ((5,), (5,)),
        ((2, 3, 4, 17), (17,)),
        ((2, 3, 4, 17), ()),
        ((2, 3, 4, 5), (1, 3, 1, 5)),
        ((4, 1, 5, 1), (1, 3, 1, 6)),
        ((1, 8, 9, 3), (3,)),
        ((), ()),
        ((2, 0), (2, 1)),
    ],
)
BOOL = [DType.BOOL]


def few(dtype: Any, *shape: int) -> np.ndarray:
    """Numbers of which many are equal."""
    return np.random.default_rng(len(shape)).integers(-2, 3, shape).astype(dtype)


def same(target: Target, op: str, inputs: list[Any], outputs: list[DType]) -> None:
    for split in (None, 5):
        (found,), (expected,) = compute(target, op, inputs, split=split, outputs=outputs)
        np.testing.assert_array_equal(found, expected)


@each
@shapes
@pytest.mark.parametrize("op", COMPARISON)
def test_comparisons(
    op: str, shape: tuple[int, ...], other: tuple[int, ...], target: Target
) -> None:
    for dtype in (np.float32, np.int32, np.int64):
        for a, b in ((shape, other), (other, shape)):
            same(target, op.upper(), [few(dtype, *a), few(dtype, *b)], BOOL)
            same(target, op.upper(), [few(dtype, *a), const(few(dtype, *b))], BOOL)


@each
@pytest.mark.parametrize("op", COMPARISON)
def test_what_is_not_a_number_is_unequal(op: str, target: Target) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1], np.float32)
    same(target, op.upper(), [x[:, None], x[None]], BOOL)


@each
@shapes
@pytest.mark.parametrize("op", ["LOGICAL_AND", "LOGICAL_OR", "EQUAL", "NOT_EQUAL"])
def test_booleans(op: str, shape: tuple[int, ...], other: tuple[int, ...], target: Target) -> None:
    same(target, op, [few(np.bool_, *shape), few(np.int8, *other) > 0], BOOL)
    same(target, "LOGICAL_NOT", [few(np.bool_, *shape)], BOOL)


@each
@shapes
def test_bits(shape: tuple[int, ...], other: tuple[int, ...], target: Target) -> None:
    places = few(np.int32, *other) * 17  # beyond both ends
    for a, b in ((few(np.int32, *shape) * 12345, places), (places, few(np.int32, *shape))):
        same(target, "BITWISE_XOR", [a, b], [DType.INT32])
        same(target, "RIGHT_SHIFT", [a, b], [DType.INT32])


@each
@shapes
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int64, np.bool_])
def test_choices(
    shape: tuple[int, ...], other: tuple[int, ...], dtype: Any, target: Target
) -> None:
    conditions = few(np.int8, *shape) > 0, few(np.int8, *other) > 0
    for condition in conditions:
        for a, b in ((shape, other), (other, shape), (other, other)):
            inputs = [condition, few(dtype, *a), const(few(dtype, *b))]
            same(target, "SELECT_V2", inputs, [DType.of(inputs[1])])


@each
def test_a_condition_chooses_rows(target: Target) -> None:
    condition = np.array([True, False, True])
    x, y = few(np.float32, 3, 4, 7), few(np.float32, 3, 4, 7) + 5
    same(target, "SELECT", [condition, x, y], [DType.FLOAT32])
    same(target, "SELECT", [np.array(False), x, y], [DType.FLOAT32])
    same(target, "SELECT", [x > 0, x, y], [DType.FLOAT32])


def test_strings_and_short_numbers_are_left_to_numpy() -> None:
    x = np.array([1, 2], np.int16)
    assert not is_lowered("LESS", [x, x], outputs=BOOL)
    assert not is_lowered("RIGHT_SHIFT", [x, x])
    assert not is_lowered("SELECT_V2", [x > 1, x, x], outputs=[DType.INT16])


STABLEHLO = ("ADD", "MULTIPLY", "MAXIMUM", "MINIMUM", "AND", "SHIFT_LEFT")


@each
@pytest.mark.parametrize("op", STABLEHLO)
def test_stablehlo_operators_of_two_tensors_of_one_shape(op: str, target: Target) -> None:
    types: tuple[Any, ...] = (np.float32, np.int32, np.int64, np.bool_)
    if op == "AND":
        types = (np.int32, np.int64, np.bool_, np.int8, np.uint8, np.uint32)
    if op == "SHIFT_LEFT":
        types = (np.int32,)
    for dtype in types:
        for shape in ((), (33,), (2, 3, 4, 17), (0, 3)):
            x = few(dtype, *shape)
            y = few(dtype, *shape, 2)[..., 1] * np.array(1 if dtype is np.bool_ else 17, dtype)
            same(target, f"STABLEHLO_{op}", [x, y], [DType.of(x)])
            same(target, f"STABLEHLO_{op}", [x, const(y)], [DType.of(x)])
    assert not is_lowered(f"STABLEHLO_{op}", [np.ones(3, np.int16)] * 2)


@each
@pytest.mark.parametrize("op", ["ADD", "MULTIPLY", "MAXIMUM", "MINIMUM"])
def test_stablehlo_operators_of_what_is_not_a_number(op: str, target: Target) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1, 3e38], np.float32)
    pairs = [a.ravel() for a in np.meshgrid(x, x)]
    same(target, f"STABLEHLO_{op}", pairs, [DType.FLOAT32])

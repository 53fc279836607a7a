"""Division on kernels: of integers, by what is known and by what is not, and by zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from build import const
from lowered_node import compute, is_lowered, lower, one_node
from martlet.kernels.elementwise import kernels
from martlet.kernels.targets import Target
from martlet.plan.lowering.strides import row_arguments
from native import guarded, run_kernel, targets

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
OPERATORS = [(op, np.int32) for op in ("DIV", "FLOOR_DIV", "FLOOR_MOD")]
OPERATORS.append(("FLOOR_MOD", np.int64))
of_integers = pytest.mark.parametrize(("op", "dtype"), OPERATORS)


def same(target: Target, op: str, inputs: list[Any], split: int | None = None) -> None:
    (found,), (expected,) = compute(target, op, inputs, split=split)
    np.testing.assert_array_equal(found, expected)


def edges(dtype: Any) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.array([0, 1, -1, 5, -7, info.min, info.max, info.min + 1, *range(-9, 9)], dtype)


@each
@of_integers
def test_by_constants(op: str, dtype: Any, target: Target) -> None:
    info, x = np.iinfo(dtype), edges(dtype)
    for divisor in (1, -1, 2, 3, -3, 7, info.max, info.min):
        same(target, op, [x, const(np.array(divisor, dtype))], split=5)
        same(target, op, [np.array(-7, dtype), const(np.array([divisor, 5], dtype))])
    many = np.array([2, -5, 1000003, info.max - 1, info.min], dtype)
    same(target, op, [x[:, None], const(many)])
    assert not is_lowered(op, [x, const(np.array([0], dtype))])


@each
@of_integers
def test_by_values_that_are_computed(op: str, dtype: Any, target: Target) -> None:
    x = edges(dtype)
    divisors = x[x != 0]
    same(target, op, [x[:, None], divisors[None]])
    same(target, op, [x, np.array(-1, dtype)], split=3)
    same(target, op, [np.array(-7, dtype), divisors], split=4)
    same(target, op, [x[:, None, None, None, None], divisors.reshape(1, -1, 1, 1, 1)])
    same(target, op, [x[:0], np.array([3], dtype)])


@each
@of_integers
@given(data=st.data())
def test_any_numbers(op: str, dtype: Any, data: st.DataObject, target: Target) -> None:
    info = np.iinfo(dtype)
    size = data.draw(st.integers(0, 40))
    numbers = st.integers(int(info.min), int(info.max)) | st.integers(-5, 5)
    x = data.draw(arrays.arrays(dtype, size, elements=numbers))
    y = data.draw(arrays.arrays(dtype, size, elements=numbers.filter(bool)))
    same(target, op, [x, y])


@each
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_zeros_are_found_wherever_they_are(dtype: Any, target: Target) -> None:
    name = {"f": "f32", "i": f"i{8 * np.dtype(dtype).itemsize}"}[np.dtype(dtype).kind]
    kernel = next(k for k in kernels(target) if k.name == f"refuse_zeros_{name}")
    lanes = target.lanes
    for size in (0, 1, lanes - 1, lanes, 2 * lanes + 3):
        for zero in range(-1, size):
            x, status = guarded(np.full(size, -3, dtype)), guarded(np.array([0, 5], np.int64))
            x[zero if zero >= 0 else size :] *= 0
            run_kernel(
                kernel, target, x, status, *row_arguments((size,), (1,)), units=size,
                split=None if size % 2 else 3,
            )  # fmt: skip
            assert status.tolist() == ([0, 5] if zero < 0 else [1, 0])


def test_what_divides_is_looked_at_only_where_it_is_not_known() -> None:
    x = np.ones(5, np.int32)
    for divisor, steps in ((x, 2), (const(x), 1)):
        lowering = lower(*one_node("FLOOR_MOD", [x, divisor]))
        assert lowering is not None
        assert len(lowering.steps) == steps
        assert len(lowering.statuses) == steps - 1
    floats = np.ones(5, np.float32)
    lowering = lower(*one_node("FLOOR_MOD", [floats, floats]))
    assert lowering is not None
    assert not lowering.statuses


def test_other_types_are_left_to_numpy() -> None:
    x = np.ones(5, np.int16)
    assert not is_lowered("FLOOR_DIV", [x, x])
    assert not is_lowered("FLOOR_MOD", [x, x])

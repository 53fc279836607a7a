"""RESHAPE and its like are copies where the output cannot be the input under another name; what
gives bytes another type, or takes numbers apart, always is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import const, one_node
from lowered_node import compute, is_lowered
from martlet.dtypes import DType
from martlet.kernels.targets import Target
from martlet.ops.operator import Spec
from martlet.runtime.session import Session
from native import targets

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
CASES: list[tuple[str, tuple[int, ...], list[Any], dict[str, Any] | None]] = [
    ("RESHAPE", (2, 3, 4), [const(np.array([6, -1], np.int32))], None),
    ("RESHAPE", (1,), [const(np.zeros(0, np.int32))], None),
    ("RESHAPE", (0, 3), [const(np.array([3, 0], np.int32))], None),
    ("SQUEEZE", (1, 3, 1, 5), [], {"squeeze_dims": [0, 2]}),
    ("EXPAND_DIMS", (3, 5), [const(np.array(-2, np.int32))], None),
]
nodes = pytest.mark.parametrize(("op", "shape", "rest", "options"), CASES)


def values(dtype: Any, *shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(0, 100, shape).astype(dtype)


@each
@nodes
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int16, np.int64, np.bool_, np.complex64])
def test_elements_keep_their_order(
    op: str, shape: tuple[int, ...], rest: list[Any], options: Any, dtype: Any, target: Target
) -> None:
    for split in (None, 7):
        (found,), (expected,) = compute(target, op, [values(dtype, *shape), *rest], options, split)
        np.testing.assert_array_equal(found, expected)


@nodes
def test_from_the_graphs_input_to_its_output_nothing_is_left_to_numpy(
    op: str, shape: tuple[int, ...], rest: list[Any], options: Any
) -> None:
    model, (x,) = one_node(op, [values(np.float32, *shape), *rest], options)
    session = Session(model)
    plan = session.plan(0, [Spec(model.main.tensors[0].dtype, x.shape)])
    native = session.native(plan)
    if native is None:
        pytest.skip("no kernels for this machine")
    assert [segment.step for segment in native.segments] == ([None] if x.size else [])
    session.start_clock()
    (found,) = session.run(plan, [x])
    np.testing.assert_array_equal(found.ravel(), x.ravel())
    assert not np.may_share_memory(found, x)


def test_strings_are_left_to_numpy() -> None:
    shape = const(np.array([2, 1], np.int32))
    assert not is_lowered("RESHAPE", [np.array(["a", "b"]), shape])


# Other types ----------------------------------------------------------------------------------


@each
@pytest.mark.parametrize(
    ("dtype", "shape", "output"),
    [
        (np.float32, (2, 3), DType.INT32),
        (np.int16, (5, 2), DType.FLOAT32),
        (np.int64, (5, 7), DType.UINT8),
        (np.uint8, (3, 4, 8), DType.INT64),
        (np.bool_, (7,), DType.INT8),
        (np.uint32, (), DType.INT16),
        (np.int32, (0, 3), DType.UINT32),
    ],
)
def test_bytes_get_another_type(
    dtype: Any, shape: tuple[int, ...], output: DType, target: Target
) -> None:
    for split in (None, 5):
        (found,), (expected,) = compute(
            target, "BITCAST", [values(dtype, *shape)], split=split, outputs=[output]
        )
        np.testing.assert_array_equal(found, expected)


@each
@pytest.mark.parametrize("op", ["REAL", "IMAG"])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 7), (0, 2)])
def test_parts_of_complex_numbers(op: str, shape: tuple[int, ...], target: Target) -> None:
    for dtype, output in ((np.complex64, DType.FLOAT32), (np.complex128, DType.FLOAT64)):
        x = values(dtype, *shape) + 1j * values(dtype, *shape) ** 2
        x = x.astype(dtype)
        for split in (None, 5):
            (found,), (expected,) = compute(target, op, [x], split=split, outputs=[output])
            np.testing.assert_array_equal(found, expected)


@each
@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 7), (0, 2), (37,)])
def test_absolute_values_of_complex_numbers(shape: tuple[int, ...], target: Target) -> None:
    x = (values(np.complex64, *shape) * (1 - 3j) + 1j).astype(np.complex64)
    for split in (None, 5):
        (found,), (expected,) = compute(
            target, "COMPLEX_ABS", [x], split=split, outputs=[DType.FLOAT32]
        )
        np.testing.assert_allclose(found, expected, rtol=1.3e-7)


@each
def test_absolute_values_of_special_numbers(target: Target) -> None:
    parts = [0.0, -0.0, 1e-45, -1e-30, 2.5, -3e38, np.inf, -np.inf, np.nan]
    x = np.array([complex(a, b) for a in parts for b in parts], np.complex64)
    (found,), (expected,) = compute(target, "COMPLEX_ABS", [x], outputs=[DType.FLOAT32])
    np.testing.assert_array_equal(found, expected)
    wide = x.astype(np.complex128)
    assert not is_lowered("COMPLEX_ABS", [wide], outputs=[DType.FLOAT64])


def test_booleans_that_may_change_are_left_to_numpy() -> None:
    assert not is_lowered("BITCAST", [values(np.int8, 3)], outputs=[DType.BOOL])

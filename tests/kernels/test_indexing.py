"""Gathering, scattering and what else follows indices, on kernels; space, batch and diagonals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import const
from lowered_node import compute, is_lowered
from martlet.dtypes import DType
from martlet.graph import Quantization
from martlet.kernels.indexing import kernels
from martlet.kernels.targets import Target
from native import guarded, host_targets, run_kernel, targets

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
rng = np.random.default_rng(0)
DTYPES = (np.int8, np.int16, np.float32, np.int64, np.complex64)
FAR = (-1, 1 << 20, -(1 << 31), (1 << 31) - 1)


def values(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    return rng.integers(-100, 100, shape).astype(dtype)


def check(target: Target, op: str, inputs: list[Any], options: Any = None, **kwargs: Any) -> None:
    """The kernels give what NumPy gives, in one range of units and in several."""
    for split in (None, 3):
        found, expected = compute(target, op, inputs, options, split, **kwargs)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@each
@pytest.mark.parametrize("index", [np.int32, np.int64, np.int16])
@pytest.mark.parametrize(
    ("shape", "indices", "axis", "batch"),
    [
        ((7,), (11,), 0, 0),
        ((7,), (), 0, 0),
        ((5, 3), (2, 4), 0, 0),
        ((5, 3), (2, 4), 1, 0),
        ((2, 3, 4), (5,), -2, 0),
        ((2, 3, 4, 5), (2, 6), 2, 1),
        ((2, 3, 4), (2, 3, 6), 2, 2),
        ((2, 3, 4), (2, 6), -1, -1),
        ((2, 3, 4), (2, 6), 1, 1),
        ((2, 3, 16), (4,), 1, 0),
        ((4, 17), (0,), 0, 0),
        ((3, 100), (2,), 0, 0),
    ],
)
def test_gather(
    target: Target, index: Any, shape: Any, indices: Any, axis: int, batch: int
) -> None:
    for dtype in DTYPES:
        at = rng.integers(0, shape[axis], indices).astype(index)
        options = {"axis": axis, "batch_dims": batch}
        check(target, "GATHER", [values(shape, dtype), at], options)


@each
@pytest.mark.parametrize("index", [np.int32, np.int64, np.int16])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_gather_nd(target: Target, index: Any, depth: int) -> None:
    shape = (4, 3, 5)
    for dtype in DTYPES:
        for front in ((6,), (2, 2), (0,)):
            at = np.stack([rng.integers(0, n, front) for n in shape[:depth]], -1).astype(index)
            check(target, "GATHER_ND", [values(shape, dtype), at])


@each
@pytest.mark.parametrize("row", [(1,), (16,), (3, 7)])
def test_embedding_lookup(target: Target, row: tuple[int, ...]) -> None:
    for dtype in (np.float32, np.int8):
        table = const(values((10, *row), dtype))
        ids = np.array([9, 0, 3, 3, 7], np.int32)
        check(target, "EMBEDDING_LOOKUP", [ids, table], outputs=[DType.of(table.array)])


@each
@pytest.mark.parametrize("scales", [1, 10])
@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8, DType.INT4])
def test_embedding_lookup_of_scaled_rows(target: Target, scales: int, dtype: DType) -> None:
    q = Quantization.of(rng.random(scales).astype(np.float32), 0, axis=0)
    for row in ((1,), (8,), (3, 7)):
        low, high = (0, 255) if dtype is DType.UINT8 else (-8, 7)
        rows = rng.integers(low, high + 1, (10, *row)).astype(dtype.numpy)
        table = const(rows, dtype, q)
        ids = np.array([9, 0, 3, 3, 7], np.int32)
        check(target, "EMBEDDING_LOOKUP", [ids, table], outputs=[DType.FLOAT32])


@each
@pytest.mark.parametrize("wrong", FAR)
def test_wrong_ids_of_scaled_rows_are_not_followed(target: Target, wrong: int) -> None:
    at, status = guarded(np.array([2, wrong], np.int32)), guarded(np.zeros(2, np.int64))
    x, y = guarded(values((3, 5), np.int8)), guarded(np.full((2, 5), 77, np.float32))
    scales = guarded(np.array([1, 2, 4], np.float32))
    run_kernel(
        kernel(target, "gather_scaled_i32"), target, x, y, at, status, scales, 3, 5, 1, 2, units=2
    )
    assert status.tolist() == [1, wrong]
    np.testing.assert_array_equal(y, [x[2] * np.float32(4), [77] * 5])


@each
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot_leaves_out_what_is_out_of_range(target: Target, index: Any, axis: int) -> None:
    at = np.array([[0, 4, 2], [-1, 5, 1 << 30]], index)
    for dtype in DTYPES:
        on, off = values((), dtype), values((), dtype)
        inputs = [at, const(np.int32(5)), on, off]
        check(target, "ONE_HOT", inputs, {"axis": axis}, outputs=[DType.of(on)])


@each
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
@pytest.mark.parametrize(
    ("shape", "depth"), [((9,), 1), ((4, 5), 1), ((4, 5), 2), ((3, 2, 37), 2), ((3, 2, 7), 1)]
)
def test_scatter_nd_adds_in_order(target: Target, dtype: Any, shape: Any, depth: int) -> None:
    for index in (np.int32, np.int64):
        at = np.stack([rng.integers(0, n, (12,)) for n in shape[:depth]], -1).astype(index)
        updates = (rng.normal(size=(12, *shape[depth:])) * 1e6).astype(dtype)
        inputs = [at, updates, const(np.array(shape, index))]
        check(target, "SCATTER_ND", inputs, outputs=[DType.of(updates)])


@each
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize(
    ("shape", "indices"), [((9,), (6,)), ((9,), ()), ((3, 4), (8, 2)), ((2, 3, 2), (0, 3))]
)
def test_sparse_to_dense(target: Target, index: Any, shape: Any, indices: Any) -> None:
    at = rng.integers(0, min(shape), indices).astype(index)
    sizes = const(np.array(shape, index))
    for dtype in DTYPES:
        for count in ((), indices[:1]):
            inputs = [at, sizes, values(count, dtype), values((), dtype)]
            check(target, "SPARSE_TO_DENSE", inputs, outputs=[DType.of(inputs[2])])


@each
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize(("sequence", "batch"), [(0, 1), (1, 0), (2, 0), (0, 2), (1, 3)])
def test_reverse_sequence(target: Target, index: Any, sequence: int, batch: int) -> None:
    shape = (3, 4, 5, 2)
    lengths = rng.integers(-1, shape[sequence] + 1, shape[batch]).astype(index)
    lengths[0] = np.iinfo(index).min
    for dtype in DTYPES:
        options = {"seq_dim": sequence, "batch_dim": batch}
        check(target, "REVERSE_SEQUENCE", [values(shape, dtype), lengths], options)


@each
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize(
    ("operand", "update"),
    [((9,), (4,)), ((4, 5), (2, 5)), ((4, 5, 6), (2, 3, 4)), ((4, 5), (0, 5)), ((2, 3), (2, 3)),
     ((3, 3, 3, 3, 3), (2, 2, 2, 2, 2)), ((4, 1), (1, 1)), ((3, 2), (3, 1))],
)  # fmt: skip
def test_updates_are_moved_inside(target: Target, index: Any, operand: Any, update: Any) -> None:
    bounds = np.iinfo(index)
    for begin in (0, 1, 3, bounds.min, bounds.max):
        for dtype in DTYPES:
            at = np.full(len(operand), begin, index)
            inputs = [values(operand, dtype), values(update, dtype), at]
            check(target, "DYNAMIC_UPDATE_SLICE", inputs)


@given(
    sizes=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=5),
    begin=st.integers(-2, 5),
    dtype=st.sampled_from(DTYPES),
)
@settings(max_examples=100, deadline=None)
def test_updates_of_any_shape(sizes: list[tuple[int, int]], begin: int, dtype: Any) -> None:
    operand = tuple(n for n, _ in sizes)
    update = tuple(max(n - less, 0) for n, less in sizes)
    at = np.full(len(sizes), begin, np.int32)
    inputs = [values(operand, dtype), values(update, dtype), at]
    check(host_targets()[0], "DYNAMIC_UPDATE_SLICE", inputs)


@given(
    before=st.lists(st.integers(1, 3), max_size=2),
    between=st.lists(st.integers(1, 3), max_size=2),
    size=st.integers(1, 5),
    after=st.lists(st.integers(1, 5), max_size=2),
    indices=st.lists(st.integers(0, 4), max_size=2),
    dtype=st.sampled_from(DTYPES),
)
@settings(max_examples=100, deadline=None)
def test_gather_of_any_shape(
    before: list[int], between: list[int], size: int, after: list[int], indices: list[int],
    dtype: Any,
) -> None:  # fmt: skip
    x = values((*before, *between, size, *after), dtype)
    at = rng.integers(0, size, (*before, *indices)).astype(np.int32)
    options = {"axis": len(before) + len(between), "batch_dims": len(before)}
    check(host_targets()[0], "GATHER", [x, at], options)


@each
@pytest.mark.parametrize(
    ("shape", "blocks", "edges"),
    [
        ((2, 4, 6, 3), (2, 3), ((0, 0), (0, 0))),
        ((1, 3, 5, 2), (2, 2), ((1, 0), (0, 3))),
        ((2, 1, 1, 1), (3, 4), ((2, 3), (5, 2))),
        ((2, 5, 3), (4,), ((1, 2),)),
        ((1, 2, 2, 2, 1), (2, 1, 2), ((0, 0), (1, 0), (1, 1))),
    ],
)
def test_space_to_batch_and_back(target: Target, shape: Any, blocks: Any, edges: Any) -> None:
    blocks, edges = const(np.array(blocks, np.int32)), const(np.array(edges, np.int32))
    for dtype in DTYPES:
        x = values(shape, dtype)
        check(target, "SPACE_TO_BATCH_ND", [x, blocks, edges])
        found, _ = compute(target, "SPACE_TO_BATCH_ND", [x, blocks, edges])
        check(target, "BATCH_TO_SPACE_ND", [found[0], blocks, edges])
        back, _ = compute(target, "BATCH_TO_SPACE_ND", [found[0], blocks, edges])
        np.testing.assert_array_equal(back[0], x)


@each
def test_diagonals(target: Target) -> None:
    for dtype in DTYPES:
        for shape in ((5,), (2, 3, 4), (1,), (0,)):
            check(target, "MATRIX_DIAG", [values(shape, dtype)])
        for shape in ((3, 3), (2, 3, 5), (2, 5, 3), (1, 1)):
            diagonal = values((*shape[:-2], min(shape[-2:])), dtype)
            check(target, "MATRIX_SET_DIAG", [values(shape, dtype), diagonal])


def test_what_kernels_leave_to_numpy() -> None:
    at = np.zeros(2, np.int32)
    assert not is_lowered("GATHER", [values((0, 3)), at])
    assert not is_lowered("GATHER_ND", [values((3,)), np.zeros((2, 0), np.int32)])
    half = values((4,), np.float16)
    assert not is_lowered("SCATTER_ND", [at[:, None], half[:2], const(np.array([4], np.int32))],
                          outputs=[DType.FLOAT16])  # fmt: skip


# Wrong indices: nothing outside is read or written, the extreme one is named ---------------------


def kernel(target: Target, name: str) -> Any:
    return next(k for k in kernels(target) if k.name == name)


def named(indices: list[int], size: int) -> list[int]:
    """The status that is due."""
    low, high = min(indices), max(indices)
    return [1, low if low < 0 else high] if low < 0 or high >= size else [0, 0]


@each
@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("wrong", FAR)
def test_wrong_indices_are_not_followed(target: Target, wrong: int, at_end: bool) -> None:
    indices = [2, wrong, 0, 5, 4]
    at = guarded(np.array(indices, np.int32), at_end)
    status, size = guarded(np.zeros(2, np.int64)), np.array([5], np.int64)
    x, y = guarded(values((5,)), at_end), guarded(np.full(5, 77, np.float32), at_end)
    as_bits = (x.view(np.int32), y.view(np.int32))
    run_kernel(
        kernel(target, "gather_i32_i32"), target, *as_bits, at, status, 5, 5, 1, 1, units=5,
        split=2,
    )  # fmt: skip
    assert status.tolist() == named(indices, 5)
    np.testing.assert_array_equal(y[[0, 2, 4]], x[[2, 0, 4]])
    status[:], y[:] = 0, 77
    run_kernel(
        kernel(target, "gather_rows_i32"), target, x.view(np.int8), y.view(np.int8), at, status,
        size, np.array([4], np.int64), 4, 1, 5, 1, 1, 20, units=5, split=2,
    )  # fmt: skip
    assert status.tolist() == named(indices, 5)
    np.testing.assert_array_equal(y, [x[2], 77, x[0], 77, x[4]])
    for drops in (0, 1):
        status[:], y[:] = 0, 0
        run_kernel(
            kernel(target, "put_rows_i32"), target, x.view(np.int8), y.view(np.int8), at, status,
            size, np.array([4], np.int64), 4, 4, 1, 5, drops, units=1,
        )  # fmt: skip
        assert status.tolist() == ([0, 0] if drops else named(indices, 5))
        np.testing.assert_array_equal(y, [x[2], 0, x[0], 0, x[4]])
        status[:], y[:] = 0, 0
        run_kernel(
            kernel(target, "scatter_float_i32"), target, y, x, at, status, size,
            np.array([1], np.int64), 1, 5, 1, drops, units=1,
        )  # fmt: skip
        assert status.tolist() == ([0, 0] if drops else named(indices, 5))
        np.testing.assert_array_equal(y, [x[2], 0, x[0], 0, x[4]])


@each
@pytest.mark.parametrize("wrong", FAR)
def test_wrong_indices_of_16_bytes_are_not_followed(target: Target, wrong: int) -> None:
    at = guarded(np.array([2, wrong, 0], np.int32))
    status = guarded(np.zeros(2, np.int64))
    x, y = guarded(values((3, 16), np.int8)), guarded(np.full((3, 16), 77, np.int8))
    run_kernel(
        kernel(target, "gather_i128_i32"), target, x, y, at, status, 3, 3, 1, 1, units=3, split=2
    )
    assert status.tolist() == [1, wrong]
    np.testing.assert_array_equal(y[[0, 2]], x[[2, 0]])


@each
def test_index_vectors_have_a_status_for_each_number(target: Target) -> None:
    at = guarded(np.array([[1, 2], [0, 3], [7, 0], [1, -4]], np.int32))
    status = guarded(np.zeros((2, 2), np.int64))
    x, y = guarded(values((2, 3), np.int8)), guarded(np.full(4, 77, np.int8))
    sizes, strides = np.array([2, 3], np.int64), np.array([3, 1], np.int64)
    run_kernel(
        kernel(target, "gather_rows_i32"), target, x, y, at, status, sizes, strides, 1, 2, 4, 1, 1,
        6, units=4,
    )  # fmt: skip
    assert status.tolist() == [[1, 7], [1, -4]]
    assert y.tolist() == [x[1, 2], 77, 77, 77]


@each
def test_lengths_beyond_a_sequence_are_named(target: Target) -> None:
    lengths = guarded(np.array([2, 4, -1 << 31, (1 << 31) - 1], np.int32))
    status = guarded(np.zeros(2, np.int64))
    x, y = guarded(values((4, 3), np.int8)), guarded(np.full((4, 3), 77, np.int8))
    run_kernel(
        kernel(target, "reverse_i32"), target, x, y, lengths, status, 1, 3, 1, 4, 3, units=12,
        split=5,
    )  # fmt: skip
    assert status.tolist() == [1, (1 << 31) - 1]
    assert y[0].tolist() == [x[0, 1], x[0, 0], x[0, 2]]
    assert (y[[1, 3]] == 77).all()
    np.testing.assert_array_equal(y[2], x[2])

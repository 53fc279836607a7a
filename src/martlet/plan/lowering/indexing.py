"""Operators that follow indices: they read or write where the data says.

Kernels check every index, and name one that is wrong in a status; a message is that of the NumPy
meaning. Index vectors (GATHER_ND, SCATTER_ND) have a status for each of their numbers. Elements
are bytes wherever they lie side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from martlet.dtypes import DType
from martlet.ops.blockwise import is_blockwise
from martlet.ops.embedding import QUANTIZED_ROWS
from martlet.ops.gathering import gather_axes
from martlet.plan.lowering import Lowering, Ref, lowers
from martlet.plan.lowering.movement import (
    ELEMENTS,
    LEAST_BYTES,
    MOST_DIMENSIONS,
    Block,
    copy,
    movable,
    output_block,
)
from martlet.plan.lowering.rowwise import Operand, result, walk
from martlet.plan.lowering.strides import (
    CACHE_LINE,
    MOST_PARTS,
    collapse,
    count_parts,
    grain,
    parts,
    row_arguments,
)

INDICES = {DType.INT16: "i16", DType.INT32: "i32", DType.INT64: "i64"}
WRONG_ID = "an id is not a row of the table"
SUMS = {DType.FLOAT32: "float", DType.INT32: "i32", DType.INT64: "i64"}


def _statuses(lowering: Lowering, sizes: Sequence[int], problem: str) -> Ref:
    """A status for an index into each of these sizes."""
    first, *_ = [lowering.status(problem, f"0 to {n - 1}") for n in sizes]
    return first


def _table(lowering: Lowering, numbers: Sequence[int]) -> Ref:
    return lowering.data(np.array(numbers, np.int64))


def _strides(sizes: Sequence[int], inner: int) -> list[int]:
    """From one index of each dimension to the next; inner: elements or bytes of the last."""
    return [math.prod(sizes[i + 1 :]) * inner for i in range(len(sizes))]


# Reading --------------------------------------------------------------------------------------


@lowers("GATHER")
def gather(lowering: Lowering) -> bool:
    """x (batches, outer, size, inner) by indices (batches, count)."""
    x = lowering.call.shape(0)
    axis, batch = gather_axes(lowering.call)
    return _gather_axis(
        lowering, 0, 1, math.prod(x[:batch]), math.prod(x[batch:axis]), x[axis],
        math.prod(x[axis + 1 :]), "an index is out of range",
    )  # fmt: skip


@lowers("EMBEDDING_LOOKUP")
def embedding_lookup(lowering: Lowering) -> bool:
    """Rows of a table as they are, or times scales."""
    call = lowering.call
    if call.dtype(1) is not call.output().dtype:
        return _lookup_scaled(lowering)
    rows, *row = call.shape(1)
    return _gather_axis(lowering, 1, 0, 1, 1, rows, math.prod(row), WRONG_ID)


def _lookup_scaled(lowering: Lowering) -> bool:
    """Rows of constant integers that become float32."""
    call, table = lowering.call, lowering.call.value(1)
    if table is None or table.size == 0 or call.output().dtype is not DType.FLOAT32:
        return False
    if call.dtype(1) not in QUANTIZED_ROWS or is_blockwise(call, 1):
        return False
    scales, (rows, count) = call.quantization(1).scale, (len(table), lowering.size(0))
    lowering.step(
        "gather_scaled_i32", lowering.input(1), lowering.output(), lowering.input(0),
        _statuses(lowering, [rows], WRONG_ID), lowering.data(scales.astype(np.float32)), rows,
        table.size // rows, int(scales.size > 1), count,
        units=count, grain=grain(lowering, count, -(-LEAST_BYTES * rows // table.size), 1),
    )  # fmt: skip
    return True


def _gather_axis(
    lowering: Lowering, table: int, ids: int, batches: int, outer: int, size: int, inner: int,
    problem: str,
) -> bool:  # fmt: skip
    """Inputs `table` and `ids` as the kernels of `martlet.kernels.indexing` have them."""
    call, stored = lowering.call, lowering.call.stored(table)
    if not movable(lowering, table) or lowering.size(table) == 0:
        return False
    itemsize, index = call.dtype(table).numpy.itemsize, INDICES[call.dtype(ids)]
    count = lowering.size(ids) // batches
    if stored is not None and stored.dtype == np.float16 and itemsize == 4:
        return _gather_widened(
            lowering, stored, ids, size, batches, outer, inner, problem
        )  # fmt: skip
    row = inner * itemsize
    name = "i128" if row == 16 else ELEMENTS.get(itemsize) if inner == 1 else None
    if name is None or index == "i16":
        x, y = lowering.input(table), lowering.output()
        _gather_rows(lowering, x, y, ids, [size], batches, outer, row, problem)
        return True
    units = batches * outer * count
    if units:
        lowering.step(
            f"gather_{name}_{index}",
            lowering.input(table), lowering.output(), lowering.input(ids),
            _statuses(lowering, [size], problem), size, count, outer, batches,
            units=units, grain=grain(lowering, units, LEAST_BYTES // 8, CACHE_LINE),
        )  # fmt: skip
    return True


def _gather_widened(
    lowering: Lowering, table: np.ndarray, ids: int, size: int, batches: int, outer: int,
    inner: int, problem: str,
) -> bool:  # fmt: skip
    """Rows of a table of float16, which then become float32."""
    count = outer * lowering.size(ids) * inner
    rows = lowering.scratch(2 * count)
    _gather_rows(
        lowering, lowering.data(table), rows, ids, [size], batches, outer, 2 * inner, problem
    )
    narrow = Operand(rows, (1,), 2)
    return walk(
        lowering, "cast_f16_f32", [narrow], result(lowering, (count,)), (count,), forms=False
    )


def _gather_rows(
    lowering: Lowering, x: Ref, y: Ref, ids: int, sizes: Sequence[int], batches: int, outer: int,
    length: int, problem: str,
) -> None:  # fmt: skip
    """Rows of `length` bytes of x to y."""
    depth = len(sizes)
    count = lowering.size(ids) // (batches * depth)
    units = batches * outer * count if length else 0
    if not units:
        return
    lowering.step(
        f"gather_rows_{INDICES[lowering.call.dtype(ids)]}", x, y, lowering.input(ids),
        _statuses(lowering, sizes, problem), _table(lowering, sizes),
        _table(lowering, _strides(sizes, length)), length, depth, count, outer, batches,
        math.prod(sizes) * length,
        units=units, grain=grain(lowering, units, -(-LEAST_BYTES // length), 1),
    )  # fmt: skip


@lowers("GATHER_ND")
def gather_nd(lowering: Lowering) -> bool:
    call = lowering.call
    x, indices = call.shape(0), call.shape(1)
    depth = indices[-1]
    if depth == 0 or not movable(lowering) or lowering.size(0) == 0:
        return False
    length = math.prod(x[depth:]) * call.dtype(0).numpy.itemsize
    _gather_rows(
        lowering, lowering.input(0), lowering.output(), 1, x[:depth], 1, 1, length,
        "an index is out of range",
    )  # fmt: skip
    return True


@lowers("REVERSE_SEQUENCE")
def reverse_sequence(lowering: Lowering) -> bool:
    """Rows are what follows both the dimension of the sequence and that of the batch."""
    call = lowering.call
    if not movable(lowering) or lowering.size(0) == 0:
        return False
    shape = call.shape(0)
    sequence, batch = int(call.option("seq_dim")), int(call.option("batch_dim"))
    end = max(sequence, batch) + 1
    row = math.prod(shape[end:]) * call.dtype(0).numpy.itemsize
    units = math.prod(shape[:end])
    lowering.step(
        f"reverse_{INDICES[call.dtype(1)]}", lowering.input(0), lowering.output(),
        lowering.input(1),
        lowering.status("a length is out of range", f"at most {shape[sequence]}"), row,
        shape[sequence], math.prod(shape[sequence + 1 : end]),
        shape[batch], math.prod(shape[batch + 1 : end]),
        units=units, grain=grain(lowering, units, -(-LEAST_BYTES // row), 1),
    )  # fmt: skip
    return True


# Writing --------------------------------------------------------------------------------------


@lowers("SCATTER_ND")
def scatter_nd(lowering: Lowering) -> bool:
    """Zeros, and then the updates one after the other; threads share the elements of a row."""
    call = lowering.call
    shape, depth = call.integers(2), call.shape(0)[-1]
    if shape is None or len(shape) > MOST_DIMENSIONS or call.dtype(1) not in SUMS:
        return False
    sizes, length = shape[:depth], math.prod(shape[depth:])
    if depth == 0 or 0 in shape:
        return False
    zero = np.zeros((), call.dtype(1).numpy)
    target = output_block(lowering, tuple(shape))
    if not copy(
        lowering, Block(lowering.data(zero), np.broadcast_to(zero, target.array.shape)), target
    ):
        return False
    count = lowering.size(0) // depth
    if count:
        lowering.step(
            f"scatter_{SUMS[call.dtype(1)]}_{INDICES[call.dtype(0)]}",
            lowering.output(), lowering.input(1), lowering.input(0),
            _statuses(lowering, sizes, "an index is out of range"), _table(lowering, sizes),
            _table(lowering, _strides(sizes, length)), depth, count, length, 0,
            units=length, grain=grain(lowering, length, CACHE_LINE, CACHE_LINE),
        )  # fmt: skip
    return True


@lowers("SPARSE_TO_DENSE")
def sparse_to_dense(lowering: Lowering) -> bool:
    """The default everywhere, and then the values, or the one value, one after the other."""
    call = lowering.call
    shape = call.integers(1)
    if not shape or len(shape) > MOST_DIMENSIONS or not movable(lowering, 2) or 0 in shape:
        return False
    target = output_block(lowering, tuple(shape))
    default = np.broadcast_to(np.zeros((), call.dtype(3).numpy), target.array.shape)
    if not copy(lowering, Block(lowering.input(3), default), target):
        return False
    size, count = call.dtype(2).numpy.itemsize, lowering.size(0) // len(shape)
    if count:
        lowering.step(
            f"put_rows_{INDICES[call.dtype(0)]}", lowering.input(2), lowering.output(),
            lowering.input(0), _statuses(lowering, shape, "an index is out of range"),
            _table(lowering, shape), _table(lowering, _strides(shape, size)), size,
            size if call.rank(2) else 0, len(shape), count, 0, units=1,
        )  # fmt: skip
    return True


@lowers("ONE_HOT")
def one_hot(lowering: Lowering) -> bool:
    """Everywhere `off`, and then `on` where the indices say."""
    call = lowering.call
    depth = call.integer(1, (DType.INT32,))
    if depth is None or not movable(lowering, 2) or call.rank(0) >= MOST_DIMENSIONS:
        return False
    size = call.dtype(2).numpy.itemsize
    indices = call.shape(0)
    axis = call.axis(int(call.option("axis")), len(indices) + 1)
    target = output_block(lowering, (*indices[:axis], depth, *indices[axis:]))
    off = np.broadcast_to(np.zeros((), call.dtype(3).numpy), target.array.shape)
    if size not in ELEMENTS or not copy(lowering, Block(lowering.input(3), off), target):
        return False
    units = lowering.size(0) if depth else 0
    lowering.step(
        f"one_hot_{ELEMENTS[size]}_{INDICES[call.dtype(0)]}", lowering.input(0),
        lowering.input(2), lowering.output(), depth, math.prod(indices[axis:]),
        units=units, grain=grain(lowering, units, LEAST_BYTES // 8, 1),
    )  # fmt: skip
    return True


def copy_operand(lowering: Lowering) -> None:
    """Input 0 becomes the output, where it does not lie there already."""
    nbytes = lowering.size(0) * lowering.call.dtype(0).numpy.itemsize
    lowering.step(
        "copy_unless_same", lowering.input(0), lowering.output(),
        units=nbytes, grain=grain(lowering, nbytes, LEAST_BYTES, CACHE_LINE),
    )  # fmt: skip


@lowers("DYNAMIC_UPDATE_SLICE", overwrites=(0,))
def dynamic_update_slice(lowering: Lowering) -> bool:
    """The operand, which may lie there already, and then the update."""
    call = lowering.call
    operand, update = call.shape(0), call.shape(1)
    if not operand or not movable(lowering):
        return False
    size = call.dtype(0).numpy.itemsize
    copy_operand(lowering)
    if lowering.size(1) == 0:
        return True
    limits = [n - m for n, m in zip(operand, update, strict=True)]
    outer = _strides(operand, size)
    shape, (xs, ys) = collapse((*update, size), (*_strides(update, size), 1), (*outer, 1))
    if not shape or (xs[-1], ys[-1]) != (1, 1):
        # A row for each byte.
        shape, xs, ys = (*shape, 1), (*xs, 1), (*ys, 1)
    if count_parts(shape) > MOST_PARTS:
        return False
    tables = _table(lowering, limits), _table(lowering, outer)
    for (x_start, y_start), sizes, (xt, yt) in parts(shape, xs, ys):
        units = math.prod(sizes)
        lowering.step(
            f"update_rows_{INDICES[call.dtype(2)]}", lowering.input(1).at(x_start),
            lowering.output().at(y_start), lowering.input(2), *tables, len(operand),
            *row_arguments(sizes, xt, yt),
            units=units, grain=grain(lowering, units, LEAST_BYTES, CACHE_LINE),
        )  # fmt: skip
    return True

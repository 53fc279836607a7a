"""STABLEHLO_GATHER and STABLEHLO_SCATTER, whose windows may begin anywhere.

A gather moves them inside; a scatter leaves out what falls outside (`kernels/indexing.py`). The
numbers of each index vector must lie side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from martlet.ops.gathering import gather_window, index_vectors
from martlet.ops.scattering import combination, scatter_window
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.indexing import INDICES, SUMS, _strides, _table, copy_operand
from martlet.plan.lowering.movement import LEAST_BYTES, movable
from martlet.plan.lowering.strides import (
    CACHE_LINE,
    MOST_PARTS,
    collapse,
    count_parts,
    grain,
    parts,
    row_arguments,
)

APART = {4: "i32", 8: "i64"}
"""Bytes of elements that kernels move one by one."""


def _side_by_side(lowering: Lowering) -> bool:
    call = lowering.call
    return math.prod(call.shape(1)[int(call.option("index_vector_dim")) + 1 :]) == 1


@lowers("STABLEHLO_GATHER")
def gather(lowering: Lowering) -> bool:
    """The dimensions of the index vectors must follow one another in the output, too."""
    call = lowering.call
    offsets, collapsed, starts, sizes = gather_window(call)
    batch, x = index_vectors(call, 1, len(starts)), call.shape(0)
    kept = [axis for axis in range(len(x)) if axis not in collapsed]
    rank = len(batch) + len(kept)
    batches = [d for d in range(rank) if d not in offsets]
    if not movable(lowering) or not _side_by_side(lowering):
        return False
    if batches and batches[-1] - batches[0] >= len(batches):
        return False
    y = [0] * rank
    for places, lengths in ((batches, batch), (offsets, [sizes[axis] for axis in kept])):
        for d, n in zip(places, lengths, strict=True):
            y[d] = n
    if 0 in y:
        return True
    itemsize = call.dtype(0).numpy.itemsize
    x_strides, y_strides = _strides(x, 1), _strides(y, 1)
    shape, (xs, ys) = collapse(
        [sizes[axis] for axis in kept], [x_strides[axis] for axis in kept],
        [y_strides[d] for d in offsets],
    )  # fmt: skip
    name, unit, ends = "windows", itemsize, []
    if shape and (xs[-1], ys[-1]) != (1, 1) and itemsize in APART:
        name, unit, ends = f"apart_{APART[itemsize]}", 1, [xs[-1], ys[-1]]
    elif not shape or (xs[-1], ys[-1]) != (1, 1):  # a row for each element
        shape, xs, ys = (*shape, 1), (*xs, 1), (*ys, 1)
    if count_parts(shape) > MOST_PARTS:
        return False
    limits = _table(lowering, [x[axis] - sizes[axis] for axis in starts])
    strides = _table(lowering, [x_strides[axis] * unit for axis in starts])
    pitch = y_strides[batches[-1]] * unit if batches else 0
    for (x_start, y_start), (*outer, row), (xt, yt) in parts(shape, xs, ys):
        window = (*outer, row * unit)
        units = math.prod(batch) * math.prod(window)
        lowering.step(
            f"gather_{name}_{INDICES[call.dtype(1)]}", lowering.input(0).at(x_start * itemsize),
            lowering.output().at(y_start * itemsize), lowering.input(1), limits, strides,
            len(starts), math.prod(window), pitch, *ends,
            *row_arguments(window, _times(xt, unit), _times(yt, unit)),
            units=units, grain=grain(lowering, units, LEAST_BYTES * unit // itemsize, CACHE_LINE),
        )  # fmt: skip
    return True


def _times(steps: Sequence[int], unit: int) -> tuple[int, ...]:
    return tuple(step * unit for step in steps)


@lowers("STABLEHLO_SCATTER", overwrites=(0,))
def scatter(lowering: Lowering) -> bool:
    """Rows that replace others, or are added to them: one index for each leading dimension of the
    operand, or for some, and all of what is behind (of the first dimension a part will do)."""
    call = lowering.call
    window, inserted, named = scatter_window(call)
    combine, dtype = combination(call), call.dtype(0)
    x, updates = call.shape(0), call.shape(2)
    outer, lead = len(inserted), len(updates) - len(window)
    row, whole = updates[lead:], x[outer:]
    if inserted != list(range(outer)) or window != list(range(lead, len(updates))):
        return False
    if not set(named) <= set(inserted) or not _side_by_side(lowering) or 0 in x:
        return False
    if row[1:] != whole[1:] or (row and row[0] > whole[0]):
        return False
    if not (movable(lowering) if combine is None else combine is np.add and dtype in SUMS):
        return False
    size = dtype.numpy.itemsize
    copy_operand(lowering)
    if lowering.size(2) == 0:
        return True
    count, length, unit = math.prod(updates[:lead]), math.prod(row), size if combine is None else 1
    sizes = _table(lowering, [x[axis] for axis in named])
    strides = _table(lowering, [_strides(x, unit)[axis] for axis in named])
    indices, drops = INDICES[call.dtype(1)], 1
    if combine is None:
        lowering.step(
            f"put_rows_{indices}", lowering.input(2), lowering.output(), lowering.input(1), sizes,
            sizes, strides, length * size, length * size, len(named), count, drops, units=1,
        )  # fmt: skip
        return True
    lowering.step(
        f"scatter_{SUMS[dtype]}_{indices}", lowering.output(), lowering.input(2),
        lowering.input(1), sizes, sizes, strides, len(named), count, length, drops,
        units=length, grain=grain(lowering, length, CACHE_LINE, CACHE_LINE),
    )  # fmt: skip
    return True

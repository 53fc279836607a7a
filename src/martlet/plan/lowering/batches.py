"""Moves between space and batch, and diagonals: strided copies, and a fill of what they leave out.

Of a dimension that comes apart into blocks, every place within a block is a copy of its own: the
elements from one of them on, so many apart.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from martlet.ops.permuting import space_blocks, space_fill
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.movement import (
    MOST_DIMENSIONS,
    Block,
    copy,
    input_block,
    movable,
    output_block,
)
from martlet.plan.lowering.strides import MOST_PARTS


def _fill(lowering: Lowering, target: Block, value: int) -> bool:
    """One value everywhere."""
    one = np.full((), value, target.array.dtype)
    return copy(
        lowering, Block(lowering.data(one), np.broadcast_to(one, target.array.shape)), target
    )


def _between(size: int, count: int, block: int, before: int, place: int) -> tuple[slice, slice]:
    """(elements of the space, elements of the batch) for one place within the blocks.

    Element i of the batch is element i * block + place - before of the space, which has `size`.
    """
    first = min(count, max(0, -(-(before - place) // block)))
    start = first * block + place - before
    n = min(count - first, max(0, -(-(size - start) // block)))
    if n <= 0:
        return slice(0, 0), slice(0, 0)
    return slice(start, start + (n - 1) * block + 1, block), slice(first, first + n)


def _copies(
    lowering: Lowering, space: Block, batch: Block, blocks: Sequence[int],
    before: Sequence[int], to_batch: bool,
) -> bool:  # fmt: skip
    """All places within the blocks; the batches of each follow each other."""
    batches = space.array.shape[0]
    for number, places in enumerate(itertools.product(*map(range, blocks))):
        found = [
            _between(size, count, block, edge, place)
            for size, count, block, edge, place in zip(
                space.array.shape[1:-1], batch.array.shape[1:-1], blocks, before, places,
                strict=True,
            )
        ]  # fmt: skip
        own = slice(number * batches, (number + 1) * batches)
        here = space.of(space.array[(slice(None), *(a for a, _ in found))])
        there = batch.of(batch.array[(own, *(b for _, b in found))])
        if not copy(lowering, *((here, there) if to_batch else (there, here))):
            return False
    return True


@lowers("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", pitched=True)
def space_and_batch(lowering: Lowering) -> bool:
    call = lowering.call
    found = space_blocks(call)
    if found is None or not movable(lowering) or lowering.size(0) == 0:
        return False
    blocks, edges = found
    cells = math.prod(blocks)
    if cells > MOST_PARTS:
        return False
    before = [edge[0] for edge in edges]
    (n, *spatial, depth), source = call.shape(0), input_block(lowering)
    sizes = zip(spatial, blocks, edges, strict=True)
    if call.op == "SPACE_TO_BATCH_ND":
        padded = [(size + sum(edge)) // block for size, block, edge in sizes]
        target = output_block(lowering, (n * cells, *padded, depth))
        if any(map(sum, edges)) and not _fill(lowering, target, space_fill(call)):
            return False
        return _copies(lowering, source, target, blocks, before, to_batch=True)
    left = [size * block - sum(edge) for size, block, edge in sizes]
    target = output_block(lowering, (n // cells, *left, depth))
    return _copies(lowering, target, source, blocks, before, to_batch=False)


@lowers("MATRIX_DIAG")
def matrix_diag(lowering: Lowering) -> bool:
    shape = lowering.call.shape(0)
    if not movable(lowering) or len(shape) >= MOST_DIMENSIONS:
        return False
    target = output_block(lowering, (*shape, shape[-1]))
    diagonal = target.of(np.diagonal(target.array, 0, -2, -1))
    return _fill(lowering, target, 0) and copy(lowering, input_block(lowering), diagonal)


@lowers("MATRIX_SET_DIAG")
def matrix_set_diag(lowering: Lowering) -> bool:
    if not movable(lowering):
        return False
    target = output_block(lowering, lowering.call.shape(0))
    diagonal = target.of(np.diagonal(target.array, 0, -2, -1))
    return copy(lowering, input_block(lowering), target) and copy(
        lowering, input_block(lowering, 1), diagonal
    )

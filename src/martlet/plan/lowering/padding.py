"""Operators that put values around or between elements: PAD, PADV2, DILATE, STABLEHLO_PAD.

Rows between edges are one step where they can be; else the value is put everywhere and the
elements are copied to their places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from martlet.kernels.forms import OUTER
from martlet.ops.padding import pad_edges, placement, stablehlo_paddings, stored_zero
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.movement import (
    LEAST_BYTES,
    Block,
    copy,
    input_block,
    movable,
    output_block,
)
from martlet.plan.lowering.strides import grain


@lowers("PAD", "PADV2", pitched=True)
def pad(lowering: Lowering) -> bool:
    """Dimensions without padding join the one before them, so that rows get long."""
    call = lowering.call
    edges, fill = pad_edges(call), _fill(lowering)
    if not movable(lowering) or edges is None:
        return False
    if fill is None:
        return _around(lowering, 2, edges, [1] * len(edges))
    itemsize, shape = call.dtype(0).numpy.itemsize, call.shape(0)
    long = shape[-1] + sum(edges[-1]) if shape else 1
    pitches = lowering.pitch(0), lowering.output_pitch(long)
    spaced = bool(shape) and pitches != (shape[-1], long)
    # (size, before, after), the last dimension being the bytes of an element.
    joined = [(itemsize, 0, 0)]
    for i, (n, (before, after)) in reversed(list(enumerate(zip(shape, edges, strict=True)))):
        size, *padding = joined[0]
        if any(padding) or (spaced and i == len(shape) - 2):
            joined.insert(0, (n, before, after))
        else:
            joined[0] = (n * size, before * size, after * size)
    joined = [d for d in joined[:-1] if d != (1, 0, 0)] + joined[-1:]
    if len(joined) > OUTER + 1:
        return _around(lowering, 2, edges, [1] * len(edges))
    *outer, (inside, before, after) = [(1, 0, 0)] * (OUTER + 1 - len(joined)) + joined
    length = before + inside + after
    source, target = (p * itemsize for p in pitches) if spaced else (inside, length)
    counts, starts = [d[0] for d in outer], [d[1] for d in outer]
    sizes = [sum(d) for d in outer]
    strides = [math.prod(counts[i:]) * source for i in (1, 2, 3)]
    lowering.step(
        "pad_rows", lowering.input(0), lowering.output(0), fill, length, target, before, inside,
        *sizes, *starts, *counts, *strides,
        units=math.prod(sizes) if length else 0,
        grain=grain(lowering, math.prod(sizes), -(-LEAST_BYTES // max(length, 1)), 1),
    )  # fmt: skip
    return True


def _fill(lowering: Lowering) -> int | None:
    """Four bytes that, repeated, are the fill value over and over; None if no four are."""
    call = lowering.call
    value = call.value(2) if call.has(2) else np.array(stored_zero(call))
    if value is None:
        return None
    element = value.astype(call.dtype(0).numpy).reshape(1)
    words = np.tile(element, max(1, 4 // element.itemsize)).view(np.int32)
    return int(words[0]) if (words == words[0]).all() else None


@lowers("DILATE", pitched=True)
def dilate(lowering: Lowering) -> bool:
    steps = lowering.call.value(1)
    if steps is None or not movable(lowering):
        return False
    return _around(lowering, 2, [(0, 0)] * steps.size, steps.tolist())


@lowers("STABLEHLO_PAD", pitched=True)
def stablehlo_pad(lowering: Lowering) -> bool:
    return movable(lowering) and _around(lowering, 1, *stablehlo_paddings(lowering.call))


def _around(
    lowering: Lowering, i: int, edges: Sequence[tuple[int, int]], steps: Sequence[int]
) -> bool:
    """The value of input i, or what is stored for 0, everywhere; then the elements, `steps` apart
    and behind the edges."""
    call, whole = lowering.call, input_block(lowering)
    dtype = whole.array.dtype
    shape, source, target = placement(call.shape(0), edges, steps)
    if 0 in shape:
        return True
    zero = None if call.has(i) else np.array(stored_zero(call)).astype(dtype)
    fill = np.broadcast_to(np.empty((), dtype), shape)
    address = lowering.input(i) if zero is None else lowering.data(zero)
    result = output_block(lowering, shape)
    return copy(lowering, Block(address, fill), result) and copy(
        lowering,
        whole.of(whole.array[(*source, ...)]),
        result.of(result.array[(*target, ...)]),
    )

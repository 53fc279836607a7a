"""Steps of elementwise kernels: operands that broadcast, walked through in rows.

Where the rows of a constant operand are short, as the three channels of an image, and everything
else lies dense, they are repeated to long ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from martlet.kernels.forms import OUTER
from martlet.plan.lowering import Lowering, Ref
from martlet.plan.lowering.strides import (
    CACHE_LINE,
    MOST_PARTS,
    Ints,
    broadcast_strides,
    collapse,
    count_parts,
    grain,
    parts,
    row_arguments,
)
from martlet.records import NamedTuple

LEAST_ELEMENTS = 4096
"""Computed by a thread at once."""
PIECE = CACHE_LINE // 4
SHORT_ROW, LONG_ROW = 256, 1024


class Operand(NamedTuple):
    """Where a tensor is, or its value; its distances over the result's dimensions; its bytes."""

    place: Ref | np.ndarray
    strides: Ints
    itemsize: int


def operand(lowering: Lowering, i: int, whole: Ints) -> Operand:
    """Input i, broadcast to a shape."""
    call = lowering.call
    value = call.value(i)
    return Operand(
        lowering.input(i) if value is None else value,
        broadcast_strides(call.shape(i), whole, lowering.pitch(i)),
        call.dtype(i).numpy.itemsize,
    )


def result(lowering: Lowering, whole: Ints) -> Operand:
    """Output 0, of that shape."""
    pitch = lowering.output_pitch(whole[-1]) if whole else None
    itemsize = lowering.call.output().dtype.numpy.itemsize
    return Operand(lowering.output(0), broadcast_strides(whole, whole, pitch), itemsize)


def rowwise(
    lowering: Lowering, kernel: str, inputs: Sequence[int], *numbers: float, forms: bool = True
) -> bool:
    """Steps of an elementwise kernel; its form is added to its name, if it has forms."""
    whole = tuple(np.broadcast_shapes(*(lowering.call.shape(i) for i in inputs)))
    operands = [operand(lowering, i, whole) for i in inputs]
    return walk(lowering, kernel, operands, result(lowering, whole), whole, *numbers, forms=forms)


def walk(
    lowering: Lowering,
    kernel: str,
    operands: Sequence[Operand],
    target: Operand,
    whole: Ints,
    *numbers: float,
    forms: bool = True,
) -> bool:
    """The same for operands that are known already; False if there are too many dimensions."""
    if 0 in whole:
        return True
    shape, strides = collapse(whole, *(o.strides for o in (*operands, target)))
    readable = (0, 1) if forms else (1,)
    if not shape or strides[-1][-1] != 1 or any(s[-1] not in readable for s in strides):
        # A row for each element.
        shape, strides = (*shape, 1), tuple((*s, 1) for s in strides)
    if count_parts(shape) > MOST_PARTS:
        return False
    form = "".join("v" if s[-1] else "s" for s in strides[:-1])
    units = math.prod(shape[-OUTER - 1 :])
    places = [o.place for o in operands]
    if len(shape) == 2 and shape[1] < SHORT_ROW and strides[-1] == (shape[1], 1):
        places, shape, strides = _lengthened(places, shape, strides)
    addresses = [p if isinstance(p, Ref) else lowering.data(p) for p in places]
    assert isinstance(target.place, Ref)
    addresses.append(target.place)
    for starts, sizes, steps in parts(shape, *strides):
        offsets = (n * o.itemsize for n, o in zip(starts, (*operands, target), strict=True))
        begin = [a.at(nbytes) for a, nbytes in zip(addresses, offsets, strict=True)]
        lowering.step(
            f"{kernel}_{form}" if forms else kernel, *begin, *numbers,
            *row_arguments(sizes, *steps),
            units=units, grain=grain(lowering, units, LEAST_ELEMENTS, PIECE),
        )  # fmt: skip
    return True


def _lengthened(
    places: list[Ref | np.ndarray], shape: Ints, strides: tuple[Ints, ...]
) -> tuple[list[Ref | np.ndarray], Ints, tuple[Ints, ...]]:
    """The same walk in longer rows, if all operands are dense or constants that are repeated."""
    count, length = shape
    repeated = [
        isinstance(place, np.ndarray) and s == (0, 1)
        for place, s in zip(places, strides[:-1], strict=True)
    ]
    dense = [s == (length, 1) for s in strides[:-1]]
    if not any(repeated) or not all(r or d for r, d in zip(repeated, dense, strict=True)):
        return places, shape, strides
    times = -(-LONG_ROW // length)
    longer = length * times
    places = [
        np.tile(place.ravel(), times) if r and isinstance(place, np.ndarray) else place
        for place, r in zip(places, repeated, strict=True)
    ]
    # The last row may be cut short by the units.
    outer = tuple((0, 1) if r else (longer, 1) for r in (*repeated, False))
    return places, (-(-count // times), longer), outer

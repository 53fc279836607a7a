"""Walking through the rows of strided blocks.

Tensors that broadcast, or of which only a part is meant, are blocks: up to three outer indices
choose a row, and each tensor has a stride for each of them. The elements of a row follow each
other at one distance. Work units are elements, counted through all rows, so that threads share
even a single long row; a range may begin and end in the middle of a row.

    arguments("x: *float", "y: *float", *row_fields("x", "y"))

    for (x_at, y_at), start, stop in rows(k, block, first, last):
        ...                               elements start to stop of a row of x that begins at x_at
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from martlet.kernels.forms import OUTER
from martlet.kernels.language import Builder, Value


def row_fields(*tensors: str) -> tuple[str, ...]:
    """Declarations of the arguments that describe the rows of these tensors.

    The length of a row, the sizes of the second and the third index (the first is bounded by the
    units), then for each tensor the strides of the three indices.
    """
    strides = [f"{tensor}_stride{i}: i64" for tensor in tensors for i in range(OUTER)]
    return ("length: i64", "size1: i64", "size2: i64", *strides)


def rows(
    k: Builder, fields: Sequence[Value], first: Value, last: Value
) -> Iterator[tuple[list[Value], Value, Value]]:
    """(where the row begins in each tensor, first element, end) of every row from first to last.

    `fields` are the values of `row_fields`. The indices count up like an odometer: dividing for
    every row would cost more than a short row does.
    """
    length, size1, size2, *strides = fields
    row = first // length
    start = k.variable(first % length)
    left = k.variable(last - first)
    index0 = k.variable(row // size2 // size1)
    index1 = k.variable(row // size2 % size1)
    index2 = k.variable(row % size2)
    with k.forever() as walking:
        walking.leave_if(left.value <= 0)
        begin = start.value
        stop = k.minimum(begin + left.value, length)
        indices = [index0.value, index1.value, index2.value]
        offsets = []
        for tensor in range(0, len(strides), OUTER):
            terms = [i * s for i, s in zip(indices, strides[tensor : tensor + OUTER], strict=True)]
            offsets.append(terms[0] + terms[1] + terms[2])
        yield offsets, begin, stop
        left.value = left.value - (stop - begin)
        start.value = k.constant(0, start.type)
        next2 = indices[2] + 1
        wraps2 = next2.equals(size2)
        next1 = indices[1] + wraps2.to(next2.type)
        wraps1 = next1.equals(size1)
        index2.value = k.select(wraps2, next2 * 0, next2)
        index1.value = k.select(wraps1, next1 * 0, next1)
        index0.value = indices[0] + wraps1.to(next2.type)


def pieces(
    k: Builder, start: Value, stop: Value, lanes: int | None = None
) -> Iterator[tuple[Value, int]]:
    """(element, number of lanes) of whole vectors, then of a half, a quarter… of one, as needed.

    The body is written for every width, from `lanes` (those of a vector) down to 1. For rows with
    short rests this beats a mask: masked stores take many cycles where a processor has them, and a
    branch for each lane where not.
    """
    widest = lanes or k.lanes
    whole = start + (stop - start) // widest * widest
    for i in k.range(start, whole, widest):
        yield i, widest
    position = k.variable(whole)
    width = widest // 2
    while width:
        at = position.value
        with k.when(at + width <= stop):
            yield at, width
            position.value = at + width
        width //= 2

"""Shapes and strides in the few dimensions that kernels take.

    shape, (a, b) = collapse((8, 1, 7, 16), (112, 112, 16, 1), (0, 0, 0, 1))
    (56, 16), ((16, 1), (0, 1))

Dimensions of size 1 go, and two neighbours that one index walks through in every tensor become
one. What is left is filled up with ones in front (`row_arguments`), or, where it is too much, cut
into parts with fewer dimensions (`parts`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from martlet.kernels.forms import OUTER
from martlet.plan.lowering import GRAINS, Lowering

Ints = tuple[int, ...]

CACHE_LINE = 64
MOST_PARTS = 64
"""More steps than these for one node are left to NumPy."""


def collapse(shape: Sequence[int], *strides: Sequence[int]) -> tuple[Ints, tuple[Ints, ...]]:
    """The fewest dimensions with which these tensors can be walked through together."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for size, *step in zip(shape, *strides, strict=True):
        if size == 1:
            continue
        if sizes and all(s[-1] == size * n for s, n in zip(steps, step, strict=True)):
            sizes[-1] *= size
            for s, n in zip(steps, step, strict=True):
                s[-1] = n
        else:
            sizes.append(size)
            for s, n in zip(steps, step, strict=True):
                s.append(n)
    return tuple(sizes), tuple(tuple(s) for s in steps)


def row_arguments(shape: Ints, *strides: Ints) -> list[int]:
    """The arguments that `martlet.kernels.rows.row_fields` declares.

    All but the last of at most 4 dimensions choose a row; the last is the row.
    """
    *outer, length = shape
    front = OUTER - len(outer)
    sizes = [1] * front + outer
    result = [length, sizes[1], sizes[2]]
    for steps in strides:
        result += [0] * front + list(steps[:-1])
    return result


def parts(shape: Ints, *strides: Ints) -> Iterator[tuple[tuple[int, ...], Ints, tuple[Ints, ...]]]:
    """(where it begins in each tensor, shape, strides) of parts of at most OUTER + 1 dimensions."""
    extra = max(0, len(shape) - OUTER - 1)
    inner = tuple(s[extra:] for s in strides)
    for index in itertools.product(*map(range, shape[:extra])):
        starts = tuple(sum(i * n for i, n in zip(index, s, strict=False)) for s in strides)
        yield starts, shape[extra:], inner


def count_parts(shape: Ints) -> int:
    """How many `parts` there are."""
    return math.prod(shape[: max(0, len(shape) - OUTER - 1)])


def broadcast_strides(shape: Sequence[int], to: Sequence[int], pitch: int | None = None) -> Ints:
    """Strides, in elements, of a tensor as if it had the shape that it broadcasts to.

    pitch: from one row, along the last dimension, to the next, if rows do not touch.
    """
    padded = [1] * (len(to) - len(shape)) + list(shape)
    # Rows are as far apart as if the last dimension were `pitch` long.
    spaced = [*padded[:-1], padded[-1] if pitch is None else pitch] if padded else []
    return tuple(0 if n == 1 else math.prod(spaced[i + 1 :]) for i, n in enumerate(padded))


def grain(lowering: Lowering, units: int, least: int, multiple: int) -> int:
    """Units that a thread takes at once: a multiple, so that pieces begin on a cache line.

    Fewer than `least` are not worth a look at the shared counter.
    """
    even = max(least, -(-units // (lowering.threads * GRAINS)))
    return -(-even // multiple) * multiple

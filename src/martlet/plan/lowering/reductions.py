"""SUM, MEAN, REDUCE_*, CUMSUM: float32, int32, int64, booleans; extremes of int8, uint8 and int16.

What `kernels/reductions.py` computes, over any axes that are constant:

1. The dimensions are collapsed to the fewest that are reduced or kept as a whole.
2. If the last of them is reduced, vectors go along it, else across the results.
3. Long rows that become few results are reduced in chunks of one size, and these once more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from martlet.dtypes import DType
from martlet.kernels.forms import LINE_PAIR, OUTER, REDUCED, SHORT
from martlet.ops.operator import Call
from martlet.plan.lowering import Lowering, Ref, lowers
from martlet.plan.lowering.strides import (
    Ints,
    broadcast_strides,
    collapse,
    grain,
    row_arguments,
)
from martlet.records import dataclass

LEAST_ELEMENTS = 4096
"""Read by a thread at once."""
CHUNK, FEW = 1 << 14, 16
"""Rows of several times so many elements are cut, where there are fewer results than `FEW`."""
SHORT_ROW, LEAST_ROWS = 32, 4
"""Rows of at most so many elements are reduced several at a time, from so many rows on."""
MOST_REDUCED = 3
NAMES = {
    "SUM": "sum", "MEAN": "mean", "REDUCE_PROD": "prod", "REDUCE_MAX": "max", "REDUCE_MIN": "min",
    "REDUCE_ANY": "any", "REDUCE_ALL": "all",
}  # fmt: skip
OF_BOOLEANS = {"sum": "any", "max": "any", "prod": "all", "min": "all", "any": "any", "all": "all"}
ELEMENTS = {
    DType.FLOAT32: "float", DType.UINT8: "u8", DType.INT8: "i8", DType.INT16: "i16",
    DType.INT32: "i32", DType.INT64: "i64",
}  # fmt: skip
STARTS = {"sum": 0, "mean": 0, "prod": 1, "any": 0, "all": 1}


@dataclass(frozen=True)
class Dimension:
    """Its size; elements from one to the next in the input and in the output (0: reduced)."""

    size: int
    x: int
    y: int


Dimensions = Sequence[Dimension]


@dataclass(frozen=True)
class _Reduction:
    """What all steps of a node have in common: the kernels' names are `name_rows_element`, …"""

    lowering: Lowering
    name: str
    element: str
    start: Ref

    def rows(self, x: Ref, y: Ref, kept: Dimensions, reduced: Dimensions, divisor: int = 1) -> None:
        """The last reduced dimension is the last of all."""
        *others, last = kept or [Dimension(1, 0, 0)]
        fields = row_fields([*others, Dimension(last.size, 1, 1)])
        *outer, length = reduced
        numbers = [divisor, length.size, *_loops(outer), last.x, last.y, *fields]
        self._step("rows", x, y, kept, reduced, numbers, multiple=1)

    def short_rows(
        self, x: Ref, y: Ref, kept: Dimensions, reduced: Dimensions, divisor: int
    ) -> None:
        """The same; vectors go along the last kept dimension."""
        *others, last = kept
        fields = row_fields([*others, Dimension(last.size, 1, 1)])
        *outer, inner = reduced
        numbers = [divisor, inner.size, inner.x, *_loops(outer), last.x, *fields]
        self._step("short_rows", x, y, kept, reduced, numbers, multiple=LINE_PAIR // 4)

    def columns(self, x: Ref, y: Ref, kept: Dimensions, reduced: Dimensions, divisor: int) -> None:
        """The last kept dimension is the last of all."""
        *outer, inner = reduced or [Dimension(1, 0, 0)]
        numbers = [divisor, inner.size, inner.x, *_loops(outer), *row_fields(kept)]
        itemsize = self.lowering.call.dtype(0).numpy.itemsize
        self._step("columns", x, y, kept, reduced, numbers, multiple=LINE_PAIR // itemsize)

    def _step(
        self, form: str, x: Ref, y: Ref, kept: Dimensions, reduced: Dimensions,
        numbers: Sequence[int], multiple: int,
    ) -> None:  # fmt: skip
        units = math.prod(d.size for d in kept)
        least = max(1, LEAST_ELEMENTS // math.prod(d.size for d in reduced))
        self.lowering.step(
            f"{self.name}_{form}_{self.element}", x, y, self.start, *numbers,
            units=units, grain=grain(self.lowering, units, least, multiple),
        )  # fmt: skip


def row_fields(kept: Dimensions) -> list[int]:
    """The arguments of the rows of results, of which the last dimension is a row."""
    shape, x, y = zip(*((d.size, d.x, d.y) for d in kept), strict=True)
    return row_arguments(shape, x, y)


def _loops(outer: Dimensions) -> list[int]:
    """Sizes and steps of the two loops around the innermost."""
    filled = [Dimension(1, 0, 0)] * (MOST_REDUCED - 1 - len(outer)) + list(outer)
    return [n for d in filled for n in (d.size, d.x)]


@lowers(*NAMES, pitched=True)
def reduce(lowering: Lowering) -> bool:
    call = lowering.call
    axes = constant_axes(call)
    name, dtype, shape = NAMES[call.op], call.dtype(0), call.shape(0)
    if dtype is DType.BOOL:
        name, element = OF_BOOLEANS[name], "i8"
    elif dtype in ELEMENTS:
        element = ELEMENTS[dtype]
    else:
        return False
    count = math.prod(shape[i] for i in axes or ())
    if (name, element) == ("mean", "float"):
        name = "sum"
    if axes is None or element not in REDUCED[name] or count == 0:
        return False
    if 0 in shape:
        return True
    start = _start(lowering, name, whole=len(axes) == len(shape))
    how = _Reduction(lowering, name, SHORT[element], start)
    return _reduce(how, _dimensions(lowering, axes), count if call.op == "MEAN" else 1)


def constant_axes(call: Call) -> set[int] | None:
    """The axes that input 1 lists; None if it is not constant."""
    listed, rank = call.value(1), call.rank(0)
    if listed is None:
        return None
    return {int(axis) % rank for axis in listed.ravel()} if rank else set()


def _start(lowering: Lowering, name: str, whole: bool) -> Ref:
    """The number from which every lane starts."""
    dtype = lowering.call.dtype(0).numpy
    if name not in STARTS:
        if whole:  # so infinities may be the extreme, or the first element be no number
            return lowering.input(0)
        info = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        return lowering.data(np.array([info.min if name == "max" else info.max], dtype))
    return lowering.data(np.array([STARTS[name]], dtype))


def _dimensions(lowering: Lowering, axes: set[int]) -> list[Dimension]:
    """The dimensions, collapsed; the last has elements side by side."""
    call = lowering.call
    shape = call.shape(0)
    named = [i for i in range(len(shape)) if call.option("keep_dims") or i not in axes]
    sizes = [1 if i in axes else shape[i] for i in named]
    spaced = [*sizes[:-1], lowering.output_pitch(sizes[-1])] if sizes else []
    steps = {i: math.prod(spaced[n + 1 :]) for n, i in enumerate(named)}
    y = tuple(0 if i in axes else steps[i] for i in range(len(shape)))
    x = broadcast_strides(shape, shape, lowering.pitch(0))
    return collapsed(shape, x, y)


def collapsed(shape: Ints, x: Ints, y: Ints) -> list[Dimension]:
    """The fewest dimensions; along the last, elements that are kept lie side by side."""
    sizes, (xs, ys) = collapse(shape, x, y)
    found = [Dimension(*d) for d in zip(sizes, xs, ys, strict=True)]
    if not found or found[-1].x != 1 or found[-1].y not in (0, 1):
        found.append(Dimension(1, 1, 1))
    return found


def _reduce(how: _Reduction, dimensions: Dimensions, divisor: int) -> bool:
    """The steps; False if there are too many dimensions."""
    kept = [d for d in dimensions if d.y]
    reduced = [d for d in dimensions if not d.y]
    x, y = how.lowering.input(0), how.lowering.output(0)
    in_rows = not dimensions[-1].y
    if len(reduced) > MOST_REDUCED or len(kept) > OUTER + 1:
        return False
    if not in_rows:
        how.columns(x, y, kept, reduced, divisor)
    elif how.element == "f32" and reduced[-1].size <= SHORT_ROW and _in_vectors(kept):
        how.short_rows(x, y, kept, reduced, divisor)
    elif _is_long(how, kept, reduced):
        _in_chunks(how, kept, reduced[0].size, divisor)
    else:
        how.rows(x, y, kept, reduced, divisor)
    return True


def _in_vectors(kept: Dimensions) -> bool:
    """Whether the results fill vectors."""
    return bool(kept) and kept[-1].y == 1 and kept[-1].size >= LEAST_ROWS


def _is_long(how: _Reduction, kept: Dimensions, reduced: Dimensions) -> bool:
    few = math.prod(d.size for d in kept) < FEW and len(kept) <= OUTER
    return few and len(reduced) == 1 and reduced[0].size >= 4 * CHUNK and how.name != "mean"


def _in_chunks(how: _Reduction, kept: Dimensions, length: int, divisor: int) -> None:
    """Rows in chunks, whose results are reduced once more."""
    lowering, itemsize = how.lowering, how.lowering.call.dtype(0).numpy.itemsize
    whole, rest = divmod(length, CHUNK)
    chunks = whole + (rest > 0)
    results = math.prod(d.size for d in kept)
    parts = lowering.scratch(results * chunks * itemsize)
    steps = [math.prod(d.size for d in kept[i + 1 :]) * chunks for i in range(len(kept))]
    to_parts = [Dimension(d.size, d.x, n) for d, n in zip(kept, steps, strict=True)]
    of_parts = [Dimension(d.size, n, d.y) for d, n in zip(kept, steps, strict=True)]
    x = lowering.input(0)
    how.rows(x, parts, [*to_parts, Dimension(whole, CHUNK, 1)], [Dimension(CHUNK, 1, 0)])
    if rest:
        x, last = x.at(whole * CHUNK * itemsize), parts.at(whole * itemsize)
        how.rows(x, last, to_parts, [Dimension(rest, 1, 0)])
    how.rows(parts, lowering.output(0), of_parts, [Dimension(chunks, 1, 0)], divisor)


# Running sums ---------------------------------------------------------------------------------


@lowers("CUMSUM", pitched=True, overwrites=(0,))
def cumulative_sum(lowering: Lowering) -> bool:
    call = lowering.call
    shape, dtype, axis = call.shape(0), call.dtype(0), constant_axes(call)
    if axis is None:
        return False
    if 0 in shape:
        return True
    (along,) = axis
    x = broadcast_strides(shape, shape, lowering.pitch(0))
    y = broadcast_strides(shape, shape, lowering.output_pitch(shape[-1]))
    others = [i for i in range(len(shape)) if i != along]
    kept = collapsed(
        tuple(shape[i] for i in others), tuple(x[i] for i in others), tuple(y[i] for i in others)
    )
    if len(kept) > OUTER + 1:
        return False
    count, steps = shape[along], (x[along], y[along])
    source, target = lowering.input(0), lowering.output(0)
    if call.option("reverse"):
        ends = ((count - 1) * step * dtype.numpy.itemsize for step in steps)
        source, target = (a.at(end) for a, end in zip((source, target), ends, strict=True))
        steps = (-steps[0], -steps[1])
    units = math.prod(d.size for d in kept)
    least = max(1, LEAST_ELEMENTS // count)
    lowering.step(
        f"cumulative_sum_{SHORT[ELEMENTS[dtype]]}", source, target, count, *steps,
        int(bool(call.option("exclusive"))), *row_fields(kept),
        units=units, grain=grain(lowering, units, least, LINE_PAIR // dtype.numpy.itemsize),
    )  # fmt: skip
    return True

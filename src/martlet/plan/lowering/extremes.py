"""ARG_MAX, ARG_MIN of float32, int32 and bytes; TOPK_V2 of not too many (`kernels/extremes.py`)."""

from __future__ import annotations

import math

from martlet.dtypes import DType
from martlet.kernels.forms import LINE_PAIR, OUTER
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.reductions import (
    LEAST_ELEMENTS,
    LEAST_ROWS,
    SHORT_ROW,
    Dimension,
    collapsed,
    constant_axes,
    row_fields,
)
from martlet.plan.lowering.strides import broadcast_strides, grain

NAMES = {
    DType.FLOAT32: "f32", DType.INT32: "i32", DType.INT8: "i8", DType.UINT8: "u8",
    DType.BOOL: "u8",
}  # fmt: skip
FLIPS = {"f32": 1 << 31}
MOST_INDICES = 1 << 31
PASSES = 16
"""Through a row, about, in search of the last of the largest."""
MOST_TOP = 1024
"""More are found sooner by sorting: each moves those that are smaller."""


@lowers("ARG_MAX", "ARG_MIN")
def arg_extreme(lowering: Lowering) -> bool:
    call, axis = lowering.call, constant_axes(lowering.call)
    shape, dtype = call.shape(0), call.dtype(0)
    if axis is None or dtype not in NAMES or max(shape) >= MOST_INDICES:
        return False
    if 0 in shape:
        return True
    (along,) = axis
    name = NAMES[dtype]
    count, inner = shape[along], math.prod(shape[along + 1 :])
    x = broadcast_strides(shape, shape)
    others = tuple(n for i, n in enumerate(shape) if i != along)
    steps = tuple(n for i, n in enumerate(x) if i != along)
    kept = collapsed(others, steps, broadcast_strides(others, others))
    units = math.prod(others)
    numbers = [0 if call.op == "ARG_MAX" else FLIPS.get(name, -1)]
    numbers.append(int(call.output().dtype is DType.INT64))
    multiple = LINE_PAIR // 4
    if inner > 1 or count == 1:
        form = "columns"
        numbers += [count, inner]
    else:
        # What follows each result is one element, the beginning of a row.
        *kept, rows = kept[:-1] or [Dimension(1, 0, 0)]
        kept.append(Dimension(rows.size, 1, 1))
        if name == "f32" and count <= SHORT_ROW and rows.size >= LEAST_ROWS:
            form = "short_rows"
            numbers += [count, 1, rows.x]
        else:
            form, multiple = "rows", 1
            numbers += [count, rows.x]
    if len(kept) > OUTER + 1:
        return False
    lowering.step(
        f"arg_{form}_{name}", lowering.input(0), lowering.output(), *numbers, *row_fields(kept),
        units=units, grain=grain(lowering, units, max(1, LEAST_ELEMENTS // count), multiple),
    )  # fmt: skip
    return True


@lowers("TOPK_V2")
def top(lowering: Lowering) -> bool:
    call, listed = lowering.call, lowering.call.value(1)
    dtype, length = call.dtype(0), call.shape(0)[-1]
    if listed is None or dtype not in (DType.FLOAT32, DType.INT32):
        return False
    count = max(int(listed.item()), 0)
    int32 = call.output(1).dtype is DType.INT32
    if count > MOST_TOP or length >= MOST_INDICES or not int32:
        return False
    if count == 0 or lowering.size(0) == 0:
        return True
    units = lowering.size(0) // length
    lowering.step(
        f"top_rows_{NAMES[dtype]}", lowering.input(0), lowering.output(0), lowering.output(1),
        length, count,
        units=units, grain=grain(lowering, units, max(1, LEAST_ELEMENTS // (length * PASSES)), 1),
    )  # fmt: skip
    return True

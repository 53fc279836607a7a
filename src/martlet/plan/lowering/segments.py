"""SEGMENT_SUM of constant segments, UNSORTED_SEGMENT_SUM, _PROD, _MAX, _MIN: a value everywhere,
and then the rows, one after the other (`kernels/segments.py`)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.movement import LEAST_BYTES, Block, copy
from martlet.plan.lowering.strides import CACHE_LINE, grain

NAMES = {DType.FLOAT32: "f32", DType.INT32: "i32"}


@lowers("SEGMENT_SUM")
def segment_sum(lowering: Lowering) -> bool:
    ids = lowering.call.value(1)
    return ids is not None and _join(lowering, int(ids[-1]) + 1 if ids.size else 0)


@lowers(*(f"UNSORTED_SEGMENT_{name}" for name in ("SUM", "PROD", "MAX", "MIN")))
def unsorted_segment(lowering: Lowering) -> bool:
    count = lowering.call.value(2)
    return count is not None and _join(lowering, int(count.item()))


def _join(lowering: Lowering, segments: int) -> bool:
    call = lowering.call
    name = call.op.rpartition("_")[2].lower()
    dtype, length = call.dtype(0), math.prod(call.shape(0)[call.rank(1) :])
    if length == 0:  # no row is written, but NumPy looks at the ids
        return False
    first = np.array(_first(name, dtype.numpy), dtype.numpy)
    everywhere = np.broadcast_to(first, (segments, length))
    target = Block(lowering.output(), np.empty(everywhere.shape, dtype.numpy))
    if not copy(lowering, Block(lowering.data(first), everywhere), target):
        return False
    count = lowering.size(1)
    if count == 0:
        return True
    least = LEAST_BYTES // dtype.numpy.itemsize // count + 1
    lowering.step(
        f"segment_{name}_{NAMES[dtype]}", lowering.input(0), lowering.output(), lowering.input(1),
        lowering.status("an unsorted segment is out of range", f"0 to {segments - 1}"),
        segments, count, length,
        units=length, grain=grain(lowering, length, least, CACHE_LINE // dtype.numpy.itemsize),
    )  # fmt: skip
    return True


def _first(name: str, dtype: np.dtype) -> Any:
    """What a segment without rows holds."""
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return {"sum": 0, "prod": 1, "max": limits.min, "min": limits.max}[name]

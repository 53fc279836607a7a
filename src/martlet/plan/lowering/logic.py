"""Comparisons, logical operators and choices (`martlet.kernels.elementwise`).

Comparisons of float32, int32 and int64, and of booleans for equality; choices between values of
any type of 1, 4 or 8 bytes.
"""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.kernels.elementwise import COMPARISON
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.elementwise import SUFFIXES
from martlet.plan.lowering.rowwise import Operand, operand, result, rowwise, walk
from martlet.plan.lowering.strides import broadcast_strides

CHOSEN = {1: "i8", 4: "i32", 8: "i64"}


@lowers(*(name.upper() for name in COMPARISON), pitched=True)
def compare(lowering: Lowering) -> bool:
    name, dtype = lowering.call.op.lower(), lowering.call.dtype(0)
    if dtype is DType.BOOL:
        return rowwise(lowering, f"{name}_bool", [0, 1])
    return dtype in SUFFIXES and rowwise(lowering, f"{name}_{SUFFIXES[dtype]}", [0, 1])


@lowers("LOGICAL_AND", "LOGICAL_OR", pitched=True)
def logical(lowering: Lowering) -> bool:
    return rowwise(lowering, lowering.call.op.lower(), [0, 1])


@lowers("BITWISE_XOR", "RIGHT_SHIFT", pitched=True)
def bitwise(lowering: Lowering) -> bool:
    """Of int32."""
    int32 = lowering.call.dtype(0) is DType.INT32
    return int32 and rowwise(lowering, f"{lowering.call.op.lower()}_i32", [0, 1])


@lowers("LOGICAL_NOT", pitched=True)
def logical_not(lowering: Lowering) -> bool:
    return rowwise(lowering, "logical_not", [0], forms=False)


@lowers("SELECT", "SELECT_V2", pitched=True)
def select(lowering: Lowering) -> bool:
    """A condition of one dimension chooses rows, in SELECT."""
    call = lowering.call
    dtype, shapes = call.dtype(1).numpy, [call.shape(i) for i in range(3)]
    if dtype.hasobject or dtype.itemsize not in CHOSEN:
        return False
    if call.op == "SELECT" and len(shapes[0]) == 1:
        shapes[0] = (*shapes[0], *[1] * (len(shapes[1]) - 1))
    whole = tuple(np.broadcast_shapes(*shapes))
    operands = [operand(lowering, i, whole) for i in (1, 2)]
    condition = call.value(0)
    pitch = lowering.pitch(0) if shapes[0] == call.shape(0) else None
    strides = broadcast_strides(shapes[0], whole, pitch)
    place = lowering.input(0) if condition is None else condition
    kernel = f"select_{CHOSEN[dtype.itemsize]}"
    operands.insert(0, Operand(place, strides, 1))
    return walk(lowering, kernel, operands, result(lowering, whole), whole)

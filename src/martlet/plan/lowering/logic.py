"""Comparisons, logical operators and choices (`martlet.kernels.elementwise`).

Comparisons of float32, int32 and int64, and of booleans for equality; choices between values of
any type of 1, 4 or 8 bytes; the STABLEHLO_ operators that are like others.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.kernels.forms import COMPARISONS
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.elementwise import SUFFIXES
from martlet.plan.lowering.rowwise import Operand, operand, result, rowwise, walk
from martlet.plan.lowering.strides import broadcast_strides

OF_BOOLEANS = {
    "add": "logical_or", "maximum": "logical_or",
    "multiply": "logical_and", "minimum": "logical_and",
}  # fmt: skip
CHOSEN = {1: "i8", 4: "i32", 8: "i64"}


@lowers(*(name.upper() for name in COMPARISONS), pitched=True)
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


@lowers(
    "STABLEHLO_ADD", "STABLEHLO_MULTIPLY", "STABLEHLO_MAXIMUM", "STABLEHLO_MINIMUM",
    pitched=True,
)  # fmt: skip
def stablehlo(lowering: Lowering) -> bool:
    """As the operators of these names, but that extremes keep x where y is not a number."""
    name, dtype = lowering.call.op.removeprefix("STABLEHLO_").lower(), lowering.call.dtype(0)
    if dtype is DType.BOOL:
        return rowwise(lowering, OF_BOOLEANS[name], [0, 1])
    if dtype not in SUFFIXES:
        return False
    extreme = name in ("maximum", "minimum")
    clamp = (-math.inf, math.inf) if dtype is DType.FLOAT32 and not extreme else ()
    name = {"multiply": "mul"}.get(name, name)
    return rowwise(lowering, f"{name}_{SUFFIXES[dtype]}", [1, 0] if extreme else [0, 1], *clamp)


@lowers("STABLEHLO_AND", "STABLEHLO_SHIFT_LEFT", pitched=True)
def stablehlo_bits(lowering: Lowering) -> bool:
    """AND of any bits but those of 2 bytes; shifts of int32."""
    dtype = lowering.call.dtype(0)
    if lowering.call.op == "STABLEHLO_SHIFT_LEFT":
        return dtype is DType.INT32 and rowwise(lowering, "shift_left_i32", [0, 1])
    name = {1: "logical_and", 4: "bitwise_and_i32", 8: "bitwise_and_i64"}.get(dtype.numpy.itemsize)
    return name is not None and rowwise(lowering, name, [0, 1])


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

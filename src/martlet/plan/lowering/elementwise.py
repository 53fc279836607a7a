"""Elementwise operators: which expression of `martlet.kernels.elementwise` each is.

float32, and int32 and int64 where the same expression serves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from martlet.dtypes import DType
from martlet.kernels.forms import INTEGER_BINARIES, INTEGER_UNARIES
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.dense import LARGEST, clamp_of
from martlet.plan.lowering.rowwise import (
    LEAST_ELEMENTS,
    Operand,
    operand,
    result,
    rowwise,
    walk,
)
from martlet.plan.lowering.strides import (
    Ints,
    broadcast_strides,
    collapse,
    count_parts,
    grain,
    row_arguments,
)

CLAMPS = {
    "RELU": (0.0, math.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU_0_TO_1": (0.0, 1.0),
}
PLAIN = (
    "LOGISTIC", "TANH", "ELU", "HARD_SWISH", "ABS", "NEG", "SQUARE", "SQRT", "RSQRT", "EXP", "LOG",
    "SIN", "COS", "FLOOR", "CEIL", "ROUND", "SIGN",
)  # fmt: skip
SUFFIXES = {DType.FLOAT32: "f32", DType.INT32: "i32", DType.INT64: "i64"}


def _unary(lowering: Lowering, kernel: str, *numbers: float) -> bool:
    if lowering.call.dtype(0) is not DType.FLOAT32:
        return False
    return rowwise(lowering, f"{kernel}_f32", [0], *numbers, forms=False)


@lowers(*PLAIN, pitched=True, overwrites=(0,))
def plain(lowering: Lowering) -> bool:
    name, element = lowering.call.op.lower(), SUFFIXES.get(lowering.call.dtype(0), "")
    if (name, element) in INTEGER_UNARIES:
        return rowwise(lowering, f"{name}_{element}", [0], forms=False)
    return _unary(lowering, name)


@lowers(*CLAMPS, pitched=True, overwrites=(0,))
def clamp(lowering: Lowering) -> bool:
    return _unary(lowering, "clamp", *CLAMPS[lowering.call.op])


@lowers("LEAKY_RELU", pitched=True, overwrites=(0,))
def leaky_relu(lowering: Lowering) -> bool:
    return _unary(lowering, "leaky_relu", float(lowering.call.option("alpha")))


@lowers("GELU", pitched=True, overwrites=(0,))
def gelu(lowering: Lowering) -> bool:
    return _unary(lowering, "gelu_tanh" if lowering.call.option("approximate") else "gelu")


@lowers("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU", pitched=True, overwrites=(0, 1))
def unactivated(lowering: Lowering) -> bool:
    op = lowering.call.op
    return _pair(lowering, [DType.FLOAT32], op.lower()) or _integers(lowering)


@lowers("POW", pitched=True, overwrites=(0, 1))
def power(lowering: Lowering) -> bool:
    """Where all have one whole exponent of 2 or more, the powers are kept finite."""
    call = lowering.call
    exponent, interval = call.value(1), (-math.inf, math.inf)
    if lowering.size(1) == 1 and call.shape(0) != call.shape(1):
        if exponent is None:
            return False
        value = float(exponent.ravel()[0])
        if 1.5 < value < 1 << 31 and abs(value - round(value)) < 1e-5:
            interval = (-LARGEST, LARGEST)
    return _pair(lowering, [DType.FLOAT32], "pow", *interval)


@lowers("FLOOR_DIV", pitched=True, overwrites=(0, 1))
def floor_divide(lowering: Lowering) -> bool:
    types = [DType.FLOAT32, DType.INT32]
    return _refuse_zeros(lowering) and _pair(lowering, types, "floor_div")


@lowers("FLOOR_MOD", pitched=True, overwrites=(0, 1))
def floor_modulo(lowering: Lowering) -> bool:
    """Zero divides floats; what is left over is not a number."""
    if lowering.call.dtype(0) is DType.FLOAT32:
        return _pair(lowering, [DType.FLOAT32], "floor_mod")
    return _refuse_zeros(lowering) and _pair(lowering, [DType.INT32, DType.INT64], "floor_mod")


@lowers("ATAN2", pitched=True, overwrites=(0, 1))
def angle(lowering: Lowering) -> bool:
    return _pair(lowering, [DType.FLOAT32], "atan2")


@lowers("ADD", "SUB", "DIV", pitched=True, absorbs=("ACTIVATION",), overwrites=(0, 1))
def activated(lowering: Lowering) -> bool:
    interval = clamp_of(lowering)
    if interval is None:
        return False
    if lowering.call.dtype(0) is DType.FLOAT32:
        return _pair(lowering, [DType.FLOAT32], lowering.call.op.lower(), *interval)
    if lowering.activation() != "NONE":
        return False
    if lowering.call.op == "DIV":
        return _refuse_zeros(lowering) and _pair(lowering, [DType.INT32], "div")
    return _integers(lowering)


def _refuse_zeros(lowering: Lowering) -> bool:
    """Have divisors looked at, of which none may be 0; whether there may be such a step."""
    divisor, dtype = lowering.call.value(1), lowering.call.dtype(1)
    if divisor is not None or dtype not in SUFFIXES:
        return divisor is not None and bool(divisor.all())
    shape = lowering.call.shape(1)
    sizes, (strides,) = collapse(shape, broadcast_strides(shape, shape, lowering.pitch(1)))
    if not strides or strides[-1] != 1:
        sizes, strides = (*sizes, 1), (*strides, 1)
    if count_parts(sizes) > 1:
        return False
    units = lowering.size(1)
    lowering.step(
        f"refuse_zeros_{SUFFIXES[dtype]}", lowering.input(1),
        lowering.status("division by zero", "no divisor of 0 in input 1"),
        *row_arguments(sizes, strides),
        units=units, grain=grain(lowering, units, LEAST_ELEMENTS, 1),
    )  # fmt: skip
    return True


def _integers(lowering: Lowering) -> bool:
    """int32 and int64, which wrap."""
    name = lowering.call.op.lower()
    return name in INTEGER_BINARIES and _pair(lowering, [DType.INT32, DType.INT64], name)


def _pair(lowering: Lowering, types: Sequence[DType], name: str, *numbers: float) -> bool:
    """A kernel of two operands, if they have one of these types."""
    dtype = lowering.call.dtype(0)
    if dtype not in types or lowering.call.dtype(1) is not dtype:
        return False
    return rowwise(lowering, f"{name}_{SUFFIXES[dtype]}", [0, 1], *numbers)


@lowers("MUL", pitched=True, absorbs=("SHIFT", "ACTIVATION"), overwrites=(0, 1))
def multiply(lowering: Lowering) -> bool:
    """A product; with a SHIFT, the ADD of a constant behind it, too."""
    shift = lowering.fused.shift
    return activated(lowering) if shift is None else _scale_shift(lowering, shift)


def _scale_shift(lowering: Lowering, shift: np.ndarray) -> bool:
    """x * a + b with one number, or one for each channel, in a and in b: a batch norm."""
    call, interval = lowering.call, clamp_of(lowering)
    x, factor = (0, 1) if call.value(0) is None else (1, 0)
    scale, whole = call.value(factor), call.shape(x)
    if call.dtype(0) is not DType.FLOAT32 or interval is None or scale is None:
        return False
    operands = [operand(lowering, x, whole)]
    for constant in (scale, shift):
        row = _per_channel(constant, whole)
        if row is None:
            return False
        strides = tuple(int(i == len(whole) - 1) for i in range(len(whole)))
        operands.append(Operand(row, strides, row.itemsize))
    target = result(lowering, whole)
    return walk(lowering, "scale_shift_f32", operands, target, whole, *interval, forms=False)


def _per_channel(constant: np.ndarray, whole: Ints) -> np.ndarray | None:
    """A number for each channel of a tensor of that shape, if the constant is such."""
    channels = whole[-1] if whole else 1
    along_last = constant.ndim <= len(whole) and constant.shape[-1:] in ((), (1,), (channels,))
    if not along_last or math.prod(constant.shape[:-1]) != 1:
        return None
    return np.ascontiguousarray(np.broadcast_to(constant.ravel(), (channels,)))


# Sums of many ---------------------------------------------------------------------------------


@lowers("ADD_N", pitched=True)
def add_n(lowering: Lowering) -> bool:
    """The first two, then one more after the other, in the place of the sum."""
    dtype, whole = lowering.call.dtype(0), lowering.call.shape(0)
    interval = (-math.inf, math.inf) if dtype is DType.FLOAT32 else ()
    target = result(lowering, whole)
    total = operand(lowering, 0, whole)
    for i in range(1, lowering.call.inputs):
        operands = [total, operand(lowering, i, whole)]
        if not walk(lowering, f"add_{SUFFIXES[dtype]}", operands, target, whole, *interval):
            return False
        total = target
    return True

"""Elementwise operators in float32: which expression of `martlet.kernels.elementwise` each is."""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.dense import clamp_of
from martlet.plan.lowering.rowwise import Operand, operand, result, rowwise, walk
from martlet.plan.lowering.strides import Ints

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
ACTIVATED = ("ADD", "SUB", "MUL", "DIV")
"""These have a fused activation."""
UNACTIVATED = ("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU")
BINARY = (*ACTIVATED, *UNACTIVATED)


def _unary(lowering: Lowering, kernel: str, *numbers: float) -> bool:
    if lowering.call.dtype(0) is not DType.FLOAT32:
        return False
    return rowwise(lowering, f"{kernel}_f32", [0], *numbers, forms=False)


@lowers(*PLAIN, pitched=True)
def plain(lowering: Lowering) -> bool:
    return _unary(lowering, lowering.call.op.lower())


@lowers(*CLAMPS, pitched=True)
def clamp(lowering: Lowering) -> bool:
    return _unary(lowering, "clamp", *CLAMPS[lowering.call.op])


@lowers("LEAKY_RELU", pitched=True)
def leaky_relu(lowering: Lowering) -> bool:
    return _unary(lowering, "leaky_relu", float(lowering.call.option("alpha")))


@lowers("GELU", pitched=True)
def gelu(lowering: Lowering) -> bool:
    return _unary(lowering, "gelu_tanh" if lowering.call.option("approximate") else "gelu")


@lowers(*UNACTIVATED, pitched=True)
def unactivated(lowering: Lowering) -> bool:
    if lowering.call.dtype(0) is not DType.FLOAT32:
        return False
    return rowwise(lowering, f"{lowering.call.op.lower()}_f32", [0, 1])


@lowers("ADD", "SUB", "DIV", pitched=True, absorbs=("ACTIVATION",))
def activated(lowering: Lowering) -> bool:
    interval = clamp_of(lowering)
    if lowering.call.dtype(0) is not DType.FLOAT32 or interval is None:
        return False
    return rowwise(lowering, f"{lowering.call.op.lower()}_f32", [0, 1], *interval)


@lowers("MUL", pitched=True, absorbs=("SHIFT", "ACTIVATION"))
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

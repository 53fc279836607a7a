"""Elementwise operators in float32: which expression of `martlet.kernels.elementwise` each is.

Tensors that broadcast are walked through in rows. Where a row of a constant operand is short, as
the three channels of an image, it is repeated to a long one.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.kernels.rows import OUTER
from martlet.ops.activation_range import INTERVALS, fused_activation
from martlet.ops.operator import broadcast
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.strides import broadcast_strides, collapse, grain, row_arguments

LEAST_ELEMENTS = 4096
"""Computed by a thread at once."""
PIECE = 16
"""Elements in a cache line."""
SHORT_ROW, LONG_ROW = 256, 1024

LARGEST = float(np.finfo(np.float32).max)
CLAMPS = {
    "RELU": (0.0, math.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU_0_TO_1": (0.0, 1.0),
}
PLAIN = (
    "LOGISTIC", "TANH", "ELU", "HARD_SWISH", "ABS", "NEG", "SQUARE", "SQRT", "RSQRT", "EXP", "LOG",
    "SIN", "COS", "FLOOR", "CEIL", "ROUND",
)  # fmt: skip
ACTIVATED = ("ADD", "SUB", "MUL", "DIV")
"""These have a fused activation."""
BINARY = (*ACTIVATED, "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU")


def _unary(lowering: Lowering, kernel: str, *numbers: float) -> bool:
    if lowering.call.dtype(0) is not DType.FLOAT32:
        return False
    units = lowering.size(0)
    lowering.step(
        f"{kernel}_f32", lowering.input(0), lowering.output(0), *numbers,
        units=units, grain=grain(lowering, units, LEAST_ELEMENTS, PIECE),
    )  # fmt: skip
    return True


@lowers(*PLAIN)
def plain(lowering: Lowering) -> bool:
    return _unary(lowering, lowering.call.op.lower())


@lowers(*CLAMPS)
def clamp(lowering: Lowering) -> bool:
    return _unary(lowering, "clamp", *CLAMPS[lowering.call.op])


@lowers("LEAKY_RELU")
def leaky_relu(lowering: Lowering) -> bool:
    return _unary(lowering, "leaky_relu", float(lowering.call.option("alpha")))


@lowers("GELU")
def gelu(lowering: Lowering) -> bool:
    return _unary(lowering, "gelu_tanh" if lowering.call.option("approximate") else "gelu")


@lowers(*BINARY)
def binary(lowering: Lowering) -> bool:
    call = lowering.call
    if call.dtype(0) is not DType.FLOAT32:
        return False
    whole = broadcast(call, 0, 1)
    if 0 in whole:
        return True
    sources = [broadcast_strides(call.shape(i), whole) for i in (0, 1)]
    shape, strides = collapse(whole, *sources, broadcast_strides(whole, whole))
    if len(shape) > OUTER + 1:
        return False
    if not shape:
        shape, strides = (1,), ((1,), (1,), (1,))
    form = "".join("v" if s[-1] else "s" for s in strides[:2])
    numbers: list[float] = []
    if call.op in ACTIVATED:
        low, high = INTERVALS[fused_activation(call)]
        numbers = [
            -LARGEST if low is None else float(low),
            LARGEST if high is None else float(high),
        ]
    addresses = []
    for i in (0, 1):
        row = call.value(i)
        repeats = strides[i] == (0, 1) and strides[1 - i] == (shape[1], 1)
        if row is None or not repeats or shape[1] >= SHORT_ROW:
            addresses.append(lowering.input(i))
            continue
        times = -(-LONG_ROW // shape[1])
        addresses.append(lowering.data(np.tile(row.ravel(), times)))
        # The last row may be cut short by the units.
        shape = (-(-shape[0] // times), shape[1] * times)
        strides = tuple((0, 1) if j == i else (shape[1], 1) for j in range(3))
    units = math.prod(whole)
    lowering.step(
        f"{call.op.lower()}_f32_{form}", *addresses, lowering.output(0), *numbers,
        *row_arguments(shape, *strides),
        units=units, grain=grain(lowering, units, LEAST_ELEMENTS, PIECE),
    )  # fmt: skip
    return True

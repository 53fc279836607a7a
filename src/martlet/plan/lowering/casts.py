"""CAST among float32, integers of 8 to 64 bits and booleans, and between float16 and float32;
QUANTIZE of float32 and DEQUANTIZE of float16, both for 8 and 16 bits (`kernels/casts.py`);
FAKE_QUANT.
"""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.graph import Quantization
from martlet.ops.blockwise import is_blockwise
from martlet.ops.quantize import fake_range
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.rowwise import Operand, operand, result, rowwise, walk

NAMES = {
    DType.FLOAT32: "f32", DType.INT8: "i8", DType.UINT8: "u8", DType.INT16: "i16",
    DType.INT32: "i32", DType.INT64: "i64", DType.BOOL: "bool", DType.FLOAT16: "f16",
}  # fmt: skip


@lowers("CAST", pitched=True)
def cast(lowering: Lowering) -> bool:
    source, target = lowering.call.dtype(0), lowering.call.output().dtype
    if source not in NAMES or target not in NAMES:
        return False
    if source is not target and DType.FLOAT16 in (source, target):
        return DType.FLOAT32 in (source, target) and _step(lowering, source, target)
    size = source.numpy.itemsize
    floats = source.is_float or target.is_float
    bits_stay = size == target.numpy.itemsize and not floats and target is not DType.BOOL
    if source is target or bits_stay:
        return rowwise(lowering, f"cast_same_i{8 * size}", [0], forms=False)
    return _step(lowering, source, target)


def _step(lowering: Lowering, source: DType, target: DType) -> bool:
    """A cast that changes bits. The sign of a byte counts only where it grows or is a float."""
    x, y = NAMES[source], NAMES[target]
    if target is DType.BOOL and x == "u8":
        x = "i8"
    elif source is DType.BOOL:
        x = "u8"
    if y == "u8" and source is not DType.FLOAT32:
        y = "i8"
    return rowwise(lowering, f"cast_{x}_{y}", [0], forms=False)


# Scales ---------------------------------------------------------------------------------------

QUANTIZED = (DType.INT8, DType.UINT8, DType.INT16)
MOST_ZERO_POINT = 1 << 20
"""The size of a zero point with which sums are exact in float32."""


@lowers("QUANTIZE", pitched=True)
def quantize(lowering: Lowering) -> bool:
    """The reference resolver's ways with what does not fit are left to NumPy."""
    call = lowering.call
    stored = call.output().dtype
    if call.dtype(0) is not DType.FLOAT32 or stored not in QUANTIZED or call.session.reference:
        return False
    return _scaled(lowering, f"quantize_f32_{NAMES[stored]}", call.output_quantization())


@lowers("DEQUANTIZE", pitched=True)
def dequantize(lowering: Lowering) -> bool:
    call = lowering.call
    source = call.dtype(0)
    if source is DType.FLOAT16:
        return _step(lowering, DType.FLOAT16, DType.FLOAT32)
    if source not in QUANTIZED or is_blockwise(call, 0):
        return False
    return _scaled(lowering, f"dequantize_{NAMES[source]}", call.quantization(0))


def _scaled(lowering: Lowering, kernel: str, quantization: Quantization) -> bool:
    """A kernel of the input, its scales and its zero points, one or one for each channel."""
    scale, zero = quantization.scale, quantization.zero_point
    if np.abs(zero).max() > MOST_ZERO_POINT:
        return False
    whole = lowering.call.shape(0)
    along = quantization.axis % len(whole) if quantization.per_channel else -1
    strides = tuple(int(i == along) for i in range(len(whole)))
    numbers = [scale, np.broadcast_to(zero, scale.shape).astype(np.int32)]
    operands = [Operand(np.ascontiguousarray(n), strides, n.itemsize) for n in numbers]
    operands.insert(0, operand(lowering, 0, whole))
    return walk(lowering, kernel, operands, result(lowering, whole), whole)


@lowers("FAKE_QUANT", pitched=True, overwrites=(0,))
def fake_quant(lowering: Lowering) -> bool:
    """A float32 function of one operand (`kernels/elementwise.py`)."""
    low, high, step = fake_range(lowering.call)
    numbers = (float(n) for n in (low, high, np.float32(1) / step, step))
    return rowwise(lowering, "fake_quant_f32", [0], *numbers, forms=False)

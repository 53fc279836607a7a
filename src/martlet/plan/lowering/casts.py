"""CAST among float32, integers of 8 to 64 bits and booleans, and between float16 and float32
(`kernels/casts.py`); DEQUANTIZE of float16.
"""

from __future__ import annotations

from martlet.dtypes import DType
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.rowwise import rowwise

NAMES = {
    DType.FLOAT32: "f32", DType.INT8: "i8", DType.UINT8: "u8", DType.INT16: "i16",
    DType.INT32: "i32", DType.INT64: "i64", DType.BOOL: "bool", DType.FLOAT16: "f16",
}  # fmt: skip


@lowers("CAST", pitched=True)
def cast(lowering: Lowering) -> bool:
    source, result = lowering.call.dtype(0), lowering.call.output().dtype
    if source not in NAMES or result not in NAMES:
        return False
    if source is not result and DType.FLOAT16 in (source, result):
        return DType.FLOAT32 in (source, result) and _step(lowering, source, result)
    size = source.numpy.itemsize
    floats = source.is_float or result.is_float
    bits_stay = size == result.numpy.itemsize and not floats and result is not DType.BOOL
    if source is result or bits_stay:
        return rowwise(lowering, f"cast_same_i{8 * size}", [0], forms=False)
    return _step(lowering, source, result)


def _step(lowering: Lowering, source: DType, result: DType) -> bool:
    """A cast that changes bits. The sign of a byte counts only where it grows or is a float."""
    x, y = NAMES[source], NAMES[result]
    if result is DType.BOOL and x == "u8":
        x = "i8"
    elif source is DType.BOOL:
        x = "u8"
    if y == "u8" and source is not DType.FLOAT32:
        y = "i8"
    return rowwise(lowering, f"cast_{x}_{y}", [0], forms=False)


@lowers("DEQUANTIZE", pitched=True)
def dequantize(lowering: Lowering) -> bool:
    half = lowering.call.dtype(0) is DType.FLOAT16
    return half and _step(lowering, DType.FLOAT16, DType.FLOAT32)

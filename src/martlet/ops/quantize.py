"""Between real numbers and quantised ones: QUANTIZE, DEQUANTIZE, FAKE_QUANT, NumericVerify.

QUANTIZE of floats: round(x / scale) + zero point, the quotient in float32, half away from zero,
clamped to the type; per channel where the output has a scale for each. Of quantised values: the
ratio of the scales (in float64) times q - zero point, rounded twice.

Where a quotient does not fit into 32 bits, TensorFlow Lite's reference kernel makes it the least
int32 whatever its sign, and NaN as well; so does Martlet when the reference is asked for.
Otherwise such values saturate.

DEQUANTIZE: scale * (q - zero point), the product in float64 and then rounded to float32 (in
float32 per channel); scales per tensor, channel or block. float16 becomes float32.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from martlet.dtypes import PACKED, DType
from martlet.graph import Quantization
from martlet.ops.blockwise import check_blockwise, dequantize_blocks, is_blockwise
from martlet.ops.fixed_point import (
    multiply_twice,
    quantize_multiplier,
    round_half_away,
    saturate,
    wrap_int32,
)
from martlet.ops.float_to_integer import convert_as_x86, limits, saturate_float
from martlet.ops.lookup_table import by_value
from martlet.ops.operator import Call, Spec, register
from martlet.ops.pairwise import is_quantized
from martlet.schema.flexbuffer import decode

FOUR_BITS = (DType.INT4, DType.UINT4)
EIGHT_BITS = (DType.INT8, DType.UINT8)
FLOATS = (DType.FLOAT32, DType.FLOAT16, DType.FLOAT64)

QUANTIZE_TO = dict.fromkeys(FLOATS, (*EIGHT_BITS, DType.INT16, *FOUR_BITS)) | {
    DType.INT8: (*EIGHT_BITS, DType.INT16),
    DType.UINT8: (*EIGHT_BITS, DType.INT16),
    DType.INT16: (DType.INT8, DType.INT16, DType.INT32),
    DType.INT32: (DType.INT8, DType.INT16),
}
DEQUANTIZABLE = (*EIGHT_BITS, *PACKED, DType.INT16, DType.INT32, DType.FLOAT16)


def _check_zero_points(call: Call, quantization: Quantization, what: str) -> None:
    worst = int(np.abs(quantization.zero_point.astype(np.float64)).max())
    call.check(worst < 1 << 31, f"{what} has an unusable zero point", "32 bits", str(worst))


def _check_channels(call: Call, quantization: Quantization, what: str) -> None:
    """Raise unless there is one usable scale, or one for each slice of an axis of input 0."""
    shape = call.shape(0)
    if quantization.per_channel:
        axis = call.axis(quantization.axis, len(shape), f"the quantised dimension of {what}")
        call.check(
            shape[axis] == quantization.scale.size,
            f"{what} has another number of scales than slices along dimension {axis}",
            str(shape[axis]),
            str(quantization.scale.size),
        )
    usable = np.isfinite(quantization.scale) & (quantization.scale > 0)
    call.check(bool(usable.all()), f"{what} has an unusable scale", "positive numbers")
    _check_zero_points(call, quantization, what)


def _along_axis(values: np.ndarray, quantization: Quantization, rank: int) -> np.ndarray:
    """Values of the channels, in a shape that broadcasts along their axis."""
    if not quantization.per_channel:
        return values.reshape(())
    shape = [1] * rank
    shape[quantization.axis] = values.size
    return values.reshape(shape)


# QUANTIZE -------------------------------------------------------------------------------------


def _infer_quantize(call: Call) -> list[Spec]:
    dtype = call.check_dtype(0, *QUANTIZE_TO)
    output = call.output().dtype
    allowed = QUANTIZE_TO[dtype]
    call.check(
        output in allowed,
        f"{dtype.name} cannot be quantised to the type of the output",
        " or ".join(d.name for d in allowed),
        output.name,
    )
    if dtype in FLOATS:
        _check_channels(call, call.output_quantization(), "output 0")
    else:
        _ratio(call)
        if is_quantized(call, 0):
            _check_zero_points(call, call.quantization(0), "input 0")
        _check_zero_points(call, call.output_quantization(), "output 0")
    return [Spec(output, call.shape(0))]


def _ratio(call: Call) -> float:
    """Scale of the input / scale of the output, in float64; an input without scale is all 0."""
    return call.scale(0) / call.output_scale() if is_quantized(call, 0) else 0.0


def _requantize(call: Call, x: np.ndarray) -> np.ndarray:
    zero = call.zero_point(0) if is_quantized(call, 0) else 0
    steps = wrap_int32(x.astype(np.int64) - zero)
    scaled = multiply_twice(steps, *quantize_multiplier(_ratio(call)))
    stored = wrap_int32(scaled + call.output_zero_point())
    return saturate(stored, call.output().dtype.numpy)


def _quantize(call: Call, x: np.ndarray) -> np.ndarray:
    if call.dtype(0) not in FLOATS:
        return by_value(partial(_requantize, call), x)
    output = call.output().dtype
    low, high = limits(output)
    quantization = call.output_quantization()
    scale = _along_axis(quantization.scale, quantization, x.ndim)
    zero_point = _along_axis(quantization.zero_point, quantization, x.ndim)
    rounded = round_half_away(x.astype(np.float32) / scale)
    if not call.session.reference:
        return saturate_float(rounded.astype(np.float64) + zero_point, output)
    stored = wrap_int32(convert_as_x86(rounded) + zero_point)
    return np.asarray(np.clip(stored, low, high)).astype(output.numpy)


# DEQUANTIZE -----------------------------------------------------------------------------------


def _infer_dequantize(call: Call) -> list[Spec]:
    _check_dequantizable(call)
    return [Spec(DType.FLOAT32, call.shape(0))]


def _check_dequantizable(call: Call) -> None:
    if call.check_dtype(0, *DEQUANTIZABLE) is DType.FLOAT16:
        return
    if is_blockwise(call, 0):
        check_blockwise(call, 0)
    else:
        _check_channels(call, call.quantization(0), "input 0")


def _dequantize(call: Call, x: np.ndarray) -> np.ndarray:
    if call.dtype(0) is DType.FLOAT16:
        return x.astype(np.float32)
    if is_blockwise(call, 0):
        return dequantize_blocks(call, 0, x)
    quantization = call.quantization(0)
    if not quantization.per_channel:
        return by_value(partial(_dequantize_whole, call), x)
    zero_point = _along_axis(quantization.zero_point, quantization, x.ndim)
    scale = _along_axis(quantization.scale, quantization, x.ndim)
    steps = x.astype(np.int64) - zero_point
    return np.asarray(steps.astype(np.float32) * scale)


def _dequantize_whole(call: Call, x: np.ndarray) -> np.ndarray:
    return np.asarray((x.astype(np.int64) - call.zero_point(0)) * call.scale(0), np.float32)


# NumericVerify --------------------------------------------------------------------------------


def _infer_verify(call: Call) -> list[Spec]:
    """A debugging operator: input 0, dequantised, is held against input 1."""
    call.check_dtype(1, DType.FLOAT32)
    _check_dequantizable(call)
    call.check(
        call.shape(0) == call.shape(1),
        "the values and their reference differ in shape",
        str(list(call.shape(0))),
        str(list(call.shape(1))),
    )
    _tolerance(call)
    return [Spec(DType.FLOAT32, call.shape(0))]


def _tolerance(call: Call) -> float | None:
    """Steps by which a value may be off, or None if any number will do."""
    raw = call.node.custom_options
    options = decode(raw.tobytes(), call.place) if raw is not None and raw.size else {}
    if not isinstance(options, dict):
        call.fail("the options are not a map", "tolerance and log_if_failed")
    tolerance, asked = options.get("tolerance", 0.0), options.get("log_if_failed", False)
    if not isinstance(tolerance, (int, float)):
        call.fail("the tolerance is not a number", found=str(tolerance)[:40])
    return float(tolerance) if asked and tolerance >= 0.1 else None


def _verify(call: Call, x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    difference = np.asarray(_dequantize(call, x) - reference)
    tolerance = _tolerance(call)
    if tolerance is not None and call.dtype(0) is not DType.FLOAT16:
        allowed = np.float32(tolerance) * np.float32(call.quantization(0).scale[0])
        worst = float(np.abs(difference).max(initial=0))
        if worst > allowed:
            call.fail_run("a value is off by too much", f"at most {allowed}", str(worst))
    return difference


# FAKE_QUANT -----------------------------------------------------------------------------------


def _infer_fake_quant(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32)
    bits, low, high = (call.option(name) for name in ("num_bits", "min", "max"))
    call.check(2 <= bits <= 16, "num_bits is out of range", "2 to 16", str(bits))
    call.check(
        math.isfinite(low) and math.isfinite(high) and low <= 0 <= high and low < high,
        "the range must hold zero and more",
        "min <= 0 <= max, min < max",
        f"{low} and {high}",
    )
    return [call.spec(0)]


def fake_range(call: Call) -> tuple[np.float32, np.float32, np.float32]:
    """(low, high, step) of the range, moved so that zero is one of its steps."""
    least, most = (np.float32(call.option(name)) for name in ("min", "max"))
    first = np.float32(1 if call.option("narrow_range") else 0)
    last = np.float32((1 << call.option("num_bits")) - 1)
    scale = (most - least) / (last - first)
    zero = np.clip(round_half_away(np.asarray(first - least / scale)), first, last)
    return (first - zero) * scale, (last - zero) * scale, scale


def _fake_quant(call: Call, x: np.ndarray) -> np.ndarray:
    """Round to the steps of the range; all in float32."""
    low, high, scale = fake_range(call)
    steps = round_half_away((np.clip(x, low, high) - low) * (np.float32(1) / scale))
    return np.asarray(steps * scale + low)


register(
    "QUANTIZE", infer=_infer_quantize, evaluate=_quantize, inputs=1, options="QuantizeOptions",
    versions=6,
)  # fmt: skip
register(
    "DEQUANTIZE", infer=_infer_dequantize, evaluate=_dequantize, inputs=1,
    options="DequantizeOptions", versions=9,
)  # fmt: skip
register(
    "FAKE_QUANT", infer=_infer_fake_quant, evaluate=_fake_quant, inputs=1,
    options="FakeQuantOptions", versions=2,
)  # fmt: skip
register("NumericVerify", infer=_infer_verify, evaluate=_verify, inputs=2, custom=True)

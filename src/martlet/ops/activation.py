"""Activation functions as operators of their own.

Floats: computed in the type of the tensor (float16 in float32). Quantised values (int8, uint8,
int16), each to the bit as TensorFlow Lite's reference kernels have it:

- RELU and its kin: q - zero point times the ratio of the scales, rounded twice, then clamped to
  the stored values of the function's ends.
- LEAKY_RELU, PRELU: the same, with another multiplier below zero.
- HARD_SWISH (8 bits): in 16-bit fixed point, see `_hard_swish`.
- LOGISTIC, TANH: 8 bits by table; int16 by a line between entries of one table of the logistic
  function, see `_sigmoid_lines`. ELU, GELU by table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np

from martlet.dtypes import DType
from martlet.ops.fixed_point import (
    multiply_twice,
    quantize_multiplier,
    register_shift_right,
    round_half_away,
    saturate,
    wrap_int32,
)
from martlet.ops.lookup_table import by_value, look_up
from martlet.ops.operator import Call, Spec, broadcast, register
from martlet.ops.rescaling import check_quantized, scale_ratio
from martlet.ops.single_precision import Function, erfc, erfc_single, single, tanh_single
from martlet.records import NamedTuple

FLOATS = (DType.FLOAT32, DType.FLOAT16, DType.FLOAT64)
EIGHT_BITS = (DType.INT8, DType.UINT8)
QUANTIZED = (*EIGHT_BITS, DType.INT16)


class Activation(NamedTuple):
    """What a function does with floats, and with quantised values of which types.

    Both take the call and the input. `check` is what `infer` asks of a quantised use.
    """

    real: Callable[[Call, np.ndarray], np.ndarray]
    quantized: Callable[[Call, np.ndarray], np.ndarray]
    types: tuple[DType, ...] = QUANTIZED
    check: Callable[[Call], object] = scale_ratio
    versions: int = 1
    options: str = ""

    def infer(self, call: Call) -> list[Spec]:
        if call.check_dtype(0, *FLOATS, *self.types) not in FLOATS:
            check_quantized(call)
            self.check(call)
        return [call.spec(0)]

    def evaluate(self, call: Call, x: np.ndarray) -> np.ndarray:
        if call.dtype(0) not in FLOATS:
            return by_value(partial(self.quantized, call), x)
        wide = x.astype(np.float32) if x.dtype == np.float16 else x
        return np.asarray(self.real(call, wide), x.dtype)


# Clamps ---------------------------------------------------------------------------------------


def _clamp(low: float, high: float) -> Activation:
    """The function that keeps its argument between two ends."""

    def real(_: Call, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(x, x.dtype.type(low), x.dtype.type(high)))

    def quantized(call: Call, x: np.ndarray) -> np.ndarray:
        zero = call.output_zero_point()
        scaled = _times(x.astype(np.int64) - call.zero_point(0), scale_ratio(call)) + zero
        ends = np.array([low, high], np.float32) / np.float32(call.output_scale())
        steps = np.clip(round_half_away(ends).astype(np.float64), -(2.0**31), 2.0**31)
        least, most = steps.astype(np.int64) + zero
        # The upper end wins where none of the stored values lies between the ends.
        return saturate(np.minimum(np.maximum(scaled, least), most), x.dtype)

    return Activation(real, quantized)


def _times(x: np.ndarray, multiplier: float) -> np.ndarray:
    """x * multiplier in fixed point, rounded twice; negative multipliers by their size."""
    size = multiply_twice(x, *quantize_multiplier(abs(multiplier)))
    return -size if multiplier < 0 else size


# LEAKY_RELU, PRELU ----------------------------------------------------------------------------


def _multiplier(call: Call, factor: float, what: str) -> float:
    """Scale of input 0 * factor / scale of the output, in float32; raises if not finite."""
    with np.errstate(all="ignore"):
        product = np.float32(call.scale(0)) * np.float32(factor)
        result = float(product / np.float32(call.output_scale()))
    if not math.isfinite(result):
        call.fail(f"{what} do not go together", "a finite multiplier", str(result))
    return result


def _leaky_multiplier(call: Call) -> float:
    scale_ratio(call)
    return _multiplier(call, call.option("alpha"), "the slope and the scales")


def _leaky(call: Call, x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, x * x.dtype.type(call.option("alpha")))


def _leaky_quantized(call: Call, x: np.ndarray) -> np.ndarray:
    steps = x.astype(np.int64) - call.zero_point(0)
    above, below = _times(steps, scale_ratio(call)), _times(steps, _leaky_multiplier(call))
    return saturate(np.where(steps >= 0, above, below) + call.output_zero_point(), x.dtype)


def _prelu_multiplier(call: Call) -> float:
    return _multiplier(call, call.scale(1), "the scales of input, slopes and output")


def _infer_prelu(call: Call) -> list[Spec]:
    dtype = call.check_dtype(0, *FLOATS, *QUANTIZED)
    # Slopes of int16 values are meant to have 8 bits.
    call.check_dtype(1, *((DType.INT8, DType.INT16) if dtype is DType.INT16 else (dtype,)))
    if dtype not in FLOATS:
        check_quantized(call)
        scale_ratio(call)
        _prelu_multiplier(call)
        call.check(abs(call.zero_point(1)) < 1 << 31, "input 1 has an unusable zero point")
    call.check(
        broadcast(call, 0, 1) == call.shape(0),
        "the slopes do not broadcast to the input",
        str(list(call.shape(0))),
        str(list(call.shape(1))),
    )
    return [call.spec(0)]


def _prelu(call: Call, x: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    if call.dtype(0) in FLOATS:
        return np.where(x >= 0, x, x * slopes)
    if slopes.dtype == np.int16:
        # TensorFlow Lite takes the memory of int16 slopes for int8 ones, and so does this.
        raw = np.ascontiguousarray(slopes).reshape(-1).view(np.int8)
        slopes = raw[: slopes.size].reshape(slopes.shape)
    steps = x.astype(np.int64) - call.zero_point(0)
    products = steps * (slopes.astype(np.int64) - call.zero_point(1))
    above, below = _times(steps, scale_ratio(call)), _times(products, _prelu_multiplier(call))
    return saturate(np.where(steps >= 0, above, below) + call.output_zero_point(), x.dtype)


# HARD_SWISH -----------------------------------------------------------------------------------


def _hard_swish(_: Call, x: np.ndarray) -> np.ndarray:
    return np.asarray(x * np.clip(x + 3, 0, 6) / x.dtype.type(6))


def _hard_swish_multipliers(call: Call) -> tuple[tuple[int, int], tuple[int, int]]:
    """16-bit mantissas and exponents: to the output's scale, and to where 3.0 is 32768."""
    to_output = _multiplier(call, 1 / 128, "the scales of input and output")
    fine = np.float32(call.scale(0)) * np.float32(1 / 128)
    with np.errstate(all="ignore"):
        to_gate = float(fine / (np.float32(3) / np.float32(32768)))
    call.check(math.isfinite(to_gate), "the scale of input 0 is too large", found=str(fine))
    pairs = []
    for real in (to_output, to_gate):
        mantissa, exponent = quantize_multiplier(real)
        pairs.append((min((mantissa + (1 << 15)) >> 16, 0x7FFF), exponent))
    output, gate = pairs
    call.check(
        output[1] <= 0,
        "the scale of the input is too large for that of the output",
        "at most 128 times as large",
        str(to_output * 128),
    )
    return output, gate


def _hard_swish_quantized(call: Call, x: np.ndarray) -> np.ndarray:
    """x * clamp((x + 3) / 6, 0, 1).

    1. x with 7 more bits, times the output's mantissa (rounded), is what the gate will scale.
    2. The same x in units where 3.0 is 2^15, saturated to 16 bits, gives the gate in 15 bits.
    3. Their product is truncated, then shifted to the output's scale (rounded). Shifts beyond 15
       bits come out as in TensorFlow Lite, which is not always 0.
    """
    (mantissa, exponent), (gate_mantissa, gate_exponent) = _hard_swish_multipliers(call)
    fine = ((x.astype(np.int64) - call.zero_point(0)) * 128).astype(np.int16).astype(np.int64)

    gate = _saturate16(fine << max(gate_exponent - 1, 0))
    gate = _high_multiply16(gate, gate_mantissa)
    if gate_exponent > 0:
        gate = _saturate16(gate * 2)
    gate = register_shift_right(gate, max(-gate_exponent, 0), 16)
    gate = (gate + (1 << 15)) >> 1

    product = gate * _high_multiply16(fine, mantissa)
    truncated = np.sign(product) * (np.abs(product) >> 15)
    scaled = register_shift_right(truncated, -exponent, 16) + call.output_zero_point()
    return saturate(scaled, x.dtype)


def _high_multiply16(a: np.ndarray, b: int) -> np.ndarray:
    """a * b / 2^15, halves up."""
    return np.asarray((a * b + (1 << 14)) >> 15)


def _saturate16(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(x, -(1 << 15), (1 << 15) - 1))


# LOGISTIC, TANH -------------------------------------------------------------------------------


def _logistic(_: Call, x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _logistic_single(x: np.ndarray) -> np.ndarray:
    return np.float32(1) / (np.float32(1) + single(np.exp)(-x))


@cache
def _sigmoid_table() -> np.ndarray:
    """65536 / (1 + e^(-i / 24)) for i = 0 to 255.

    TensorFlow Lite's table is this, rounded, but for 44 entries that are greater by one.
    """
    table = np.rint(65536 / (1 + np.exp(-np.arange(256) / 24))).astype(np.int64)
    table[
        [4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40,
         41, 43, 44, 45, 46, 49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255]
    ] += 1  # fmt: skip
    return table


def _check_lines(call: Call) -> None:
    """8 bits: nothing more. int16: the output's scale is 2^-15, to within its rounding."""
    if call.dtype(0) is DType.INT16:
        log = math.log2(call.output_scale())
        call.check(
            round(log) == -15 and abs(log + 15) < 1e-3,
            f"the output of {call.op} has another scale than its int16 form gives",
            str(2.0**-15),
            str(call.output_scale()),
        )


def _to_table_steps(call: Call, x: np.ndarray, shifts: tuple[int, ...]) -> np.ndarray:
    """int16 inputs in steps of 1 / (3 * 4096).

    Scales 2^(s - 12) for s in `shifts` are exact. Others are a 15-bit whole number and a right
    shift, which rounds half up; scales from 16/3 on wrap.
    """
    log = math.log2(call.scale(0))
    steps = x.astype(np.int64)
    if abs(log - round(log)) < 1e-3 and round(log) + 12 in shifts:
        return steps * (3 << (round(log) + 12))
    multiplier, shift = call.scale(0) * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        multiplier, shift = multiplier * 2.0, shift + 1
    rounding = 1 << (shift - 1) if shift else 0
    return wrap_int32(steps * int(min(multiplier, 2.0**31)) + rounding) >> shift


def _sigmoid_lines(steps: np.ndarray, bits: int, saturated: int) -> np.ndarray:
    """The logistic function of |steps| / 2^bits / 24, in 16 + bits bits, by lines in the table."""
    table = np.append(_sigmoid_table(), 0)
    size = np.abs(steps)
    index = np.minimum(size >> bits, 255)
    start = table[index]
    line = (start << bits) + (size & ((1 << bits) - 1)) * (table[index + 1] - start)
    return np.where(index == 255, saturated << bits, line)


def _logistic_quantized(call: Call, x: np.ndarray) -> np.ndarray:
    if call.dtype(0) is not DType.INT16:
        return look_up(call, x, _logistic_single)
    steps = _to_table_steps(call, x, (0,))
    value = _sigmoid_lines(steps, 9, 0x7FFF << 1)
    half = 1 << 9
    return (np.where(steps >= 0, value + half, (1 << 25) - value + half - 1) >> 10).astype(np.int16)


def _tanh_quantized(call: Call, x: np.ndarray) -> np.ndarray:
    """tanh(x) = 2 * logistic(2 x) - 1, so that half as many bits lie between two entries."""
    if call.dtype(0) is not DType.INT16:
        return look_up(call, x, tanh_single)
    steps = _to_table_steps(call, x, (0, 1))
    value = _sigmoid_lines(steps, 8, 0xFFFF) - (1 << 23)
    half = 1 << 7
    return (np.where(steps >= 0, value + half, -value + half - 1) >> 8).astype(np.int16)


# ELU, GELU ------------------------------------------------------------------------------------


def _elu(_: Call, x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, np.expm1(np.minimum(x, 0)), x)


def _elu_single(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(x < 0, single(np.expm1)(np.minimum(x, 0)), x))


def _gelu(call: Call, x: np.ndarray) -> np.ndarray:
    if call.option("approximate"):
        root = x.dtype.type(math.sqrt(2 / math.pi))
        cubic = x + x.dtype.type(0.044715) * x * x * x
        return np.asarray(x.dtype.type(0.5) * x * (1 + np.tanh(root * cubic)))
    return np.asarray(0.5 * x * erfc(x * -math.sqrt(0.5)))


def _gelu_quantized(call: Call, x: np.ndarray) -> np.ndarray:
    one, half = np.float32(1), np.float32(0.5)

    def approximate(real: np.ndarray) -> np.ndarray:
        cubic = real + np.float32(0.044715) * real * real * real
        root = np.float32(math.sqrt(2 / math.pi))
        return half * real * (one + tanh_single(root * cubic))

    def exact(real: np.ndarray) -> np.ndarray:
        return np.asarray(half * real * erfc_single(real * np.float32(-math.sqrt(0.5))))

    function: Function = approximate if call.option("approximate") else exact
    return look_up(call, x, function)


# Registration ---------------------------------------------------------------------------------

ACTIVATIONS = {
    "RELU": _clamp(0, math.inf)._replace(versions=3),
    "RELU6": _clamp(0, 6)._replace(versions=3),
    "RELU_N1_TO_1": _clamp(-1, 1),
    "RELU_0_TO_1": _clamp(0, 1),
    "LEAKY_RELU": Activation(
        _leaky, _leaky_quantized, QUANTIZED, _leaky_multiplier, 2, "LeakyReluOptions"
    ),
    "HARD_SWISH": Activation(
        _hard_swish, _hard_swish_quantized, EIGHT_BITS, _hard_swish_multipliers, 1,
        "HardSwishOptions",
    ),
    "LOGISTIC": Activation(_logistic, _logistic_quantized, QUANTIZED, _check_lines, 3),
    "TANH": Activation(
        lambda _, x: np.tanh(x), _tanh_quantized, QUANTIZED, _check_lines, 3
    ),
    "ELU": Activation(_elu, lambda call, x: look_up(call, x, _elu_single), (DType.INT8,)),
    "GELU": Activation(_gelu, _gelu_quantized, QUANTIZED, versions=3, options="GeluOptions"),
}  # fmt: skip


for _name, _a in ACTIVATIONS.items():
    register(
        _name, infer=_a.infer, evaluate=_a.evaluate, inputs=1, versions=_a.versions,
        options=_a.options,
    )  # fmt: skip
register("PRELU", infer=_infer_prelu, evaluate=_prelu, inputs=2)

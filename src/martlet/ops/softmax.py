"""SOFTMAX and LOG_SOFTMAX over the last dimension.

Floats: exp(beta * (x - max)) over its sum, in float32 (float64 for float64). Quantised values, to
the bit as TensorFlow Lite's reference kernels have it:

- 8 bits: x - max takes at most 256 values, so that the exponential is a table, in fixed point
  (`fixed_point_functions`). Terms below about e^-32 do not count.
- int16: two tables of 513 entries, for exp on [-10, 0] and for 1 / (1 + x) on [0, 1].

The output's scale is fixed by the operator: 1/256 (1/65536 for int16 from 8 bits, 1/32768 for
int16 from int16), and 1/16 for LOG_SOFTMAX.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from martlet.dtypes import DType
from martlet.ops.fixed_point import (
    doubling_high_multiply,
    multiply_twice,
    quantize_multiplier,
    rounding_shift_right,
    saturate,
    wrap_int32,
)
from martlet.ops.fixed_point_functions import (
    count_leading_zeros,
    exp_of_negative,
    logarithm,
    reciprocal,
)
from martlet.ops.float_to_integer import limits
from martlet.ops.lookup_table import interpolate, interpolation_table
from martlet.ops.operator import Call, Spec, register

FLOATS = (DType.FLOAT32, DType.FLOAT16, DType.FLOAT64)
EIGHT_BITS = (DType.INT8, DType.UINT8)
DIFFERENCE_BITS, SUM_BITS = 5, 12  # integer bits of beta * (x - max), and of sums of exponentials


def _infer(call: Call) -> list[Spec]:
    logarithmic = call.op == "LOG_SOFTMAX"
    allowed = (*FLOATS, *EIGHT_BITS) if logarithmic else (*FLOATS, *EIGHT_BITS, DType.INT16)
    dtype = call.check_dtype(0, *allowed)
    shape = call.check_rank(0, 1, 64)
    output = call.output().dtype
    if dtype in FLOATS:
        return [Spec(dtype, shape)]
    if dtype in EIGHT_BITS:
        _difference_multiplier(call)
        if logarithmic or output is not DType.INT16:
            output = dtype
    else:
        _int16_multiplier(call)
        output = dtype
    if logarithmic:
        _check_output(call, 1 / 16, limits(dtype)[1])
    elif dtype is DType.INT8 and output is dtype:
        _check_output(call, 1 / 256, -128)
    elif dtype is DType.INT16:
        _check_output(call, 1 / 32768, 0)
    return [Spec(output, shape)]


def _check_output(call: Call, scale: float, zero_point: int) -> None:
    found = (call.output_scale(), call.output_zero_point())
    call.check(
        abs(found[0] - scale) <= 0.001 * scale and found[1] == zero_point,
        f"{call.op} gives values of a fixed scale and zero point, which the output does not have",
        f"{scale} and {zero_point}",
        f"{found[0]} and {found[1]}",
    )


def _beta(call: Call) -> float:
    """The factor of the exponent; raises where quantised values cannot do with it."""
    beta = 1.0 if call.op == "LOG_SOFTMAX" else float(call.option("beta"))
    call.check(math.isfinite(beta) and beta >= 0, "beta must not be negative", found=str(beta))
    return beta


def _rows(x: np.ndarray) -> np.ndarray:
    """x - max over the last dimension, as int64."""
    wide = x.astype(np.int64)
    return np.asarray(wide - wide.max(axis=-1, keepdims=True))


# Floats ---------------------------------------------------------------------------------------


def _float_softmax(x: np.ndarray, beta: float, logarithmic: bool) -> np.ndarray:
    wide = x.astype(np.float32) if x.dtype == np.float16 else x
    below = wide - wide.max(axis=-1, keepdims=True)
    if logarithmic:
        return np.asarray(below - np.log(np.exp(below).sum(axis=-1, keepdims=True)), x.dtype)
    terms = np.exp(below * wide.dtype.type(beta))
    return np.asarray(terms / terms.sum(axis=-1, keepdims=True), x.dtype)


# 8 bits ---------------------------------------------------------------------------------------


def _difference_multiplier(call: Call) -> tuple[int, int]:
    """From x - max to beta * (x - max) * scale with 5 integer bits."""
    real = _beta(call) * call.scale(0) * (1 << (31 - DIFFERENCE_BITS))
    call.check(
        real > 1,
        "the scale of input 0, times beta, is too small",
        f"more than {2.0 ** (DIFFERENCE_BITS - 31)}",
        str(_beta(call) * call.scale(0)),
    )
    return quantize_multiplier(min(real, (1 << 31) - 1.0))


def _least_difference(exponent: int) -> int:
    """The least x - max that still counts: its product has to fit into 5 integer bits."""
    return -(((1 << DIFFERENCE_BITS) - 1) * (1 << (31 - DIFFERENCE_BITS)) // (1 << exponent))


def _exponentials(call: Call) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For max - x from 0 to 255: beta * (x - max) in Q5, its exponential in Q0, does it count."""
    mantissa, exponent = _difference_multiplier(call)
    differences = -np.arange(256)
    counts = differences >= _least_difference(exponent)
    scaled = multiply_twice(np.where(counts, differences, 0), mantissa, exponent)
    return scaled, np.where(counts, exp_of_negative(scaled, DIFFERENCE_BITS), 0), counts


def _softmax_8_bits(call: Call, x: np.ndarray) -> np.ndarray:
    """exp * (1 / sum): the product is rounded, and so is its shift to the bits of the output."""
    index = -_rows(x)
    _, terms, counts = _exponentials(call)
    sums = rounding_shift_right(terms, SUM_BITS)[index].sum(axis=-1, keepdims=True)
    inverse, beyond_one = reciprocal(wrap_int32(sums), SUM_BITS)
    output = call.output().dtype
    shift = beyond_one + 31 - output.bits
    scaled = rounding_shift_right(doubling_high_multiply(terms[index], inverse), shift)
    low, _ = limits(output)
    return saturate(np.where(counts[index], scaled + low, low), output.numpy)


def _log_softmax_8_bits(call: Call, x: np.ndarray) -> np.ndarray:
    """beta * (x - max) - log(sum) in Q5, shifted to 4 fractional bits (rounded)."""
    index = -_rows(x)
    scaled, terms, _ = _exponentials(call)
    sums = rounding_shift_right(terms, SUM_BITS)[index].sum(axis=-1, keepdims=True)
    log = logarithm(wrap_int32(sums), SUM_BITS, DIFFERENCE_BITS)
    # Differences are left out where the result would not fit into Q5.
    mantissa, exponent = _difference_multiplier(call)
    back = quantize_multiplier((1 << (31 - exponent)) / mantissa)
    least = np.maximum(_least_difference(exponent) - 1, multiply_twice(log - (1 << 31), *back))
    low, high = limits(call.dtype(0))
    result = rounding_shift_right(scaled[index] - log, 31 - DIFFERENCE_BITS - 4) + high
    return saturate(np.where(-index > least, result, low), x.dtype)


# int16 ----------------------------------------------------------------------------------------


@cache
def _int16_tables() -> tuple[np.ndarray, np.ndarray]:
    """exp on [-10, 0] and 1 / (1 + x) on [0, 1], both in 15 fractional bits."""
    exponential = interpolation_table(np.exp, 10 / 65535, 32767, 2 / 65535, 0, np.float64)
    inverse = interpolation_table(
        lambda x: 1 / (1 + x), 1 / 65535, -32768, 2 / 65535, 0, np.float64
    )
    return exponential, inverse


def _int16_multiplier(call: Call) -> tuple[int, int]:
    """From x - max to beta * (x - max) * scale in steps of 10 / 65535."""
    call.check(call.zero_point(0) == 0, "input 0 has a zero point", "0", str(call.zero_point(0)))
    with np.errstate(all="ignore"):
        real = float(np.float32(call.scale(0)) * np.float32(_beta(call))) / (10.0 / 65535.0)
    call.check(math.isfinite(real), "the scale of input 0, times beta, is too large")
    return quantize_multiplier(real)


def _softmax_int16(call: Call, x: np.ndarray) -> np.ndarray:
    exponential, inverse = _int16_tables()
    position = multiply_twice(_rows(x), *_int16_multiplier(call)) + 32767
    terms = interpolate(np.clip(position, -32768, 32767), exponential).astype(np.int64)
    sums = wrap_int32(terms.sum(axis=-1, keepdims=True))
    zeros = count_leading_zeros(sums)
    # sum = (1 + y) * 2^(16 - zeros), with 16 bits of y.
    y = ((sums << np.maximum(zeros - 1, 0)) + (1 << 13)) >> 14
    scale = interpolate(np.clip(y - 3 * (1 << 15), -32768, 32767), inverse).astype(np.int64)
    shift = np.maximum(31 - zeros, 1)
    result = (terms * scale + (np.int64(1) << (shift - 1))) >> shift
    return np.asarray(np.clip(result, 0, 32767)).astype(np.int16)


def _evaluate(call: Call, x: np.ndarray) -> np.ndarray:
    logarithmic = call.op == "LOG_SOFTMAX"
    dtype = call.dtype(0)
    if x.size == 0:
        return np.zeros(x.shape, dtype.numpy if dtype in FLOATS else call.output().dtype.numpy)
    if dtype in FLOATS:
        return _float_softmax(x, 1.0 if logarithmic else call.option("beta"), logarithmic)
    if dtype is DType.INT16:
        return _softmax_int16(call, x)
    return _log_softmax_8_bits(call, x) if logarithmic else _softmax_8_bits(call, x)


register(
    "SOFTMAX", infer=_infer, evaluate=_evaluate, inputs=1, options="SoftmaxOptions", versions=4
)
register(
    "LOG_SOFTMAX", infer=_infer, evaluate=_evaluate, inputs=1, options="LogSoftmaxOptions",
    versions=2,
)  # fmt: skip

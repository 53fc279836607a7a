"""Arithmetic on two tensors that broadcast, and ADD_N.

Floats, and integers that mean themselves, follow C: integers wrap, division truncates, and a zero
divisor among integers is an error of the run. Quantised types, with s and z for scale and zero
point and every rounding half away from zero, work on int32 values. "times r" stands for the
rounded product with a 31-bit mantissa and then a rounded shift.

    ADD, SUB             each (x - z) << 20 (<< 15 for int16) times s / u, u = 2 max(s_x, s_y);
                         their sum or difference times u / (2^20 s_out), plus z_out
    the same, int16,     scales that are powers of two: the finer input is shifted to the output's
    pot_scale_int16      scale, rounded; then added
    MUL                  (x - z_x)(y - z_y) times s_x s_y / s_out, in float32, plus z_out
    MUL, int16 to 8 bit  x y / 2^15 rounded, / 2^8 rounded: scales play no part
    DIV                  (x - z_x), shifted up to 31 bits, times the reciprocal of (y - z_y) in
                         31 bits, then times s_x / (s_y s_out), in float32, and the shifts undone
    SQUARED_DIFFERENCE   each (x - z) << 7 times s / u; the squared difference times
                         u^2 / (2^14 s_out), plus z_out

Results are clamped to the fused activation's range. Small quotients shift DIV's result by more
bits than it has, which comes out as in TensorFlow Lite (`register_shift_right`): often not near
the quotient. TensorFlow Lite stops the process where a ratio of scales is not below 1; here that
has its plain arithmetic meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from martlet.dtypes import DType
from martlet.ops.activation_range import apply, fused_activation, integer_range
from martlet.ops.fixed_point import (
    INT32_MIN,
    doubling_high_multiply,
    multiply_twice,
    reciprocal_of_one_plus,
    register_shift_right,
    rounding_shift_right,
    wrap_int32,
)
from martlet.ops.operator import Call, Spec, register
from martlet.ops.pairwise import (
    Pairs,
    check_pair,
    each_pair,
    input_zero_point,
    is_quantized,
    output_zero_point,
    real_multiplier,
)
from martlet.records import dataclass

F32, F16, F64 = DType.FLOAT32, DType.FLOAT16, DType.FLOAT64
I8, I16, I32, I64 = DType.INT8, DType.INT16, DType.INT32, DType.INT64
U8, U32, C64 = DType.UINT8, DType.UINT32, DType.COMPLEX64


# Quantised: each gives the function of stored values, after all checks of scales -------------


def _aligned(call: Call, bits: int) -> tuple[Callable[[np.ndarray, int], np.ndarray], float]:
    """How stored values of input i come to the unit u / 2^bits that both inputs share; and u."""
    scales = call.scale(0), call.scale(1)
    unit = 2 * max(scales)
    zeros = [input_zero_point(call, i) for i in (0, 1)]
    multipliers = [real_multiplier(call, s / unit) for s in scales]

    def align(stored: np.ndarray, i: int) -> np.ndarray:
        return multiply_twice((stored - zeros[i]) << bits, *multipliers[i])

    return align, unit


def _finish(call: Call, activation: str) -> Callable[[np.ndarray], np.ndarray]:
    """Add the output's zero point, clamp to the activation."""
    zero = output_zero_point(call)
    low, high = integer_range(call, activation)
    return lambda y: np.asarray(np.clip(y + zero, low, high))


def _sum(call: Call, sign: int) -> Pairs:
    wide = call.dtype(0) is I16
    if wide:
        _check_symmetric(call)
        if call.option("pot_scale_int16"):
            exponents = [_log2(s) for s in (call.scale(0), call.scale(1), call.output_scale())]
            if None not in exponents:
                return _power_of_two_sum(call, sign, [int(e or 0) for e in exponents])
    bits = 15 if wide else 20
    align, unit = _aligned(call, bits)
    output = real_multiplier(call, unit / ((1 << bits) * call.output_scale()))
    finish = _finish(call, fused_activation(call))
    return lambda a, b: finish(multiply_twice(align(a, 0) + sign * align(b, 1), *output))


def _power_of_two_sum(call: Call, sign: int, exponents: list[int]) -> Pairs:
    x_shift, y_shift = exponents[2] - exponents[0], exponents[2] - exponents[1]
    call.check(
        min(x_shift, y_shift) == 0 and max(x_shift, y_shift) <= 31,
        "one input must have the scale of the output, the other at most that scale",
        f"2^{exponents[2]}",
        f"2^{exponents[0]} and 2^{exponents[1]}",
    )
    finish = _finish(call, fused_activation(call))
    return lambda a, b: finish(
        rounding_shift_right(a, x_shift) + sign * rounding_shift_right(b, y_shift)
    )


def _log2(scale: float) -> int | None:
    """The exponent of a scale that is a power of two to about 1 in 1,400; None of others."""
    exponent = math.log2(scale)
    return round(exponent) if abs(exponent - round(exponent)) < 1e-3 else None


def _check_symmetric(call: Call) -> None:
    zeros = [call.zero_point(0), call.zero_point(1), call.output_zero_point()]
    call.check(not any(zeros), f"int16 {call.op} needs zero points of 0", "0, 0 and 0", str(zeros))


def _product(call: Call) -> Pairs:
    finish = _finish(call, fused_activation(call))
    if call.output().dtype is not call.dtype(0):
        return lambda a, b: finish(rounding_shift_right(_product_of_fractions(a, b), 8))
    if call.dtype(0) is I16:
        _check_symmetric(call)
    z = input_zero_point(call, 0), input_zero_point(call, 1)
    with np.errstate(all="ignore"):
        ratio = np.float32(call.scale(0)) * np.float32(call.scale(1))
        ratio = ratio / np.float32(call.output_scale())
    multiplier = real_multiplier(call, float(ratio))
    return lambda a, b: finish(multiply_twice((a - z[0]) * (b - z[1]), *multiplier))


def _product_of_fractions(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a b / 2^15, half away from zero, saturated: 16-bit numbers as fractions of 1."""
    return np.asarray(np.minimum(rounding_shift_right(a * b, 15), 32767))


def _quotient(call: Call) -> Pairs:
    finish = _finish(call, fused_activation(call))
    z = input_zero_point(call, 0), input_zero_point(call, 1)
    zero = output_zero_point(call)
    with np.errstate(all="ignore"):
        ratio = np.float32(call.scale(1)) * np.float32(call.output_scale())
        ratio = np.float32(call.scale(0)) / ratio
    mantissa, exponent = real_multiplier(call, float(ratio))

    def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        divisor = b - z[1]
        dividend = np.where(divisor < 0, -1, 1) * (a - z[0])
        divisor = np.maximum(np.abs(divisor), 1)  # 0 is refused before, but has a table entry
        size = _bit_length(divisor) - 1
        reciprocal = reciprocal_of_one_plus((divisor << (31 - size)) - (1 << 31))
        headroom = 31 - _bit_length(np.where(dividend < 0, ~dividend, dividend))
        quotient = doubling_high_multiply(dividend << headroom, reciprocal)
        scaled = doubling_high_multiply(quotient, mantissa)
        places = size + headroom - exponent
        return finish(wrap_int32(register_shift_right(scaled, places) + zero) - zero)

    return divide


def _bit_length(x: np.ndarray) -> np.ndarray:
    """Of non-negative values below 2^53: the place of the highest 1, counted from 1."""
    return np.frexp(x.astype(np.float64))[1].astype(np.int64)


def _squared_difference_quantized(call: Call) -> Pairs:
    align, unit = _aligned(call, 7)
    output = real_multiplier(call, unit * unit / ((1 << 14) * call.output_scale()))
    finish = _finish(call, "NONE")
    return lambda a, b: finish(multiply_twice((align(a, 0) - align(b, 1)) ** 2, *output))


# Plain --------------------------------------------------------------------------------------


def _divide(call: Call, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "f":
        return np.asarray(x / y)
    quotient = np.abs(x.astype(np.int64)) // np.abs(y.astype(np.int64))
    return np.asarray(np.where((x < 0) != (y < 0), -quotient, quotient).astype(x.dtype))


def _squared_difference(call: Call, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    difference = x - y
    return np.asarray(difference * difference)


def _floor_divide(call: Call, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Through float64, in which the quotient of two int32 values never rounds up to the next."""
    quotient = np.floor(x.astype(np.float64) / y.astype(np.float64))
    if x.dtype.kind == "i":
        quotient = quotient.astype(np.int64)
    return np.asarray(quotient.astype(x.dtype))


def _floor_modulo(call: Call, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    remainder = np.fmod(x, y)
    return np.asarray(np.where((remainder != 0) & ((remainder < 0) != (y < 0)), remainder + y,
                               remainder))  # fmt: skip


def _power(call: Call, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A single whole exponent of 1 or more multiplies: integers wrap, floats stay finite.

    Other integer powers are taken in float64; those that do not fit are the least int32.
    """
    if x.dtype.kind == "i" and (y < 0).any():
        call.fail_run("an integer has no negative powers", "exponents of 0 or more", str(y.min()))
    if y.size == 1 and x.shape != y.shape:
        exponent = float(y.ravel()[0])
        if 0.5 <= exponent < 1 << 31 and abs(exponent - round(exponent)) < 1e-5:
            whole = x.dtype.type(round(exponent))
            power = np.power(x, whole)
            power = power if whole == 1 else np.asarray(apply(power, "NONE"))
            return np.broadcast_to(power, np.broadcast_shapes(x.shape, y.shape)).copy()
    if x.dtype.kind == "f":
        return np.asarray(np.power(x, y))
    power = np.power(x.astype(np.float64), y.astype(np.float64))
    fits = np.abs(power) < 1 << 31
    return np.asarray(np.where(fits, power, INT32_MIN).astype(x.dtype))


@dataclass(frozen=True)
class _Operator:
    """types: of values that mean themselves. quantized_types: of values with a scale; a type that
    is in both is quantised where a scale is given. nonzero: divisors that are refused.
    """

    plain: Callable[[Call, np.ndarray, np.ndarray], np.ndarray]
    types: tuple[DType, ...]
    versions: int
    options: str = ""
    quantized: Callable[[Call], Pairs] | None = None
    quantized_types: tuple[DType, ...] = ()
    activation: bool = False
    nonzero: tuple[DType, ...] = ()


_OPERATORS = {
    "ADD": _Operator(
        lambda _, x, y: np.add(x, y), (F32, F16, I16, I32, I64), 6, "AddOptions",
        lambda call: _sum(call, 1), (U8, I8, I16), activation=True,
    ),
    "SUB": _Operator(
        lambda _, x, y: np.subtract(x, y), (F32, I32, I64), 5, "SubOptions",
        lambda call: _sum(call, -1), (U8, I8, I16), activation=True,
    ),
    "MUL": _Operator(
        lambda _, x, y: np.multiply(x, y), (F32, F16, I16, I32, I64, U32, C64), 8, "MulOptions",
        _product, (U8, I8, I16), activation=True,
    ),
    "DIV": _Operator(
        _divide, (F32, I32), 2, "DivOptions", _quotient, (U8, I8, I16), activation=True,
        nonzero=(U8, I8, I16, I32),
    ),
    "MAXIMUM": _Operator(
        lambda _, x, y: np.where(x > y, x, y), (F32, F16, U8, I8, I16, I32, I64), 4,
        "MaximumMinimumOptions",
    ),
    "MINIMUM": _Operator(
        lambda _, x, y: np.where(x < y, x, y), (F32, F16, U8, I8, I16, I32, I64), 4,
        "MaximumMinimumOptions",
    ),
    "SQUARED_DIFFERENCE": _Operator(
        _squared_difference, (F32, I32), 2, "SquaredDifferenceOptions",
        _squared_difference_quantized, (I8,),
    ),
    "FLOOR_DIV": _Operator(
        _floor_divide, (F32, I8, I16, I32), 3, "FloorDivOptions", nonzero=(F32, I8, I16, I32),
    ),
    "FLOOR_MOD": _Operator(
        _floor_modulo, (F32, I8, I16, I32, I64), 2, "FloorModOptions", nonzero=(I8, I16, I32, I64),
    ),
    "POW": _Operator(_power, (F32, I32), 1, "PowOptions"),
}  # fmt: skip


def _is_quantized(call: Call, operator: _Operator) -> bool:
    dtype = call.dtype(0)
    if dtype in operator.quantized_types and dtype in operator.types:
        narrowed = call.output().dtype is not dtype
        return narrowed or is_quantized(call, 0) or is_quantized(call, 1)
    return dtype in operator.quantized_types


def _infer(call: Call) -> list[Spec]:
    operator = _OPERATORS[call.op]
    shape = check_pair(call, operator.types + operator.quantized_types)
    dtype = call.dtype(0)
    if operator.activation and fused_activation(call) != "NONE" and dtype is C64:
        call.fail("complex numbers cannot have a fused activation", "NONE")
    if call.op == "MUL" and dtype is I16 and call.output().dtype in (U8, I8):
        dtype = call.output().dtype
    if operator.quantized and _is_quantized(call, operator):
        operator.quantized(call)
    return [Spec(dtype, shape)]


def _evaluate(call: Call, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    operator = _OPERATORS[call.op]
    quantized = operator.quantized is not None and _is_quantized(call, operator)
    if call.dtype(1) in operator.nonzero:
        zero = call.zero_point(1) if quantized else 0
        if (y == zero).any():
            call.fail_run("division by zero", f"no divisor of {zero} in input 1", str(zero))
    if operator.quantized is not None and quantized:
        return each_pair(call, operator.quantized(call), x, y, call.output().dtype)
    result = np.asarray(operator.plain(call, x, y))
    if operator.activation and result.dtype.kind != "c":
        result = np.asarray(apply(result, fused_activation(call)))
    return result


for _name, _operator in _OPERATORS.items():
    register(
        _name, infer=_infer, evaluate=_evaluate, inputs=2, options=_operator.options,
        versions=_operator.versions,
    )  # fmt: skip


# ATAN2 and ADD_N do not broadcast ------------------------------------------------------------


def _same_shapes(call: Call, *types: DType) -> list[Spec]:
    call.check_dtype(0, *types)
    call.check_same_dtype(*range(call.inputs))
    for i in range(1, call.inputs):
        call.check(
            call.shape(i) == call.shape(0),
            f"{call.op} takes inputs of one shape",
            str(list(call.shape(0))),
            str(list(call.shape(i))),
        )
    return [call.spec(0)]


def _add_n(call: Call, *inputs: np.ndarray) -> np.ndarray:
    total = inputs[0].copy()
    for x in inputs[1:]:
        call.tick()
        np.add(total, x, out=total)
    return total


register(
    "ATAN2", infer=lambda call: _same_shapes(call, F32, F64, F16),
    evaluate=lambda _, y, x: np.asarray(np.arctan2(y, x)), inputs=2, options="ATan2Options",
)  # fmt: skip
register(
    "ADD_N", infer=lambda call: _same_shapes(call, F32, I32), evaluate=_add_n,
    inputs=(2, None), options="AddNOptions",
)  # fmt: skip

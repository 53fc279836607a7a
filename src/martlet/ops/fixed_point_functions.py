"""Functions of fixed-point numbers, as gemmlowp and TensorFlow Lite compute them, to the bit.

A number in Qn.(31 - n) is an int32 value that stands for itself / 2^(31 - n): n integer bits.
Arrays are int64 and hold int32 values. Products are doubling high multiplications, so that
Qa times Qb is Q(a + b); each is rounded, and the order of the operations below decides the last
bit.

    exp_of_negative(x, n)     Qn, x <= 0      ->  Q0      e^x
    reciprocal(x, n)          Qn, x >= 1      ->  (r, e)  1 / x = r / 2^31 / 2^e
    logarithm(x)              Q12, x > 0      ->  Q5      log(x)
    inverse_sqrt(x)           whole numbers >= 0  ->  (mantissa, exponent) of 1 / sqrt(x)
"""

from __future__ import annotations

import math

import numpy as np

from martlet.ops.fixed_point import (
    INT32_MAX,
    INT32_MIN,
    doubling_high_multiply,
    reciprocal_of_one_plus,
    rounding_shift_right,
    wrap_int32,
)


def _constant(value: float, integer_bits: int = 0) -> int:
    """A real number in Qn, rounded."""
    return min(round(value * 2.0 ** (31 - integer_bits)), INT32_MAX)


def shift_saturated(x: np.ndarray, exponent: np.ndarray | int) -> np.ndarray:
    """x * 2^exponent: saturated to the left, rounded half away from zero to the right."""
    exponent = np.asarray(exponent, np.int64)
    left = np.clip(np.asarray(x, np.int64) << np.maximum(exponent, 0), INT32_MIN, INT32_MAX)
    return rounding_shift_right(left, np.maximum(-exponent, 0))


def count_leading_zeros(x: np.ndarray) -> np.ndarray:
    """Leading zero bits of int32 values read as 32 unsigned bits."""
    return 32 - np.frexp((np.asarray(x, np.int64) & 0xFFFFFFFF).astype(np.float64))[1]


def _half_sum(a: np.ndarray, b: int) -> np.ndarray:
    """(a + b) / 2, half away from zero."""
    return rounding_shift_right(np.asarray(a, np.int64) + b, 1)


def _exp_within_quarter(x: np.ndarray) -> np.ndarray:
    """e^x for x in [-1/4, 0), Q0 to Q0: Taylor's polynomial of the fourth degree around -1/8."""
    t = wrap_int32(x + (1 << 28))
    square = doubling_high_multiply(t, t)
    cube = doubling_high_multiply(square, t)
    fourth = rounding_shift_right(doubling_high_multiply(square, square), 2)
    tail = doubling_high_multiply(fourth + cube, _constant(1 / 3)) + square
    polynomial = wrap_int32(t + rounding_shift_right(tail, 1))
    centre = _constant(math.exp(-1 / 8))
    return wrap_int32(centre + doubling_high_multiply(polynomial, centre))


def exp_of_negative(x: np.ndarray, integer_bits: int) -> np.ndarray:
    """e^x for x <= 0: the part below a quarter by a polynomial, each bit above by a factor."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    x = np.asarray(x, np.int64)
    part = (x & (quarter - 1)) - quarter
    result = _exp_within_quarter(shift_saturated(part, integer_bits))
    rest = part - x
    for exponent in range(-2, min(integer_bits, 5)):
        factor = _constant(math.exp(-(2.0**exponent)))
        bit = (rest >> (fraction_bits + exponent)) & 1
        result = np.where(bit == 1, doubling_high_multiply(result, factor), result)
    if integer_bits > 5:
        result = np.where(x < -(1 << (fraction_bits + 5)), 0, result)
    return np.where(x == 0, INT32_MAX, result)


def reciprocal(x: np.ndarray, integer_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """1 / x for x >= 1 in Qn: (r, e) with 1 / x = r / 2^31 / 2^e."""
    zeros = count_leading_zeros(x)
    beyond_one = wrap_int32(((np.asarray(x, np.int64) & 0xFFFFFFFF) << zeros) - (1 << 31))
    return reciprocal_of_one_plus(beyond_one), integer_bits - zeros


def logarithm(x: np.ndarray, integer_bits: int = 12, result_bits: int = 5) -> np.ndarray:
    """log(x) for x > 0.

    1. x = r * 2^p with r around 1, from two candidates: x with its leading zeros shifted out,
       scaled by sqrt(1/2) afterwards (p ends in 1/4) or beforehand (p ends in 3/4).
    2. log(r) by a rational function of r - 2^(-1/4), in Q0.
    3. p * log(2) + log(r), with one integer bit more than the result has.
    """
    x = np.asarray(x, np.int64)
    wide = result_bits + 1
    quarter = 1 << (31 - wide - 2)
    root_half, fourth_root_half = _constant(math.sqrt(0.5)), _constant(0.5**0.25)

    zeros = count_leading_zeros(x)
    shifted = shift_saturated(x, zeros - 1)
    r_a = shift_saturated(doubling_high_multiply(shifted, root_half), 1)
    p_a = shift_saturated(integer_bits - zeros, 31 - wide)
    p_a = np.clip(p_a + quarter, INT32_MIN, INT32_MAX)

    headroom = count_leading_zeros(doubling_high_multiply(x, root_half)) - 1
    r_b = shift_saturated(x, headroom)
    p_b = shift_saturated(integer_bits - headroom, 31 - wide)
    p_b = np.clip(p_b - quarter, INT32_MIN, INT32_MAX)

    r, power = np.minimum(r_a, r_b), np.maximum(p_a, p_b)
    p = _half_sum(r, fourth_root_half)
    q = wrap_int32(2 * (r - fourth_root_half))
    square = doubling_high_multiply(q, q)
    root = 2.0**0.25
    cubic = doubling_high_multiply(doubling_high_multiply(q, square), _constant(11 / 240 * root))
    numerator = wrap_int32(doubling_high_multiply(q, r) + cubic)
    inner = _constant(2 / root - root) + q
    inner = wrap_int32(inner + doubling_high_multiply(square, _constant(root / 20)))
    denominator = doubling_high_multiply(p, inner)
    denominator = wrap_int32(denominator + doubling_high_multiply(q, _constant(root / 4)))
    fraction = doubling_high_multiply(
        shift_saturated(numerator, -wide), reciprocal_of_one_plus(denominator)
    )
    whole = doubling_high_multiply(power, _constant(math.log(2)))
    return shift_saturated(wrap_int32(whole + fraction), 1)


def inverse_sqrt(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 / sqrt(x) as a multiplier, for whole x >= 0 (0 counts as 1): five of Newton's steps in Q3.

    x is brought into [2^27, 2^29) by an even shift, half of which goes into the exponent.
    """
    x = np.asarray(x, np.int64)
    pairs = (count_leading_zeros(x) - 1) // 2 - 1
    scaled = (x << np.maximum(2 * pairs, 0)) >> np.maximum(-2 * pairs, 0)
    value = scaled >> 1
    half = rounding_shift_right(value, 1)
    three_halves = _constant(1.5, 3)
    guess = np.full(x.shape, 1 << 28, np.int64)
    for _ in range(5):
        square = doubling_high_multiply(guess, guess)
        cube = shift_saturated(doubling_high_multiply(square, guess), 6)
        step = doubling_high_multiply(guess, three_halves) - doubling_high_multiply(half, cube)
        guess = shift_saturated(wrap_int32(step), 3)
    mantissa = doubling_high_multiply(guess, _constant(math.sqrt(2) / 2))
    right = 11 - pairs
    mantissa = wrap_int32(mantissa << np.maximum(-right, 0))
    small = x <= 1
    return (
        np.where(small, INT32_MAX, mantissa),
        np.where(small, 0, -np.maximum(right, 0)),
    )

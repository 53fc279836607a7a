"""Elementary functions of float32 vectors, written in the vector language.

In and out: a float32 `Value`, vector or scalar. Each function is straight-line code without
branches or tables, so it gives the same bits in every lane, on every target with fused
multiply-add. Not-a-numbers come out as they came in. The polynomials are minimax fits (weighted
least squares, weights moved to the largest errors until these are level).

Error bounds, against the exact value, measured over all exponents:

    exp        2 ulp; infinite above 88.72, 0 below -87.33 (no denormal results)
    tanh       4 ulp
    logistic   4 ulp; 0 below -87.33
    log        2 ulp; -infinity at 0, not a number below it
    erf        5 ulp
    sin, cos   2 ulp for |x| < 10^15; beyond, something from -1 to 1
    exp_minus_one   2 ulp for x < 88
    power      1 ulp, in all cases that C's pow defines; denormal results, too
    atan2      1 ulp, in all cases that C's atan2 defines; denormal results, too
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from martlet.kernels.language import F32, F64, I32, I64, Builder, Value

LOG2_E = 1 / math.log(2)
# ln 2 in two parts: the first has so few bits that whole multiples of it are exact.
LN2_HIGH, LN2_LOW = 0.693145751953125, math.log(2) - 0.693145751953125
# Added to a float below 2^22 it leaves the nearest integer in the low bits.
ROUNDING = 1.5 * 2**23
EXP_LARGEST, EXP_LEAST = 88.72283, -87.33654  # beyond: infinite, below the normal numbers
MANTISSA_BITS, ONE_BITS, SQRT_HALF_BITS = 23, 0x3F800000, 0x3F3504F3
SQRT_HALF_BITS_WIDE = 0x3FE6A09E667F3BCD  # in float64

# (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2, within 3.2e-9 of e^r
EXP = (0.5, 0.16666518, 0.041666206, 0.008368953, 0.0013950602)
# (log(1 + f) - f + f^2 / 2) / f^3 for f from sqrt(1/2) - 1 to sqrt(2) - 1, within 8e-10
LOG = (
    0.33333313, -0.25000009, 0.20002119, -0.16667996, 0.14219551,
    -0.124055862, 0.11888168, -0.11675671, 0.06746651,
)  # fmt: skip
# erf(x) / x as a quotient of polynomials of x^2 for |x| <= 3.93, within 2e-8
ERF_OVER = (1.1283791, 0.19078404, 0.05279031, 0.0037796169, 0.00028480857, 2.0419668e-06)
ERF_UNDER = (1.0, 0.50241065, 0.1142576, 0.014997453, 0.0011652141, 3.8004033e-05)
# sin r / r, and cos r, as sums of powers of r^2 for |r| <= pi / 4: the first terms of their series
SIN = tuple((-1) ** n / math.factorial(2 * n + 1) for n in range(5))
COS = tuple((-1) ** n / math.factorial(2 * n) for n in range(6))
HALF_PI_HIGH, HALF_PI_LOW = math.pi / 2, 6.123233995736766e-17  # together in 106 bits
# 2 artanh(s) / (s ln 2) as powers of s^2, |s| <= 3 - 2 sqrt(2), within 4e-14; 2^r for |r| <= 1/2,
# within 2e-11
LOG2_QUOTIENT = tuple(2 * LOG2_E / (2 * n + 1) for n in range(8))
EXP2 = tuple(math.log(2) ** n / math.factorial(n) for n in range(10))
POWER_LARGEST = 300.0  # binary exponents beyond are 0 or infinite in float32
ERF_ONE = 3.92  # from here on erf is 1 in float32
# atan(r) / r as powers of r^2 for |r| <= tan(pi / 8), within 2.1e-11
TAN_EIGHTH = math.tan(math.pi / 8)
ATAN = (
    0.999999999979, -0.33333332135, 0.199998863788, -0.142816511555, 0.110411875236,
    -0.0845979865229, 0.0471433452399,
)  # fmt: skip


def polynomial(k: Builder, x: Value, coefficients: Sequence[float]) -> Value:
    """The sum of coefficients[i] * x^i (Horner's rule)."""
    result = k.as_value(coefficients[-1], x.type)
    for coefficient in reversed(coefficients[:-1]):
        result = k.fma(result, x, k.as_value(coefficient, x.type))
    return result


def exp(k: Builder, x: Value) -> Value:
    """e^x = 2^n * e^r, with n the integer nearest to x / ln 2."""
    power, r = _reduced(k, x)
    grown = k.fma(r * r, polynomial(k, r, EXP), r) + 1
    # n goes straight into the exponent: 2^n alone may be no float32.
    y = (grown.bits_as(I32) + power).bits_as(F32)
    y = k.select(x < EXP_LEAST, 0.0, y)
    return k.select(x <= EXP_LARGEST, y, x + math.inf)


def exp_minus_one(k: Builder, x: Value) -> Value:
    """e^x - 1 for x up to 88, exact to the last bits near 0, too."""
    power, r = _reduced(k, k.maximum(k.as_value(-20.0, x.type), x))
    scale = (power + ONE_BITS).bits_as(F32)
    near = k.fma(r * r, polynomial(k, r, EXP), r)  # e^r - 1
    return k.fma(scale, near, scale - 1)


def tanh(k: Builder, x: Value) -> Value:
    """-e / (2 + e) with e = exp(-2 |x|) - 1."""
    e = exp_minus_one(k, k.absolute(x) * -2)
    return copy_sign(k, -e / (e + 2), x)


def logistic(k: Builder, x: Value) -> Value:
    """1 / (1 + e^-x), from e^-|x|, which cannot overflow."""
    z = -k.absolute(x)
    power, r = _reduced(k, z)
    grown = k.fma(r * r, polynomial(k, r, EXP), r) + 1
    e = k.select(z < EXP_LEAST, 0.0, (grown.bits_as(I32) + power).bits_as(F32))
    below = e / (e + 1)
    return k.select(x > 0, 1 - below, below)


def log(k: Builder, x: Value) -> Value:
    """log x = n ln 2 + log m with m between sqrt(1/2) and sqrt(2)."""
    tiny = x < 2.0**-126
    normal = k.select(tiny, x * 2.0**24, x)
    bits = normal.bits_as(I32)
    # Counted from sqrt(1/2), so that the exponent steps at sqrt(1/2) and not at 1.
    above = bits - SQRT_HALF_BITS
    n = (above >> MANTISSA_BITS).to(F32) - k.select(tiny, k.as_value(24.0, x.type), 0.0)
    f = ((above & ((1 << MANTISSA_BITS) - 1)) + SQRT_HALF_BITS).bits_as(F32) - 1
    square = f * f
    y = k.fma(square * f, polynomial(k, f, LOG), n * LN2_LOW)
    y = k.fma(square, k.as_value(-0.5, x.type), y) + f
    y = k.fma(n, k.as_value(LN2_HIGH, x.type), y)
    y = k.select(x < math.inf, y, x + x)
    y = k.select(x > 0, y, -math.inf)
    return k.select((x < 0) | x.differs(x), k.as_value(math.nan, x.type), y)


def power(k: Builder, x: Value, y: Value) -> Value:
    """|x|^y = 2^(y log2 |x|) in float64, with the sign of an odd power."""
    log2 = _log2_wide(k, k.absolute(x))
    # |x| = 1 has the power 1 even where y is infinite.
    exponent = k.select(log2.equals(0.0), log2, log2 * y.to(F64))
    size = k.select(y.equals(0.0), 1.0, _exp2_wide(k, exponent))
    whole = k.floor(y).equals(y)
    odd = whole & (k.floor(y * 0.5) * 2).differs(y)
    signed = k.select(odd, copy_sign(k, size, x), size)
    imaginary = (x < 0) & (x > -math.inf) & (whole ^ 1)
    return k.select(imaginary, k.as_value(math.nan, x.type), signed)


def _log2_wide(k: Builder, x: Value) -> Value:
    """log2 of numbers that are not negative, in float64: n + log2 m, m as in `log`."""
    wide = x.to(F64)
    bits = wide.bits_as(I64)
    above = bits - SQRT_HALF_BITS_WIDE
    n = (above >> 52).to(I32).to(F64)
    m = ((above & ((1 << 52) - 1)) + SQRT_HALF_BITS_WIDE).bits_as(F64)
    s = (m - 1) / (m + 1)
    y = k.fma(s, polynomial(k, s * s, LOG2_QUOTIENT), n)
    y = k.select(wide < math.inf, y, wide)  # infinite, or not a number
    return k.select(wide.equals(0.0), -math.inf, y)


def _exp2_wide(k: Builder, x: Value) -> Value:
    """2^x in float32, of float64."""
    inside = k.maximum(k.as_value(-POWER_LARGEST, x.type), x)
    inside = k.minimum(k.as_value(POWER_LARGEST, x.type), inside)
    n = k.round_to_even(inside)
    grown = polynomial(k, inside - n, EXP2)
    scale = ((n.to(I32).to(I64) + 1023) << 52).bits_as(F64)
    return k.select(x.differs(x), x, grown * scale).to(F32)


def erf(k: Builder, x: Value) -> Value:
    """x times a quotient of polynomials of x^2; 1 where float32 tells it from 1 no more."""
    z = k.absolute(x)
    inside = k.minimum(k.as_value(ERF_ONE, x.type), z)
    square = inside * inside
    y = inside * polynomial(k, square, ERF_OVER) / polynomial(k, square, ERF_UNDER)
    return copy_sign(k, k.minimum(k.as_value(1.0, x.type), y), x)


def sin(k: Builder, x: Value) -> Value:
    """The sine."""
    return _sine(k, x, 0)


def cos(k: Builder, x: Value) -> Value:
    """The sine of x + pi / 2."""
    return _sine(k, x, 1)


def _sine(k: Builder, x: Value, quarters: int) -> Value:
    """sin(x + quarters * pi / 2) from the sine or cosine of r, where x = n pi / 2 + r.

    n and r are found in float64, so that r keeps its bits where n is large.
    """
    wide = x.to(F64)
    n = k.round_to_even(wide * (2 / math.pi))
    rest = k.fma(n, k.as_value(-HALF_PI_HIGH, n.type), wide)
    r = k.fma(n, k.as_value(-HALF_PI_LOW, n.type), rest).to(F32)
    r = k.minimum(k.as_value(1.0, r.type), k.maximum(k.as_value(-1.0, r.type), r))
    turned = n + quarters
    quarter = (turned - k.floor(turned * 0.25) * 4).to(F32)
    square = r * r
    odd = quarter.equals(1) | quarter.equals(3)
    y = k.select(odd, polynomial(k, square, COS), r * polynomial(k, square, SIN))
    return k.select(quarter >= 2, -y, y)


def atan2(k: Builder, y: Value, x: Value) -> Value:
    """The angle of the point (x, y), from -pi to pi, in float64.

    1. The angle t between the point and the nearer axis, at most pi / 4: of the quotient of the
       smaller by the larger coordinate, or, above pi / 8, pi / 4 less an angle whose tangent is
       (larger - smaller) / (larger + smaller).
    2. From t the angle from the x axis, and on the left the one from its other end.
    3. The sign of y.
    """
    width, height = k.absolute(x).to(F64), k.absolute(y).to(F64)
    small, large = k.minimum(width, height), k.maximum(width, height)
    steep = small > large * TAN_EIGHTH
    over = k.select(steep, small - large, small)
    under = k.select(steep, small + large, large)
    # Where both are 0 or both infinite, there is no quotient.
    infinite = small.equals(math.inf)
    none = infinite | large.equals(0.0)
    r = k.select(none, 0.0, over / under)
    turned = k.select(steep | infinite, k.as_value(math.pi / 4, r.type), 0.0)
    t = k.fma(r, polynomial(k, r * r, ATAN), turned)
    t = k.select(height > width, math.pi / 2 - t, t)
    t = k.select(x.bits_as(I32) < 0, math.pi - t, t)
    angle = copy_sign(k, t.to(F32), y)
    return k.select(x.differs(x) | y.differs(y), x + y, angle)


def copy_sign(k: Builder, magnitude: Value, sign: Value) -> Value:
    """`magnitude`, with the sign of `sign`."""
    low = magnitude.bits_as(I32) & 0x7FFFFFFF
    return (low | (sign.bits_as(I32) & -0x80000000)).bits_as(F32)


def _reduced(k: Builder, x: Value) -> tuple[Value, Value]:
    """(n * 2^23 as an integer, r) with x = n ln 2 + r and |r| <= ln(2) / 2."""
    shifted = k.fma(x, k.as_value(LOG2_E, x.type), k.as_value(ROUNDING, x.type))
    n = shifted - ROUNDING
    r = k.fma(n, k.as_value(-LN2_HIGH, x.type), x)
    r = k.fma(n, k.as_value(-LN2_LOW, x.type), r)
    return shifted.bits_as(I32) << MANTISSA_BITS, r

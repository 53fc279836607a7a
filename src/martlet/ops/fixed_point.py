"""Integer arithmetic as gemmlowp and TensorFlow Lite define it, on NumPy arrays.

A real multiplier m is held as an int32 mantissa q (in [2^30, 2^31)) and an exponent e, with
m = q / 2^31 * 2^e. Two ways of rounding x * m are in use, and operators differ in which they
take (Jacob et al., arXiv 1712.05877; design, section 6):

- twice: the doubling high multiplication rounds to 31 fractional bits, then a shift rounds again
  (`multiply_twice`);
- once: 64-bit sums (16-bit activations) are multiplied by the upper 16 bits of the mantissa, and
  the product is rounded in one shift (`multiply_wide`); or the multiplier stays a double, and the
  product is rounded to an integer (`round_half_away`).

All functions take and give int64 arrays that hold int32 values, unless they say otherwise.
"""

from __future__ import annotations

import math

import numpy as np

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


def quantize_multiplier(multiplier: float) -> tuple[int, int]:
    """(mantissa, exponent) of a non-negative double; the largest where it is too large."""
    if multiplier == 0:
        return 0, 0
    if not math.isfinite(multiplier):
        return INT32_MAX, 30
    fraction, exponent = math.frexp(multiplier)
    mantissa = math.floor(fraction * (1 << 31) + 0.5)  # half away from zero, for positives
    if mantissa == 1 << 31:
        mantissa //= 2
        exponent += 1
    if exponent < -31:
        return 0, 0
    if exponent > 30:
        return INT32_MAX, 30
    return mantissa, exponent


def quantize_multipliers(multipliers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`quantize_multiplier` of each element: int64 arrays of mantissas and exponents."""
    pairs = [quantize_multiplier(float(m)) for m in np.asarray(multipliers, np.float64).ravel()]
    return (
        np.array([q for q, _ in pairs], np.int64),
        np.array([e for _, e in pairs], np.int64),
    )


def doubling_high_multiply(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """round(a * b / 2^31), half towards +infinity, saturated (SQRDMULH)."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.asarray(np.minimum((product + (1 << 30)) >> 31, INT32_MAX))


def rounding_shift_right(x: np.ndarray, exponent: np.ndarray | int) -> np.ndarray:
    """x / 2^exponent, half away from zero (gemmlowp's RoundingDivideByPOT)."""
    x = np.asarray(x, np.int64)
    exponent = np.asarray(exponent, np.int64)
    half = (np.int64(1) << exponent) >> 1
    # One less for negative numbers, unless nothing is shifted out.
    less = (x >> 63) & -np.minimum(exponent, 1)
    return np.asarray((x + half + less) >> exponent)


def register_shift_right(x: np.ndarray, places: np.ndarray | int, bits: int = 32) -> np.ndarray:
    """`rounding_shift_right` where that defines x, of 32 or 16 bits, shifted by less than these.

    Other numbers of places come out as registers take them: x is shifted by the places modulo 32;
    the mask of the bits shifted out, 2^places - 1 with the places modulo 64, is cut to `bits`.
    """
    x, places = np.asarray(x, np.int64), np.asarray(places, np.int64)
    masked = places & 63
    mask = np.where(masked < bits, (1 << np.minimum(masked, bits)) - 1, -1)
    return np.asarray((x >> (places & 31)) + ((x & mask) > (mask >> 1) + (x < 0)))


def wrap_int32(x: np.ndarray) -> np.ndarray:
    """The low 32 bits, as C's arithmetic on int32 leaves them."""
    return np.asarray(x, np.int64).astype(np.int32).astype(np.int64)


def multiply_twice(
    x: np.ndarray, mantissa: np.ndarray | int, exponent: np.ndarray | int
) -> np.ndarray:
    """x * mantissa / 2^31 * 2^exponent, rounded after the multiplication and after the shift."""
    exponent = np.asarray(exponent, np.int64)
    left = np.maximum(exponent, 0)
    right = np.maximum(-exponent, 0)
    shifted = wrap_int32(np.asarray(x, np.int64) << left)
    return rounding_shift_right(doubling_high_multiply(shifted, mantissa), right)


def multiply_wide(
    x: np.ndarray, mantissa: np.ndarray | int, exponent: np.ndarray | int
) -> np.ndarray:
    """x * mantissa / 2^31 * 2^exponent of 64-bit sums x, by a mantissa rounded to 16 bits.

    One rounding shift, ties towards +infinity. Meant for |x| < 2^47 and exponents below 8; wraps
    to 32 bits beyond.
    """
    mantissa = np.asarray(mantissa, np.int64)
    upper = np.where(mantissa < 0x7FFF0000, (mantissa + (1 << 15)) >> 16, 0x7FFF)
    shift = 15 - np.asarray(exponent, np.int64)
    right, left = np.maximum(shift, 1), np.maximum(1 - shift, 0)
    product = (np.asarray(x, np.int64) * upper) << left
    return wrap_int32((product + (np.int64(1) << (right - 1))) >> right)


def round_half_away(x: np.ndarray) -> np.ndarray:
    """Floats rounded to whole numbers, ties away from zero, as C's `round`; exact."""
    whole = np.trunc(x)
    return np.asarray(whole + np.copysign(np.abs(x - whole) >= 0.5, x).astype(whole.dtype))


def multiply_once(
    x: np.ndarray, mantissa: np.ndarray | int, exponent: np.ndarray | int
) -> np.ndarray:
    """x * mantissa / 2^31 * 2^exponent for wide x (up to 48 bits), with one rounding, half up.

    Only the upper 16 bits of the mantissa count, themselves rounded half up.
    """
    short = np.minimum((np.asarray(mantissa, np.int64) + (1 << 15)) >> 16, 0x7FFF)
    left = np.maximum(np.asarray(exponent, np.int64) - 14, 0)
    right = 15 - np.minimum(np.asarray(exponent, np.int64), 14)
    product = (np.asarray(x, np.int64) << left) * short
    return wrap_int32((product + (np.int64(1) << (right - 1))) >> right)


def reciprocal_of_one_plus(x: np.ndarray) -> np.ndarray:
    """1 / (1 + x) for x in [0, 1), both with 31 fractional bits.

    Three Newton-Raphson steps for 1 / d, d = (1 + x) / 2, from the line 48/17 - 32/17 d, with 29
    fractional bits; each product rounds as `doubling_high_multiply` does.
    """
    one = 1 << 29
    half = (np.asarray(x, np.int64) + INT32_MAX + 1) >> 1
    result = 1515870810 + doubling_high_multiply(half, -1010580540)
    for _ in range(3):
        error = one - doubling_high_multiply(half, result)
        step = doubling_high_multiply(result, error) << 2
        result = result + np.clip(step, INT32_MIN, INT32_MAX)
    return np.asarray(np.clip(result << 1, INT32_MIN, INT32_MAX))


def saturate(x: np.ndarray, dtype: type | np.dtype) -> np.ndarray:
    """Clamp to the range of an integer type and convert."""
    info = np.iinfo(dtype)
    return np.asarray(np.clip(x, info.min, info.max)).astype(dtype)

"""Integer arithmetic as gemmlowp and TensorFlow Lite define it, on NumPy arrays.

A real multiplier m is held as an int32 mantissa q (in [2^30, 2^31)) and an exponent e, with
m = q / 2^31 * 2^e. Two ways of rounding x * m are in use, and operators differ in which they
take (Jacob et al., arXiv 1712.05877; design, section 6):

- twice: the doubling high multiplication rounds to 31 fractional bits, then a shift rounds again
  (`multiply_twice`);
- once: the full 64-bit product is rounded in one shift (`multiply_once`).

All functions take and give int64 arrays that hold int32 values, unless they say otherwise.
"""

from __future__ import annotations

import math

import numpy as np

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


def quantize_multiplier(multiplier: float) -> tuple[int, int]:
    """(mantissa, exponent) of a non-negative double."""
    if multiplier == 0:
        return 0, 0
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
    """round(a * b / 2^31), half away from zero, saturated (SQRDMULH)."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    total = product + nudge
    # Division that truncates towards zero, as in C.
    result = np.where(total >= 0, total >> 31, -((-total) >> 31))
    return np.asarray(np.minimum(result, INT32_MAX))


def rounding_shift_right(x: np.ndarray, exponent: np.ndarray | int) -> np.ndarray:
    """x / 2^exponent, half away from zero (gemmlowp's RoundingDivideByPOT)."""
    x = np.asarray(x, np.int64)
    exponent = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    return np.asarray((x >> exponent) + ((x & mask) > threshold))


def wrap_int32(x: np.ndarray) -> np.ndarray:
    """The low 32 bits, as C's arithmetic on int32 leaves them."""
    return ((np.asarray(x, np.int64) + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def multiply_twice(
    x: np.ndarray, mantissa: np.ndarray | int, exponent: np.ndarray | int
) -> np.ndarray:
    """x * mantissa / 2^31 * 2^exponent, rounded after the multiplication and after the shift."""
    exponent = np.asarray(exponent, np.int64)
    left = np.maximum(exponent, 0)
    right = np.maximum(-exponent, 0)
    shifted = wrap_int32(np.asarray(x, np.int64) << left)
    return rounding_shift_right(doubling_high_multiply(shifted, mantissa), right)


def saturate(x: np.ndarray, dtype: type | np.dtype) -> np.ndarray:
    """Clamp to the range of an integer type and convert."""
    info = np.iinfo(dtype)
    return np.asarray(np.clip(x, info.min, info.max)).astype(dtype)

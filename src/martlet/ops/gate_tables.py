"""Logistic and tanh of 16-bit fixed-point numbers, as tables over all 65536 arguments.

A stored int16 v stands for v / 2^(15 - m), where m is the number of integer bits; results have
m = 0. The values are those of gemmlowp's fixed-point algorithms, which the integer LSTM kernels
use for their gates, to the bit:

1. exp(x), x <= 0: x = r - k/4 with r in [-1/4, 0); exp(r) is a polynomial of degree 4 around
   -1/8; it is multiplied by exp(-2^e) for every bit of k that is set.
2. 1 / (1 + y) and (1 - y) / (1 + y), y = exp(-|x|) or exp(-2|x|): three Newton steps for the
   inverse of (1 + y) / 2, from the start 48/17 - 32/17 * (1 + y) / 2.

Every product is rounded to 15 fractional bits, half up, before it is used again.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from martlet.ops.fixed_point import rounding_shift_right

LOW, HIGH = -(1 << 15), (1 << 15) - 1
ONE = HIGH  # 1.0 itself does not fit with no integer bits


def _constant(value: float, integer_bits: int = 0) -> int:
    return round(value * (1 << (15 - integer_bits)))


def multiply(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """a * b / 2^15, half up; the integer bits of a and b add up."""
    return np.asarray(np.minimum((a * np.asarray(b, np.int64) + (1 << 14)) >> 15, HIGH))


def _saturate(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(x, LOW, HIGH))


def _exp(x: np.ndarray, integer_bits: int) -> np.ndarray:
    """exp of stored values that are not positive."""
    fraction_bits = 15 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    rest = (x & (quarter - 1)) - quarter
    a = (rest << integer_bits) + _constant(1 / 8)
    a2 = multiply(a, a)
    a3 = multiply(a2, a)
    a4 = multiply(a2, a2)
    third = multiply(rounding_shift_right(a4, 2) + a3, _constant(1 / 3))
    tail = rounding_shift_right(third + a2, 1)
    centre = _constant(math.exp(-1 / 8))
    result = _saturate(centre + multiply(a + tail, centre))
    quarters = rest - x
    for e in range(-2, min(integer_bits, 5)):
        bit = (quarters >> (fraction_bits + e)) & 1
        result = np.where(bit, multiply(result, _constant(math.exp(-(2.0**e)))), result)
    if integer_bits > 5:
        result = np.where(x < -(32 << fraction_bits), 0, result)
    return np.where(x == 0, ONE, result)


def _inverse_of_half_sum(y: np.ndarray) -> np.ndarray:
    """2 / (1 + y) for y in [0, 1), with two integer bits."""
    half = (y + ONE + 1) >> 1
    x = _constant(48 / 17, 2) + multiply(half, _constant(-32 / 17, 2))
    for _ in range(3):
        error = _constant(1.0, 2) - multiply(half, x)
        x = x + _saturate(multiply(x, error) << 2)
    return x


def _arguments() -> np.ndarray:
    return np.arange(LOW, HIGH + 1, dtype=np.int64)


@cache
def logistic_table(integer_bits: int) -> np.ndarray:
    """int16 results for the stored values -32768 to 32767; `integer_bits`: 0 to 7."""
    v = _arguments()
    positive = _saturate(_inverse_of_half_sum(_exp(-np.abs(v), integer_bits)) << 1)
    result = np.where(v > 0, positive, ONE - positive)
    return np.where(v == 0, 1 << 14, result).astype(np.int16)


@cache
def tanh_table(integer_bits: int) -> np.ndarray:
    """int16 results for the stored values -32768 to 32767; `integer_bits`: 0 to 6."""
    v = _arguments()
    y = _exp(-np.abs(v), integer_bits + 1)  # the stored values as they stand: 2 |v|
    size = _saturate((_inverse_of_half_sum(y) - _constant(1.0, 2)) << 2)
    return np.asarray(np.sign(v) * size).astype(np.int16)


def look_up(table: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The table's values for int16 values held in any integer type, as int64."""
    values: np.ndarray = table[np.asarray(x, np.int64) - LOW].astype(np.int64)
    return values

"""Float32 functions as C's library computes them, for tables in which the last bit counts.

exp and log are right to that bit nearly everywhere in C, but not in NumPy: `single` makes such a
function from one that NumPy has in float64. C's tanh and erfc round several times in between, in
most systems as Sun's fdlibm does; `tanh_single` and `erfc_single` round in the same places. What
fdlibm approximates by polynomials is exact here, so that a result in fifty has another last bit.

`erfc`, which NumPy lacks, is float64 and good to 1e-12 of the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]
FARTHEST = 26.0  # beyond, the function is zero in float64 but for subnormal numbers


def single(function: Function) -> Function:
    """The function on float32, computed in float64 and rounded once."""
    return lambda x: np.asarray(function(x.astype(np.float64)), np.float32)


@cache
def _polynomial() -> np.polynomial.Chebyshev:
    """log(erfc(x) * e^(x^2) / t) over t = 1 / (1 + x / 2), for x from 0 to FARTHEST."""
    low = 1 / (1 + FARTHEST / 2)
    t = (1 + low) / 2 + (1 - low) / 2 * np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    x = 2 / t - 2
    values = [math.log(math.erfc(a)) + a * a - math.log(b) for a, b in zip(x, t, strict=True)]
    return np.polynomial.Chebyshev.fit(t, values, 24, domain=[low, 1])


def erfc(x: np.ndarray) -> np.ndarray:
    """1 - erf(x) in float64."""
    size = np.minimum(np.abs(x.astype(np.float64)), FARTHEST)
    t = 1 / (1 + size / 2)
    upper = t * np.exp(_polynomial()(t) - size * size)
    return np.asarray(np.where(x < 0, 2 - upper, upper))


def erfc_single(x: np.ndarray) -> np.ndarray:
    """1 - erf(x) in float32.

    1. |x| < 0.84375: from erf(x) = x + x * y, subtracted from 1, or from 1/2 in two parts.
    2. |x| < 1.25: from erf(|x|) - 0.845.
    3. Beyond: e^(-x^2) in two factors, of which the first has an exact exponent, over |x|.
    """
    one, exp = np.float32(1), single(np.exp)
    size, exact = np.abs(x), x.astype(np.float64)
    magnitude = np.abs(exact)

    y = ((1 - erfc(exact)) / np.where(exact == 0, 1, exact) - 1).astype(np.float32)
    half = np.float32(0.5)
    near = np.where(x < 0.25, one - (x + x * y), half - (x * y + (x - half)))

    anchor = np.float32(0.845062911510467529296875)
    beyond = (1 - erfc(magnitude) - float(anchor)).astype(np.float32)
    middle = np.where(x >= 0, (one - anchor) - beyond, one + (anchor + beyond))

    wide = np.clip(magnitude, 1.0, FARTHEST)
    size = np.minimum(size, np.float32(FARTHEST))
    rest = (np.log(wide * erfc(wide)) + wide * wide + 0.5625).astype(np.float32)
    short = (size.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    first = exp(-short * short - np.float32(0.5625))
    tail = first * exp((short - size) * (short + size) + rest) / np.maximum(size, one)
    far = np.where(x > 0, tail, np.float32(2) - tail)
    return np.asarray(np.where(size < 0.84375, near, np.where(size < 1.25, middle, far)))


def tanh_single(x: np.ndarray) -> np.ndarray:
    """tanh in float32: by way of expm1(2 |x|) from 1 on, and of expm1(-2 |x|) below."""
    size, two = np.abs(x), np.float32(2)
    far = 1 - two / (single(np.expm1)(size * 2) + two)
    shrunk = _expm1_single(np.maximum(size * -2, -two))
    near = -shrunk / (shrunk + two)
    return np.asarray(np.copysign(np.where(size >= 1, far, near), x))


def _expm1_single(x: np.ndarray) -> np.ndarray:
    """e^x - 1 for x from -2 to 0: x = r + k * log(2), and 2^k * e^r - 1 in float32."""
    log2 = math.log(2)
    k = np.where(x > -log2 / 2, 0, np.where(x > -1.5 * log2, -1, np.trunc(x / log2 - 0.5)))
    part = np.expm1(x.astype(np.float64) - k * log2).astype(np.float32)
    one = np.float32(1)
    power = np.ldexp(one, k.astype(np.int32))
    split = np.where(k == -1, power * part - np.float32(0.5), (one + part) * power - one)
    return np.asarray(np.where(k == 0, part, split))

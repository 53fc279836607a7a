"""Kernels of complex numbers: pairs of float32, the real part first.

complex_abs_f32    the absolute values of `x`; units are numbers
"""

from __future__ import annotations

import math

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, F64, Builder, Pointer, Value, arguments
from martlet.kernels.rows import pieces
from martlet.kernels.targets import Target


def complex_abs(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
    """The root of the sum of the squares, in float64: within half an ulp, and no square too large.

    Where one part is infinite, so is the result, whatever the other is.
    """
    for i, lanes in pieces(k, first, last):
        pairs = k.load(x, i * 2, lanes=2 * lanes)
        real, imaginary = (k.shuffle(pairs, pairs, range(n, 2 * lanes, 2)) for n in (0, 1))
        a, b = real.to(F64), imaginary.to(F64)
        root = k.square_root(k.fma(a, a, b * b)).to(F32)
        infinite = k.absolute(real).equals(math.inf) | k.absolute(imaginary).equals(math.inf)
        k.store(y, i, k.select(infinite, math.inf, root))


def kernels(target: Target) -> list[Kernel]:
    """The same for every target but for the lanes."""
    return [Kernel("complex_abs_f32", complex_abs, arguments("x: *float", "y: *float"))]

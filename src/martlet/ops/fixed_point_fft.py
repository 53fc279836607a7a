"""Fourier transforms of real signals in int16, int32 or float32, to the bit of KISS FFT.

TensorFlow Lite for Microcontrollers transforms audio with the KISS FFT library (v130), whose
fixed-point results depend on the order of its steps. They are, for n real samples:

1. Pairs of samples are taken as n/2 complex numbers, which go through a transform of mixed radix
   (decimation in time): factors 4 first, then 2, 3, 5 and other primes.
2. Before each butterfly of radix p its inputs are divided by p, so that nothing overflows; each
   product is rounded once, half up, to 15 (31) fractional bits; sums wrap.
3. The halves of the spectrum are separated with a second set of twiddle factors.

The inverse goes back likewise. `rfft` and `irfft` work along the last axis; a spectrum of n/2 + 1
complex numbers is held as n + 2 real ones, real and imaginary parts by turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from martlet.records import dataclass

Complex = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Arithmetic:
    """How one element type multiplies, divides and wraps. `bits`: fractional bits (0: float).

    Fixed-point values are held in int64 arrays.
    """

    bits: int
    stored: type
    held: type

    @property
    def one(self) -> int:
        return (1 << self.bits) - 1

    def wrap(self, x: np.ndarray) -> np.ndarray:
        """To the range of the type."""
        wrapped: np.ndarray = x.astype(self.stored).astype(self.held)
        return wrapped

    def round(self, x: np.ndarray) -> np.ndarray:
        """A product back to the type."""
        return x if not self.bits else self.wrap((x + (1 << (self.bits - 1))) >> self.bits)

    def divide(self, z: Complex, k: int) -> Complex:
        """By a small integer, as a product with its reciprocal; floats are not scaled."""
        if not self.bits:
            return z
        return self.round(z[0] * (self.one // k)), self.round(z[1] * (self.one // k))

    def half(self, x: np.ndarray) -> np.ndarray:
        if not self.bits:
            return np.asarray(x * self.held(0.5))
        # Sums of two int16 are halved in int32.
        return self.wrap(((x + (1 << 31)) & 0xFFFFFFFF) - (1 << 31) >> 1)

    def multiply(self, a: Complex, b: Complex) -> Complex:
        return self.round(a[0] * b[0] - a[1] * b[1]), self.round(a[0] * b[1] + a[1] * b[0])

    def add(self, a: Complex, b: Complex) -> Complex:
        return self.wrap(a[0] + b[0]), self.wrap(a[1] + b[1])

    def subtract(self, a: Complex, b: Complex) -> Complex:
        return self.wrap(a[0] - b[0]), self.wrap(a[1] - b[1])

    def turn(self, phases: list[float]) -> Complex:
        """e^(i phase), rounded half up."""
        parts: list[np.ndarray] = []
        for f in (math.cos, math.sin):
            values = [f(p) for p in phases]
            if self.bits:
                values = [math.floor(0.5 + self.one * v) for v in values]
            parts.append(np.array(values, self.held))
        return parts[0], parts[1]


INT16 = Arithmetic(15, np.int16, np.int64)
INT32 = Arithmetic(31, np.int32, np.int64)
FLOAT32 = Arithmetic(0, np.float32, np.float32)
_BY_TYPE = {np.dtype(a.stored): a for a in (INT16, INT32, FLOAT32)}


@cache
def factors(n: int) -> tuple[int, ...]:
    """The radices of a transform of n numbers, outermost first."""
    limit = math.isqrt(n)
    found, p = [], 4
    while True:
        while n % p:
            p = {4: 2, 2: 3}.get(p, p + 2)
            if p > limit:
                p = n
        n //= p
        found.append(p)
        if n <= 1:
            return tuple(found)


def _pick(z: Complex, index: np.ndarray | int) -> Complex:
    return z[0][..., index], z[1][..., index]


class _Transform:
    """A complex transform of n numbers along the last axis."""

    def __init__(
        self, n: int, inverse: bool, arithmetic: Arithmetic, tick: Callable[[], None]
    ) -> None:
        self.n, self.inverse, self.a, self.tick = n, inverse, arithmetic, tick
        phases = [-2 * math.pi * i / n for i in range(n)]
        self.twiddles = arithmetic.turn([-p for p in phases] if inverse else phases)

    def __call__(self, z: Complex) -> Complex:
        return self._work(z, factors(self.n), 1)

    def _work(self, z: Complex, radices: tuple[int, ...], stride: int) -> Complex:
        self.tick()
        p = radices[0]
        shape = z[0].shape
        m = shape[-1] // p
        # Element j of every p belongs to the j-th of p smaller transforms.
        parts = tuple(x.reshape(*shape[:-1], m, p).swapaxes(-1, -2) for x in z)
        inner = (parts[0], parts[1])
        if m > 1:
            inner = self._work(inner, radices[1:], stride * p)
        butterfly = {2: self._radix_2, 3: self._radix_3, 4: self._radix_4, 5: self._radix_5}
        rows = [
            self.a.divide((inner[0][..., j, :], inner[1][..., j, :]), p) for j in range(p)
        ]  # fmt: skip
        if p in butterfly:
            steps = np.arange(m) * stride
            turned = [self.a.multiply(rows[j], _pick(self.twiddles, steps * j))
                      for j in range(1, p)]  # fmt: skip
            result = butterfly[p](rows[0], turned, stride * m)
        else:
            result = self._radix_any(rows, m, stride)
        return (
            np.stack([r[0] for r in result], axis=-2).reshape(shape),
            np.stack([r[1] for r in result], axis=-2).reshape(shape),
        )

    def _radix_2(self, x: Complex, t: list[Complex], third: int) -> list[Complex]:
        return [self.a.add(x, t[0]), self.a.subtract(x, t[0])]

    def _radix_4(self, x: Complex, t: list[Complex], third: int) -> list[Complex]:
        a = self.a
        odd, gap = a.add(t[0], t[2]), a.subtract(t[0], t[2])
        even, rest = a.add(x, t[1]), a.subtract(x, t[1])
        left = a.wrap(rest[0] - gap[1]), a.wrap(rest[1] + gap[0])
        right = a.wrap(rest[0] + gap[1]), a.wrap(rest[1] - gap[0])
        first, last = (left, right) if self.inverse else (right, left)
        return [a.add(even, odd), first, a.subtract(even, odd), last]

    def _radix_3(self, x: Complex, t: list[Complex], third: int) -> list[Complex]:
        a = self.a
        both, gap = a.add(t[0], t[1]), a.subtract(t[0], t[1])
        sine = self.twiddles[1][third]
        gap = a.round(gap[0] * sine), a.round(gap[1] * sine)
        middle = a.wrap(x[0] - a.half(both[0])), a.wrap(x[1] - a.half(both[1]))
        return [
            a.add(x, both),
            (a.wrap(middle[0] - gap[1]), a.wrap(middle[1] + gap[0])),
            (a.wrap(middle[0] + gap[1]), a.wrap(middle[1] - gap[0])),
        ]

    def _radix_5(self, x: Complex, t: list[Complex], fifth: int) -> list[Complex]:
        a = self.a
        ya, yb = _pick(self.twiddles, fifth), _pick(self.twiddles, 2 * fifth)
        outer, outer_gap = a.add(t[0], t[3]), a.subtract(t[0], t[3])
        inner, inner_gap = a.add(t[1], t[2]), a.subtract(t[1], t[2])

        def mixed(outer_cos: np.ndarray, inner_cos: np.ndarray) -> Complex:
            parts = [
                a.wrap(x[i] + a.round(outer[i] * outer_cos) + a.round(inner[i] * inner_cos))
                for i in range(2)
            ]
            return parts[0], parts[1]

        s5, s11 = mixed(ya[0], yb[0]), mixed(yb[0], ya[0])
        s6 = (
            a.wrap(a.round(outer_gap[1] * ya[1]) + a.round(inner_gap[1] * yb[1])),
            a.wrap(-a.round(outer_gap[0] * ya[1]) - a.round(inner_gap[0] * yb[1])),
        )
        s12 = (
            a.wrap(-a.round(outer_gap[1] * yb[1]) + a.round(inner_gap[1] * ya[1])),
            a.wrap(a.round(outer_gap[0] * yb[1]) - a.round(inner_gap[0] * ya[1])),
        )
        total = (a.wrap(x[0] + outer[0] + inner[0]), a.wrap(x[1] + outer[1] + inner[1]))
        return [total, a.subtract(s5, s6), a.add(s11, s12), a.subtract(s11, s12), a.add(s5, s6)]

    def _radix_any(self, rows: list[Complex], m: int, stride: int) -> list[Complex]:
        """Any other radix: p products for each result."""
        place = np.arange(len(rows) * m).reshape(len(rows), m)
        wide = rows[0][0][..., None, :], rows[0][1][..., None, :]
        shape = np.broadcast_shapes(wide[0].shape, place.shape)
        total: Complex = (np.broadcast_to(wide[0], shape), np.broadcast_to(wide[1], shape))
        for q in range(1, len(rows)):
            self.tick()
            twiddle = _pick(self.twiddles, place * (q * stride) % self.n)
            row = rows[q][0][..., None, :], rows[q][1][..., None, :]
            total = self.a.add(total, self.a.multiply(row, twiddle))
        return [(total[0][..., k, :], total[1][..., k, :]) for k in range(len(rows))]


def _separating_turns(half: int, inverse: bool, a: Arithmetic) -> Complex:
    sign = 1 if inverse else -1
    phases = [sign * math.pi * ((i + 1) / half + 0.5) for i in range(half // 2)]
    return a.turn(phases)


def rfft(x: np.ndarray, tick: Callable[[], None]) -> np.ndarray:
    """The spectrum of an even number n of samples along the last axis, as n + 2 numbers."""
    a = _BY_TYPE[x.dtype]
    half = x.shape[-1] // 2
    held: np.ndarray = x.astype(a.held)
    z = _Transform(half, False, a, tick)((held[..., 0::2], held[..., 1::2]))
    result = np.zeros((*x.shape[:-1], half + 1, 2), a.held)
    dc = a.divide(_pick(z, 0), 2)
    result[..., 0, 0] = a.wrap(dc[0] + dc[1])
    result[..., half, 0] = a.wrap(dc[0] - dc[1])
    k = np.arange(1, half // 2 + 1)
    near = a.divide(_pick(z, k), 2)
    far_real, far_imaginary = _pick(z, half - k)
    far = a.divide((far_real, a.wrap(-far_imaginary)), 2)
    even, odd = a.add(near, far), a.subtract(near, far)
    odd = a.multiply(odd, _separating_turns(half, False, a))
    result[..., k, 0] = a.half(even[0] + odd[0])
    result[..., k, 1] = a.half(even[1] + odd[1])
    result[..., half - k, 0] = a.half(even[0] - odd[0])
    result[..., half - k, 1] = a.half(odd[1] - even[1])
    return result.reshape(*x.shape[:-1], 2 * half + 2).astype(a.stored)


def irfft(x: np.ndarray, tick: Callable[[], None]) -> np.ndarray:
    """The n samples of a spectrum of n + 2 numbers. Floats are divided by n, integers scaled so."""
    a = _BY_TYPE[x.dtype]
    half = x.shape[-1] // 2 - 1
    spectrum: np.ndarray = x.astype(a.held)
    real, imaginary = spectrum[..., 0::2], spectrum[..., 1::2]
    z = np.zeros((*x.shape[:-1], half), a.held), np.zeros((*x.shape[:-1], half), a.held)
    dc = (
        a.wrap(real[..., 0] + real[..., half]),
        a.wrap(real[..., 0] - real[..., half]),
    )
    z[0][..., 0], z[1][..., 0] = a.divide(dc, 2)
    k = np.arange(1, half // 2 + 1)
    near = a.divide(_pick((real, imaginary), k), 2)
    far = a.divide((real[..., half - k], a.wrap(-imaginary[..., half - k])), 2)
    even, odd = a.add(near, far), a.subtract(near, far)
    odd = a.multiply(odd, _separating_turns(half, True, a))
    z[0][..., k], z[1][..., k] = a.add(even, odd)
    mirrored = a.subtract(even, odd)
    z[0][..., half - k], z[1][..., half - k] = mirrored[0], a.wrap(-mirrored[1])
    samples = _Transform(half, True, a, tick)(z)
    result = np.stack(samples, axis=-1).reshape(*x.shape[:-1], 2 * half)
    return (result if a.bits else result / a.held(2 * half)).astype(a.stored)

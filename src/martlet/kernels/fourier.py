"""Fourier transforms of powers of two: RFFT2D, computed in float64.

    rfft_rows      rows of float32 -> the non-negative half of their spectra; units: groups of rows
    fft_columns    columns of complex numbers -> their spectra, in place; units: groups of columns

As many transforms as a vector has float64 go side by side, one in each lane. A group that has
fewer computes its last one several times. A transform of `count` complex numbers goes from one
half of a slot of scratch to the other in stages (Stockham: no reordering; each takes the results
of the one before in pairs):

    y[2 p s + q]     = x[p s + q] + x[p s + q + count / 2]                     p < n / 2, q < s
    y[2 p s + s + q] = (x[p s + q] - x[p s + q + count / 2]) * exp(-2 pi i p / n)

with n = count, s = 1 first, and then n halved and s doubled until n is 1.

A row of real numbers is transformed as half as many complex ones, z[i] = x[2i] + i x[2i + 1]:

    X[i] = (Z[i] + Z*[m - i]) / 2 - i/2 exp(-2 pi i / (2m))^i (Z[i] - Z*[m - i])       i = 0 … m

`roots`: exp(-2 pi i j / length) for j up to length / 2, as float64, of the length of a row, or of a
column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, F64, I64, Builder, Pointer, Value, arguments
from martlet.kernels.slots import SLOT_FLAG
from martlet.kernels.targets import Target
from martlet.kernels.winograd import _take_slot

Complex = tuple[Value, Value]
_SCRATCH = (
    # count: complex numbers in a transform, 1 << stages. slot: float64 in each of `slots`.
    "roots: *double", "count: i64", "stages: i64", "flags: *i64", "slots: i64", "scratch: *double",
    "slot: i64",
)  # fmt: skip
ROWS = arguments(
    # rows: of all matrices, `used` in each, whose rows of x are `length` long and `x_matrix` apart
    # as matrices; those of y are `bins` numbers long and `y_matrix` apart.
    "x: *float", "y: *float", "rows: i64", "used: i64", "length: i64", "x_pitch: i64",
    "x_matrix: i64", "bins: i64", "y_matrix: i64", *_SCRATCH,
)  # fmt: skip
COLUMNS = arguments(
    # columns: of all matrices, `bins` in each. used: numbers in a column; zeros follow.
    "y: *float", "columns: i64", "bins: i64", "used: i64", "y_matrix: i64", *_SCRATCH
)  # fmt: skip


class _Room:
    """Half a slot: complex numbers, in each the real parts of all lanes, then the others."""

    def __init__(self, k: Builder, place: Pointer, lanes: int) -> None:
        self.k, self.place, self.lanes = k, place, lanes

    def load(self, i: Value) -> Complex:
        at = i * (2 * self.lanes)
        real, imaginary = (
            self.k.load(self.place, at + n, lanes=self.lanes) for n in (0, self.lanes)
        )
        return real, imaginary

    def store(self, i: Value, z: Complex) -> None:
        for n, part in enumerate(z):
            self.k.store(self.place, i * (2 * self.lanes) + n * self.lanes, part)


def _times(k: Builder, a: Complex, b: Complex) -> Complex:
    return k.fma(a[0], b[0], -(a[1] * b[1])), k.fma(a[0], b[1], a[1] * b[0])


class _Transform:
    """The transforms of a group, between the halves of a slot."""

    def __init__(
        self, k: Builder, roots: Pointer, count: Value, stages: Value, slot: Pointer
    ) -> None:
        self.k, self.roots, self.count, self.stages = k, roots, count, stages
        self.lanes = k.lanes // 2
        self.size = count * (2 * self.lanes)
        self.slot = slot

    def room(self, stage: Value) -> _Room:
        """Where the numbers are before a stage."""
        return _Room(self.k, self.slot + (stage & 1) * self.size, self.lanes)

    def root(self, i: Value) -> Complex:
        """One root in all lanes."""
        k = self.k
        real, imaginary = (k.broadcast(k.scalar(self.roots, i * 2 + n), self.lanes) for n in (0, 1))
        return real, imaginary

    def run(self, distance: Value) -> _Room:
        """All stages; distance: from one of the `count`th roots to the next in `roots`."""
        k, half = self.k, self.count // 2
        for stage in k.range(0, self.stages):
            x, y = self.room(stage), self.room(stage + 1)
            s = k.constant(1, I64) << stage
            for p in k.range(0, half.shift_right_unsigned(stage)):
                factor = self.root(p * s * distance)
                for q in k.range(p * s, p * s + s):
                    a, b = x.load(q), x.load(q + half)
                    at = p * s + q
                    y.store(at, (a[0] + b[0], a[1] + b[1]))
                    y.store(at + s, _times(k, (a[0] - b[0], a[1] - b[1]), factor))
        return self.room(self.stages)


def _groups(
    k: Builder, transforms: Value, fields: Sequence[Any]
) -> Iterator[tuple[_Transform, list[Value]]]:
    """For each group the transforms, in a slot that they have for themselves, and their numbers.

    fields: the arguments from `roots` on.
    """
    roots, count, stages, flags, slots, scratch, slot, first, last = fields
    lanes = k.lanes // 2
    number = _take_slot(k, flags, slots)
    group = _Transform(k, roots, count, stages, scratch + number * slot)
    for unit in k.range(first, last):
        yield group, [k.minimum(unit * lanes + lane, transforms - 1) for lane in range(lanes)]
    k.atomic_add(flags + number * SLOT_FLAG, -1)


def _gather(k: Builder, places: list[Pointer], i: Value) -> Complex:
    """A pair of float32 of each lane."""
    real = imaginary = k.zeros(F64, len(places))
    for lane, place in enumerate(places):
        pair = k.load(place, i, lanes=2).to(F64)
        real = k.with_lane(real, lane, k.lane(pair, 0))
        imaginary = k.with_lane(imaginary, lane, k.lane(pair, 1))
    return real, imaginary


def _scatter(k: Builder, places: list[Pointer], i: Value, z: Complex) -> None:
    real, imaginary = (part.to(F32) for part in z)
    for lane, place in enumerate(places):
        k.store(place, i, k.lane(real, lane))
        k.store(place, i + 1, k.lane(imaginary, lane))


def rfft_rows(
    k: Builder, x: Pointer, y: Pointer, rows: Value, used: Value, length: Value, x_pitch: Value,
    x_matrix: Value, bins: Value, y_matrix: Value, *fields: Any,
) -> None:  # fmt: skip
    for group, numbers in _groups(k, rows, fields):
        sources = [x + (n // used * x_matrix + n % used * x_pitch) for n in numbers]
        targets = [y + (n // used * y_matrix + n % used * bins) * 2 for n in numbers]
        before, zero, count = group.room(k.constant(0, I64)), k.zeros(F64, group.lanes), group.count
        pairs = length // 2
        for i in k.range(0, pairs):
            before.store(i, _gather(k, sources, i * 2))
        with k.when(pairs * 2 < length):
            alone = zero
            for lane, source in enumerate(sources):
                alone = k.with_lane(alone, lane, k.scalar(source, length - 1).to(F64))
            before.store(pairs, (alone, zero))
        for i in k.range((length + 1) // 2, count):
            before.store(i, (zero, zero))
        after = group.run(k.constant(2, I64))
        for i in k.range(0, count + 1):
            a, b = after.load(i & (count - 1)), after.load((count - i) & (count - 1))
            even = (a[0] + b[0]) * 0.5, (a[1] - b[1]) * 0.5
            odd = (a[1] + b[1]) * 0.5, (b[0] - a[0]) * 0.5
            odd = _times(k, odd, group.root(i))
            _scatter(k, targets, i * 2, (even[0] + odd[0], even[1] + odd[1]))


def fft_columns(
    k: Builder, y: Pointer, columns: Value, bins: Value, used: Value, y_matrix: Value, *fields: Any
) -> None:
    for group, numbers in _groups(k, columns, fields):
        places = [y + (n // bins * y_matrix + n % bins) * 2 for n in numbers]
        before, zero = group.room(k.constant(0, I64)), k.zeros(F64, group.lanes)
        for i in k.range(0, used):
            before.store(i, _gather(k, places, i * bins * 2))
        for i in k.range(used, group.count):
            before.store(i, (zero, zero))
        after = group.run(k.constant(1, I64))
        for i in k.range(0, group.count):
            _scatter(k, places, i * bins * 2, after.load(i))


def kernels(target: Target) -> list[Kernel]:
    """Both; the same for every target but for the lanes."""
    return [
        Kernel("rfft_rows", rfft_rows, ROWS),
        Kernel("fft_columns", fft_columns, COLUMNS),
    ]

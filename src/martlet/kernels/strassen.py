"""float32 matrix products by Strassen's algorithm, in Winograd's form: 7 products instead of 8.

In: the rows of A, `lda` apart, in images of `rows` each; sums of B's quarters, packed into
[pairs of panels][7][depth / 2][panel width] by `pack`; a bias as long as the
panels are wide. Out: rows of C = clamp(A · B + bias + residual), as in `gemm.py`.

A and B are cut in halves along the depth, B between the two panels of a pair, A between row i and
row i + half of an image, so a pair of rows times a pair of panels is a product of 2x2 matrices,
whose elements are what a tile of `gemm.py` multiplies:

    P1 = A11 B11    P2 = A12 B21    P3 = S4 B22    P4 = A22 T4
    P5 = S1 T1      P6 = S2 T2      P7 = S3 T3
    S1 = A21 + A22  S2 = S1 - A11   S3 = A11 - A21   S4 = A12 - S2
    T1 = B12 - B11  T2 = B22 - T1   T3 = B22 - B12   T4 = B21 - T2
    C11 = P1 + P2   U2 = P1 + P6    C12 = U2 + P5 + P3
    U3 = U2 + P7    C21 = U3 + P4   C22 = U2 + P5 + P7

A unit of work is a block of pairs of rows times a group of pairs of panels. It computes S1 to S4
of its rows, and then for each pair of panels the products one after another, each beginning with
the sums that it is added to (`X` and `V`); all this lies in a slot of scratch, as that of
`winograd.py`. Which rows go together does not depend on blocks or threads, so neither do results.
The last row of an image of odd height has the row before beside it, and that result is dropped.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from martlet.kernels.forms import LINE, PRODUCTS, Tile, tile_of
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, I32, I64, Builder, Pointer, Value, Variable, arguments
from martlet.kernels.movement import TILE
from martlet.kernels.packing import packers, square
from martlet.kernels.slots import SLOT_FLAG
from martlet.kernels.targets import Target
from martlet.kernels.tiles import tiles
from martlet.kernels.unrolled import unrolled
from martlet.kernels.winograd import _take_slot

STRASSEN = arguments(
    "a: *float", "b: *float", "bias: *float", "c: *float", "residual: *float", "adds: i64",
    # half: of the depth.
    "rows: i64", "half: i64", "columns: i64", "lda: i64", "ldc: i64", "ldr: i64",
    "block: i64", "group: i64", "low: float", "high: float",
    # slot: float32 in each of `slots`.
    "flags: *i64", "slots: i64", "scratch: *float", "slot: i64",
)  # fmt: skip
AHEAD = 512  # float32: how far ahead a panel of B is asked for
P1, P2, P6, P5, P7, P3, P4 = range(PRODUCTS)  # in the order in which they are computed


def kernels(target: Target) -> list[Kernel]:
    """The product, in the tile of a target, and what packs its weights."""
    product = Kernel("strassen_f32", _strassen(tile_of(target.lanes)), STRASSEN)
    return [product, *packers("pack_strassen", pack, "columns", "half", "width")]


def _row(half: Value) -> Value:
    """From one row of S to the next: not a power of two, lest all meet in one cache set."""
    return (half + (LINE - 1)) // LINE * LINE + LINE


def pack(
    k: Builder, x: Pointer, y: Pointer, columns: Value, half: Value, width: Value, first: Value,
    last: Value,
) -> None:  # fmt: skip
    """Weights (columns, depth), float32 or float16, as the product reads them.

    Units: pairs of panels. Columns beyond the last are zeros. A cache line of each row after
    another, as in `packing.py`.
    """
    size, pitch = half * width, half * 2
    for unit in k.range(first, last):
        column, target = unit * width * 2, y + unit * PRODUCTS * size
        count, whole = k.minimum(columns - column, width * 2), half // TILE * TILE
        # Of the second panel, then of both.
        tiled = k.maximum(count - width, k.constant(0, I64)) // TILE * TILE
        source = x + column * pitch
        for start in k.range(0, whole, LINE):
            for i in k.range(0, tiled, TILE):
                for step in k.range(start, k.minimum(start + LINE, whole), TILE):
                    left = source + (i * pitch + step)
                    right = left + width * pitch
                    quarters = [
                        square(k, q, pitch) for q in (left, right, left + half, right + half)
                    ]
                    for n, values in enumerate(zip(*quarters, strict=True)):
                        _store_factors(k, target + ((step + n) * width + i), size, *values)
        for i in k.range(0, width):
            for step in k.range(k.select(i < tiled, whole, 0), half):
                places = []
                for row, at in itertools.product((i, i + width), (step, step + half)):
                    value = k.variable(k.zeros(lanes=0))
                    value.value = k.zeros(lanes=0)
                    with k.when(row < count):
                        value.value = k.scalar(source, row * pitch + at).to(F32)
                    places.append(value)
                b11, b21, b12, b22 = (value.value for value in places)
                _store_factors(k, target + (step * width + i), size, b11, b12, b21, b22)


def _store_factors(
    k: Builder, y: Pointer, size: Value, b11: Value, b12: Value, b21: Value, b22: Value
) -> None:
    """What meets P1, P2, P6, … in the products, each so many elements after the other."""
    t1 = b12 - b11
    t2 = b22 - t1
    for i, factor in enumerate((b11, b21, t2, t1, b22 - b12, b22, b21 - t2)):
        k.store(y, i * size, factor)


def _strassen(tile: Tile) -> Callable[..., None]:
    def write(
        k: Builder, a: Pointer, b: Pointer, bias: Pointer, c: Pointer, residual: Pointer,
        adds: Value, rows: Value, half: Value, columns: Value, lda: Value, ldc: Value, ldr: Value,
        block: Value, group: Value, low: Value, high: Value, flags: Pointer, slots: Value,
        scratch: Pointer, slot: Value, first: Value, last: Value,
    ) -> None:  # fmt: skip
        number, width = _take_slot(k, flags, slots), tile.width(k.lanes)
        zeros = scratch + number * slot
        for j in range(tile.vectors):
            k.store(zeros, j * k.lanes, k.zeros())
        x, apart = zeros + width, _row(half)
        v = x + block * width
        s = [v + (block * width + block * apart * i) for i in range(4)]
        below = (rows + 1) >> 1  # from a row to its partner
        blocks = (below + block - 1) // block
        pairs = (columns + (2 * width - 1)) // (2 * width)
        groups = (pairs + group - 1) // group
        table = _Table(k)
        output = _Output(k, tile, bias, columns, ldc, ldr, adds, low, high)
        held = k.variable(k.constant(-1, I64))
        for unit in k.range(first, last):
            piece, panel = unit // groups, unit % groups * group
            row = piece % blocks * block
            count = k.minimum(block, below - row)
            place = piece // blocks * rows + row
            upper = a + place * lda
            lower = upper + below * lda
            partners = k.minimum(count, rows - below - row)  # one row may have none
            last_below = k.maximum(partners - 1, -1)
            with k.when(held.value.differs(piece)):
                held.value = piece
                for i in k.range(0, count):
                    rows_of_s = [matrix + i * apart for matrix in s]
                    beside = lower + k.minimum(i, last_below) * lda
                    _sums_of_a(k, upper + i * lda, beside, half, rows_of_s)
            # Rows of A, how far they are apart, the last of them; sums to begin with.
            table.set(P1, upper, lda, count - 1, zeros, 0)
            table.set(P2, upper + half, lda, count - 1, x, width)
            table.set(P6, s[1], apart, count - 1, x, width)
            table.set(P5, s[0], apart, count - 1, x, width)
            table.set(P7, s[2], apart, count - 1, zeros, 0)
            table.set(P3, s[3], apart, count - 1, v, width)
            table.set(P4, lower + half, lda, last_below, x, width)
            output.go_to(c + place * ldc, residual + place * ldr, below, count, partners)
            for pair in k.range(panel, k.minimum(panel + group, pairs)):
                for product in k.range(0, PRODUCTS):
                    factors = b + (pair * PRODUCTS + product) * half * width
                    for indices, _ in tiles(k, tile, k.constant(0, I64), count):
                        pointers, sums = table.begin(product, tile, indices)
                        whole = len(indices) >= tile.rows - 1
                        steps = unrolled(k, half) if whole else k.range(0, half)
                        _multiply(k, pointers, factors, steps, sums)
                        rows_of_x = [x + i * width for i in indices]
                        rows_of_v = [v + i * width for i in indices]
                        with k.when(product.equals(P7)):
                            u3 = _added(k, sums, rows_of_x)
                            c22 = _added(k, sums, rows_of_v)
                            _store(k, rows_of_x, u3)
                            for totals, results in zip(sums, c22, strict=True):
                                for total, result in zip(totals, results, strict=True):
                                    total.value = result
                        values = [[total.value for total in totals] for totals in sums]
                        with k.when(product.equals(P5)):
                            _store(k, rows_of_v, values)
                        with k.when(product.equals(P1) | product.equals(P6)):
                            _store(k, rows_of_x, values)
                        with k.when(product.equals(P2) | (product > P5)):
                            right = product.equals(P3) | product.equals(P7)
                            of_partners = product.equals(P4) | product.equals(P7)
                            output.store(pair * 2 + right.to(I64), of_partners, indices, values)
        k.atomic_add(flags + number * SLOT_FLAG, -1)

    return write


class _Table:
    """What the products of a block read: addresses and distances, on the stack."""

    WORDS = 5

    def __init__(self, k: Builder) -> None:
        self.k = k
        self.place = k.local(I64, PRODUCTS * self.WORDS)

    def set(self, product: int, *words: Pointer | Value | int) -> None:
        for i, word in enumerate(words):
            value = self.k.address(word) if isinstance(word, Pointer) else word
            self.k.store(self.place, product * self.WORDS + i, self.k.as_value(value, I64))

    def begin(
        self, product: Value, tile: Tile, indices: list[Value]
    ) -> tuple[list[Pointer], list[list[Variable]]]:
        """(the rows of A, the sums as they begin) of a tile."""
        k, entry = self.k, self.place + product * self.WORDS
        rows, first = k.pointer_at(entry, 0, F32), k.pointer_at(entry, 3, F32)
        lda, end, apart = (k.scalar(entry, i) for i in (1, 2, 4))
        pointers = [rows + k.minimum(i, end) * lda for i in indices]
        sums = []
        for i in indices:
            vectors = [k.load(first + i * apart, j * k.lanes) for j in range(tile.vectors)]
            sums.append([k.variable(k.zeros()) for _ in vectors])
            for total, vector in zip(sums[-1], vectors, strict=True):
                total.value = vector
        return pointers, sums


def _sums_of_a(k: Builder, upper: Pointer, lower: Pointer, half: Value, s: list[Pointer]) -> None:
    """S1 to S4 of a pair of rows."""
    for i, mask in k.vectors(0, half):
        a11, a12 = k.load(upper, i, mask), k.load(upper + half, i, mask)
        a21, a22 = k.load(lower, i, mask), k.load(lower + half, i, mask)
        s1 = a21 + a22
        s2 = s1 - a11
        for row, value in zip(s, (s1, s2, a11 - a21, a12 - s2), strict=True):
            k.store(row, i, value, mask)


def _multiply(
    k: Builder, pointers: list[Pointer], factors: Pointer, steps: Iterator[Value],
    sums: list[list[Variable]],
) -> None:  # fmt: skip
    """Add rows of A times a panel, which comes from far away, to the sums of a tile."""
    vectors = len(sums[0])
    for i in steps:
        here = factors + i * (vectors * k.lanes)
        for line in range(0, vectors * k.lanes, LINE):
            k.prefetch(here + (AHEAD + line))
        columns = [k.load(here, j * k.lanes) for j in range(vectors)]
        for pointer, row in zip(pointers, sums, strict=True):
            factor = k.broadcast(k.scalar(pointer, i))
            for column, total in zip(columns, row, strict=True):
                total.value = k.fma(factor, column, total.value)


def _added(k: Builder, sums: list[list[Variable]], rows: list[Pointer]) -> list[list[Value]]:
    """The sums of a tile plus what lies in those rows."""
    return [
        [k.load(place, j * k.lanes) + total.value for j, total in enumerate(row)]
        for place, row in zip(rows, sums, strict=True)
    ]


def _store(k: Builder, rows: list[Pointer], values: Sequence[Sequence[Value]]) -> None:
    for place, row in zip(rows, values, strict=True):
        for j, value in enumerate(row):
            k.store(place, j * k.lanes, value)


class _Output:
    """Rows of C: bias, residual, clamp."""

    def __init__(
        self, k: Builder, tile: Tile, bias: Pointer, columns: Value, ldc: Value, ldr: Value,
        adds: Value, low: Value, high: Value,
    ) -> None:  # fmt: skip
        self.k, self.tile, self.bias, self.columns = k, tile, bias, columns
        self.ldc, self.ldr, self.adds, self.low, self.high = ldc, ldr, adds, low, high

    def go_to(
        self, c: Pointer, residual: Pointer, below: Value, count: Value, partners: Value
    ) -> None:
        """To a block of `count` rows, of which `partners` have one that far below."""
        self.c, self.residual = c, residual
        self.below, self.count, self.partners = below, count, partners

    def store(
        self, panel: Value, of_partners: Value, indices: list[Value],
        values: Sequence[Sequence[Value]],
    ) -> None:  # fmt: skip
        """The sums of a tile in a panel, of the rows themselves or of their partners."""
        k = self.k
        column = panel * self.tile.width(k.lanes)
        left = self.columns - column
        on = k.select(of_partners, self.below, k.constant(0, I64))
        end = k.select(of_partners, self.partners, self.count)
        for n, (i, row) in enumerate(zip(indices, values, strict=True)):
            # Not the rows that a tile names again, whose residual may be gone already.
            with k.when(indices[0] + n < end):
                for j, value in enumerate(row):
                    with k.when(left >= (j + 1) * k.lanes):
                        self._vector(column + j * k.lanes, i + on, value, None)
                    with k.when((left > j * k.lanes) & (left < (j + 1) * k.lanes)):
                        mask = k.lane_numbers() < k.broadcast((left - j * k.lanes).to(I32))
                        self._vector(column + j * k.lanes, i + on, value, mask)

    def _vector(self, column: Value, i: Value, value: Value, mask: Value | None) -> None:
        k = self.k
        total = k.variable(k.zeros())
        total.value = value + k.load(self.bias, column)
        with k.when(self.adds.differs(0)):
            total.value = total.value + k.load(self.residual, i * self.ldr + column, mask)
        raised = k.maximum(k.broadcast(self.low), total.value)
        k.store(self.c, i * self.ldc + column, k.minimum(k.broadcast(self.high), raised), mask)

"""float32 matrix products: C = clamp(A · B + bias), and convolutions as such products.

In: rows of A, each contiguous and `lda` elements from the next; B packed into panels of a few
vectors' width, [panels][depth][width], padded with zeros; a bias as long as the panels are wide.
Out: rows of C, `ldc` elements apart. Where `adds` is 1, the rows of a residual, `ldr` apart, are
added before clamping; it may be the very memory of C, for a tile reads it before it stores.

A tile of `rows` x `vectors` sums stays in registers while k runs over the depth: a step loads the
vectors of B at k, and broadcasts one element of each row of A to multiply them with. Every sum
starts from the bias and the residual and takes its products in the order of k, so results do not
depend on blocks or threads.

Where B has less columns than a vector has lanes, tiles of dot products do better: their steps are
vectors along the depth, of rows of A and of columns of B, and the lanes of a sum are added up at
the end. Their panels are [panels][columns][depth].

Rows that are left over go through tiles of fewer rows; such a tile may name
the last row more than once, and then computes and stores the same twice.

A work unit is a block of `block` rows times a group of `group` panels; units that share a block
follow one another. A step may have several products of the same sizes, one after another: the
table `products` has four numbers for each, the elements by which its A, B, bias and C (and
residual) lie behind those of the arguments.

- `gemm_f32_RxV`, and `gemm_f32_RxN_dot`: the rows of A are those of a matrix.
- `conv_f32_RxV`, and `conv_f32_RxN_dot`: the rows of A are the windows of a convolution, and are
  never made. For each tile the addresses of its runs are worked out, on the stack: a run is what a
  row of the window covers (all its taps and their channels, where the window is not dilated and
  lies inside the image), or else one tap. Runs outside the image read zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from martlet.kernels.forms import LINE, MAX_RUNS, TILES, Tile
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import (
    F32,
    I32,
    I64,
    Builder,
    Pointer,
    Value,
    Variable,
    arguments,
)
from martlet.kernels.places import Places
from martlet.kernels.targets import Target
from martlet.kernels.tiles import Rows, ask, clamp, one_by_one, tiles, vectors
from martlet.kernels.unrolled import TIMES, unrolled
from martlet.records import NamedTuple, dataclass, replace

AHEAD = 1024  # float32: how far ahead B is asked for where it has one reader

MANY_ROWS = 8
"""More rows than that have no registers for addresses that depend on each other: the compiler would
load many elements through each, ahead of time, and leave none for sums."""

_PRODUCT = (
    "a: *float", "b: *float", "bias: *float", "c: *float", "residual: *float", "products: *i64",
    "count: i64", "depth: i64", "columns: i64", "lda: i64", "ldc: i64", "ldr: i64", "adds: i64",
    "block: i64", "group: i64", "low: float", "high: float",
)  # fmt: skip
GEMM = arguments(*_PRODUCT)
CONV = arguments(
    *_PRODUCT,
    # depth: channels of a tap. zeros: as many as a run has elements, at most.
    "zeros: *float", "height: i64", "width: i64", "out_height: i64", "out_width: i64",
    "taps_h: i64", "taps_w: i64", "stride_h: i64", "stride_w: i64", "dilation_h: i64",
    "dilation_w: i64", "before_h: i64", "before_w: i64",
    # joined: 1 where the taps of a window's row lie side by side in memory.
    # c_image, c_line: from one image, or line, of C to the next; ldc is from place to place.
    "joined: i64", "c_image: i64", "c_line: i64",
)  # fmt: skip


def kernels(target: Target) -> list[Kernel]:
    """All tiles of a target, for matrices and for convolutions."""
    found = []
    for tile in TILES[target.lanes]:
        found.append(Kernel(f"gemm_f32_{tile.name}", _gemm(tile), GEMM))
        if tile.rows > 1:
            found.append(Kernel(f"conv_f32_{tile.name}", _conv(tile), CONV))
    return found


def _gemm(tile: Tile) -> Callable[..., None]:
    def write(k: Builder, *values: Any) -> None:
        *operands, first, last = values
        product = _Product(*operands)
        for unit in _units(k, tile, product, product.depth, first, last):
            for rows in tiles(k, tile, unit.start, unit.stop):
                pointers = [unit.a + i * product.lda for i in rows.numbers]
                if tile.rows > MANY_ROWS:
                    pointers = [k.other_name(pointer) for pointer in pointers]
                # What the next tile reads of A, in even parts for the panels. Of one panel or two
                # a part only: to leave lines out is worse than to leave the rest to the processor.
                next_tile = pointers[0] + product.lda * tile.rows
                panels = unit.last_panel - unit.first_panel
                each = k.minimum(k.constant(TIMES * tile.rows, I64) // panels, LINE)
                part = product.depth // TIMES * each
                for panel in k.range(unit.first_panel, unit.last_panel):
                    coming = next_tile + (panel - unit.first_panel) * part, each
                    sums = unit.sums.start(panel, rows)
                    unit.sums.add(
                        sums, pointers, panel, k.constant(0, I64), product.depth,
                        coming if rows.together and tile.rows > 1 else None,
                    )  # fmt: skip
                    unit.sums.finish(panel, rows, sums)

    return write


def _conv(tile: Tile) -> Callable[..., None]:
    def write(k: Builder, *values: Any) -> None:
        product = _Product(*values[: len(_PRODUCT)])
        depth, lda = product.depth, product.lda
        (
            zeros, height, width, out_height, out_width, taps_h, taps_w, stride_h, stride_w,
            dilation_h, dilation_w, before_h, before_w, joined, c_image, c_line, first, last,
        ) = values[len(_PRODUCT) :]  # fmt: skip
        places = Places(k, tile.rows, out_height, out_width, stride_h, stride_w, before_h, before_w)
        lanes = places.lanes
        spread = places.spread
        table, targets = k.local(I64, MAX_RUNS * lanes), k.local(I64, lanes)
        heights, widths = spread(height), spread(width)
        nothing = k.broadcast(k.address(zeros), lanes)
        reach = spread((taps_w - 1) * dilation_w)
        per_row, per_image = width * lda, height * width * lda
        row_step, column_step = dilation_h * per_row, dilation_w * lda

        for unit in _units(k, tile, product, depth * taps_h * taps_w, first, last):
            origin = k.broadcast(k.address(unit.a), lanes)
            places.go_to(unit.start, unit.stop)
            for rows in tiles(k, tile, unit.start, unit.stop):
                if rows.height < tile.rows:
                    places.go_to(rows.numbers[0], unit.stop)
                unit.sums.go_to(targets, places.numbers(), c_image, c_line)
                image, y, x = places.now()
                base = image * spread(per_image) + y * spread(per_row) + x * spread(lda)
                inside = k.all_lanes((x >= 0) & (x + reach < widths)) & joined.differs(0)
                taps = k.select(inside, k.constant(1, I64), taps_w)
                length = k.select(inside, taps_w * depth, depth)
                for v in k.range(0, taps_h):
                    row_inside = (y + spread(v * dilation_h)).below_unsigned(heights)
                    for h in k.range(0, taps):
                        column_inside = (x + spread(h * dilation_w)).below_unsigned(widths)
                        valid = row_inside & (inside | column_inside)
                        offset = base + spread(v * row_step + h * column_step)
                        address = origin + (offset.to(I64) << 2)
                        k.store(table, (v * taps + h) * lanes, k.select(valid, address, nothing))
                for panel in k.range(unit.first_panel, unit.last_panel):
                    sums = unit.sums.start(panel, rows)
                    for run in k.range(0, taps_h * taps):
                        pointers = [
                            k.pointer_at(table, run * lanes + i, F32) for i in range(rows.height)
                        ]
                        unit.sums.add(sums, pointers, panel, run * length, length)
                    unit.sums.finish(panel, rows, sums)
                if rows.height == tile.rows:
                    places.advance()

    return write


@dataclass
class _Product:
    """The arguments that matrices and convolutions share."""

    a: Pointer
    b: Pointer
    bias: Pointer
    c: Pointer
    residual: Pointer
    products: Pointer
    count: Value
    depth: Value
    columns: Value
    lda: Value
    ldc: Value
    ldr: Value
    adds: Value
    block: Value
    group: Value
    low: Value
    high: Value


class _Unit(NamedTuple):
    """Rows of A from start to stop, times a range of panels, and the sums over them."""

    a: Pointer
    sums: _VectorSums | _DotSums
    start: Value
    stop: Value
    first_panel: Value
    last_panel: Value


def _units(
    k: Builder, tile: Tile, p: _Product, depth: Value, first: Value, last: Value
) -> Iterator[_Unit]:
    """depth: of the whole product, all taps of a window included."""
    panels = (p.columns + (tile.width(k.lanes) - 1)) // tile.width(k.lanes)
    groups = (panels + p.group - 1) // p.group
    each = (p.count + p.block - 1) // p.block * groups
    kind = _DotSums if tile.dots else _VectorSums
    for unit in k.range(first, last):
        a, b, bias, c = (k.scalar(p.products, unit // each * 4 + i) for i in range(4))
        u = unit % each
        start, panel = u // groups * p.block, u % groups * p.group
        here = replace(p, b=p.b + b, bias=p.bias + bias, c=p.c + c, residual=p.residual + c)
        end = k.minimum(panel + p.group, panels)
        yield _Unit(
            p.a + a, kind(k, tile, here, depth, (panel, end)), start,
            k.minimum(start + p.block, p.count), panel, end,
        )  # fmt: skip


class _Sums:
    """The sums of a tile: where they start, what they take, where they go."""

    def __init__(
        self, k: Builder, tile: Tile, product: _Product, depth: Value, panels: tuple[Value, Value]
    ) -> None:
        self.k = k
        self.tile = tile
        self.width = tile.width(k.lanes)
        self.product = product
        self.depth = depth
        self.panels = panels
        self.targets: Pointer | None = None

    def go_to(
        self, targets: Pointer, numbers: tuple[Value, Value, Value], image: Value, line: Value
    ) -> None:
        """Rows of C follow one another no more: where those of a tile begin is put into a table.

        numbers: image, line and place of each; image, line: the distances of the former in C.
        """
        k = self.k
        lanes = numbers[0].type.lanes
        distances = (k.broadcast(n.to(I32), lanes) for n in (image, line, self.product.ldc))
        offsets = [n * distance for n, distance in zip(numbers, distances, strict=True)]
        offset = offsets[0] + offsets[1] + offsets[2]
        origin = k.broadcast(k.address(self.product.c), lanes)
        k.store(targets, 0, origin + (offset.to(I64) << 2))
        self.targets = targets

    def places(self, panel: Value, rows: Rows) -> list[Pointer]:
        """Where a panel's columns begin in these rows of C."""
        column = panel * self.width
        if self.targets is None:
            return self._begins(self.product.c + column, self.product.ldc, rows)
        return [self.k.pointer_at(self.targets, n, F32) + column for n in range(rows.height)]

    def residuals(self, panel: Value, rows: Rows) -> list[Pointer]:
        """The same of the residual."""
        return self._begins(self.product.residual + panel * self.width, self.product.ldr, rows)

    def _begins(self, base: Pointer, pitch: Value, rows: Rows) -> list[Pointer]:
        if rows.together:
            return one_by_one(self.k, base + rows.numbers[0] * pitch, pitch, rows.height)
        return [base + i * pitch for i in rows.numbers]

    def clamp(self, totals: list[Variable]) -> None:
        clamp(self.k, totals, self.product.low, self.product.high)


class _VectorSums(_Sums):
    """Each sum a vector of columns."""

    def start(self, panel: Value, rows: Rows) -> list[list[Variable]]:
        k, p = self.k, self.product
        at = self.product.bias + panel * self.width
        biases = [k.load(at, j * k.lanes) for j in range(self.tile.vectors)]
        sums = [[k.variable(value) for value in biases] for _ in rows.numbers]
        asks = rows.together and rows.height > 1
        if asks and self.targets is None:
            ask(k, self.places(panel, rows), self._next(panel, p.ldc), self.width)
        with k.when(p.adds.differs(0)):
            places = self.residuals(panel, rows)
            if asks:
                ask(k, places, self._next(panel, p.ldr), self.width)
            for j, mask in vectors(k, self.tile, p.columns - panel * self.width):
                for place, row in zip(places, sums, strict=True):
                    row[j].value = row[j].value + k.load(place, j * k.lanes, mask)
        return sums

    def _next(self, panel: Value, pitch: Value) -> Value:
        """How far behind a tile the next one lies: a panel further, or that many rows below."""
        first, end = self.panels
        below = pitch * self.tile.rows - (end - 1 - first) * self.width
        return self.k.select(panel + 1 < end, self.k.constant(self.width, I64), below)

    def add(
        self, sums: list[list[Variable]], pointers: list[Pointer], panel: Value, step: Value,
        length: Value, coming: tuple[Pointer, Value] | None = None,
    ) -> None:  # fmt: skip
        """Add the products of `length` elements of each row with as many steps of a panel.

        coming: memory to ask for meanwhile, and how many elements further every `TIMES` steps.
        """
        k, tile = self.k, self.tile
        b = self.product.b + (panel * self.depth + step) * self.width
        whole = len(pointers) >= tile.rows - 1
        for n, i in enumerate(unrolled(k, length) if whole else k.range(0, length)):
            if n == 0 and whole and coming is not None:
                start, each = coming
                k.prefetch(start + i // TIMES * each)
            if tile.rows == 1:  # B comes from far away, and is all that takes time
                for line in range(0, self.width, LINE):
                    k.prefetch(b + (i * self.width + (AHEAD + line)))
            columns = [k.load(b, i * self.width + j * k.lanes) for j in range(tile.vectors)]
            for pointer, row in zip(pointers, sums, strict=True):
                factor = k.broadcast(k.scalar(pointer, i))
                for column, total in zip(columns, row, strict=True):
                    total.value = k.fma(factor, column, total.value)

    def finish(self, panel: Value, rows: Rows, sums: list[list[Variable]]) -> None:
        """Clamp and store."""
        k = self.k
        places = self.places(panel, rows)
        self.clamp([total for row in sums for total in row])
        values = [[total.value for total in row] for row in sums]
        left = self.product.columns - panel * self.width
        for j, mask in vectors(k, self.tile, left):
            column = [row[j] for row in values]
            if mask is None or k.lanes > 8:
                for place, value in zip(places, column, strict=True):
                    k.store(place, j * k.lanes, value, mask)
            else:
                self._store_rest(places, column, left - j * k.lanes, j * k.lanes)

    def _store_rest(
        self, places: list[Pointer], values: list[Value], count: Value, start: int
    ) -> None:
        """The first `count` lanes, in a half, a quarter…: masked stores take many cycles."""
        k = self.k
        rest = [k.variable(value) for value in values]
        at = k.variable(k.constant(start, I64))
        size = k.lanes // 2
        while size:
            with k.when((count & size).differs(0)):
                here = at.value
                for place, variable in zip(places, rest, strict=True):
                    value = variable.value
                    k.store(place, here, k.shuffle(value, value, range(size)))
                    turned = [(i + size) % k.lanes for i in range(k.lanes)]
                    variable.value = k.shuffle(value, value, turned)
                at.value = here + size
            size //= 2


class _DotSums(_Sums):
    """Each sum a column, its lanes the parts of a dot product."""

    def start(self, panel: Value, rows: Rows) -> list[list[Variable]]:
        k = self.k
        return [[k.variable(k.zeros()) for _ in range(self.width)] for _ in rows.numbers]

    def add(
        self, sums: list[list[Variable]], pointers: list[Pointer], panel: Value, step: Value,
        length: Value, coming: tuple[Pointer, Value] | None = None,
    ) -> None:  # fmt: skip
        """Add the products of `length` elements of each row and of each column."""
        k = self.k
        columns = [
            self.product.b + ((panel * self.width + j) * self.depth + step)
            for j in range(self.width)
        ]
        for i, mask in k.vectors(0, length):
            factors = [k.load(column, i, mask) for column in columns]
            for pointer, row in zip(pointers, sums, strict=True):
                element = k.load(pointer, i, mask)
                for factor, total in zip(factors, row, strict=True):
                    total.value = k.fma(element, factor, total.value)

    def finish(self, panel: Value, rows: Rows, sums: list[list[Variable]]) -> None:
        """Add up the lanes, the bias and the residual, clamp and store."""
        k, p = self.k, self.product
        column = panel * self.width
        places, residuals = self.places(panel, rows), self.residuals(panel, rows)
        for j in range(self.width):
            with k.when(p.columns - column > j):
                bias = k.scalar(p.bias, column + j)
                totals = [k.variable(k.sum_of_lanes(row[j].value) + bias) for row in sums]
                with k.when(p.adds.differs(0)):
                    for residual, total in zip(residuals, totals, strict=True):
                        total.value = total.value + k.scalar(residual, j)
                self.clamp(totals)
                for place, total in zip(places, totals, strict=True):
                    k.store(place, j, total.value)

"""The B of a float32 matrix product, packed into panels for `kernels/gemm.py`: by the plan where it
is constant (`plan/packed.py`), by a step while a model runs where it is computed.

In: matrices of `columns` x `depth` elements, float32 or float16, `matrix` elements from one to the
next, that are

- `pack_rows`: stored by steps of the depth: rows of `columns`, `pitch` apart;
- `pack_columns`: stored by columns: rows of `depth`, `pitch` apart, which are turned;
- `pack_dots`: stored likewise, and left so, for the tiles of dot products.

Out: [matrices][panels][depth][width], for dot products [matrices][panels][width][depth]; dense.
What a last panel has beyond the columns is 0. Units: panels, of all matrices.

Several matrices may be parts of one: its columns, or steps of its depth, one after another. A part
is packed by itself into the panels that it meets. `lane`: where its first column is in the first of
them; what is before is left alone, and what is behind unless `ends` is 1. `whole`: the depth of the
panels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, Builder, Pointer, Value, arguments
from martlet.kernels.movement import TILE, _turned
from martlet.kernels.rows import pieces
from martlet.kernels.targets import Target
from martlet.records import NamedTuple

SOURCES = {"f32": "float", "f16": "half"}
LINE = 16  # elements of a row that are turned together: a cache line


def packers(name: str, write: Callable[..., None], *fields: str) -> list[Kernel]:
    """A kernel that packs, for the types that weights are stored in. Fields are integers."""
    return [
        Kernel(
            f"{name}_{source}",
            write,
            arguments(f"x: *{kind}", "y: *float", *(f"{field}: i64" for field in fields)),
        )
        for source, kind in SOURCES.items()
    ]


FIELDS = ("columns", "depth", "pitch", "matrix", "width", "lane", "whole", "ends")


class _Panel(NamedTuple):
    """What of a part is in a panel: `held` columns from `column` on, from `lane` on, and then
    `clear` columns of zeros."""

    column: Value
    lane: Value
    held: Value
    clear: Value


def _panels(
    k: Builder, columns: Value, width: Value, lane: Value, ends: Value, first: Value, last: Value
) -> Iterator[tuple[Value, Value, _Panel]]:
    """(number of the matrix, of the panel among all, what is packed there) for each unit."""
    panels = (lane + columns + width - 1) // width
    for unit in k.range(first, last):
        begin = unit % panels * width - lane  # the column that would be in lane 0
        column = k.maximum(begin, 0)
        at = column - begin
        count = k.minimum(columns - column, width - at)
        clear = k.select(ends.differs(0), width - at - count, 0)
        yield unit // panels, unit, _Panel(column, at, count, clear)


def pack_rows(
    k: Builder, x: Pointer, y: Pointer, columns: Value, depth: Value, pitch: Value, matrix: Value,
    width: Value, lane: Value, whole: Value, ends: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """Every step of a panel is a piece of a row. width: a multiple of the vectors' lanes."""
    for number, unit, panel in _panels(k, columns, width, lane, ends, first, last):
        source = x + (number * matrix + panel.column)
        target = y + (unit * whole * width + panel.lane)
        with k.when(panel.held >= width):
            for step in k.range(0, depth):
                for i in k.range(0, width, k.lanes):
                    k.store(target, step * width + i, k.load(source, step * pitch + i).to(F32))
        with k.when(panel.held < width):
            for step in k.range(0, depth):
                row = target + step * width
                for i, lanes in pieces(k, width * 0, panel.held):
                    k.store(row, i, k.load(source, step * pitch + i, lanes=lanes).to(F32))
                _clear(k, row, panel.held, panel.held + panel.clear)


def pack_columns(
    k: Builder, x: Pointer, y: Pointer, columns: Value, depth: Value, pitch: Value, matrix: Value,
    width: Value, lane: Value, whole: Value, ends: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """Every column of a panel is a row, turned with its neighbours in square tiles.

    A cache line of each row after another: so both what is read and what is written stays in the
    first cache until it is done with.
    """
    for number, unit, panel in _panels(k, columns, width, lane, ends, first, last):
        source = x + (number * matrix + panel.column * pitch)
        target = y + (unit * whole * width + panel.lane)
        count = panel.held
        tiled, even = count // TILE * TILE, depth // TILE * TILE
        for start in k.range(0, even, LINE):
            stop = k.minimum(start + LINE, even)
            for i in k.range(0, tiled, TILE):
                for step in k.range(start, stop, TILE):
                    tile = square(k, source + (i * pitch + step), pitch)
                    for n, line in enumerate(tile):
                        k.store(target, (step + n) * width + i, line)
        for i in k.range(0, count):
            done = k.select(i < tiled, even, 0)
            for step in k.range(done, depth):
                k.store(target, step * width + i, k.scalar(source, i * pitch + step).to(F32))
        with k.when(panel.clear > 0):
            for step in k.range(0, depth):
                _clear(k, target + step * width, count, count + panel.clear)


def pack_dots(
    k: Builder, x: Pointer, y: Pointer, columns: Value, depth: Value, pitch: Value, matrix: Value,
    width: Value, lane: Value, whole: Value, ends: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """Columns stay the rows that they are."""
    for number, unit, panel in _panels(k, columns, width, lane, ends, first, last):
        source = x + (number * matrix + panel.column * pitch)
        target = y + (unit * width + panel.lane) * whole
        for row in k.range(0, panel.held):
            for i, lanes in pieces(k, depth * 0, depth):
                value = k.load(source, row * pitch + i, lanes=lanes).to(F32)
                k.store(target, row * whole + i, value)
        for row in k.range(panel.held, panel.held + panel.clear):
            _clear(k, target + row * whole, depth * 0, depth)


def square(k: Builder, source: Pointer, pitch: Value) -> list[Value]:
    """The columns of TILE rows, `pitch` apart, of TILE elements, as float32."""
    rows = [k.load(source, n * pitch, lanes=TILE).to(F32) for n in range(TILE)]
    return _turned(k, rows)


def _clear(k: Builder, y: Pointer, start: Value, stop: Value) -> None:
    """Zeros from one element to another."""
    for i, lanes in pieces(k, start, stop):
        k.store(y, i, k.zeros(lanes=lanes))


def kernels(target: Target) -> list[Kernel]:
    """All, for any width of panels. They are the same for every target."""
    return [
        *packers("pack_rows", pack_rows, *FIELDS),
        *packers("pack_columns", pack_columns, *FIELDS),
        *packers("pack_dots", pack_dots, *FIELDS),
    ]

"""What all products share that keep a tile of sums in registers: `gemm.py`, `stem.py` and others.

In: rows of a product, cut into tiles. Out: code that clamps a tile's sums and asks for the memory
of the next ones. Little may stand between two tiles: while that is decoded, multiply-adds run out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from martlet.kernels.forms import LINE, Tile
from martlet.kernels.language import I32, Builder, Pointer, Value, Variable
from martlet.records import NamedTuple


class Rows(NamedTuple):
    """The rows of a tile. together: they follow one another; else the last may be there again."""

    numbers: list[Value]
    together: bool

    @property
    def height(self) -> int:
        return len(self.numbers)


def tiles(k: Builder, tile: Tile, start: Value, stop: Value) -> Iterator[Rows]:
    """Tiles that cover the rows from start to stop.

    Some tiles of one row less leave nothing over where else one or two rows would be.
    """
    whole = start + (stop - start) // tile.rows * tile.rows
    end = whole
    if tile.shorter:
        left = stop - whole
        fewer = stop - (tile.rows - left) * tile.shorter
        evens = ((left.equals(1) | left.equals(2)) & (fewer >= start)) | left.equals(tile.shorter)
        whole, end = k.select(evens, fewer, whole), k.select(evens, stop, whole)
    for row in k.range(start, whole, tile.rows):
        yield Rows([row + i for i in range(tile.rows)], True)
    if tile.shorter:
        for row in k.range(whole, end, tile.shorter):
            yield Rows([row + i for i in range(tile.shorter)], True)
    left = stop - end
    for rows, below in zip(tile.fewer, (*tile.fewer[1:], 0), strict=False):
        if rows == tile.shorter == below + 1:
            continue
        with k.when((left > below) & (left <= rows)):
            yield Rows([end] + [k.minimum(end + i, stop - 1) for i in range(1, rows)], False)


def vectors(k: Builder, tile: Tile, left: Value) -> Iterator[tuple[int, Value | None]]:
    """The vectors of a panel that have columns, each once as a whole and once under a mask.

    left: columns from the panel's first on.
    """
    width = tile.width(k.lanes)
    with k.when(left >= width):
        for j in range(tile.vectors):
            yield j, None
    with k.when(left < width):
        for j in range(tile.vectors - 1):
            with k.when(left >= (j + 1) * k.lanes):
                yield j, None
        for j in range(tile.vectors):
            with k.when((left > j * k.lanes) & (left < (j + 1) * k.lanes)):
                yield j, k.lane_numbers() < k.broadcast((left - j * k.lanes).to(I32))


def one_by_one(k: Builder, first: Pointer, pitch: Value, count: int) -> list[Pointer]:
    """Where rows begin: each is a step from the one before, lest all are kept, which takes longer.

    pitch: elements from one to the next.
    """
    found = [first]
    while len(found) < count:
        found.append(k.other_name(found[-1]) + pitch)
    return found


def ask(k: Builder, places: Sequence[Pointer], distance: Value | int, width: int) -> None:
    """Ask for `width` columns that lie so far behind these places, to be there when they are used.

    Sums wait for a residual that is not there, and stores that miss the cache fill their queue.
    """
    for place in places:
        for line in range(0, width, LINE):
            k.prefetch(place + (distance + line))


def clamp(k: Builder, totals: Sequence[Variable], low: Value, high: Value) -> None:
    """Into the interval; NaNs stay. Without an upper end, half of it is left out."""
    for total in totals:
        total.value = k.maximum(k.as_value(low, total.type), total.value)
    with k.when(high < float("inf")):
        for total in totals:
            total.value = k.minimum(k.as_value(high, total.type), total.value)

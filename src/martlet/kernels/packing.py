"""The B of a float32 matrix product, packed into panels for `kernels/gemm.py` while a model runs.

In: matrices of `columns` x `depth` elements, `matrix` elements from one to the next, that are

- `pack_rows_f32`: stored by steps of the depth: rows of `columns`, `pitch` apart;
- `pack_columns_f32`: stored by columns: rows of `depth`, `pitch` apart, which are turned.

Out: [matrices][panels][depth][width], dense. What a last panel has beyond the columns is left as it
was: its products are never stored. Units: panels, of all matrices.
"""

from __future__ import annotations

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import Builder, Pointer, Value, arguments
from martlet.kernels.movement import TILE, _turned
from martlet.kernels.rows import pieces
from martlet.kernels.targets import Target

ARGUMENTS = arguments(
    "x: *float", "y: *float", "columns: i64", "depth: i64", "pitch: i64", "matrix: i64",
    "width: i64",
)  # fmt: skip


def pack_rows(
    k: Builder, x: Pointer, y: Pointer, columns: Value, depth: Value, pitch: Value, matrix: Value,
    width: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """Every step of a panel is a piece of a row. width: a multiple of the vectors' lanes."""
    panels = (columns + width - 1) // width
    for unit in k.range(first, last):
        column = unit % panels * width
        source, target = x + (unit // panels * matrix + column), y + unit * depth * width
        left = columns - column
        with k.when(left >= width):
            for step in k.range(0, depth):
                for i in k.range(0, width, k.lanes):
                    k.store(target, step * width + i, k.load(source, step * pitch + i))
        with k.when(left < width):
            for step in k.range(0, depth):
                for i, lanes in pieces(k, left * 0, left):
                    value = k.load(source, step * pitch + i, lanes=lanes)
                    k.store(target, step * width + i, value)


def pack_columns(
    k: Builder, x: Pointer, y: Pointer, columns: Value, depth: Value, pitch: Value, matrix: Value,
    width: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """Every column of a panel is a row, turned with its neighbours in square tiles."""
    panels = (columns + width - 1) // width
    whole = depth // TILE * TILE
    for unit in k.range(first, last):
        column = unit % panels * width
        source = x + (unit // panels * matrix + column * pitch)
        target = y + unit * depth * width
        count = k.minimum(columns - column, width)
        tiled = count // TILE * TILE
        for i in k.range(0, tiled, TILE):
            rows = [source + (i + n) * pitch for n in range(TILE)]
            for step in k.range(0, whole, TILE):
                tile = [k.load(row, step, lanes=TILE) for row in rows]
                for n, line in enumerate(_turned(k, tile)):
                    k.store(target, (step + n) * width + i, line)
        for i in k.range(0, count):
            done = k.select(i < tiled, whole, 0)
            for step in k.range(done, depth):
                k.store(target, step * width + i, k.scalar(source, i * pitch + step))


def kernels(target: Target) -> list[Kernel]:
    """Both, for any width of panels. They are the same for every target."""
    return [
        Kernel("pack_rows_f32", pack_rows, ARGUMENTS),
        Kernel("pack_columns_f32", pack_columns, ARGUMENTS),
    ]

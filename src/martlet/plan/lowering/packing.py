"""The factors of products as `kernels/gemm.py` reads them: packed by the plan where they are known,
by a step of their own (`kernels/packing.py`) where they are computed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from martlet.kernels.forms import BAND, TILES, Tile
from martlet.plan.blocking import pack, padded, product_time
from martlet.plan.lowering import Lowering, Ref
from martlet.plan.packed import Piece
from martlet.records import NamedTuple


class Packed(NamedTuple):
    """Matrices or biases: where the first is, and elements from one to the next."""

    place: Ref
    step: int


class Matrices(NamedTuple):
    """Factors that are computed: `many` matrices of columns x depth, dense but for their rows.

    order: what the rows of memory are, "columns" of `depth` elements, or "rows" of `columns`
    elements for each step of the depth; they are `pitch` elements apart.
    """

    place: Ref
    many: int
    columns: int
    depth: int
    order: str
    pitch: int

    @property
    def step(self) -> int:
        """Elements from one matrix to the next."""
        return self.pitch * (self.columns if self.order == "columns" else self.depth)

    def in_place(self, tile: Tile) -> bool:
        """Whether the kernels of a tile can read them where they are."""
        dense = self.order == "columns" and self.pitch == self.depth
        return dense and tile.dots and self.columns % tile.vectors == 0


def packed_weights(lowering: Lowering, i: int, shape: tuple[int, int, int], tile: Tile) -> Packed:
    """Input i as matrices of (count, columns, depth), for a tile."""
    value = lowering.call.stored(i)
    if value is None:
        return packed_matrices(lowering, weights_of(lowering, i, shape), tile)
    return packed_constants(lowering, value.reshape(shape), tile)


def packed_constants(lowering: Lowering, weights: np.ndarray, tile: Tile) -> Packed:
    """Matrices (count, columns, depth) that are known, for a tile."""
    count, columns, depth = weights.shape
    width = tile.width(lowering.lanes)
    panels = math.ceil(columns / width)
    size = panels * depth * width
    matrix, column, step = (n // weights.itemsize for n in weights.strides)
    if step == 1 or depth == 1:
        kernel, pitch = "pack_dots" if tile.dots else "pack_columns", column
    elif (column == 1 or columns == 1) and not tile.dots:
        kernel, pitch = "pack_rows", step
    else:
        made = lowering.packed(
            weights, ("product", tile), lambda: pack(weights, tile, lowering.lanes)
        )
        return Packed(lowering.data(made), size)
    packed = lowering.pack(
        weights, kernel, columns, depth, pitch, matrix, width, 0, depth, 1,
        size=count * size, units=count * panels,
    )  # fmt: skip
    return Packed(lowering.data(packed), size)


class Part(NamedTuple):
    """Weights (columns, depth) that are a part of a matrix, and where they begin in it."""

    weights: np.ndarray
    column: int = 0
    step: int = 0


class Computed(NamedTuple):
    """Weights that are computed: where they are, and an array of their shape that stands for them,
    and whose views are their parts."""

    place: Ref
    array: np.ndarray


def packed_parts(
    lowering: Lowering, parts: Sequence[Part], columns: int, depth: int, tile: Tile,
    computed: Computed | None = None,
) -> Packed:  # fmt: skip
    """A matrix of columns x depth that these parts are, for a tile; steps pack what is computed."""
    width = tile.width(lowering.lanes)
    size = math.ceil(columns / width) * depth * width
    pieces = [_piece(part, columns, depth, width, tile.dots) for part in parts]
    if computed is None:
        return Packed(lowering.data(lowering.pack_joined(pieces, size)), size)
    target, begin = lowering.scratch(4 * size), computed.array.ctypes.data
    for piece in pieces:
        lowering.step(
            f"{piece.kernel}_f32", computed.place.at(piece.weights.ctypes.data - begin),
            target.at(4 * piece.start), *piece.numbers, units=piece.units,
        )  # fmt: skip
    return Packed(target, size)


def _piece(part: Part, columns: int, depth: int, width: int, dots: bool) -> Piece:
    """How a kernel packs it (`kernels/packing.py`)."""
    weights = part.weights
    if weights.strides[1] != weights.itemsize:
        weights = np.ascontiguousarray(weights)
    count, length = weights.shape
    panel, lane = divmod(part.column, width)
    panels, ends = math.ceil((lane + count) / width), part.column + count == columns
    start, stop = panel * width * depth, (panel + panels) * width * depth
    if dots:
        start, stop = start + part.step, stop if ends else (part.column + count) * depth
        stop += part.step + length - depth
    else:
        start, stop = start + part.step * width, stop + (part.step + length - depth) * width
    return Piece(
        weights, "pack_dots" if dots else "pack_columns",
        (count, length, weights.strides[0] // weights.itemsize, 0, width, lane, depth, int(ends)),
        panels, start, stop,
    )  # fmt: skip


def weights_of(lowering: Lowering, i: int, shape: tuple[int, int, int]) -> Matrices:
    """Weights that are computed, by columns, as convolutions and dense layers have them."""
    return Matrices(lowering.input(i), *shape, "columns", shape[2])


def tiles_for(lowering: Lowering, b: Matrices, rows: int, uses: float = 1) -> tuple[Tile, ...]:
    """The tile that takes the least time, packing included, for products of so many rows.

    uses: how many products there are for each of the matrices.
    """
    costs = lowering.costs

    def time(tile: Tile) -> float:
        product = product_time(tile, rows, b.columns, b.depth, b.depth, costs)
        if b.in_place(tile):
            return uses * product
        along = (b.order == "columns") == tile.dots
        vector = costs.pack_along if along else costs.pack_across
        return uses * product + vector * b.columns * b.depth / costs.lanes

    return (min(TILES[costs.lanes], key=time),)


def packed_matrices(lowering: Lowering, b: Matrices, tile: Tile) -> Packed:
    """Add the step that packs matrices for a tile, if one is needed."""
    if b.in_place(tile):
        return Packed(b.place, b.step)
    panels = math.ceil(b.columns / tile.width(lowering.lanes))
    width = tile.width(lowering.lanes)
    size = panels * b.depth * width
    place = lowering.scratch(4 * b.many * size)
    if tile.dots:
        turned = b.order == "rows"
        rows, length = (b.depth, b.columns) if turned else (b.columns, b.depth)
        copy_matrices(lowering, b.place, place, b.many, rows, length, b.pitch, size, turned)
        return Packed(place, size)
    lowering.step(
        f"pack_{b.order}_f32", b.place, place, b.columns, b.depth, b.pitch, b.step, width,
        0, b.depth, 1, units=b.many * panels,
    )  # fmt: skip
    return Packed(place, size)


def copy_matrices(
    lowering: Lowering, x: Ref, y: Ref, count: int, rows: int, length: int, pitch: int, size: int,
    turned: bool,
) -> None:  # fmt: skip
    """Add the step that copies matrices of rows x length, or turns them: to length x rows.

    pitch: from row to row of the source; the target's rows follow one another. size: from one
    matrix of the target to the next.
    """
    if turned:
        lowering.step(
            "transpose_i32", x, y, rows, length, pitch, rows, count, 0, rows * pitch, 0, size,
            units=count * math.ceil(rows / BAND),
        )  # fmt: skip
        return
    lowering.step(
        "copy_rows", x, y, 4 * length, count, rows, 0, 4 * rows * pitch, 4 * pitch,
        0, 4 * size, 4 * length, units=4 * count * rows * length,
    )  # fmt: skip


def packed_bias(lowering: Lowering, i: int, count: int, columns: int, tile: Tile) -> Packed:
    """Input i as the biases of so many products; zeros if there is none."""
    call, width = lowering.call, tile.width(lowering.lanes)
    if call.has(i) and call.stored(i) is None:
        if tile.dots or columns % width == 0:
            return Packed(lowering.input(i), columns)
        biases = Matrices(lowering.input(i), count, columns, 1, "rows", columns)
        return packed_matrices(lowering, biases, tile)
    bias = padded(call.value(i), columns, width, count)
    return Packed(lowering.data(bias), bias.size // count)

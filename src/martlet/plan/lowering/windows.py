"""Arguments of kernels that move windows over images (`kernels/windows.py`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from martlet.kernels.forms import Square
from martlet.ops.sliding_window import Axis
from martlet.plan.costs import Costs
from martlet.plan.lowering import Lowering

CACHE_LINE = 16  # elements
MOST_ROWS = 7
FEW_ROWS = 32


def image_arguments(
    lowering: Lowering, axes: Sequence[Axis], channels: int, x_pixel: int
) -> tuple[list[int], int]:
    """(the arguments `kernels.windows.IMAGE`, units) for an image of input 0's size and output 0.

    x_pixel: elements from one pixel of the image to the next.
    """
    batches, height, width, _ = lowering.image_shape()
    y_pixel = lowering.output_pitch(channels)
    vertical, horizontal = axes
    rows = batches * vertical.positions
    block = block_of(rows, channels, lowering.costs, lowering.threads)
    arguments = [
        height, width, channels, vertical.positions, horizontal.positions, width * x_pixel, x_pixel,
        horizontal.positions * y_pixel, y_pixel, vertical.before, horizontal.before, rows, *block,
    ]  # fmt: skip
    return arguments, math.ceil(rows / block[0]) * math.ceil(channels / block[1])


def window_arguments(axes: Sequence[Axis]) -> list[int]:
    """The arguments `kernels.windows.WINDOW`."""
    return [getattr(axis, name) for name in ("taps", "stride", "dilation") for axis in axes]


def square_window(
    axes: Sequence[Axis], channels: int, squares: Sequence[Square], fewest: int
) -> Square | None:
    """The first of these for whose kernel there are windows; it wants `fewest` channels."""
    _, horizontal = axes
    kinds = {(axis.taps, axis.stride, axis.dilation) for axis in axes}
    for square in squares:
        fits = (
            kinds == {(square.taps, square.stride, 1)}
            and channels >= fewest
            and horizontal.positions >= square.tile
            and _hanging(horizontal) <= square.taps // 2
            and (square.rows == 1 or _filled(horizontal.positions, square.tile))
        )
        if fits:
            return square
    return None


def _filled(positions: int, tile: int) -> bool:
    """Whether tiles, the last of which does some columns again, take little more than once each."""
    return -(-positions // tile) * tile < 1.12 * positions


def _hanging(axis: Axis) -> int:
    """How far windows reach over an end of the image, at most."""
    last = (axis.positions - 1) * axis.stride - axis.before + (axis.taps - 1) * axis.dilation
    return max(axis.before, last + 1 - axis.size)


def block_of(rows: int, channels: int, costs: Costs, threads: int) -> tuple[int, int]:
    """(rows, channels) of a unit: few rows, and so many channels that every thread gets several.

    Kernels that go through all rows of a block for one vector of channels find the block in the
    first cache. Of few rows, blocks are equal: threads take as many blocks each.
    """
    block_rows = min(rows, costs.window_rows)
    if rows <= FEW_ROWS and rows % block_rows:
        block_rows = max((n for n in range(2, MOST_ROWS + 1) if rows % n == 0), default=block_rows)
    wanted = threads * costs.window_pieces if threads > 1 else 1
    lines = math.ceil(channels / CACHE_LINE)
    pieces = min(max(1, wanted // math.ceil(rows / block_rows)), lines)
    return block_rows, math.ceil(lines / pieces) * CACHE_LINE

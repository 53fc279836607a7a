"""Arguments of kernels that move windows over images (`kernels/windows.py`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from martlet.ops.sliding_window import Axis
from martlet.plan.lowering import GRAINS, Lowering

CACHE_LINE = 64
LEVEL_1 = 24 << 10  # bytes of the first cache that the lines of a block may take


def image_arguments(lowering: Lowering, axes: Sequence[Axis]) -> tuple[list[int], int]:
    """(the arguments `kernels.windows.IMAGE`, units) for input 0 and output 0, both dense."""
    batches, height, width, channels = lowering.call.shape(0)
    vertical, horizontal = axes
    rows = batches * vertical.positions
    block = block_of(rows, horizontal, vertical.stride, channels, lowering.threads)
    arguments = [
        height, width, channels, vertical.positions, horizontal.positions, width * channels,
        horizontal.positions * channels, vertical.before, horizontal.before, rows, *block,
    ]  # fmt: skip
    return arguments, math.ceil(rows / block[0]) * math.ceil(channels / block[1])


def window_arguments(axes: Sequence[Axis]) -> list[int]:
    """The arguments `kernels.windows.WINDOW`."""
    return [getattr(axis, name) for name in ("taps", "stride", "dilation") for axis in axes]


def block_of(
    rows: int, horizontal: Axis, stride: int, channels: int, threads: int
) -> tuple[int, int]:
    """(rows, channels) of a unit.

    As many rows as let the image's lines under one vector of channels stay in the first cache,
    and so many channels that every thread gets several units.
    """
    lines = LEVEL_1 // (CACHE_LINE * horizontal.size)
    block_rows = min(rows, max(1, (lines - 2) // stride))
    wanted = threads * GRAINS if threads > 1 else 1
    pieces = min(max(1, wanted // math.ceil(rows / block_rows)), math.ceil(channels / 16))
    line_channels = CACHE_LINE // 4
    return block_rows, math.ceil(channels / pieces / line_channels) * line_channels

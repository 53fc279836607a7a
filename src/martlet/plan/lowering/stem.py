"""The first convolution of a network (`kernels/stem.py`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from martlet.kernels.forms import CHANNELS, STEMS, Stem, tile_of
from martlet.ops.sliding_window import Axis
from martlet.plan.blocking import padded
from martlet.plan.lowering import Lowering
from martlet.plan.lowering.packing import packed_constants


def stem(
    lowering: Lowering, weights: np.ndarray, axes: Sequence[Axis], interval: tuple[float, float]
) -> bool:
    """Add the step of a convolution with weights (channels, height, width, 3), if it is such."""
    batches, height, width, depth = lowering.image_shape()
    channels, taps = len(weights), weights.shape[1]
    tile = tile_of(lowering.lanes)
    vertical, horizontal = axes
    fits = (
        depth == weights.shape[3] == lowering.pitch(0) == CHANNELS
        and len({(axis.taps, axis.stride, axis.dilation) for axis in axes}) == 1
        and (vertical.taps, vertical.stride) in STEMS
        and vertical.dilation == 1
        and horizontal.positions >= tile.rows
        and lowering.residual() is None
    )
    if not fits:
        return False
    panel, y_pixel = tile.width(lowering.lanes), lowering.output_pitch(channels)
    matrix = packed_constants(lowering, weights.reshape(1, channels, -1), tile)
    rows, block = batches * vertical.positions, lowering.costs.window_rows
    lowering.step(
        f"stem_f32_{Stem(taps, vertical.stride).name}",
        lowering.input(0), matrix.place,
        lowering.data(padded(lowering.call.value(2), channels, panel)), lowering.output(),
        *interval, height, width, channels, vertical.positions, horizontal.positions,
        width * CHANNELS, CHANNELS, horizontal.positions * y_pixel, y_pixel, vertical.before,
        horizontal.before, rows, block, channels,
        units=math.ceil(rows / block), grain=1,
    )  # fmt: skip
    return True

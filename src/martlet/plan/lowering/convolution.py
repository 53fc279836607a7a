"""CONV_2D in float32 with constant weights, as a matrix product (`kernels/gemm.py`).

A 1x1 window with stride 1 leaves the image as it is: a matrix of pixels by channels. A window as
large as the image has one place: a row for each image. Any other is gathered on the way into the
product, unless Winograd's algorithms take less time (`winograd.py`). Convolutions in groups stay
with NumPy.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.kernels.gemm import MAX_RUNS, TILES
from martlet.ops.sliding_window import Axis, window_axes
from martlet.plan.blocking import blocking, pack, padded
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.dense import clamp_of, float_constant, has_constant_bias
from martlet.plan.lowering.winograd import winograd

INT32_MAX = (1 << 31) - 1  # the kernel numbers elements and windows with 32 bits


@lowers("CONV_2D")
def conv_2d(lowering: Lowering) -> bool:
    """Windows of the image times weights (channels, height, width, depth), bias, clamped."""
    weights = float_constant(lowering, 1)
    interval = clamp_of(lowering)
    if weights is None or interval is None or not has_constant_bias(lowering, 2):
        return False
    batches, height, width, depth = lowering.call.shape(0)
    channels, taps_h, taps_w, group_depth = weights.shape
    if group_depth != depth:
        return False
    axes = window_axes(lowering.call, "hw", (height, width), (taps_h, taps_w))
    windows = batches * axes[0].positions * axes[1].positions
    if windows == 0 or winograd(lowering, weights):
        return True
    matrix = weights.reshape(channels, -1)
    plain = all(axis.taps == axis.stride == 1 for axis in axes)
    whole = all(
        axis.positions == 1 and axis.taps == axis.size and (axis.dilation == 1 or axis.taps == 1)
        for axis in axes
    )
    if plain or whole:
        depth = matrix.shape[1]
        plan = blocking(windows, channels, depth, lowering.lanes, lowering.threads)
    elif _fits(lowering, axes, depth, windows):
        tiles = tuple(tile for tile in TILES[lowering.lanes] if tile.rows > 1)
        row_bytes = 4 * depth * min(axes[0].stride, taps_h) * min(axes[1].stride, taps_w)
        run = depth * (taps_w if axes[1].dilation == 1 else 1)
        plan = blocking(
            windows, channels, matrix.shape[1], lowering.lanes, lowering.threads,
            row_bytes=row_bytes, run=run, tiles=tiles,
        )  # fmt: skip
    else:
        return False
    arguments = [
        lowering.input(0), lowering.data(pack(matrix, plan.tile, lowering.lanes)),
        lowering.data(padded(lowering.call.value(2), channels, plan.width)), lowering.output(),
        windows, depth, channels, depth, channels, plan.block, plan.group, *interval,
    ]  # fmt: skip
    if plain or whole:
        lowering.step(f"gemm_f32_{plan.tile.name}", *arguments, units=plan.units, grain=1)
        return True
    geometry = [
        getattr(axis, name)
        for name in ("size", "positions", "taps", "stride", "dilation", "before")
        for axis in axes
    ]
    joined = int(axes[1].dilation == 1)
    zeros = lowering.data(np.zeros(taps_w * depth, np.float32))
    lowering.step(
        f"conv_f32_{plan.tile.name}", *arguments, zeros, *geometry, joined,
        units=plan.units, grain=1,
    )  # fmt: skip
    return True


def _fits(lowering: Lowering, axes: list[Axis], depth: int, windows: int) -> bool:
    """Whether the kernel can number all elements, those under windows that hang over included."""
    reach = [
        (axis.positions - 1) * axis.stride + (axis.taps - 1) * axis.dilation + axis.size
        for axis in axes
    ]
    elements = lowering.call.shape(0)[0] * math.prod(reach) * depth
    runs = math.prod(axis.taps for axis in axes)
    return runs <= MAX_RUNS and max(elements, windows) < INT32_MAX

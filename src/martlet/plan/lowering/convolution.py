"""CONV_2D in float32 with constant weights, as a matrix product (`kernels/gemm.py`).

A 1x1 window with stride 1 leaves the image as it is: a matrix of pixels by channels, which large
ones multiply by Strassen's algorithm (`strassen.py`). A window as large as the image has one place:
a row for each image, if pixels lie side by side. Some windows over images of three channels have
kernels of their own (`stem.py`). Any other is gathered on the way into the product, unless
Winograd's algorithms take less time (`winograd.py`).
A convolution in groups is a product for each: of some channels of the pixels, to some channels.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.kernels.gemm import MAX_RUNS, TILES
from martlet.ops.sliding_window import Axis
from martlet.plan.blocking import blocking
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.dense import (
    clamp_of,
    float_constant,
    has_constant_bias,
    product,
)
from martlet.plan.lowering.stem import stem
from martlet.plan.lowering.strassen import strassen
from martlet.plan.lowering.winograd import winograd

INT32_MAX = (1 << 31) - 1  # the kernel numbers elements and windows with 32 bits


@lowers("CONV_2D", pitched=True, absorbs=("PAD", "ADD", "ACTIVATION"))
def conv_2d(lowering: Lowering) -> bool:
    """Windows of the image times weights (channels, height, width, depth), bias, clamped."""
    weights = float_constant(lowering, 1)
    interval = clamp_of(lowering)
    if weights is None or interval is None or not has_constant_bias(lowering, 2):
        return False
    batches, _, _, image_depth = lowering.image_shape()
    channels, taps_h, taps_w, depth = weights.shape
    groups, pitch = image_depth // depth, lowering.pitch(0)
    axes = lowering.image_axes((taps_h, taps_w))
    windows = batches * axes[0].positions * axes[1].positions
    if windows == 0 or (groups == 1 and winograd(lowering, weights)):
        return True
    if stem(lowering, weights, axes, interval):
        return True
    matrix = weights.reshape(groups, channels // groups, -1)
    _, columns, length = matrix.shape
    plain = all(
        axis.taps == axis.stride == 1 and axis.positions == axis.size and axis.before == 0
        for axis in axes
    )
    whole = pitch == depth and all(
        axis.positions == 1
        and axis.taps == axis.size
        and axis.before == 0
        and (axis.dilation == 1 or axis.taps == 1)
        for axis in axes
    )
    places = windows // batches
    if plain and groups == 1 and strassen(lowering, matrix[0], batches, places, pitch, interval):
        return True
    if plain or whole:
        plan = blocking(windows, columns, length, lowering.lanes, lowering.threads)
        lda = pitch if plain else length
        arguments = product(lowering, matrix, plan, windows, length, lda, interval)
        lowering.step(
            f"gemm_f32_{plan.tile.name}", *arguments, units=groups * plan.units, grain=1
        )  # fmt: skip
        return True
    if not _fits(axes, batches, pitch, windows):
        return False
    joined = axes[1].dilation == 1 and pitch == depth
    plan = blocking(
        windows, columns, length, lowering.lanes, lowering.threads,
        row_bytes=4 * depth * min(axes[0].stride, taps_h) * min(axes[1].stride, taps_w),
        run=depth * (taps_w if joined else 1),
        tiles=tuple(tile for tile in TILES[lowering.lanes] if tile.rows > 1),
    )  # fmt: skip
    geometry = [
        getattr(axis, name)
        for name in ("size", "positions", "taps", "stride", "dilation", "before")
        for axis in axes
    ]
    lowering.step(
        f"conv_f32_{plan.tile.name}",
        *product(lowering, matrix, plan, windows, depth, pitch, interval),
        lowering.data(np.zeros(taps_w * depth, np.float32)), *geometry, int(joined),
        units=groups * plan.units, grain=1,
    )  # fmt: skip
    return True


def _fits(axes: list[Axis], batches: int, pitch: int, windows: int) -> bool:
    """Whether the kernel can number all elements, those under windows that hang over included."""
    reach = [
        (axis.positions - 1) * axis.stride + (axis.taps - 1) * axis.dilation + axis.size
        for axis in axes
    ]
    elements = batches * math.prod(reach) * pitch
    runs = math.prod(axis.taps for axis in axes)
    return runs <= MAX_RUNS and max(elements, windows) < INT32_MAX

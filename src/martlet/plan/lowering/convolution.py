"""CONV_2D in float32, as a matrix product (`kernels/gemm.py`).

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

from martlet.kernels.forms import MAX_RUNS, TILES
from martlet.ops.sliding_window import Axis
from martlet.plan.blocking import Blocking, blocking
from martlet.plan.lowering import RESIDUAL, Lowering, lowers
from martlet.plan.lowering.dense import Factors, Sizes, are_float, clamp_of, packable, product
from martlet.plan.lowering.packing import (
    packed_bias,
    packed_weights,
    tiles_for,
    weights_of,
)
from martlet.plan.lowering.stem import stem
from martlet.plan.lowering.strassen import strassen
from martlet.plan.lowering.winograd import winograd

INT32_MAX = (1 << 31) - 1  # the kernel numbers elements and windows with 32 bits


@lowers("CONV_2D", pitched=True, absorbs=("PAD", "ADD", "ACTIVATION"), overwrites=(RESIDUAL,))
def conv_2d(lowering: Lowering) -> bool:
    """Windows of the image times weights (channels, height, width, depth), bias, clamped."""
    call = lowering.call
    interval = clamp_of(lowering)
    if interval is None or not are_float(lowering, 0, 1, 2) or not packable(lowering, 1, 2):
        return False
    batches, _, _, image_depth = lowering.image_shape()
    channels, taps_h, taps_w, depth = call.shape(1)
    groups, pitch = image_depth // depth, lowering.pitch(0)
    axes = lowering.image_axes((taps_h, taps_w))
    windows = batches * axes[0].positions * axes[1].positions
    if windows == 0:
        return True
    weights = call.stored(1)
    known = weights is not None and not (call.has(2) and call.stored(2) is None)
    if weights is not None and known:
        if groups == 1 and winograd(lowering, weights):
            return True
        if stem(lowering, weights, axes, interval):
            return True
    columns, length = channels // groups, taps_h * taps_w * depth
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
    if weights is not None and known and plain and groups == 1:
        places = windows // batches
        matrix = weights.reshape(columns, length)
        if strassen(lowering, matrix, batches, places, pitch, interval):
            return True
    if not (plain or whole):
        return _windows(lowering, axes, groups, interval)
    shape, tiles = (groups, columns, length), None
    if weights is None:
        tiles = tiles_for(lowering, weights_of(lowering, 1, shape), windows)
    plan = blocking(windows, columns, length, lowering.costs, lowering.threads, tiles=tiles)
    factors = Factors(
        lowering.input(0), packed_weights(lowering, 1, shape, plan.tile),
        packed_bias(lowering, 2, groups, columns, plan.tile), lowering.output(),
    )  # fmt: skip
    lda = pitch if plain else length
    sizes = Sizes(windows, length, columns, lda, lowering.output_pitch(channels))
    lowering.step(
        f"gemm_f32_{plan.tile.name}", *product(lowering, factors, sizes, plan, interval, groups),
        units=groups * plan.units, grain=1,
    )  # fmt: skip
    return True


def _windows(
    lowering: Lowering, axes: list[Axis], groups: int, interval: tuple[float, float]
) -> bool:
    """The product of windows that are gathered on the way."""
    channels, taps_h, taps_w, depth = lowering.call.shape(1)
    batches, pitch = lowering.image_shape()[0], lowering.pitch(0)
    shape = groups, channels // groups, taps_h * taps_w * depth
    y_pitch = lowering.output_pitch(channels)
    if not fits(axes, batches, pitch, y_pitch):
        return False
    plan = window_blocking(lowering, axes, batches, shape[1], depth, pitch == depth)
    factors = Factors(
        lowering.input(0), packed_weights(lowering, 1, shape, plan.tile),
        packed_bias(lowering, 2, groups, shape[1], plan.tile), lowering.output(),
    )  # fmt: skip
    ends = tuple(axis.positions for axis in axes)
    gathered(
        lowering, factors, axes, plan, batches=batches, depth=depth, columns=shape[1],
        lda=pitch, strides=(ends[0] * ends[1] * y_pitch, ends[1] * y_pitch, y_pitch),
        interval=interval, groups=groups,
    )  # fmt: skip
    return True


def window_blocking(
    lowering: Lowering, axes: list[Axis], batches: int, columns: int, depth: int, dense: bool
) -> Blocking:
    """How to cut the product of windows over an image; dense: its pixels have `depth` elements.

    A window may have no taps; then its product is the bias.
    """
    vertical, horizontal = axes
    joined = horizontal.dilation == 1 and dense
    return blocking(
        batches * vertical.positions * horizontal.positions, columns,
        max(1, vertical.taps * horizontal.taps) * depth, lowering.costs, lowering.threads,
        row_bytes=4 * depth * min(vertical.stride, vertical.taps)
        * min(horizontal.stride, horizontal.taps),
        run=depth * (max(1, horizontal.taps) if joined else 1),
        tiles=tuple(tile for tile in TILES[lowering.lanes] if tile.rows > 1),
    )  # fmt: skip


def gathered(
    lowering: Lowering, factors: Factors, axes: list[Axis], plan: Blocking, *, batches: int,
    depth: int, columns: int, lda: int, strides: tuple[int, int, int],
    interval: tuple[float, float], groups: int = 1, offsets: np.ndarray | None = None,
    more: bool = False,
) -> None:  # fmt: skip
    """Add the step of a product whose rows are windows over images.

    depth: channels of a tap. strides: from one image, line and place of C to the next. groups,
    offsets, more: as for `product`.
    """
    windows = batches * axes[0].positions * axes[1].positions
    geometry = [
        getattr(axis, name)
        for name in ("size", "positions", "taps", "stride", "dilation", "before")
        for axis in axes
    ]
    joined = axes[1].dilation == 1 and lda == depth
    sizes = Sizes(windows, depth, columns, lda, strides[2])
    lowering.step(
        f"conv_f32_{plan.tile.name}",
        *product(lowering, factors, sizes, plan, interval, groups, offsets, more),
        lowering.data(np.zeros(axes[1].taps * depth, np.float32)), *geometry, int(joined),
        *strides[:2], units=(groups if offsets is None else len(offsets)) * plan.units, grain=1,
    )  # fmt: skip


def fits(axes: list[Axis], batches: int, lda: int, ldc: int) -> bool:
    """Whether the kernel can number all elements, those under windows that hang over included."""
    reach = [
        (axis.positions - 1) * axis.stride + (axis.taps - 1) * axis.dilation + axis.size
        for axis in axes
    ]
    elements = batches * math.prod(reach) * lda
    results = batches * math.prod(axis.positions for axis in axes) * ldc
    runs = math.prod(axis.taps for axis in axes)
    return runs <= MAX_RUNS and max(elements, results) < INT32_MAX

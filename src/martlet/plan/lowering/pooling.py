"""MAX_POOL_2D, AVERAGE_POOL_2D, and MEAN over height and width, in float32 (`kernels/pooling.py`).

An average over the whole image is a mean, whichever operator asks for it.
"""

from __future__ import annotations

import math

from martlet.dtypes import DType
from martlet.kernels.pooling import LINE, SQUARES
from martlet.ops.operator import Call
from martlet.ops.pooling import image_windows
from martlet.plan.lowering import GRAINS, Lowering, lowers
from martlet.plan.lowering.dense import clamp_of
from martlet.plan.lowering.windows import (
    CACHE_LINE,
    image_arguments,
    square_window,
    window_arguments,
)

KERNELS = {"MAX_POOL_2D": "max_pool_f32", "AVERAGE_POOL_2D": "average_pool_f32"}


@lowers("MAX_POOL_2D", "AVERAGE_POOL_2D", pitched=True)
def pool(lowering: Lowering) -> bool:
    """Windows over the image, clamped to the fused activation."""
    call = lowering.call
    interval = clamp_of(lowering)
    if call.dtype(0) is not DType.FLOAT32 or interval is None:
        return False
    axes = image_windows(call)
    if lowering.size(0) * math.prod(axis.positions for axis in axes) == 0:
        return True
    whole = all(axis.positions == 1 and axis.taps - axis.before >= axis.size for axis in axes)
    if call.op == "AVERAGE_POOL_2D" and whole:
        _mean(lowering, interval)
        return True
    image, units = image_arguments(lowering, axes)
    square = square_window(lowering, axes, SQUARES, LINE)
    kernel = KERNELS[call.op] if square is None else f"{KERNELS[call.op]}_{square.name}"
    window = window_arguments(axes) if square is None else []
    lowering.step(
        kernel, lowering.input(0), lowering.output(), *interval, *image, *window,
        units=units, grain=1,
    )  # fmt: skip
    return True


@lowers("MEAN", pitched=True)
def mean(lowering: Lowering) -> bool:
    """The mean over height and width of an image (batch, height, width, channels)."""
    call = lowering.call
    if call.dtype(0) is not DType.FLOAT32 or call.rank(0) != 4 or _axes(call) != {1, 2}:
        return False
    if lowering.size(0) == 0:
        return False
    _mean(lowering, (-math.inf, math.inf))
    return True


def _axes(call: Call) -> set[int]:
    listed = call.value(1)
    return set() if listed is None else {int(axis) % 4 for axis in listed.ravel()}


def _mean(lowering: Lowering, interval: tuple[float, float]) -> None:
    images, height, width, channels = lowering.call.shape(0)
    pieces = max(1, lowering.threads * GRAINS // images)
    lines = math.ceil(channels / CACHE_LINE)
    block = math.ceil(lines / pieces) * CACHE_LINE
    lowering.step(
        "mean_f32", lowering.input(0), lowering.output(), *interval, height * width, channels,
        lowering.pitch(0), lowering.output_pitch(channels), block,
        units=images * math.ceil(channels / block),
    )  # fmt: skip

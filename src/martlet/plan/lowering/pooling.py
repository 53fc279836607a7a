"""MAX_POOL_2D, AVERAGE_POOL_2D and L2_POOL_2D in float32 (`kernels/pooling.py`)."""

from __future__ import annotations

import math

from martlet.dtypes import DType
from martlet.kernels.forms import LINE, POOLING_SQUARES
from martlet.ops.pooling import image_windows
from martlet.plan.lowering import GRAINS, Lowering, lowers
from martlet.plan.lowering.dense import clamp_of
from martlet.plan.lowering.windows import (
    CACHE_LINE,
    image_arguments,
    square_window,
    window_arguments,
)

KERNELS = {
    "MAX_POOL_2D": "max_pool_f32", "AVERAGE_POOL_2D": "average_pool_f32",
    "L2_POOL_2D": "l2_pool_f32",
}  # fmt: skip


@lowers(*KERNELS, pitched=True)
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
    if call.op == "AVERAGE_POOL_2D" and whole:  # the mean of the image
        _mean(lowering, interval)
        return True
    channels = call.shape(0)[3]
    image, units = image_arguments(lowering, axes, channels, lowering.pitch(0))
    squares = POOLING_SQUARES if call.op != "L2_POOL_2D" else ()
    square = square_window(axes, channels, squares, LINE)
    kernel = KERNELS[call.op] if square is None else f"{KERNELS[call.op]}_{square.name}"
    window = window_arguments(axes) if square is None else []
    lowering.step(
        kernel, lowering.input(0), lowering.output(), *interval, *image, *window,
        units=units, grain=1,
    )  # fmt: skip
    return True


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

"""DEPTHWISE_CONV_2D in float32 (`kernels/depthwise.py`), one output channel for each input channel.

Weights and bias are used as they lie in the file. Other multipliers stay with NumPy.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.sliding_window import Axis, window_axes
from martlet.plan.lowering import GRAINS, Lowering, Ref, lowers
from martlet.plan.lowering.dense import clamp_of

CACHE_LINE = 64
LEVEL_1 = 24 << 10  # bytes of the first cache that the lines of a block may take


@lowers("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(lowering: Lowering) -> bool:
    """Each channel of the image under its own window, plus bias, clamped."""
    call = lowering.call
    interval = clamp_of(lowering)
    given = [i for i in range(3) if call.has(i)]
    if interval is None or any(call.dtype(i) is not DType.FLOAT32 for i in given):
        return False
    batches, height, width, channels = call.shape(0)
    if call.shape(1)[3] != channels:
        return False
    axes = window_axes(call, "hw", (height, width), call.shape(1)[1:3])
    vertical, horizontal = axes
    rows = batches * vertical.positions
    if rows * horizontal.positions == 0:
        return True
    block = block_of(rows, horizontal, vertical.stride, channels, lowering.threads)
    kernel = _kernel(axes)
    geometry = []
    if kernel == "depthwise_f32":
        geometry = [getattr(axis, name) for name in ("taps", "stride", "dilation") for axis in axes]
    lowering.step(
        kernel, lowering.input(0), lowering.input(1), _bias(lowering, channels), lowering.output(),
        *interval, height, width, channels, vertical.positions, horizontal.positions,
        width * channels, horizontal.positions * channels, vertical.before, horizontal.before,
        rows, *block, *geometry, units=math.ceil(rows / block[0]) * math.ceil(channels / block[1]),
        grain=1,
    )  # fmt: skip
    return True


def _bias(lowering: Lowering, channels: int) -> Ref:
    if lowering.call.has(2):
        return lowering.input(2)
    return lowering.data(np.zeros(channels, np.float32))


def _kernel(axes: list[Axis]) -> str:
    """The special kernel for a window, if there is one and the padding is as it has to be."""
    strides = {axis.stride for axis in axes}
    small = all(axis.taps == 3 and axis.dilation == 1 for axis in axes)
    if small and strides in ({1}, {2}) and all(_middle_inside(axis) for axis in axes):
        return f"depthwise_3x3s{strides.pop()}_f32"
    return "depthwise_f32"


def _middle_inside(axis: Axis) -> bool:
    """Whether the middle one of three taps meets the image at every position."""
    last = (axis.positions - 1) * axis.stride - axis.before + 1
    return axis.before <= 1 and last < axis.size


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

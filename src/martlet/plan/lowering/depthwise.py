"""DEPTHWISE_CONV_2D in float32 (`kernels/depthwise.py`), one output channel for each input channel.

Weights and bias are used as they lie in the file. Other multipliers stay with NumPy.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.sliding_window import Axis, window_axes
from martlet.plan.lowering import Lowering, Ref, lowers
from martlet.plan.lowering.dense import clamp_of
from martlet.plan.lowering.windows import (
    hanging,
    image_arguments,
    square_window,
    window_arguments,
)


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
    if batches * math.prod(axis.positions for axis in axes) == 0:
        return True
    kernel = _kernel(axes, channels, lowering.lanes)
    image, units = image_arguments(lowering, axes)
    window = window_arguments(axes) if kernel == "depthwise_f32" else []
    lowering.step(
        kernel, lowering.input(0), lowering.input(1), _bias(lowering, channels), lowering.output(),
        *interval, *image, *window, units=units, grain=1,
    )  # fmt: skip
    return True


def _bias(lowering: Lowering, channels: int) -> Ref:
    if lowering.call.has(2):
        return lowering.input(2)
    return lowering.data(np.zeros(channels, np.float32))


def _kernel(axes: list[Axis], channels: int, lanes: int) -> str:
    """The special kernel for a window, if there is one and the padding is as it has to be."""
    kinds = {(axis.taps, axis.stride, axis.dilation) for axis in axes}
    small = channels >= lanes and all(hanging(axis) <= 1 for axis in axes)
    if small and kinds in ({(3, 1, 1)}, {(3, 2, 1)}):
        return f"depthwise_3x3s{axes[0].stride}_f32"
    square = square_window(axes, channels, lanes)
    if square in ((5, 1), (5, 2)):
        return f"depthwise_5x5s{axes[0].stride}_f32"
    return "depthwise_f32"

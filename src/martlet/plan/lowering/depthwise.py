"""DEPTHWISE_CONV_2D in float32 (`kernels/depthwise.py`), one output channel for each input channel.

Weights and bias are used as they lie in the file. Other multipliers stay with NumPy.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.kernels.depthwise import SQUARES
from martlet.plan.lowering import Lowering, Ref, lowers
from martlet.plan.lowering.dense import clamp_of
from martlet.plan.lowering.windows import (
    image_arguments,
    square_window,
    window_arguments,
)


@lowers("DEPTHWISE_CONV_2D", pitched=True, absorbs=("PAD", "ACTIVATION"))
def depthwise_conv_2d(lowering: Lowering) -> bool:
    """Each channel of the image under its own window, plus bias, clamped."""
    call = lowering.call
    interval = clamp_of(lowering)
    given = [i for i in range(3) if call.has(i)]
    if interval is None or any(call.dtype(i) is not DType.FLOAT32 for i in given):
        return False
    batches, _, _, channels = call.shape(0)
    if call.shape(1)[3] != channels:
        return False
    axes = lowering.image_axes(call.shape(1)[1:3])
    if batches * math.prod(axis.positions for axis in axes) == 0:
        return True
    image, units = image_arguments(lowering, axes)
    square = square_window(lowering, axes, SQUARES, lowering.lanes)
    kernel = "depthwise_f32" if square is None else f"depthwise_f32_{square.name}"
    window = window_arguments(axes) if square is None else []
    lowering.step(
        kernel, lowering.input(0), lowering.input(1), _bias(lowering, channels), lowering.output(),
        *interval, *image, *window, units=units, grain=1,
    )  # fmt: skip
    return True


def _bias(lowering: Lowering, channels: int) -> Ref:
    if lowering.call.has(2):
        return lowering.input(2)
    return lowering.data(np.zeros(channels, np.float32))

"""DEPTHWISE_CONV_2D in float32 (`kernels/depthwise.py`).

Kernels for windows of some sizes want constant weights, packed. Where there are several output
channels for each channel of the image, a step repeats those first.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.kernels.forms import DEPTHWISE_SQUARES
from martlet.plan.lowering import Lowering, Ref, lowers
from martlet.plan.lowering.dense import clamp_of
from martlet.plan.lowering.movement import Block, copy
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
    batches, channels = call.shape(0)[0], call.shape(1)[3]
    axes = lowering.image_axes(call.shape(1)[1:3])
    if batches * channels * math.prod(axis.positions for axis in axes) == 0:
        return True
    multiplier = channels // call.shape(0)[3]
    x, x_pixel = lowering.input(0), lowering.pitch(0)
    if multiplier > 1:
        repeated = _repeated(lowering, multiplier)
        if repeated is None:
            return False
        x, x_pixel = repeated, channels
    image, units = image_arguments(lowering, axes, channels, x_pixel)
    weights, lanes = call.stored(1), lowering.lanes
    square = None if weights is None else square_window(axes, channels, DEPTHWISE_SQUARES, lanes)
    if square is not None and weights is not None:
        taps, vectors = square.taps**2, math.ceil(channels / lanes)
        packed = lowering.pack(
            weights, "pack_depthwise", taps, channels,
            size=vectors * taps * lanes, units=vectors,
        )  # fmt: skip
        filters = lowering.data(packed)
    else:
        filters = lowering.input(1)
    kernel = "depthwise_f32" if square is None else f"depthwise_f32_{square.name}"
    window = window_arguments(axes) if square is None else []
    lowering.step(
        kernel, x, filters, _bias(lowering, channels), lowering.output(),
        *interval, *image, *window, units=units, grain=1,
    )  # fmt: skip
    return True


def _repeated(lowering: Lowering, times: int) -> Ref | None:
    """The image with each of its channels so many times, in scratch."""
    *pixels, channels = lowering.image_shape()
    shape = *pixels, channels, times
    target = np.empty(shape, np.float32)
    source = np.empty((*pixels, lowering.pitch(0)), np.float32)[..., :channels, None]
    scratch = lowering.scratch(target.nbytes)
    copied = copy(
        lowering, Block(lowering.input(0), np.broadcast_to(source, shape)), Block(scratch, target)
    )
    return scratch if copied else None


def _bias(lowering: Lowering, channels: int) -> Ref:
    if lowering.call.has(2):
        return lowering.input(2)
    return lowering.data(np.zeros(channels, np.float32))

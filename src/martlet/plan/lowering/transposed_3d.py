"""CONV_3D_TRANSPOSE in float32 with constant weights, as sums of dense convolutions of images.

The output falls into phases as that of TRANSPOSE_CONV does (`transposed.py`), along the depth, too.
Each is a convolution of the volume with stride 1, and that a sum over its taps along the depth
(`convolution_3d.py`). Where there are several, and the pixels of a phase do not follow one another
in the output, the sums are made elsewhere and then copied to their places.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from martlet.kernels.forms import Tile
from martlet.ops.sliding_window import window_axes
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.convolution import INT32_MAX, fits, window_blocking
from martlet.plan.lowering.convolution_3d import (
    MOST_TAPS,
    Slices,
    slices,
    sum_over_depth,
    taps_met,
)
from martlet.plan.lowering.dense import are_float, clamp_of, packable
from martlet.plan.lowering.movement import Block, copy, output_block
from martlet.plan.lowering.packing import Packed, Part, packed_bias, packed_parts
from martlet.plan.lowering.transposed import MOST_PHASES, Phase, phases


@lowers("CONV_3D_TRANSPOSE", pitched=True, absorbs=("ACTIVATION",))
def conv_3d_transpose(lowering: Lowering) -> bool:
    """The volume that a convolution would have read, from what it would have written."""
    call, interval = lowering.call, clamp_of(lowering)
    listed, weights = call.value(0), call.stored(1)
    if listed is None or weights is None or interval is None:
        return False
    if not are_float(lowering, 1, 2, 3) or not packable(lowering, 3):
        return False
    shape = tuple(int(n) for n in listed)
    batches, *sizes, channels = shape
    if batches == 0:
        return True
    axes = window_axes(call, "dhw", sizes, weights.shape[:3])
    strides = [axis.stride for axis in axes]
    y_pixel = lowering.output_pitch(channels)
    if math.prod(strides) > MOST_PHASES or any(axis.dilation > 1 < axis.taps for axis in axes):
        return False
    if axes[0].taps > MOST_TAPS or math.prod(sizes[1:]) * y_pixel > INT32_MAX:
        return False
    x = slices(lowering.input(2), call.shape(2)[1:4], call.shape(2)[4], lowering.pitch(2))
    target, scratch = output_block(lowering, shape), None
    biases: dict[Tile, Packed] = {}
    for corner in itertools.product(*map(phases, axes)):
        deep, *windows = (phase.axis for phase in corner)
        if not fits(windows, 1, x.pixel, channels):
            return False
        plan = window_blocking(
            lowering, windows, 1, channels, x.channels, x.pixel == x.channels
        )  # fmt: skip
        if plan.tile not in biases:
            biases[plan.tile] = packed_bias(lowering, 3, 1, channels, plan.tile)
        packed = _packed(lowering, weights, corner, plan.tile)
        found = target.of(target.array[(slice(None), *map(_places, corner, strides))])
        several = max(map(len, taps_met(deep))) > 1 and strides[1:] != [1, 1]
        if several:
            if scratch is None:  # no phase is larger than the first
                scratch = lowering.scratch(4 * found.array.size)
            y = slices(scratch, found.array.shape[1:4], channels, channels)
        else:
            steps = (n // 4 for n in found.array.strides[:4])
            y = Slices(found.address, channels, *steps)
        sum_over_depth(
            lowering, deep, windows, plan, packed, biases[plan.tile], x, y, batches, interval
        )  # fmt: skip
        if several:
            dense = Block(y.place, np.empty(found.array.shape, np.float32))
            if not copy(lowering, dense, found):
                return False
    return True


def _places(phase: Phase, stride: int) -> slice:
    return slice(phase.first, None, stride)


def _packed(
    lowering: Lowering, weights: np.ndarray, corner: tuple[Phase, ...], tile: Tile
) -> list[Packed]:
    """The phases' part of weights (depth, height, width, output, input channels), by depth."""
    deep, *window = (phase.taps for phase in corner)
    places = list(itertools.product(*window))
    channels, depth = weights.shape[3:]
    packed = []
    for tap in deep:
        parts = [Part(weights[tap, v, h], 0, i * depth) for i, (v, h) in enumerate(places)]
        packed.append(packed_parts(lowering, parts, channels, len(places) * depth, tile))
    return packed

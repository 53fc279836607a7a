"""TRANSPOSE_CONV in float32, as dense convolutions (`kernels/gemm.py`).

MediaPipe's Convolution2DTransposeBias is the same, but works out the size of its output itself.

A pixel of the output takes only the taps whose distance from its own place is a multiple of the
stride. So the output falls into stride_h x stride_w phases, each the pixels a stride apart, and
each phase is a convolution of the input with stride 1 by its own taps, in reverse. Nothing is
multiplied with zeros and nothing is added up afterwards; the kernel stores its rows a stride apart.

Along one axis, element v of the output lies under tap t of the window at position p where
v + before = p * stride + t (`ops/sliding_window.py`). For v + before = m * stride + r those are
the taps r, r + stride, …, of the positions m, m - 1, ….

Phases that read the same windows and write columns that follow one another are one product, as in
windows no wider than the stride.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from martlet.kernels.forms import Tile
from martlet.ops.convolution import mediapipe_axes
from martlet.ops.sliding_window import Axis, window_axes
from martlet.plan.blocking import padded
from martlet.plan.lowering import Lowering, custom, lowers
from martlet.plan.lowering.convolution import fits, gathered, window_blocking
from martlet.plan.lowering.dense import Factors, are_float, clamp_of, packable
from martlet.plan.lowering.packing import Computed, Packed, Part, packed_bias, packed_parts
from martlet.records import NamedTuple

MOST_PHASES = 64
UNBOUNDED = (-math.inf, math.inf)


class Phase(NamedTuple):
    """The elements first, first + stride, … of an axis of the output.

    taps: those that reach them, in reverse. axis: their windows over the input.
    """

    first: int
    taps: range
    axis: Axis


@lowers("TRANSPOSE_CONV", pitched=True, absorbs=("ACTIVATION",))
def transpose_conv(lowering: Lowering) -> bool:
    """The image that a convolution would have read, from what it would have written."""
    call, interval = lowering.call, clamp_of(lowering)
    shape, weights = call.value(0), call.stored(1)
    if shape is None or interval is None or not are_float(lowering, 1, 2, 3):
        return False
    computed = None
    if weights is None:
        weights = np.empty(call.shape(1), np.float32)
        computed = Computed(lowering.input(1), weights)
    sizes = [int(n) for n in shape[1:3]]
    axes = window_axes(call, "hw", sizes, weights.shape[1:3], dilated=False)
    return packable(lowering, 1) and _transposed(lowering, 2, 3, weights, axes, interval, computed)


@lowers(custom("Convolution2DTransposeBias"), pitched=True)
def mediapipe(lowering: Lowering) -> bool:
    """The same of float32, with its inputs in another order."""
    weights = lowering.call.stored(1)
    if weights is None:
        return False
    return _transposed(lowering, 0, 2, weights, mediapipe_axes(lowering.call), UNBOUNDED)


def _transposed(
    lowering: Lowering, data: int, bias: int, weights: np.ndarray, axes: list[Axis],
    interval: tuple[float, float], computed: Computed | None = None,
) -> bool:  # fmt: skip
    """Steps for the image and the bias that these inputs are. axes: of the output."""
    if not packable(lowering, bias):
        return False
    batches, depth = lowering.call.shape(data)[0], lowering.call.shape(data)[3]
    channels, (height, width) = len(weights), (axis.size for axis in axes)
    if batches == 0:
        return True
    if axes[0].stride * axes[1].stride > MOST_PHASES:
        return False
    pitch, y_pitch = lowering.pitch(data), lowering.output_pitch(channels)
    strides = (
        height * width * y_pitch, axes[0].stride * width * y_pitch, axes[1].stride * y_pitch
    )  # fmt: skip
    biases: dict[tuple[int, Tile], Packed] = {}
    for down in phases(axes[0]):
        for across in _together(lowering, bias, axes[1], y_pitch == channels):
            windows = [down.axis, across[0].axis]
            if not fits(windows, batches, pitch, strides[1] // width * axes[1].stride):
                return False
            columns = channels * len(across)
            plan = window_blocking(lowering, windows, batches, columns, depth, pitch == depth)
            start = (down.first * width + across[0].first) * y_pitch
            if (columns, plan.tile) not in biases:
                biases[columns, plan.tile] = _bias(lowering, bias, channels, len(across), plan.tile)
            factors = Factors(
                lowering.input(data), _packed(lowering, weights, down, across, plan.tile, computed),
                biases[columns, plan.tile], lowering.output().at(4 * start),
            )  # fmt: skip
            gathered(
                lowering, factors, windows, plan, batches=batches, depth=depth, columns=columns,
                lda=pitch, strides=strides, interval=interval,
            )  # fmt: skip
    return True


def phases(axis: Axis) -> list[Phase]:
    """All phases of an axis of the output that have elements, by their first."""
    found = []
    for first in range(min(axis.stride, axis.size)):
        position, r = divmod(first + axis.before, axis.stride)
        taps = range(r, axis.taps, axis.stride)[::-1]
        count = -(-(axis.size - first) // axis.stride)
        before = len(taps) - 1 - position
        found.append(Phase(first, taps, Axis(axis.positions, len(taps), 1, 1, count, before)))
    return found


def _together(lowering: Lowering, bias: int, axis: Axis, dense: bool) -> list[list[Phase]]:
    """The phases of the width, those that are one product together. dense: no gaps in the rows."""
    found, call = phases(axis), lowering.call
    known = not call.has(bias) or call.value(bias) is not None
    if dense and known and len({phase.axis for phase in found}) == 1 and len(found) > 1:
        return [found]
    return [[phase] for phase in found]


def _packed(
    lowering: Lowering, weights: np.ndarray, down: Phase, across: list[Phase], tile: Tile,
    computed: Computed | None,
) -> Packed:  # fmt: skip
    """The taps of these phases, packed: a column for each output channel of each of `across`."""

    channels, _, _, depth = weights.shape
    columns, steps = channels * len(across), len(down.taps) * len(across[0].taps) * depth
    parts = [
        Part(weights[:, v, h], n * channels, i * depth)
        for n, phase in enumerate(across)
        for i, (v, h) in enumerate(itertools.product(down.taps, phase.taps))
    ]
    return packed_parts(lowering, parts, columns, steps, tile, computed)


def _bias(lowering: Lowering, i: int, channels: int, times: int, tile: Tile) -> Packed:
    """The bias, input i, once for each phase of a product."""
    bias = lowering.call.value(i)
    if bias is None or times == 1:
        return packed_bias(lowering, i, 1, channels * times, tile)
    repeated = np.tile(bias.ravel(), times)
    data = padded(repeated, repeated.size, tile.width(lowering.lanes))
    return Packed(lowering.data(data), data.size)

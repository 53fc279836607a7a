"""CONV_3D in float32: sums of convolutions of images (`kernels/gemm.py`).

A slice of the output, one of its depths, is a sum over the window's taps along the depth: each a
convolution of a slice of the input. A step does one tap, for all slices that it meets; the first
tap of a slice brings the bias, the others add to what is there, and the last one clamps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from martlet.kernels.forms import Tile
from martlet.ops.sliding_window import Axis, window_axes
from martlet.plan.blocking import Blocking, padded
from martlet.plan.lowering import Lowering, Ref, lowers
from martlet.plan.lowering.convolution import fits, gathered, window_blocking
from martlet.plan.lowering.dense import Factors, are_float, clamp_of, packable
from martlet.plan.lowering.packing import (
    Matrices,
    Packed,
    packed_bias,
    packed_constants,
    packed_matrices,
)
from martlet.records import NamedTuple

OPEN = (-math.inf, math.inf)
MOST_TAPS = 64  # along the depth: each is a step


class Slices(NamedTuple):
    """Where the slices of volumes are: the first, and elements from one volume, slice, line and
    pixel to the next."""

    place: Ref
    channels: int
    volume: int
    slice: int
    line: int
    pixel: int


@lowers("CONV_3D", pitched=True, absorbs=("ACTIVATION",))
def conv_3d(lowering: Lowering) -> bool:
    """Windows of the volume times weights (depth, height, width, input, output channels)."""
    call, interval = lowering.call, clamp_of(lowering)
    if interval is None or not are_float(lowering, 0, 1, 2) or not packable(lowering, 1, 2):
        return False
    batches, *volume, depth = call.shape(0)
    *window, _, channels = call.shape(1)
    deep, *axes = window_axes(call, "dhw", volume, window)
    positions = [axis.positions for axis in (deep, *axes)]
    x = slices(lowering.input(0), volume, depth, lowering.pitch(0))
    y = slices(lowering.output(), positions, channels, lowering.output_pitch(channels))
    if batches * math.prod(positions) == 0:
        return True
    if deep.taps > MOST_TAPS or not fits(axes, 1, x.pixel, y.pixel):
        return False
    plan = window_blocking(lowering, axes, 1, channels, depth, x.pixel == depth)
    bias = packed_bias(lowering, 2, 1, channels, plan.tile)
    weights = _packed(lowering, plan.tile)
    sum_over_depth(lowering, deep, axes, plan, weights, bias, x, y, batches, interval)
    return True


def slices(place: Ref, sizes: Sequence[int], channels: int, pixel: int) -> Slices:
    """Those of a tensor that is dense but for its rows; sizes: depth, height and width."""
    line = sizes[2] * pixel
    return Slices(place, channels, math.prod(sizes) * pixel, sizes[1] * line, line, pixel)


def sum_over_depth(
    lowering: Lowering, deep: Axis, axes: list[Axis], plan: Blocking, weights: Sequence[Packed],
    bias: Packed, x: Slices, y: Slices, batches: int, interval: tuple[float, float],
) -> None:  # fmt: skip
    """Add the steps. weights: of each tap along the depth.

    Where a slice has several taps, its pixels must be `y.pixel` apart, across lines too.
    """
    none = Packed(lowering.data(padded(None, y.channels, plan.width)), 0)
    images = np.arange(batches)[:, None]

    def step(
        pairs: list[tuple[int, int]], axes: list[Axis], b: Packed, first: bool, last: bool
    ) -> None:
        """pairs: slices of y and x."""
        offsets = np.zeros((batches, len(pairs), 4), np.int64)
        to, source = np.array(pairs).T
        offsets[..., 0] = images * x.volume + source * x.slice
        offsets[..., 3] = images * y.volume + to * y.slice
        gathered(
            lowering, Factors(x.place, b, bias if first else none, y.place), axes, plan,
            batches=1, depth=x.channels, columns=y.channels, lda=x.pixel,
            strides=(0, y.line, y.pixel), interval=interval if last else OPEN,
            offsets=offsets.reshape(-1, 4), more=not first,
        )  # fmt: skip

    met = taps_met(deep)
    for tap, first, last in itertools.product(range(deep.taps), (True, False), (True, False)):
        pairs = [
            (place, place * deep.stride + tap * deep.dilation - deep.before)
            for place, taps in enumerate(met)
            if tap in taps and (tap == taps[0]) is first and (tap == taps[-1]) is last
        ]
        if pairs:
            step(pairs, axes, weights[tap], first, last)
    outside = [(place, 0) for place, taps in enumerate(met) if not taps]
    if outside:  # the products of windows without taps are the bias
        step(outside, [axis._replace(taps=0) for axis in axes], none, True, True)


def taps_met(axis: Axis) -> list[list[int]]:
    """The taps of each window that meet the volume."""
    return [
        [
            tap
            for tap in range(axis.taps)
            if 0 <= place * axis.stride + tap * axis.dilation - axis.before < axis.size
        ]
        for place in range(axis.positions)
    ]


def _packed(lowering: Lowering, tile: Tile) -> list[Packed]:
    """The weights of each tap along the depth: (output channels, all else)."""
    weights = lowering.call.stored(1)
    taps, *window, channels = lowering.call.shape(1)
    if weights is None:
        length = math.prod(window)
        matrices = Matrices(lowering.input(1), taps, channels, length, "rows", channels)
        packed = packed_matrices(lowering, matrices, tile)
    else:
        known = weights.reshape(taps, -1, channels).swapaxes(1, 2)
        packed = packed_constants(lowering, known, tile)
    return [Packed(packed.place.at(4 * n * packed.step), packed.step) for n in range(taps)]

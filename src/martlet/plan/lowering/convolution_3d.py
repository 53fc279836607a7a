"""CONV_3D in float32 with constant weights: sums of convolutions of images (`kernels/gemm.py`).

A slice of the output, one of its depths, is a sum over the window's taps along the depth: each a
convolution of a slice of the input. A step does one tap, for all slices that it meets; the first
tap of a slice brings the bias, the others add to what is there, and the last one clamps.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from martlet.kernels.gemm import Tile
from martlet.ops.sliding_window import Axis, window_axes
from martlet.plan.blocking import pack, padded
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.convolution import fits, gathered, window_blocking
from martlet.plan.lowering.dense import Factors, are_float, clamp_of
from martlet.plan.lowering.packing import Packed, packed_bias

OPEN = (-math.inf, math.inf)
MOST_TAPS = 64  # along the depth: each is a step


@lowers("CONV_3D", pitched=True, absorbs=("ACTIVATION",))
def conv_3d(lowering: Lowering) -> bool:
    """Windows of the volume times weights (depth, height, width, input, output channels)."""
    call, interval = lowering.call, clamp_of(lowering)
    weights = call.value(1)
    if weights is None or interval is None or not are_float(lowering, 0, 1, 2):
        return False
    if call.has(2) and call.value(2) is None:
        return False
    batches, *volume, depth = call.shape(0)
    deep, *axes = window_axes(call, "dhw", volume, weights.shape[:3])
    channels, pitch = weights.shape[4], lowering.pitch(0)
    y_pitch = lowering.output_pitch(channels)
    places = axes[0].positions * axes[1].positions
    if batches * deep.positions * places == 0:
        return True
    met = _taps(deep)
    if deep.taps > MOST_TAPS or not all(met) or not fits(axes, 1, pitch, y_pitch):
        return False
    plan = window_blocking(lowering, axes, 1, channels, depth, pitch == depth)
    bias = packed_bias(lowering, 2, 1, channels, plan.tile)
    none = Packed(lowering.data(padded(None, channels, plan.width)), 0)
    for tap, first, last in itertools.product(range(deep.taps), *[(True, False)] * 2):
        slices = [
            (place, place * deep.stride + tap * deep.dilation - deep.before)
            for place, taps in enumerate(met)
            if tap in taps and (tap == taps[0]) is first and (tap == taps[-1]) is last
        ]
        if not slices:
            continue
        offsets = np.zeros((batches, len(slices), 4), np.int64)
        to, source = np.array(slices).T
        images = np.arange(batches)[:, None]
        offsets[..., 0] = (images * deep.size + source) * (axes[0].size * axes[1].size * pitch)
        offsets[..., 3] = (images * deep.positions + to) * (places * y_pitch)
        b = _packed(lowering, weights, tap, plan.tile)
        factors = Factors(lowering.input(0), b, bias if first else none, lowering.output())
        gathered(
            lowering, factors, axes, plan, batches=1, depth=depth, columns=channels, lda=pitch,
            strides=(0, axes[1].positions * y_pitch, y_pitch), interval=interval if last else OPEN,
            offsets=offsets.reshape(-1, 4), more=not first,
        )  # fmt: skip
    return True


def _taps(axis: Axis) -> list[list[int]]:
    """The taps of each window that meet the volume."""
    return [
        [
            tap
            for tap in range(axis.taps)
            if 0 <= place * axis.stride + tap * axis.dilation - axis.before < axis.size
        ]
        for place in range(axis.positions)
    ]


def _packed(lowering: Lowering, weights: np.ndarray, tap: int, tile: Tile) -> Packed:
    """The weights of one tap along the depth: (output channels, all else)."""
    packed = lowering.packed(
        weights,
        ("conv_3d", tile, tap),
        lambda: pack(weights[tap].reshape(-1, weights.shape[4]).T, tile, lowering.lanes),
    )
    return Packed(lowering.data(packed), packed.size)

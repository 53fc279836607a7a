"""CONV_2D by Winograd's algorithms (`kernels/winograd.py`), where that takes less time.

Which form, or none, is a matter of cost, in multiply-adds of whole vectors:

    product    positions x vectors of output channels x rows of tiles x (channels + SUM)
    transforms TRANSFORM x positions x tiles x vectors of input and output channels
    direct     places x vectors of output channels x taps x channels
    memory     MEMORY x vectors of weights: more of them than the image has use for in deep layers

A layer takes the larger of memory and a THREADS-th of the rest, whatever the number of threads
is: else results would depend on it. The constants are from Zen 1 (AVX2) with weights from memory.
To measure them again, time kernels of one form, with 32 MB read between two runs, and fit:
TRANSFORM on layers of few channels (56x56, 16 to 64), SUM on few input channels, MEMORY on 7x7
with 512 channels, where it is all that counts. MEMORY for other widths of vectors is estimated
from their rates: 60 G multiply-adds on 16 lanes and 25 GB/s, 20 G on 4 and 10 GB/s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from martlet.kernels.gemm import Tile
from martlet.kernels.winograd import FORMS, SLOT_FLAG, Form, slot_floats, tile_of
from martlet.ops.sliding_window import Axis
from martlet.plan.blocking import aligned, padded
from martlet.plan.lowering import Lowering
from martlet.plan.lowering.dense import clamp_of

SUM = 3  # to begin and to store a sum
TRANSFORM = 7  # for an element of V or M
MEMORY = {4: 8, 8: 6, 16: 10}  # for a vector of weights, by its lanes
THREADS = 2
GAIN = 1.1  # less than this is not worth the memory for weights
MARGIN = 0.97  # what a form with more positions must take of another's time: it is less exact
LATENCY = 6  # multiply-adds that must be under way at once

V_BYTES = 300 << 10  # of a block, to lie in a part of the second-level cache
LEAST_ROWS = 18  # of a block: weights come from further away for every block
MOST_BYTES = 1 << 20
UNITS_EACH = 4  # for each of several threads
LEAST_GROUP = 4  # panels, for which V may be computed once more


@dataclass(frozen=True)
class Choice:
    """A form for a layer. swapped: it takes the image's columns for lines."""

    form: Form
    swapped: bool
    tiles: int


def winograd(lowering: Lowering, weights: np.ndarray) -> bool:
    """Add the steps of a convolution with weights (channels, height, width, depth), if it pays."""
    lanes, interval = lowering.lanes, clamp_of(lowering)
    batches, height, width, depth = lowering.image_shape()
    channels = len(weights)
    axes = lowering.image_axes(weights.shape[1:3])
    choice = choose(axes, batches, depth, channels, lanes)
    if choice is None or interval is None:
        return False
    form, turn = choice.form, -1 if choice.swapped else 1
    tile = tile_of(lanes)
    panel = tile.width(lanes)
    block, group = blocks(choice, tile, depth, -(-channels // panel), lowering.threads)
    y_height, y_width = (axis.positions for axis in axes)
    x_pixel, y_pixel = lowering.pitch(0), lowering.output_pitch(channels)
    r_pixel, residual = lowering.residual_pitch(channels), lowering.residual()
    slot = slot_floats(form, lanes, block, depth)
    flags = lowering.scratch(8 * SLOT_FLAG * lowering.threads)
    lowering.step("winograd_slots", flags, units=lowering.threads)
    lowering.step(
        f"winograd_f32_{form.name}",
        lowering.input(0), lowering.data(transformed(form, _turned(weights, choice), panel)),
        lowering.data(padded(lowering.call.value(2), channels, panel)), lowering.output(),
        lowering.output() if residual is None else residual, int(residual is not None),
        height * width * x_pixel, *(width * x_pixel, x_pixel)[::turn],
        y_height * y_width * y_pixel, *(y_width * y_pixel, y_pixel)[::turn],
        y_height * y_width * r_pixel, *(y_width * r_pixel, r_pixel)[::turn],
        *(height, width)[::turn], depth, *(y_height, y_width)[::turn], channels,
        *(axis.before for axis in axes[::turn]), *interval, choice.tiles, block, group,
        lowering.data(np.zeros(depth, np.float32)), flags, lowering.threads,
        lowering.scratch(4 * slot * lowering.threads), slot,
        units=-(-choice.tiles // block) * -(-channels // (panel * group)), grain=1,
    )  # fmt: skip
    return True


def choose(
    axes: Sequence[Axis], batches: int, depth: int, channels: int, lanes: int
) -> Choice | None:
    """The form that takes the least time; None where a direct convolution takes about as little."""
    best, least = None, _direct(axes, batches, depth, channels, lanes) / GAIN
    for choice in _choices(axes, batches):
        cost = _cost(choice, depth, channels, lanes)
        if cost < least * (1 if best is None else MARGIN):
            best, least = choice, cost
    return best


def _choices(axes: Sequence[Axis], batches: int) -> Iterator[Choice]:
    if any(axis.stride != 1 or (axis.dilation != 1 and axis.taps > 1) for axis in axes):
        return
    for form in FORMS:
        for swapped in (False, True):
            turned = axes[::-1] if swapped else axes
            if [axis.taps for axis in turned] == [along.taps for along in form]:
                tiles = [
                    -(-axis.positions // along.outputs)
                    for axis, along in zip(turned, form, strict=True)
                ]
                yield Choice(form, swapped, batches * math.prod(tiles))


def _cost(choice: Choice, depth: int, channels: int, lanes: int) -> float:
    tile, positions = tile_of(lanes), choice.form.positions
    panels = -(-channels // tile.width(lanes))
    whole, left = divmod(choice.tiles, tile.rows)
    rows = whole * _step(tile, tile.rows)
    if left:
        rows += _step(tile, min(n for n in (tile.rows, *tile.fewer) if n >= left))
    product = positions * panels * rows * (depth + SUM)
    vectors = -(-depth // lanes) + panels * tile.vectors
    transforms = TRANSFORM * positions * choice.tiles * vectors
    memory = MEMORY[lanes] * positions * panels * tile.vectors * depth
    return max(memory, (product + transforms) / THREADS)


def _step(tile: Tile, rows: int) -> float:
    """Time of one element of depth for a tile of so many rows; loads go on beside it."""
    return max(rows * tile.vectors, LATENCY, 1.25 * (rows + tile.vectors)) + tile.vectors / 2


def _direct(axes: Sequence[Axis], batches: int, depth: int, channels: int, lanes: int) -> float:
    weights = -(-channels // lanes) * math.prod(axis.taps for axis in axes) * depth
    places = batches * math.prod(axis.positions for axis in axes)
    return max(MEMORY[lanes] * weights, places * weights / THREADS)


def blocks(choice: Choice, tile: Tile, depth: int, panels: int, threads: int) -> tuple[int, int]:
    """(tiles in a block, panels in a group): units enough for all threads."""
    row_bytes = 4 * choice.form.positions * depth
    fitting = max(V_BYTES // row_bytes, min(LEAST_ROWS, MOST_BYTES // row_bytes), tile.rows)
    block = _even(choice.tiles, max(1, round(choice.tiles / fitting)), tile)
    group = panels
    wanted = threads * UNITS_EACH if threads > 1 else 1
    while -(-choice.tiles // block) * -(-panels // group) < wanted:
        if group > LEAST_GROUP:
            group = -(-group // 2)
        elif block > tile.rows:
            block = _even(choice.tiles, 2 * -(-choice.tiles // block), tile)
        else:
            break
    return block, group


def _even(tiles: int, count: int, tile: Tile) -> int:
    """The size of so many blocks that are about equal, in whole tiles of the product."""
    return min(tiles, -(-tiles // (count * tile.rows)) * tile.rows)


def _turned(weights: np.ndarray, choice: Choice) -> np.ndarray:
    return weights.transpose(0, 2, 1, 3) if choice.swapped else weights


def transformed(form: Form, weights: np.ndarray, width: int) -> np.ndarray:
    """(channels, height, width, depth) -> U, (panels, positions, depth * panel width), float32.

    Both transforms at once, as one matrix product for each panel, in float64.
    """
    channels, height, taps_w, depth = weights.shape
    taps, panels = height * taps_w, -(-channels // width)
    both = np.kron(form.down.weights(), form.across.weights())
    u = aligned(panels * form.positions * depth * width)
    u = u.reshape(panels, form.positions, depth * width)
    part = np.zeros((taps, depth, width))
    for i in range(panels):
        some = weights[i * width : (i + 1) * width]
        part[..., : len(some)] = some.reshape(len(some), taps, depth).transpose(1, 2, 0)
        part[..., len(some) :] = 0
        u[i] = both @ part.reshape(taps, -1)
    return u

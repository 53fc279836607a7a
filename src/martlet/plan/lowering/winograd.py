"""CONV_2D by Winograd's algorithms (`kernels/winograd.py`), where that takes less time.

Which form, or none, is a matter of cost, in multiply-adds of whole vectors; `winograd_…` of the
target's costs (`plan/costs.py`) are

    product    positions x vectors of output channels x rows of tiles x (channels + sum)
    transforms transform x positions x tiles x vectors of input and output channels
    direct     places x vectors of output channels x taps x channels
    memory     memory x vectors of weights: more of them than the image has use for in deep layers

A layer takes the larger of memory and a THREADS-th of the rest, whatever the number of threads
is: else results would depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from martlet.kernels.forms import FORMS, Form, Tile, tile_of, winograd_slot
from martlet.ops.sliding_window import Axis
from martlet.plan.blocking import padded, step_time
from martlet.plan.costs import Costs
from martlet.plan.lowering import Lowering
from martlet.plan.lowering.dense import clamp_of
from martlet.records import NamedTuple

THREADS = 2
MARGIN = 0.97  # what a form with more positions must take of another's time: it is less exact
UNITS_EACH = 4  # for each of several threads: more are not looked at


class Choice(NamedTuple):
    """A form for a layer. swapped: it takes the image's columns for lines."""

    form: Form
    swapped: bool
    tiles: int


def winograd(lowering: Lowering, weights: np.ndarray) -> bool:
    """Add the steps of a convolution with weights (channels, height, width, depth), if it pays."""
    costs, lanes, interval = lowering.costs, lowering.lanes, clamp_of(lowering)
    batches, height, width, depth = lowering.image_shape()
    channels = len(weights)
    axes = lowering.image_axes(weights.shape[1:3])
    choice = choose(axes, batches, depth, channels, costs)
    if choice is None or interval is None:
        return False
    form, turn = choice.form, -1 if choice.swapped else 1
    panel = tile_of(lanes).width(lanes)
    block, group = blocks(choice, depth, channels, costs, lowering.threads)
    y_height, y_width = (axis.positions for axis in axes)
    x_pixel, y_pixel = lowering.pitch(0), lowering.output_pitch(channels)
    r_pixel, residual = lowering.residual_pitch(channels), lowering.residual()
    panels, taps_w = -(-channels // panel), weights.shape[2]
    taps = lowering.pack(
        weights, f"pack_winograd_{form.name}", channels, depth, weights[0].size,
        *(taps_w * depth, depth)[::turn],
        size=panels * form.positions * depth * panel, units=panels,
    )  # fmt: skip
    slot = winograd_slot(form, lanes, block, depth)
    lowering.step(
        f"winograd_f32_{form.name}",
        lowering.input(0), lowering.data(taps),
        lowering.data(padded(lowering.call.value(2), channels, panel)), lowering.output(),
        lowering.output() if residual is None else residual, int(residual is not None),
        height * width * x_pixel, *(width * x_pixel, x_pixel)[::turn],
        y_height * y_width * y_pixel, *(y_width * y_pixel, y_pixel)[::turn],
        y_height * y_width * r_pixel, *(y_width * r_pixel, r_pixel)[::turn],
        *(height, width)[::turn], depth, *(y_height, y_width)[::turn], channels,
        *(axis.before for axis in axes[::turn]), *interval, choice.tiles, block, group,
        lowering.data(np.zeros(depth, np.float32)), lowering.slots(), lowering.threads,
        lowering.scratch(4 * slot * lowering.threads), slot,
        units=-(-choice.tiles // block) * -(-channels // (panel * group)), grain=1,
    )  # fmt: skip
    return True


def choose(
    axes: Sequence[Axis], batches: int, depth: int, channels: int, costs: Costs
) -> Choice | None:
    """The form that takes the least time; None where a direct convolution takes about as little."""
    best, least = None, _direct(axes, batches, depth, channels, costs) / costs.winograd_gain
    for choice in choices(axes, batches):
        cost = _cost(choice, depth, channels, costs)
        if cost < least * (1 if best is None else MARGIN):
            best, least = choice, cost
    return best


def choices(axes: Sequence[Axis], batches: int) -> Iterator[Choice]:
    """All forms for windows along these axes."""
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


def _cost(choice: Choice, depth: int, channels: int, costs: Costs) -> float:
    lanes = costs.lanes
    tile, positions = tile_of(lanes), choice.form.positions
    panels = -(-channels // tile.width(lanes))
    product = positions * panels * _rows(tile, choice.tiles, costs) * (depth + costs.winograd_sum)
    vectors = -(-depth // lanes) + panels * tile.vectors
    transforms = costs.winograd_transform * positions * choice.tiles * vectors
    memory = costs.winograd_memory * positions * panels * tile.vectors * depth
    return max(memory, (product + transforms) / THREADS)


def _rows(tile: Tile, rows: int, costs: Costs) -> float:
    """Time of one element of depth for so many rows of the product."""
    whole, left = divmod(rows, tile.rows)
    time = whole * step_time(tile, tile.rows, costs)
    if left:
        time += step_time(tile, min(n for n in (tile.rows, *tile.fewer) if n >= left), costs)
    return time


def _direct(axes: Sequence[Axis], batches: int, depth: int, channels: int, costs: Costs) -> float:
    weights = -(-channels // costs.lanes) * math.prod(axis.taps for axis in axes) * depth
    places = batches * math.prod(axis.positions for axis in axes)
    return max(costs.winograd_memory * weights, places * weights / THREADS)


def blocks(
    choice: Choice, depth: int, channels: int, costs: Costs, threads: int
) -> tuple[int, int]:
    """(tiles in a block, panels in a group), such that all threads end together, and soon.

    Smaller blocks read weights more often and may leave rows of a tile unused; in smaller groups,
    a block's V is computed by several threads.
    """
    lanes, transform = costs.lanes, costs.winograd_transform
    tile, positions = tile_of(lanes), choice.form.positions
    panels = -(-channels // tile.width(lanes))
    deep = 4 * positions * depth * channels > costs.winograd_deep_bytes
    together = costs.winograd_deep_block if deep else costs.winograd_block
    fewest = max(1, round(choice.tiles / (tile.rows * together)))
    enough = threads * UNITS_EACH if threads > 1 else 1

    def time(block: int, group: int) -> float:
        groups, count = -(-panels // group), -(-choice.tiles // block)
        units = -(-groups * count // threads)
        product = (_rows(tile, block, costs) + tile.vectors) * (depth + costs.winograd_sum)
        results = transform * block * tile.vectors
        patches = transform * block * depth / lanes
        times = -(-units // groups) + (groups > 1)  # V of a block is computed by a thread
        memory = costs.winograd_memory * panels * tile.vectors * depth * count if deep else 0
        return max(units * group * (product + results) + times * patches, memory)

    candidates = set()
    for count in range(fewest, max(fewest, enough) + 1):
        block = -(-choice.tiles // count)
        whole = block // tile.rows * tile.rows
        for size in {block, whole or block, min(choice.tiles, whole + tile.rows)}:
            slot = 4 * winograd_slot(choice.form, lanes, size, depth)
            if size > block and fewest > enough and slot > costs.winograd_slot_bytes:
                continue
            most = max(1, enough // -(-choice.tiles // size))
            candidates |= {(size, -(-panels // n)) for n in range(1, min(panels, most) + 1)}
    return min(sorted(candidates, reverse=True), key=lambda candidate: time(*candidate))

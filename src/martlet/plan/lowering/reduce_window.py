"""REDUCE_WINDOW and STABLEHLO_REDUCE_WINDOW of float32, int32, int64 and booleans
(`kernels/reduce_window.py`). What is spread or padded is made in scratch before."""

from __future__ import annotations

import itertools
import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.reduce_window import Windows, spread_slices, windows_of
from martlet.plan.lowering import Lowering, Ref, lowers
from martlet.plan.lowering.movement import Block, copy
from martlet.plan.lowering.strides import (
    CACHE_LINE,
    MOST_PARTS,
    collapse,
    count_parts,
    grain,
    parts,
    row_arguments,
)

MOST_TAPS = 1 << 14
LEAST_TAPS = 4096  # taken by a thread at once
NAMES = {"ADD": "add", "MUL": "mul", "MAXIMUM": "max", "MINIMUM": "min"}
OF_BOOLEANS = {
    "ADD": "any", "MUL": "all", "MAXIMUM": "any", "MINIMUM": "all", "ALL": "all", "ANY": "any",
}  # fmt: skip
ELEMENTS = {DType.FLOAT32: "f32", DType.INT32: "i32", DType.INT64: "i64", DType.BOOL: "i8"}


@lowers("REDUCE_WINDOW", "STABLEHLO_REDUCE_WINDOW")
def reduce_window(lowering: Lowering) -> bool:
    call, windows = lowering.call, windows_of(lowering.call)
    dtype = call.dtype(0)
    if windows is None or dtype not in ELEMENTS or math.prod(windows.sizes) > MOST_TAPS:
        return False
    name = (OF_BOOLEANS if dtype is DType.BOOL else NAMES).get(windows.fold)
    spread = windows.spread(call.shape(0))
    y = windows.reduced(spread)
    if name is None:
        return False
    if 0 in y:
        return True
    steps = [math.prod(spread[i + 1 :]) for i in range(len(spread))]
    along = [stride * step for stride, step in zip(windows.strides, steps, strict=True)]
    dense = [math.prod(y[i + 1 :]) for i in range(len(y))]
    shape, (xs, ys) = collapse(y, along, dense)
    if not shape:
        shape, xs, ys = (1,), (1,), (1,)
    x = _spread(lowering, windows)
    if x is None or count_parts(shape) > MOST_PARTS:
        return False
    taps = [
        sum(n * d * step for n, d, step in zip(place, windows.dilations, steps, strict=True))
        for place in itertools.product(*map(range, windows.sizes))
    ]
    offsets, size = lowering.data(np.array(taps, np.int64)), dtype.numpy.itemsize
    for (x_start, y_start), sizes, (xt, yt) in parts(shape, xs, ys):
        units = math.prod(sizes)
        lowering.step(
            f"reduce_window_{name}_{ELEMENTS[dtype]}", x.at(x_start * size),
            lowering.output().at(y_start * size), lowering.input(1), offsets, len(taps), xt[-1],
            *row_arguments(sizes, xt, yt),
            units=units, grain=grain(lowering, units, LEAST_TAPS // len(taps), CACHE_LINE // size),
        )  # fmt: skip
    return True


def _spread(lowering: Lowering, windows: Windows) -> Ref | None:
    """Where the windows read: the input, or what is made of it; None if there is no way."""
    call = lowering.call
    dtype, shape = call.dtype(0).numpy, call.shape(0)
    if windows.plain:
        return lowering.input(0)
    room = np.empty(windows.spread(shape), dtype)
    call.session.reserve(room.nbytes, call.place)
    block = Block(lowering.scratch(room.nbytes), room)
    initial = Block(lowering.input(1), np.broadcast_to(np.zeros((), dtype), room.shape))
    source, target = spread_slices(windows, shape)
    x = Block(lowering.input(0), np.empty(shape, dtype))
    if copy(lowering, initial, block) and copy(
        lowering, x.of(x.array[source]), block.of(room[target])
    ):
        return block.address
    return None

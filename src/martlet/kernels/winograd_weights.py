"""Weights for Winograd's algorithms, transformed and packed as `winograd.py` reads them.

In: windows of (columns, taps down, taps across, depth) elements, float32 or float16, at any
distances but for the depth, which lies side by side. Out: G · window · Gᵀ for every column and
element of the depth, as U, [panels][positions][depth][width]; zeros beyond the columns.

They are computed in float64, and rounded once: the transforms cancel digits, and weights are
transformed once only. A unit is a panel, cut into squares of columns and depth, which are turned
on their way to the stack. So are results, since those of all positions would meet in one cache set.
"""

from __future__ import annotations

from collections.abc import Callable

from martlet.kernels.forms import FORMS, Form, tile_of
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, F64, Builder, Pointer, Value
from martlet.kernels.movement import TILE
from martlet.kernels.packing import packers, square
from martlet.kernels.targets import Target
from martlet.kernels.winograd_transforms import transform_weights

AREA = TILE * TILE


def pack(form: Form) -> Callable[..., None]:
    """The writer of the kernel for a form."""
    down, across = form

    def write(
        k: Builder, x: Pointer, y: Pointer, columns: Value, depth: Value, pitch: Value,
        line: Value, tap: Value, first: Value, last: Value,
    ) -> None:  # fmt: skip
        # pitch, line, tap: elements from one column, line and tap of its window to the next.
        width = tile_of(k.lanes).width(k.lanes)
        area = TILE * width
        squares = k.local(F64, down.taps * across.taps * AREA)
        results = k.local(F32, form.positions * area)
        for unit in k.range(first, last):
            target = y + unit * form.positions * depth * width
            for step in k.range(0, depth, TILE):
                steps = k.minimum(depth - step, TILE)
                for i in k.range(0, width, TILE):
                    column = unit * width + i
                    source = x + (column * pitch + step)
                    count = k.minimum(columns - column, TILE)
                    whole = count.equals(TILE) & steps.equals(TILE)
                    for v in k.range(0, down.taps):
                        for h in k.range(0, across.taps):
                            place = squares + (v * across.taps + h) * AREA
                            window = source + (v * line + h * tap)
                            with k.when(whole):
                                for row, turned in enumerate(square(k, window, pitch)):
                                    k.store(place, row * TILE, turned.to(F64))
                            with k.when(whole ^ 1):
                                _edge(k, window, pitch, count, steps, place)
                    for n in k.range(0, steps):
                        values = _transformed(k, form, squares + n * TILE)
                        for number, value in enumerate(values):
                            k.store(results + n * width, i + number * area, value.to(F32))
                for position in k.range(0, form.positions):
                    place = target + (position * depth + step) * width
                    for j in k.range(0, steps * width, k.lanes):
                        k.store(place, j, k.load(results, position * area + j))

    return write


def _transformed(k: Builder, form: Form, taps: Pointer) -> list[Value]:
    """G · taps · Gᵀ of neighbouring columns, by position; taps lie AREA apart."""
    down, across = form
    lines = []
    for h in range(across.taps):
        numbers = [v * across.taps + h for v in range(down.taps)]
        line = [k.load(taps, AREA * n, lanes=TILE) for n in numbers]
        lines.append(transform_weights(k, down, line))
    return [
        value
        for values in zip(*lines, strict=True)
        for value in transform_weights(k, across, values)
    ]


def _edge(
    k: Builder, source: Pointer, pitch: Value, count: Value, steps: Value, target: Pointer
) -> None:
    """A square of fewer columns or less depth, with zeros around."""
    for n in range(TILE):
        k.store(target, n * TILE, k.zeros(F64, TILE))
    for column in k.range(0, count):
        for step in k.range(0, steps):
            value = k.scalar(source, column * pitch + step).to(F64)
            k.store(target, step * TILE + column, value)


def kernels(target: Target) -> list[Kernel]:
    """All forms. They are the same for every target."""
    fields = ("columns", "depth", "pitch", "line", "tap")
    return [
        kernel
        for form in FORMS
        for kernel in packers(f"pack_winograd_{form.name}", pack(form), *fields)
    ]

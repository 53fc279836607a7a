"""The first convolution of a network: float32 images of three channels, square windows.

In: an image whose pixels lie side by side; weights in panels as those of `gemm.py`, which take in a
row of the window after another; a bias as long as the panels are wide. Out: rows of
clamp(convolution + bias). What lies outside the image counts as zeros.

The runs of such windows are a few elements long, too short for a loop over them. Here they are
written out: under a tile of neighbouring windows, all elements lie at distances from the first
that are known when the code is written. Where a tile hangs over the left or right edge, what lies
under it is copied to the stack first. Sums are made in the order of `conv_f32`.

A unit is a block of output rows; rows count on over the images of a batch.
"""

from __future__ import annotations

from collections.abc import Callable

from martlet.kernels.forms import CHANNELS, STEMS, Stem, Tile, tile_of
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, I64, Builder, Pointer, Value, arguments
from martlet.kernels.targets import Target
from martlet.kernels.tiles import ask, clamp, one_by_one, vectors
from martlet.kernels.windows import IMAGE, Image, taps_inside

OPERANDS = (
    "x: *float", "weights: *float", "bias: *float", "y: *float", "low: float", "high: float",
)  # fmt: skip


def kernels(target: Target) -> list[Kernel]:
    """All windows, in the tile of a target. `IMAGE` has the channels of the output."""
    operands = arguments(*OPERANDS, *IMAGE)
    tile = tile_of(target.lanes)
    return [Kernel(f"stem_f32_{stem.name}", _convolution(stem, tile), operands) for stem in STEMS]


def _convolution(stem: Stem, tile: Tile) -> Callable[..., None]:
    taps, stride = stem
    run, reach = taps * CHANNELS, (tile.rows - 1) * stride + taps

    def write(
        k: Builder, x: Pointer, weights: Pointer, bias: Pointer, y: Pointer, low: Value,
        high: Value, *rest: Value,
    ) -> None:  # fmt: skip
        image = Image(*rest[: len(IMAGE)])
        width = tile.width(k.lanes)
        panels = (image.channels + (width - 1)) // width
        one, number = k.constant(1, I64), k.constant(taps, I64)
        edge, origin = k.local(F32, taps * reach * CHANNELS), k.local(I64, 1)
        row_step = k.variable(one)

        def block(row: Value, row_end: Value, _: Value, __: Value) -> None:
            for output in k.range(row, row_end):
                top, source, target = image.line(x, y, output, stride)
                down = taps_inside(k, top, image.height, number, one)
                for column in k.range(0, image.out_width, tile.rows):
                    # The last tile computes some columns again rather than being a short one.
                    at = k.minimum(column, image.out_width - tile.rows)
                    left = at * stride - image.pad_left
                    inside = (left >= 0) & (left + reach <= image.width)
                    with k.when(inside):
                        k.store(origin, 0, k.address(source + left * CHANNELS))
                        row_step.value = image.x_row
                    with k.when(inside.equals(0)):
                        for v in k.range(*down):
                            _copy(
                                k,
                                source + v * image.x_row,
                                left,
                                image.width,
                                reach,
                                edge + v * (reach * CHANNELS),
                            )
                        k.store(origin, 0, k.address(edge))
                        row_step.value = k.constant(reach * CHANNELS, I64)
                    for panel in k.range(0, panels):
                        sums(panel, down, target + at * image.y_pixel)

        def sums(panel: Value, down: tuple[Value, Value], target: Pointer) -> None:
            begin = [k.load(bias, panel * width + j * k.lanes) for j in range(tile.vectors)]
            totals = [[k.variable(k.zeros()) for _ in begin] for _ in range(tile.rows)]
            for row in totals:
                for total, value in zip(row, begin, strict=True):
                    total.value = value
            base = k.pointer_at(origin, 0, F32)
            places = one_by_one(k, target + panel * width, image.y_pixel, tile.rows)
            ask(k, places, image.y_pixel * tile.rows, width)
            for v in k.range(*down):
                line = base + v * row_step.value
                # Neighbouring windows share elements, each of which is a cheap load of its own.
                lines = [k.other_name(line) for _ in range(-(-taps // stride))]
                factors = weights + (panel * taps + v) * (run * width)
                for e in range(run):
                    columns = [k.load(factors, e * width + j * k.lanes) for j in range(len(begin))]
                    for i, row in enumerate(totals):
                        line = lines[i % len(lines)]
                        value = k.broadcast(k.scalar(line, i * stride * CHANNELS + e))
                        for column, total in zip(columns, row, strict=True):
                            total.value = k.fma(value, column, total.value)
            clamp(k, [total for row in totals for total in row], low, high)
            places = one_by_one(k, target + panel * width, image.y_pixel, tile.rows)
            for j, mask in vectors(k, tile, image.channels - panel * width):
                for place, row in zip(places, totals, strict=True):
                    k.store(place, j * k.lanes, row[j].value, mask)

        image.blocks(k, rest[-2], rest[-1], block)

    return write


def _copy(k: Builder, line: Pointer, left: Value, width: Value, count: int, to: Pointer) -> None:
    """So many pixels of a line from `left` on; zeros where there are none."""
    for i in k.range(0, k.constant(count, I64)):
        pixel = left + i
        inside = pixel.below_unsigned(width)
        for c in range(CHANNELS):
            with k.when(inside):
                k.store(to, i * CHANNELS + c, k.scalar(line, pixel * CHANNELS + c))
            with k.when(inside.equals(0)):
                k.store(to, i * CHANNELS + c, k.constant(0, F32))

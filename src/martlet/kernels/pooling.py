"""Pooling of float32 images (NHWC): the maximum or the mean of what lies under each window.

- `max_pool`, `average_pool`, `l2_pool` (the root of the mean square): any window; the first two,
  with a size and a stride in the name, those windows, as `each_square_tile` wants them, with `LINE`
  channels. Elements outside the image take no part, nor are they counted. The maximum passes over
  what is not a number. Results are clamped to [low, high]. Units are those of `windows.py`.
- `mean`: the mean over all pixels of an image, for each channel. A unit is `block` channels of
  one image. Sums over runs of `RUN` pixels are added up in float64, which keeps the error small
  however large the image is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from martlet.kernels.forms import POOLING_SQUARES, Square
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, F64, I64, Builder, Pointer, Value, arguments
from martlet.kernels.targets import Target
from martlet.kernels.windows import (
    IMAGE,
    WINDOW,
    Image,
    Reduction,
    Tile,
    Window,
    clamp,
    each_square_tile,
    each_window,
)

"""Windows with kernels of their own."""
LINE = 16  # elements of a cache line
LEAST = float(np.finfo(np.float32).min)
MEAN = "pixels: i64", "channels: i64", "x_pixel: i64", "y_pixel: i64", "block: i64"
RUN = 32
VECTORS = 4  # of channels at a time: independent sums hide the latency of addition


def any_window(reduction: Callable[[Builder, Value, Value], Reduction]) -> Callable[..., None]:
    """The writer of a kernel for any window."""

    def write(k: Builder, x: Pointer, y: Pointer, low: Value, high: Value, *rest: Value) -> None:
        image, window = Image(*rest[: len(IMAGE)]), Window(*rest[len(IMAGE) : -2])
        how = reduction(k, low, high)
        each_window(k, x, y, image, window, (rest[-2], rest[-1]), lambda channel, mask: how)

    return write


def square_windows(
    reduction: Callable[[Builder, Value, Value], Reduction], square: Square
) -> Callable[..., None]:
    """The writer of a kernel for these windows.

    Columns are reduced first, each once for all windows that meet it; then the windows' columns.
    Channels go by whole cache lines: with many channels, pixels compete for the same places of the
    cache, and a line may be gone when its second half is wanted later.
    """
    taps, stride, width, _ = square

    def write(k: Builder, x: Pointer, y: Pointer, low: Value, high: Value, *rest: Value) -> None:
        image = Image(*rest[: len(IMAGE)])
        how = reduction(k, low, high)
        add = how.tap(k.constant(0, I64))

        def tile(tile: Tile) -> None:
            first, end = tile.down
            whole = (end - first).equals(taps)
            with k.when(whole):
                for c in k.range(tile.first_channel, tile.last_channel, LINE):
                    whole_windows(tile, k.minimum(c, image.channels - LINE))
            with k.when(whole.equals(0)):
                for c in k.range(tile.first_channel, tile.last_channel, k.lanes):
                    cut_windows(tile, k.minimum(c, image.channels - k.lanes), end - first)

        def whole_windows(tile: Tile, c: Value) -> None:
            halves = [c + at for at in range(0, LINE, k.lanes)]
            columns: list[dict[int, Value]] = [{} for _ in halves]
            for n in range(width):
                for at, reduced in zip(halves, columns, strict=True):
                    for j in under(tile, n):
                        if j not in reduced:
                            reduced[j] = column(tile.x + (image.x_pixel * j + at))
                    store(tile, at, n, reduced, k.constant(taps, I64))

        def column(source: Pointer) -> Value:
            total = how.start
            for i in range(taps):
                total = add(total, k.load(source, image.x_row * i))
            return total

        def cut_windows(tile: Tile, c: Value, rows: Value) -> None:
            """Where the image lacks some of the rows."""
            totals = [k.variable(how.start) for _ in tile.met]
            for total in totals:
                total.value = how.start
            for i in k.range(*tile.down):
                line = tile.x + (i * image.x_row + c)
                for total, j in zip(totals, tile.met, strict=True):
                    total.value = add(total.value, k.load(line, image.x_pixel * j))
            reduced = {j: total.value for j, total in zip(tile.met, totals, strict=True)}
            for n in range(width):
                store(tile, c, n, reduced, rows)

        def under(tile: Tile, n: int) -> list[int]:
            """The columns under window n."""
            return [j for j in range(n * stride, n * stride + taps) if j in tile.met]

        def store(tile: Tile, c: Value, n: int, columns: dict[int, Value], rows: Value) -> None:
            met = under(tile, n)
            total = columns[met[0]]
            for j in met[1:]:
                total = add(total, columns[j])
            k.store(tile.y + c, image.y_pixel * n, how.finish(rows * len(met))(total))

        each_square_tile(k, x, y, image, square, (rest[-2], rest[-1]), tile)

    return write


def maximum(k: Builder, low: Value, high: Value) -> Reduction:
    """The largest, or `LEAST` where nothing is a number."""
    return Reduction(
        k.broadcast(k.constant(LEAST, F32)),
        lambda number: lambda total, value: k.maximum(value, total),
        lambda count: lambda total: clamp(k, total, low, high),
    )


def average(k: Builder, low: Value, high: Value) -> Reduction:
    """The sum over the number of elements."""

    def finish(count: Value) -> Callable[[Value], Value]:
        inverse = 1.0 / count.to(F32)
        return lambda total: clamp(k, total * inverse, low, high)

    return Reduction(k.zeros(), lambda number: lambda total, value: total + value, finish)


def root_mean_square(k: Builder, low: Value, high: Value) -> Reduction:
    """The root of the mean of the squares."""
    how = average(k, low, high)

    def finish(count: Value) -> Callable[[Value], Value]:
        return lambda total: clamp(k, k.square_root(total / count.to(F32)), low, high)

    return how._replace(
        tap=lambda number: lambda total, value: total + value * value, finish=finish
    )


def mean(
    k: Builder, x: Pointer, y: Pointer, low: Value, high: Value, pixels: Value, channels: Value,
    x_pixel: Value, y_pixel: Value, block: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """(images, pixels, channels) -> (images, channels), `x_pixel` and `y_pixel` elements apart."""
    inverse = 1.0 / pixels.to(F64)
    across = (channels + block - 1) // block

    def vectors(source: Pointer, target: Pointer, count: int, mask: Value | None) -> None:
        totals = [k.variable(k.zeros(F64)) for _ in range(count)]
        sums = [k.variable(k.zeros()) for _ in range(count)]
        for total in totals:
            total.value = k.zeros(F64)
        for start in k.range(0, pixels, RUN):
            for part in sums:
                part.value = k.zeros()
            for pixel in k.range(start, k.minimum(start + RUN, pixels)):
                for i, part in enumerate(sums):
                    part.value = part.value + k.load(source, pixel * x_pixel + i * k.lanes, mask)
            for total, part in zip(totals, sums, strict=True):
                total.value = total.value + part.value.to(F64)
        for i, total in enumerate(totals):
            value = (total.value * inverse).to(F32)
            k.store(target, i * k.lanes, clamp(k, value, low, high), mask)

    for unit in k.range(first, last):
        image, c = unit // across, unit % across * block
        source, target = x + image * pixels * x_pixel, y + image * y_pixel
        end = k.minimum(c + block, channels)
        whole = c + (end - c) // (VECTORS * k.lanes) * (VECTORS * k.lanes)
        for at in k.range(c, whole, VECTORS * k.lanes):
            vectors(source + at, target + at, VECTORS, None)
        for at in k.range(whole, end, k.lanes):
            left = k.broadcast(end - at)
            vectors(source + at, target + at, 1, k.lane_numbers(I64) < left)


def kernels(target: Target) -> list[Kernel]:
    """All pooling kernels."""
    operands = ("x: *float", "y: *float", "low: float", "high: float")
    anywhere = arguments(*operands, *IMAGE, *WINDOW)
    found = [
        Kernel("mean_f32", mean, arguments(*operands, *MEAN)),
        Kernel("l2_pool_f32", any_window(root_mean_square), anywhere),
    ]
    for name, reduction in (("max_pool", maximum), ("average_pool", average)):
        found.append(Kernel(f"{name}_f32", any_window(reduction), anywhere))
        for square in POOLING_SQUARES:
            write = square_windows(reduction, square)
            found.append(Kernel(f"{name}_f32_{square.name}", write, arguments(*operands, *IMAGE)))
    return found

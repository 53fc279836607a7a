"""Pooling of float32 images (NHWC): the maximum or the mean of what lies under each window.

- `max_pool`, `average_pool`: any window; with a size and a stride in the name, those windows, as
  `each_square_window` wants them. Elements outside the image take no part, nor are they counted.
  The maximum passes over what is not a number. Results are clamped to [low, high]. Units are
  those of `windows.py`.
- `mean`: the mean over all pixels of an image, for each channel. A unit is `block` channels of
  one image. Sums over runs of `RUN` pixels are added up in float64, which keeps the error small
  however large the image is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, F64, I64, Builder, Pointer, Value, arguments
from martlet.kernels.targets import Target
from martlet.kernels.windows import (
    IMAGE,
    WINDOW,
    Image,
    Reduction,
    Square,
    Window,
    clamp,
    each_square_window,
    each_window,
)

SQUARES = Square(2, 2, 7), Square(3, 1, 7), Square(3, 2, 7)
"""Windows with kernels of their own."""
LEAST = float(np.finfo(np.float32).min)
MEAN = "pixels: i64", "channels: i64", "x_pixel: i64", "y_pixel: i64", "block: i64"
RUN = 32
VECTORS = 4  # of channels at a time: independent sums hide the latency of addition


def pool(
    reduction: Callable[[Builder, Value, Value], Reduction], square: Square | None
) -> Callable[..., None]:
    """The writer of a kernel for these windows, or for any."""

    def write(k: Builder, x: Pointer, y: Pointer, low: Value, high: Value, *rest: Value) -> None:
        image, units = Image(*rest[: len(IMAGE)]), (rest[-2], rest[-1])
        how = reduction(k, low, high)
        if square is not None:
            each_square_window(k, x, y, image, square, units, lambda channel: how)
        else:
            window = Window(*rest[len(IMAGE) : -2])
            each_window(k, x, y, image, window, units, lambda channel, mask: how)

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
    any_window = arguments(*operands, *IMAGE, *WINDOW)
    found = [
        Kernel("mean_f32", mean, arguments(*operands, *MEAN)),
    ]
    for name, reduction in (("max_pool", maximum), ("average_pool", average)):
        found.append(Kernel(f"{name}_f32", pool(reduction, None), any_window))
        for square in SQUARES:
            write = pool(reduction, square)
            found.append(Kernel(f"{name}_f32_{square.name}", write, arguments(*operands, *IMAGE)))
    return found

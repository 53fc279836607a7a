"""Depthwise convolution of float32 images (NHWC), one filter for each channel.

In: image, weights, bias. Out: image; sums start at the bias and are clamped to [low, high]. What
lies outside the image is left out of the sums; nothing there is read. Units are those of
`windows.py`, as are the two forms:

- `depthwise_f32_3x3s1_7`: windows of 3x3 with stride 1, 7 output columns at a time; they must be
  as `each_square_tile` wants them, with a vector of channels. `depthwise_f32_3x3s1_2x4`: 4 columns
  of two rows, so that what was loaded goes into more sums. Weights are packed (`pack`): as they
  lie in a file, those of one channel are as far apart as the pixels of the image, and compete with
  these for places in the cache. Blocks begin with a whole number of vectors.
- `depthwise_f32`: any window, stride, dilation and padding; weights (height, width, channels).
"""

from __future__ import annotations

from collections.abc import Callable

from martlet.kernels.forms import DEPTHWISE_SQUARES, Square
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, Builder, Pointer, Value, arguments
from martlet.kernels.packing import packers
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

OPERANDS = (
    "x: *float", "weights: *float", "bias: *float", "y: *float", "low: float", "high: float",
)  # fmt: skip


def any_window(
    k: Builder, x: Pointer, weights: Pointer, bias: Pointer, y: Pointer, low: Value, high: Value,
    *rest: Value,
) -> None:  # fmt: skip
    """Any window, stride, dilation and padding."""
    image, window = Image(*rest[: len(IMAGE)]), Window(*rest[len(IMAGE) : -2])

    def channel(c: Value, mask: Value | None) -> Reduction:
        def tap(number: Value) -> Callable[[Value, Value], Value]:
            factor = k.load(weights, number * image.channels + c, mask)
            return lambda total, value: k.fma(value, factor, total)

        def finish(_: Value) -> Callable[[Value], Value]:
            return lambda total: clamp(k, total, low, high)

        return Reduction(k.load(bias, c, mask), tap, finish)

    each_window(k, x, y, image, window, (rest[-2], rest[-1]), channel)


def square_windows(square: Square) -> Callable[..., None]:
    """The writer of the kernel for these windows.

    Every column of an image row is loaded once for all output columns of a tile.
    """
    taps, stride, width, _ = square

    def write(
        k: Builder, x: Pointer, weights: Pointer, bias: Pointer, y: Pointer, low: Value,
        high: Value, *rest: Value,
    ) -> None:  # fmt: skip
        image = Image(*rest[: len(IMAGE)])

        def tile(tile: Tile) -> None:
            reduce = one_row if tile.lines is None else two_rows
            for channels in k.range(tile.first_channel, tile.last_channel, k.lanes):
                reduce(
                    tile,
                    k.minimum(channels, image.channels - k.lanes),
                    weights + channels * (taps * taps),
                )

        def two_rows(tile: Tile, c: Value, filters: Pointer) -> None:
            start = k.load(bias, c)
            sums = [[start] * width for _ in range(2)]
            factors: dict[int, list[Value]] = {}
            for line in tile.lines or ():
                rows = {row: line - row * stride for row in range(2)}  # the taps that meet the line
                rows = {row: i for row, i in rows.items() if 0 <= i < taps}
                for i in set(rows.values()) - set(factors):
                    factors[i] = [k.load(filters, (i * taps + j) * k.lanes) for j in range(taps)]
                under = tile.x + (image.x_row * line + c)
                for column in tile.met:
                    value = k.load(under, image.x_pixel * column)
                    for row, i in rows.items():
                        for n in range(width):
                            if 0 <= (j := column - n * stride) < taps:
                                sums[row][n] = k.fma(value, factors[i][j], sums[row][n])
            for row, totals in enumerate(sums):
                target = tile.y + (image.y_row * row + c)
                for n, total in enumerate(totals):
                    k.store(target, image.y_pixel * n, clamp(k, total, low, high))

        def one_row(tile: Tile, c: Value, filters: Pointer) -> None:
            start = k.load(bias, c)
            totals = [k.variable(start) for _ in range(width)]
            for total in totals:
                total.value = start
            for i in k.range(*tile.down):
                factors = [k.load(filters, (i * taps + j) * k.lanes) for j in range(taps)]
                line = tile.x + (i * image.x_row + c)
                sums = [total.value for total in totals]
                for column in tile.met:
                    value = k.load(line, image.x_pixel * column)
                    for n in range(width):
                        if 0 <= column - n * stride < taps:
                            sums[n] = k.fma(value, factors[column - n * stride], sums[n])
                for total, result in zip(totals, sums, strict=True):
                    total.value = result
            for n, total in enumerate(totals):
                k.store(tile.y + c, image.y_pixel * n, clamp(k, total.value, low, high))

        each_square_tile(k, x, y, image, square, (rest[-2], rest[-1]), tile)

    return write


def pack(
    k: Builder, x: Pointer, y: Pointer, taps: Value, channels: Value, first: Value, last: Value
) -> None:
    """Weights (taps, channels), float32 or float16 -> (vectors, taps, lanes); a unit is a vector.

    The last one begins earlier where channels do not fill it; there are enough for one.
    """
    for unit in k.range(first, last):
        channel, target = k.minimum(unit * k.lanes, channels - k.lanes), y + unit * taps * k.lanes
        for tap in k.range(0, taps):
            k.store(target, tap * k.lanes, k.load(x, tap * channels + channel).to(F32))


def kernels(target: Target) -> list[Kernel]:
    """All depthwise kernels."""
    operands = arguments(*OPERANDS, *IMAGE)
    squares = [
        Kernel(f"depthwise_f32_{square.name}", square_windows(square), operands)
        for square in DEPTHWISE_SQUARES
    ]
    window = Kernel("depthwise_f32", any_window, arguments(*OPERANDS, *IMAGE, *WINDOW))
    return [window, *squares, *packers("pack_depthwise", pack, "taps", "channels")]

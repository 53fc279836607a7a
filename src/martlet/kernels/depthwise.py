"""Depthwise convolution of float32 images (NHWC), one filter for each channel.

In: image, weights (height, width, channels) as a `.tflite` file has them, bias. Out: image; sums
start at the bias and are clamped to [low, high]. What lies outside the image is left out of the
sums; nothing there is read. Units are those of `windows.py`, as are the two forms:

- `depthwise_f32_3x3s1_7`: windows of 3x3 with stride 1, 7 output columns at a time; they must be
  as `each_square_window` wants them.
- `depthwise_f32`: any window, stride, dilation and padding.
"""

from __future__ import annotations

from collections.abc import Callable

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import Builder, Pointer, Value, arguments
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

SQUARES = (
    Square(3, 1, 7), Square(3, 2, 7), Square(5, 1, 7), Square(5, 2, 7),
    Square(3, 1, 4), Square(3, 2, 4), Square(5, 1, 4), Square(5, 2, 4),
)  # fmt: skip
"""Windows with kernels of their own; the first that fits is taken. Sizes of images in networks
are often multiples of 7, and no other tile is faster where they are not."""
OPERANDS = (
    "x: *float", "weights: *float", "bias: *float", "y: *float", "low: float", "high: float",
)  # fmt: skip


def depthwise(square: Square | None) -> Callable[..., None]:
    """The writer of the kernel for these windows, or for any."""

    def write(
        k: Builder, x: Pointer, weights: Pointer, bias: Pointer, y: Pointer, low: Value,
        high: Value, *rest: Value,
    ) -> None:  # fmt: skip
        image, units = Image(*rest[: len(IMAGE)]), (rest[-2], rest[-1])

        def channel(c: Value, mask: Value | None = None) -> Reduction:
            def tap(number: Value) -> Callable[[Value, Value], Value]:
                factor = k.load(weights, number * image.channels + c, mask)
                return lambda total, value: k.fma(value, factor, total)

            def finish(_: Value) -> Callable[[Value], Value]:
                return lambda total: clamp(k, total, low, high)

            return Reduction(k.load(bias, c, mask), tap, finish)

        if square is not None:
            each_square_window(k, x, y, image, square, units, channel)
        else:
            window = Window(*rest[len(IMAGE) : -2])
            each_window(k, x, y, image, window, units, channel)

    return write


def kernels(target: Target) -> list[Kernel]:
    """All depthwise kernels."""
    any_window = Kernel("depthwise_f32", depthwise(None), arguments(*OPERANDS, *IMAGE, *WINDOW))
    operands = arguments(*OPERANDS, *IMAGE)
    squares = [Kernel(f"depthwise_f32_{s.name}", depthwise(s), operands) for s in SQUARES]
    return [any_window, *squares]

"""Depthwise convolution of float32 images (NHWC), one filter for each channel.

In: image, weights (height, width, channels) as a `.tflite` file has them, bias. Out: image; sums
start at the bias and are clamped to [low, high]. What lies outside the image is left out of the
sums; nothing there is read. Units are those of `windows.py`.

- `depthwise_3x3s1`, `depthwise_3x3s2`: at least one vector of channels, at most one row or column
  of padding on each side. The filter stays in registers for all rows of a block. Two output rows
  are made at once, since one alone has too few independent sums. Along them, every column of the
  image is loaded once, and adds its products to the sums of all output columns whose window it
  meets. Rows outside the image are left out by loops of their own.
- `depthwise_5x5s1`, `depthwise_5x5s2`: as `each_square_window` wants them.
- `depthwise`: any window, stride, dilation and padding.
"""

from __future__ import annotations

from collections.abc import Callable

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import I64, Builder, Pointer, Value, arguments
from martlet.kernels.targets import Target
from martlet.kernels.windows import (
    IMAGE,
    WINDOW,
    Image,
    Reduction,
    Window,
    clamp,
    each_square_window,
    each_window,
)

OPERANDS = (
    "x: *float", "weights: *float", "bias: *float", "y: *float", "low: float", "high: float",
)  # fmt: skip


def depthwise_3x3(stride: int) -> Callable[..., None]:
    """The writer of the 3x3 kernel with this stride."""

    def write(
        k: Builder, x: Pointer, weights: Pointer, bias: Pointer, y: Pointer, low: Value,
        high: Value, *rest: Value,
    ) -> None:  # fmt: skip
        *sizes, first, last = rest
        image = Image(*sizes)
        # Whether the last window hangs over the right edge.
        hanging = (image.out_width - 1) * stride - image.pad_left + 2 >= image.width

        def vector(c: Value, row: Value, row_end: Value, _: Value | None) -> None:
            taps = [k.load(weights, image.channels * tap + c) for tap in range(9)]
            start = k.load(bias, c)
            place = k.variable(row)
            place.value = row
            with k.forever() as walking:
                output = place.value
                walking.leave_if(output >= row_end)
                top, source, target = image.line(x, y, output, stride, c)
                left = image.out_height - output % image.out_height
                pair = (output + 1 < row_end) & (left > 1)
                above = top < 0
                for count, wanted in ((2, pair), (1, pair.equals(0))):
                    lines = range(stride * (count - 1) + 3)
                    below = top + lines[-1] >= image.height
                    with k.when(wanted):
                        for met, condition in (
                            (lines, (above | below).equals(0)),
                            (lines[1:], above & below.equals(0)),
                            (lines[:-1], below & above.equals(0)),
                            (lines[1:-1], above & below),
                        ):
                            with k.when(condition):
                                walk(met, count, source, target, taps, start)
                        place.value = output + count

        def walk(
            met: range, count: int, source: Pointer, target: Pointer, taps: list[Value],
            start: Value,
        ) -> None:  # fmt: skip
            """`count` output rows from left to right; `met`: the image rows that there are."""
            channels = image.channels
            lines = [source + image.x_row * line for line in met]
            rows = range(count)

            def column(at: Value) -> dict[int, Value]:
                values = [k.load(p, at) for p in lines]
                return dict(zip(met, values, strict=True))

            def add(*jobs: tuple[list[Value], dict[int, Value], int]) -> list[list[Value]]:
                """Add to the totals of all rows the products of a column with one of the filter.

                The sums of several jobs take turns, so that none waits for its own last step.
                """
                results = [list(totals) for totals, _, _ in jobs]
                for r in range(3):
                    for (_, values, tap), totals in zip(jobs, results, strict=True):
                        for row in rows:
                            line = row * stride + r
                            if line in values:
                                factor = taps[3 * r + tap]
                                totals[row] = k.fma(values[line], factor, totals[row])
                return results

            def finish(at: Value, totals: list[Value]) -> None:
                for row, total in zip(rows, totals, strict=True):
                    k.store(target + image.y_row * row, at, clamp(k, total, low, high))

            # The sums of this output column and the next, without the columns still to come.
            zero = k.constant(0, I64)
            bias_only = [start for _ in rows]
            now, then = ([k.variable(start) for _ in rows] for _ in range(2))

            def put(variables: list, values: list[Value]) -> None:
                for variable, value in zip(variables, values, strict=True):
                    variable.value = value

            put(now, bias_only)
            with k.when(image.pad_left.equals(0)):
                put(now, *add((bias_only, column(zero), 0)))
            at = k.variable((1 - image.pad_left) * channels)
            at.value = (1 - image.pad_left) * channels
            if stride == 1:
                values = column(at.value)
                this, after = add(([v.value for v in now], values, 1), (bias_only, values, 0))
                put(now, this)
                put(then, after)
                at.value = at.value + channels
            end = (image.out_width - hanging.to(I64)) * channels
            place = k.variable(zero)
            place.value = zero
            with k.forever() as walking:
                walking.leave_if(place.value >= end)
                values = column(at.value)
                totals = [v.value for v in now]
                if stride == 1:
                    coming = [v.value for v in then]
                    totals, coming, after = add(
                        (totals, values, 2), (coming, values, 1), (bias_only, values, 0)
                    )
                    put(then, after)
                else:
                    (totals,) = add((totals, values, 1))
                    values = column(at.value + channels)
                    totals, coming = add((totals, values, 2), (bias_only, values, 0))
                put(now, coming)
                finish(place.value, totals)
                at.value = at.value + channels * stride
                place.value = place.value + channels
            with k.when(hanging):
                totals = [v.value for v in now]
                if stride == 2:
                    (totals,) = add((totals, column(at.value), 1))
                finish(place.value, totals)

        image.vectors(k, first, last, vector, masked=False)

    return write


def depthwise(taps: int = 0, stride: int = 0) -> Callable[..., None]:
    """The writer of the kernel for `taps` x `taps` windows with this stride, or for any window."""

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

        if taps:
            each_square_window(k, x, y, image, taps, stride, units, channel)
        else:
            window = Window(*rest[len(IMAGE) : -2])
            each_window(k, x, y, image, window, units, channel)

    return write


def kernels(target: Target) -> list[Kernel]:
    """All depthwise kernels."""
    return [
        Kernel("depthwise_3x3s1_f32", depthwise_3x3(1), arguments(*OPERANDS, *IMAGE)),
        Kernel("depthwise_3x3s2_f32", depthwise_3x3(2), arguments(*OPERANDS, *IMAGE)),
        Kernel("depthwise_5x5s1_f32", depthwise(5, 1), arguments(*OPERANDS, *IMAGE)),
        Kernel("depthwise_5x5s2_f32", depthwise(5, 2), arguments(*OPERANDS, *IMAGE)),
        Kernel("depthwise_f32", depthwise(), arguments(*OPERANDS, *IMAGE, *WINDOW)),
    ]

"""Depthwise convolution of float32 images (NHWC), one filter for each channel.

In: image, weights (height, width, channels) as a `.tflite` file has them, bias. Out: image; sums
start at the bias and are clamped to [low, high]. What lies outside the image is left out of the
sums; nothing there is read.

A unit is a block of output rows by a block of channels; blocks are numbered channels first. Rows
count on over the images of a batch. A block goes vector by vector of channels, so that the
filter of a vector is loaded once for all its rows. Where the channels do not fill the last
vector, it starts earlier and computes some channels again; fewer channels than one vector have
go under a mask.

Two forms:

- `depthwise_3x3s1`, `depthwise_3x3s2`: at most one row or column of padding on each side. Along a
  row, every column of the image is loaded once, and adds its products to the sums of all output
  columns whose window it meets: two of them are underway at any time. The filter stays in
  registers. Rows outside the image are left out by loops of their own.
- `depthwise`: any window, stride, dilation and padding.
"""

from __future__ import annotations

from collections.abc import Callable

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import I64, Builder, Pointer, Value, arguments
from martlet.kernels.targets import Target

BLOCKS = (
    "x: *float", "weights: *float", "bias: *float", "y: *float", "low: float", "high: float",
    "height: i64", "width: i64", "channels: i64", "out_height: i64", "out_width: i64",
    "x_row: i64", "y_row: i64", "pad_top: i64", "pad_left: i64",
    "rows: i64", "block_rows: i64", "block_channels: i64",
)  # fmt: skip
"""Sizes are in elements. x_row, y_row: from one row to the next. rows: of the whole batch."""
WINDOW = (
    "taps_h: i64", "taps_w: i64", "stride_h: i64", "stride_w: i64",
    "dilation_h: i64", "dilation_w: i64",
)  # fmt: skip
COLUMNS = 6  # independent sums hide the latency of multiply-add


def blocks(
    k: Builder,
    first: Value,
    last: Value,
    sizes: tuple[Value, Value, Value, Value],
    body: Callable[[Value, Value, Value, Value | None], None],
) -> None:
    """`body(channel, first row, last row, mask)` for each vector of channels in the units.

    sizes: rows, rows of a block, channels, channels of a block.
    """
    rows, block_rows, channels, block_channels = sizes
    across = (channels + block_channels - 1) // block_channels
    for unit in k.range(first, last):
        row = unit // across * block_rows
        row_end = k.minimum(row + block_rows, rows)
        start = unit % across * block_channels
        end = k.minimum(start + block_channels, channels)
        with k.when(channels >= k.lanes):
            for c in k.range(start, end, k.lanes):
                body(k.minimum(c, channels - k.lanes), row, row_end, None)
        with k.when(channels < k.lanes):
            mask = k.lane_numbers(I64) < channels
            body(start, row, row_end, mask)


def depthwise_3x3(stride: int) -> Callable[..., None]:
    """The writer of the 3x3 kernel with this stride."""

    def write(
        k: Builder, x: Pointer, weights: Pointer, bias: Pointer, y: Pointer, low: Value,
        high: Value, height: Value, width: Value, channels: Value, out_height: Value,
        out_width: Value, x_row: Value, y_row: Value, pad_top: Value, pad_left: Value,
        rows: Value, block_rows: Value, block_channels: Value, first: Value, last: Value,
    ) -> None:  # fmt: skip
        # 1 if the last window hangs over the right edge
        hanging = ((out_width - 1) * stride - pad_left + 2 >= width).to(I64)

        def vector(c: Value, row: Value, row_end: Value, mask: Value | None) -> None:
            taps = [k.load(weights, channels * tap + c, mask) for tap in range(9)]
            start = k.load(bias, c, mask)
            for output in k.range(row, row_end):
                top = output % out_height * stride - pad_top
                source = x + ((output // out_height * height + top) * x_row + c)
                target = y + (output * y_row + c)
                above, below = top < 0, top + 2 >= height
                for met, condition in (
                    ((0, 1, 2), (above | below).equals(0)),
                    ((1, 2), above & below.equals(0)),
                    ((0, 1), below & above.equals(0)),
                    ((1,), above & below),
                ):
                    with k.when(condition):
                        lines = [(source + x_row * r, taps[3 * r : 3 * r + 3]) for r in met]
                        one_row(lines, target, start, mask)

        def one_row(
            lines: list[tuple[Pointer, list[Value]]],
            target: Pointer,
            start: Value,
            mask: Value | None,
        ) -> None:
            def column(at: Value) -> list[Value]:
                return [k.load(p, at, mask) for p, _ in lines]

            def products(inputs: list[Value], tap: int, total: Value | None = None) -> Value:
                """The products with one column of the filter, added up."""
                for value, (_, row_taps) in zip(inputs, lines, strict=True):
                    factor = row_taps[tap]
                    total = value * factor if total is None else k.fma(value, factor, total)
                assert total is not None
                return total

            def finish(at: Value, total: Value) -> None:
                k.store(target, at, clamp(k, total, low, high), mask)

            # `now`: the sum of this output column, without the columns that are still to come.
            now, then = k.variable(start), k.variable(start)
            with k.when(pad_left.equals(0)):
                now.value = products(column(k.constant(0, I64)), 0, start)
            source = k.variable((1 - pad_left) * channels)
            if stride == 1:
                inputs = column(source.value)
                then.value = products(inputs, 0, start)
                now.value = now.value + products(inputs, 1)
                source.value = source.value + channels
            end = (out_width - hanging) * channels
            place = k.variable(k.constant(0, I64))
            with k.forever() as walking:
                walking.leave_if(place.value >= end)
                if stride == 1:
                    inputs = column(source.value)
                    finish(place.value, now.value + products(inputs, 2))
                    now.value = then.value + products(inputs, 1)
                    then.value = products(inputs, 0, start)
                else:
                    total = products(column(source.value), 1, now.value)
                    inputs = column(source.value + channels)
                    finish(place.value, total + products(inputs, 2))
                    now.value = products(inputs, 0, start)
                source.value = source.value + channels * stride
                place.value = place.value + channels
            with k.when(hanging.differs(0)):
                total = now.value
                if stride == 2:
                    total = products(column(source.value), 1, total)
                finish(place.value, total)

        blocks(k, first, last, (rows, block_rows, channels, block_channels), vector)

    return write


def depthwise(
    k: Builder, x: Pointer, weights: Pointer, bias: Pointer, y: Pointer, low: Value, high: Value,
    height: Value, width: Value, channels: Value, out_height: Value, out_width: Value,
    x_row: Value, y_row: Value, pad_top: Value, pad_left: Value, rows: Value, block_rows: Value,
    block_channels: Value, taps_h: Value, taps_w: Value, stride_h: Value, stride_w: Value,
    dilation_h: Value, dilation_w: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """Any window: `COLUMNS` output columns at a time where all their taps meet the image."""
    reach = (taps_w - 1) * dilation_w

    def vector(c: Value, row: Value, row_end: Value, mask: Value | None) -> None:
        start = k.load(bias, c, mask)
        for output in k.range(row, row_end):
            top = output % out_height * stride_h - pad_top
            rows_met = taps_inside(k, top, height, taps_h, dilation_h)
            source = x + ((output // out_height * height + top) * x_row + c)
            target = y + (output * y_row + c)
            place = k.variable(k.constant(0, I64))
            with k.forever() as walking:
                at = place.value
                walking.leave_if(at >= out_width)
                left = at * stride_w - pad_left
                right = left + stride_w * (COLUMNS - 1) + reach
                inside = (left >= 0) & (right < width) & (at + COLUMNS <= out_width)
                with k.when(inside):
                    columns(source, target, at, rows_met, COLUMNS, mask, start, c)
                    place.value = at + COLUMNS
                with k.when(inside.equals(0)):
                    columns(source, target, at, rows_met, 1, mask, start, c)
                    place.value = at + 1

    def columns(
        source: Pointer, target: Pointer, at: Value, rows_met: tuple[Value, Value], count: int,
        mask: Value | None, start: Value, c: Value,
    ) -> None:  # fmt: skip
        left = at * stride_w - pad_left
        met = (k.constant(0, I64), taps_w)
        if count == 1:
            met = taps_inside(k, left, width, taps_w, dilation_w)
        totals = [k.variable(start) for _ in range(count)]
        for total in totals:
            total.value = start
        for i in k.range(*rows_met):
            for j in k.range(*met):
                factor = k.load(weights, (i * taps_w + j) * channels + c, mask)
                under = source + (i * dilation_h * x_row + (left + j * dilation_w) * channels)
                for n, total in enumerate(totals):
                    value = k.load(under, stride_w * channels * n, mask)
                    total.value = k.fma(value, factor, total.value)
        for n, total in enumerate(totals):
            result = clamp(k, total.value, low, high)
            k.store(target, (at + n) * channels, result, mask)

    blocks(k, first, last, (rows, block_rows, channels, block_channels), vector)


def taps_inside(
    k: Builder, start: Value, size: Value, taps: Value, dilation: Value
) -> tuple[Value, Value]:
    """(first, end) of the taps that lie in the image, when tap 0 lies at `start`."""
    zero = k.constant(0, I64)
    before = k.maximum(dilation - 1 - start, zero) // dilation
    end = k.maximum(size - start + dilation - 1, zero) // dilation
    return before, k.minimum(end, taps)


def clamp(k: Builder, value: Value, low: Value, high: Value) -> Value:
    """Within [low, high]; what is not a number stays so."""
    raised = k.maximum(k.as_value(low, value.type), value)
    return k.minimum(k.as_value(high, value.type), raised)


def kernels(target: Target) -> list[Kernel]:
    """All depthwise kernels."""
    return [
        Kernel("depthwise_3x3s1_f32", depthwise_3x3(1), arguments(*BLOCKS)),
        Kernel("depthwise_3x3s2_f32", depthwise_3x3(2), arguments(*BLOCKS)),
        Kernel("depthwise_f32", depthwise, arguments(*BLOCKS, *WINDOW)),
    ]

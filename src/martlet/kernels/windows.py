"""Windows that move over NHWC images: the units of such kernels, and which taps meet the image.

A unit is a block of output rows by a block of channels; blocks are numbered channels first. Rows
count on over the images of a batch. A block goes vector by vector of channels. Where the
channels do not fill the last vector, it starts earlier and computes some channels again; fewer
channels than one vector has go under a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from martlet.kernels.forms import Square
from martlet.kernels.language import I64, Builder, Pointer, Value, Variable
from martlet.records import NamedTuple

IMAGE = (
    "height: i64", "width: i64", "channels: i64", "out_height: i64", "out_width: i64",
    "x_row: i64", "x_pixel: i64", "y_row: i64", "y_pixel: i64", "pad_top: i64", "pad_left: i64",
    "rows: i64", "block_rows: i64", "block_channels: i64",
)  # fmt: skip
"""Arguments for `Image`."""
WINDOW = (
    "taps_h: i64", "taps_w: i64", "stride_h: i64", "stride_w: i64",
    "dilation_h: i64", "dilation_w: i64",
)  # fmt: skip
"""Arguments for `Window`."""
COLUMNS = 6  # output columns at a time: independent sums hide the latency of multiply-add


class Image(NamedTuple):
    """Sizes in elements. rows: of the whole batch.

    x_row, x_pixel, y_row, y_pixel: from one row, or pixel, to the next; images follow one another
    row by row.
    """

    height: Value
    width: Value
    channels: Value
    out_height: Value
    out_width: Value
    x_row: Value
    x_pixel: Value
    y_row: Value
    y_pixel: Value
    pad_top: Value
    pad_left: Value
    rows: Value
    block_rows: Value
    block_channels: Value

    def blocks(
        self,
        k: Builder,
        first: Value,
        last: Value,
        body: Callable[[Value, Value, Value, Value], None],
    ) -> None:
        """`body(first row, last row, first channel, last channel)` for each of the units."""
        across = (self.channels + self.block_channels - 1) // self.block_channels
        for unit in k.range(first, last):
            row = unit // across * self.block_rows
            start = unit % across * self.block_channels
            body(
                row,
                k.minimum(row + self.block_rows, self.rows),
                start,
                k.minimum(start + self.block_channels, self.channels),
            )

    def vectors(
        self,
        k: Builder,
        first: Value,
        last: Value,
        body: Callable[[Value, Value, Value, Value | None], None],
        masked: bool = True,
    ) -> None:
        """`body(channel, first row, last row, mask)` for each vector of channels in the units.

        masked: whether there may be fewer channels than one vector has.
        """

        def block(row: Value, row_end: Value, start: Value, end: Value) -> None:
            with k.when(self.channels >= k.lanes):
                for c in k.range(start, end, k.lanes):
                    body(k.minimum(c, self.channels - k.lanes), row, row_end, None)
            if masked:
                with k.when(self.channels < k.lanes):
                    body(start, row, row_end, k.lane_numbers(I64) < self.channels)

        self.blocks(k, first, last, block)

    def line(
        self, x: Pointer, y: Pointer, row: Value, stride: Value | int, channel: Value | int = 0
    ) -> tuple[Value, Pointer, Pointer]:
        """For an output row: the image row of tap 0 (maybe outside), its address, the row's own."""
        top = row % self.out_height * stride - self.pad_top
        source = x + ((row // self.out_height * self.height + top) * self.x_row + channel)
        return top, source, y + (row * self.y_row + channel)


class Tile(NamedTuple):
    """Some output columns of one row or two, for channels from first_channel to last_channel.

    x: the image under tap 0 of the first window, channel 0; y: the first output. down: of one row,
    first and end of the rows of taps that meet the image; lines: of two, the rows of the image
    under them that there are; met: the columns under the tile that there are.
    """

    x: Pointer
    y: Pointer
    down: tuple[Value, Value]
    lines: range | None
    met: range
    first_channel: Value
    last_channel: Value


class Window(NamedTuple):
    """Taps, strides and dilations of a window."""

    taps_h: Value
    taps_w: Value
    stride_h: Value
    stride_w: Value
    dilation_h: Value
    dilation_w: Value


def each_window(
    k: Builder,
    x: Pointer,
    y: Pointer,
    image: Image,
    window: Window,
    units: tuple[Value, Value],
    channel: Callable[[Value, Value | None], Reduction],
) -> None:
    """Reduce every window: `COLUMNS` output columns at once where all their taps meet the image.

    channel(c, mask) says how for the vector of channels that starts at c.
    """
    reach = (window.taps_w - 1) * window.dilation_w

    def vector(c: Value, row: Value, row_end: Value, mask: Value | None) -> None:
        reduction = channel(c, mask)
        for output in k.range(row, row_end):
            top, source, target = image.line(x, y, output, window.stride_h, c)
            down = taps_inside(k, top, image.height, window.taps_h, window.dilation_h)
            place = k.variable(k.constant(0, I64))
            place.value = k.constant(0, I64)
            with k.forever() as walking:
                at = place.value
                walking.leave_if(at >= image.out_width)
                left = at * window.stride_w - image.pad_left
                right = left + window.stride_w * (COLUMNS - 1) + reach
                inside = (left >= 0) & (right < image.width) & (at + COLUMNS <= image.out_width)
                with k.when(inside):
                    along = k.constant(0, I64), window.taps_w
                    columns(reduction, source, target, at, left, down, along, COLUMNS, mask)
                    place.value = at + COLUMNS
                with k.when(inside.equals(0)):
                    along = taps_inside(k, left, image.width, window.taps_w, window.dilation_w)
                    columns(reduction, source, target, at, left, down, along, 1, mask)
                    place.value = at + 1

    def columns(
        reduction: Reduction, source: Pointer, target: Pointer, at: Value, left: Value,
        down: tuple[Value, Value], along: tuple[Value, Value], count: int, mask: Value | None,
    ) -> None:  # fmt: skip
        totals: list[Variable] = [k.variable(reduction.start) for _ in range(count)]
        for total in totals:
            total.value = reduction.start
        for i in k.range(*down):
            for j in k.range(*along):
                add = reduction.tap(i * window.taps_w + j)
                place = (left + j * window.dilation_w) * image.x_pixel
                under = source + (i * window.dilation_h * image.x_row + place)
                for n, total in enumerate(totals):
                    value = k.load(under, window.stride_w * image.x_pixel * n, mask)
                    total.value = add(total.value, value)
        finish = reduction.finish((down[1] - down[0]) * (along[1] - along[0]))
        for n, total in enumerate(totals):
            k.store(target, (at + n) * image.y_pixel, finish(total.value), mask)

    image.vectors(k, *units, vector)


def each_square_tile(
    k: Builder,
    x: Pointer,
    y: Pointer,
    image: Image,
    square: Square,
    units: tuple[Value, Value],
    body: Callable[[Tile], None],
) -> None:
    """A tile of output columns at a time, over windows of one size and stride.

    There must be a tile's width of output columns; on either side, windows may hang over by half
    their taps. Which columns the image lacks is known when the code is written.
    """
    taps, stride, width, rows = square
    one, number = k.constant(1, I64), k.constant(taps, I64)
    hanging = range(taps // 2 + 1)

    def block(row: Value, row_end: Value, start: Value, end: Value) -> None:
        if rows == 1:
            for output in k.range(row, row_end):
                one_row(output, start, end)
            return
        at = k.variable(row)
        at.value = row
        with k.forever() as walking:
            output = at.value
            walking.leave_if(output >= row_end)
            line = output % image.out_height
            top = line * stride - image.pad_top
            lacks = k.maximum(-top, 0), k.maximum(top + stride + taps - image.height, 0)
            pair = (output + 1 < row_end) & (line + 1 < image.out_height)
            pair = pair & (lacks[0] <= hanging[-1]) & (lacks[1] <= hanging[-1])
            with k.when(pair):
                two_rows(output, lacks, start, end)
                at.value = output + 2
            with k.when(pair.equals(0)):
                one_row(output, start, end)
                at.value = output + 1

    def one_row(output: Value, start: Value, end: Value) -> None:
        top, source, target = image.line(x, y, output, stride)
        down = taps_inside(k, top, image.height, number, one)
        for place in places(source, target):
            body(Tile(*place[:2], down, None, place[2], start, end))

    def two_rows(output: Value, lacks: tuple[Value, Value], start: Value, end: Value) -> None:
        _, source, target = image.line(x, y, output, stride)
        everything = k.constant(0, I64), number
        for above in hanging:
            for below in hanging:
                with k.when(lacks[0].equals(above) & lacks[1].equals(below)):
                    lines = range(above, stride + taps - below)
                    for place in places(source, target):
                        body(Tile(*place[:2], everything, lines, place[2], start, end))

    def places(source: Pointer, target: Pointer) -> Iterator[tuple[Pointer, Pointer, range]]:
        """Of tiles along a row: where the image and the output are, the columns that there are."""
        for column in k.range(0, image.out_width, width):
            # The last tile computes some columns again rather than being a short one.
            at = k.minimum(column, image.out_width - width)
            left = at * stride - image.pad_left
            missing = k.maximum(-left, 0), k.maximum(left + square.reach - image.width, 0)
            from_here, to_here = source + left * image.x_pixel, target + at * image.y_pixel
            for before in hanging:
                for after in hanging:
                    with k.when(missing[0].equals(before) & missing[1].equals(after)):
                        yield from_here, to_here, range(before, square.reach - after)

    image.blocks(k, *units, block)


class Reduction(NamedTuple):
    """How what lies under a window becomes one value.

    start: the total before the first tap. tap(number): what adds a value to the total.
    finish(count): makes the result of the total over so many taps.
    """

    start: Value
    tap: Callable[[Value], Callable[[Value, Value], Value]]
    finish: Callable[[Value], Callable[[Value], Value]]


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

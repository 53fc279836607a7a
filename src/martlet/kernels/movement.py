"""Kernels that move elements without computing: blocks of rows, single elements, edges, pixels.

Elements are bytes here wherever they lie side by side, so that one kernel serves every type.
A row that is longer than a vector is moved as whole vectors, of which the last one overlaps the
one before it; a shorter one as two pieces that overlap likewise. So nothing is masked, nothing
outside is touched, and source and target must not overlap.

    copy_rows         rows of bytes, units: bytes of the target
    copy_elements_i*  elements at strides of their own, units: elements
    repeat_i*         rows of one element each, over and over, units: elements
    pad_rows          rows of bytes between edges of one value, units: rows of the target
    copy_pixels       rows of bytes whose places are looked up, units: rows of pixels
    blend_pixels_f32  pixels between four others, weighted, units: rows of pixels
    transpose_i32     matrices of 4-byte elements, turned in square tiles, units: bands of rows
"""

from __future__ import annotations

from collections.abc import Callable

from martlet.kernels.forms import BAND
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import I8, I16, I32, Builder, Pointer, Value, arguments
from martlet.kernels.rows import pieces, row_fields, rows
from martlet.kernels.targets import Target

ELEMENTS = ("i8", "i16", "i32", "i64")


def _in_pieces(k: Builder, count: Value, move: Callable[[Value, int], None]) -> None:
    """`move(at, n)` for pieces of n bytes that make up `count`; they may overlap."""
    width = 4 * k.lanes
    with k.when(count >= width):
        for i in k.range(0, count - width, width):
            move(i, width)
        move(count - width, width)
    size = width // 2
    while size:
        with k.when((count >= size) & (count < 2 * size)):
            move(count * 0, size)
            if size > 1:
                move(count - size, size)
        size //= 2


def copy_bytes(k: Builder, source: Pointer, target: Pointer, count: Value) -> None:
    """Copy so many bytes; both point to i8."""

    def move(at: Value, n: int) -> None:
        k.store(target, at, k.load(source, at, lanes=n))

    _in_pieces(k, count, move)


def fill_bytes(k: Builder, target: Pointer, value: Value, count: Value) -> None:
    """Fill so many bytes with the four of `value`, over and over, beginning with its first.

    Smaller elements are repeated in `value`; no element is cut, so all pieces begin alike.
    """

    def move(at: Value, n: int) -> None:
        if n < 4:
            element = {1: I8, 2: I16}[n]
            k.store((target + at).as_elements(element), 0, value.to(element))
        else:
            k.store((target + at).as_elements(I32), 0, k.broadcast(value, n // 4))

    _in_pieces(k, count, move)


def copy_rows(k: Builder, x: Pointer, y: Pointer, *values: Value) -> None:
    *fields, first, last = values
    for (x_at, y_at), start, stop in rows(k, fields, first, last):
        copy_bytes(k, x + (x_at + start), y + (y_at + start), stop - start)


def copy_elements(k: Builder, x: Pointer, y: Pointer, *values: Value) -> None:
    """Elements `x_step` apart in the source and `y_step` apart in the target."""
    x_step, y_step, *fields, first, last = values
    for (x_at, y_at), start, stop in rows(k, fields, first, last):
        for i in k.range(start, stop):
            k.store(y, y_at + i * y_step, k.scalar(x, x_at + i * x_step))


def repeat(k: Builder, x: Pointer, y: Pointer, *values: Value) -> None:
    """Rows of the target that are one element of the source, over and over."""
    *fields, first, last = values
    lanes = 4 * k.lanes // x.element.element_bytes
    for (x_at, y_at), start, stop in rows(k, fields, first, last):
        element = k.scalar(x, x_at)
        for i, n in pieces(k, start, stop, lanes):
            k.store(y, y_at + i, k.broadcast(element, n))


def pad_rows(
    k: Builder, x: Pointer, y: Pointer, value: Value, length: Value, pitch: Value, before: Value,
    inside: Value, *values: Value,
) -> None:  # fmt: skip
    """Rows of `length` bytes, of which `inside` come from the source after `before` of edge.

    pitch: from a row of the target to the next. sizes: of the target's three outer indices; the
    source begins at `starts` and has the sizes `counts` and the strides `strides`.
    """
    *described, first, last = values
    sizes, starts, counts, strides = (described[i : i + 3] for i in (0, 3, 6, 9))
    for row in k.range(first, last):
        indices = [row // sizes[2] // sizes[1], row // sizes[2] % sizes[1], row % sizes[2]]
        source, target = x, y + row * pitch
        within = length.equals(length)
        for index, start, count, stride in zip(indices, starts, counts, strides, strict=True):
            within = within & (index - start).below_unsigned(count)
            source = source + (index - start) * stride
        with k.when(within):
            fill_bytes(k, target, value, before)
            copy_bytes(k, source, target + before, inside)
            fill_bytes(k, target + (before + inside), value, length - (before + inside))
        with k.when(within ^ 1):
            fill_bytes(k, target, value, length)


def copy_pixels(
    k: Builder, x: Pointer, y: Pointer, length: Value, pitch: Value, width: Value,
    row_places: Pointer, column_places: Pointer, first: Value, last: Value,
) -> None:  # fmt: skip
    """Pixels of `length` bytes, `pitch` from one of the target to the next.

    A place is where a row begins, and a pixel within it, in bytes.
    """
    for row in k.range(first, last):
        source = x + k.scalar(row_places, row)
        for column in k.range(0, width):
            target = y + (row * width + column) * pitch
            copy_bytes(k, source + k.scalar(column_places, column), target, length)


def blend_pixels(
    k: Builder, x: Pointer, y: Pointer, depth: Value, pitch: Value, width: Value, top: Pointer,
    bottom: Pointer, down: Pointer, left: Pointer, right: Pointer, across: Pointer, first: Value,
    last: Value,
) -> None:  # fmt: skip
    """Pixels of `depth` float32 between four of the source, `pitch` from one to the next.

    For every row, where the rows above and below it begin (in elements) and the weight of the
    lower one; for every column, where the pixels to its left and right are, and the right's weight.
    """
    for row in k.range(first, last):
        lower = k.scalar(down, row)
        for column in k.range(0, width):
            second = k.scalar(across, column)
            corners = []
            for line, by_row in ((top, 1 - lower), (bottom, lower)):
                for place, by_column in ((left, 1 - second), (right, second)):
                    pixel = x + (k.scalar(line, row) + k.scalar(place, column))
                    corners.append((pixel, by_row * by_column))
            target = y + (row * width + column) * pitch
            for i, lanes in pieces(k, depth * 0, depth):
                total = k.zeros(lanes=lanes)
                for pixel, weight in corners:
                    total = k.fma(k.load(pixel, i, lanes=lanes), k.broadcast(weight, lanes), total)
                k.store(target, i, total)


TILE = 4
"""Rows of a matrix that are turned together: a cache line of the target."""


def transpose(
    k: Builder, x: Pointer, y: Pointer, height: Value, width: Value, x_row: Value, y_row: Value,
    size1: Value, x0: Value, x1: Value, y0: Value, y1: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """y[column, row] = x[row, column] for matrices that two outer indices choose.

    x_row, y_row: from a row to the next, in elements; x0 to y1: from a matrix to the next.
    """
    bands = (height + (BAND - 1)) // BAND
    for unit in k.range(first, last):
        matrix, top = unit // bands, unit % bands * BAND
        outer, inner = matrix // size1, matrix % size1
        source = x + (outer * x0 + inner * x1 + top * x_row)
        target = y + (outer * y0 + inner * y1 + top)
        count = k.minimum(height - top, BAND)
        whole_rows, whole_columns = count // TILE * TILE, width // TILE * TILE
        for column in k.range(0, whole_columns, TILE):
            for row in k.range(0, whole_rows, TILE):
                tile = [k.load(source, (row + i) * x_row + column, lanes=TILE) for i in range(TILE)]
                for i, line in enumerate(_turned(k, tile)):
                    k.store(target, (column + i) * y_row + row, line)
        for column in k.range(0, width):
            rest = k.select(column < whole_columns, whole_rows, 0)
            for row in k.range(rest, count):
                k.store(target, column * y_row + row, k.scalar(source, row * x_row + column))


def _turned(k: Builder, rows_: list[Value]) -> list[Value]:
    """The columns of four vectors of four."""
    a, b, c, d = rows_
    halves = [(k.shuffle(p, q, (0, 4, 1, 5)), k.shuffle(p, q, (2, 6, 3, 7)))
              for p, q in ((a, b), (c, d))]  # fmt: skip
    return [
        k.shuffle(upper, lower, lanes)
        for upper, lower in zip(*halves, strict=True)
        for lanes in ((0, 1, 4, 5), (2, 3, 6, 7))
    ]


def _numbers(*names: str) -> list[str]:
    return [f"{name}: i64" for name in names]


def _three(*names: str) -> list[str]:
    return _numbers(*(f"{name}{i}" for name in names for i in range(3)))


def kernels(target: Target) -> list[Kernel]:
    """All kernels that move elements. They are the same for every target."""
    block, fields = ("x: *i8", "y: *i8"), row_fields("x", "y")
    single = []
    for element in ELEMENTS:
        ends = f"x: *{element}", f"y: *{element}"
        steps = "x_step: i64", "y_step: i64"
        single += [
            Kernel(f"copy_elements_{element}", copy_elements, arguments(*ends, *steps, *fields)),
            Kernel(f"repeat_{element}", repeat, arguments(*ends, *fields)),
        ]
    return [
        Kernel("copy_rows", copy_rows, arguments(*block, *fields)),
        *single,
        Kernel(
            "pad_rows", pad_rows,
            arguments(
                *block, "value: i32", *_numbers("length", "pitch", "before", "inside"),
                *_three("size", "start", "count", "stride"),
            ),
        ),
        Kernel(
            "copy_pixels", copy_pixels,
            arguments(*block, *_numbers("length", "pitch", "width"), "row: *i64", "column: *i64"),
        ),
        Kernel(
            "blend_pixels_f32", blend_pixels,
            arguments(
                "x: *float", "y: *float", *_numbers("depth", "pitch", "width"),
                "top: *i64", "bottom: *i64", "down: *float",
                "left: *i64", "right: *i64", "across: *float",
            ),
        ),
        Kernel(
            "transpose_i32", transpose,
            arguments(
                "x: *i32", "y: *i32",
                *_numbers("height", "width", "x_row", "y_row", "size1", "x0", "x1", "y0", "y1"),
            ),
        ),
    ]  # fmt: skip

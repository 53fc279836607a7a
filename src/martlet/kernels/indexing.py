"""Kernels that follow indices which come from data. None of them leaves the tensors.

An index that is out of range is not followed. It is written to a status, two words [found, value]
(`martlet.runtime.status`), and the run fails afterwards.

    gather_rows_*       rows of bytes that index vectors choose, units: rows of the target
    gather_scaled_i32   rows of int8 that become float32, units: rows
    gather_i*_*         the same for single elements, those of 16 bytes among them
    scatter_*_*         rows added where index vectors say, units: elements of a row
    put_rows_*          rows of bytes written where index vectors say, one unit
    one_hot_i*_*        one value at the place that each index names, units: indices
    reverse_*           the first so many rows of sequences backwards, units: rows
    update_rows_*       rows of bytes put where begins say, units: bytes
    gather_windows_*    blocks of rows of bytes that begin where index vectors say, units: bytes
    gather_apart_i*_*   the same of elements that lie apart, units: elements
    copy_unless_same    bytes, where source and target are not one, units: bytes

The last part of most names is the type of the indices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, I32, I64, Builder, Pointer, Value, arguments
from martlet.kernels.movement import ELEMENTS, copy_bytes
from martlet.kernels.rows import pieces, row_fields, rows
from martlet.kernels.targets import Target

INDICES = ("i32", "i64")
SUMS = ("float", "i32", "i64")
APART = ("i32", "i64")


def _complain(
    k: Builder, status: Pointer, indices: Pointer, count: Value, step: Value, below: bool = True
) -> None:
    """Write the index that NumPy would name: the lowest if it is negative, else the highest.

    It depends on all `count` indices, `step` apart, not on who meets which first, so all threads
    write the same; only the first time are they looked through. below: negative ones are wrong.
    """
    with k.when(k.scalar(status).equals(0)):
        low, high = (k.variable(k.scalar(indices).to(I64)) for _ in range(2))
        for i in k.range(0, count):
            index = k.scalar(indices, i * step).to(I64)
            low.value = k.minimum(low.value, index)
            high.value = k.maximum(high.value, index)
        named = k.select(low.value < 0, low.value, high.value) if below else high.value
        k.store(status, 1, named)
        k.store(status, 0, k.constant(1, I64))


def _place(
    k: Builder, indices: Pointer, vector: Value, depth: Value, count: Value, sizes: Pointer,
    strides: Pointer, status: Pointer, drops: Value | None = None,
) -> tuple[Value, Value]:  # fmt: skip
    """(whether an index vector is right, the place it names).

    vector: its number of `count`, `depth` indices each. There is a status for each of them; where
    `drops` is 1, wrong ones are only left out.
    """
    place = k.variable(k.constant(0, I64))
    right = k.variable(k.constant(1, I64))
    for axis in k.range(0, depth):
        index = k.scalar(indices, vector * depth + axis).to(I64)
        inside = index.below_unsigned(k.scalar(sizes, axis))
        place.value = place.value + index * k.scalar(strides, axis)
        with k.when(inside ^ 1):
            right.value = k.constant(0, I64)
            if drops is None:
                _complain(k, status + axis * 2, indices + axis, count, depth)
            else:
                with k.when(drops.equals(0)):
                    _complain(k, status + axis * 2, indices + axis, count, depth)
    return right.value.differs(0), place.value


def _runs(
    k: Builder, length: Value, first: Value, last: Value
) -> Iterator[tuple[Value, Value, Value, Value]]:
    """(number, first element, end, unit of the first) of the runs of `length` units each."""
    unit, begin = k.variable(first), k.variable(first % length)
    run = k.variable(first // length)
    with k.forever() as walking:
        walking.leave_if(unit.value >= last)
        stop = k.minimum(length, begin.value + (last - unit.value))
        yield run.value, begin.value, stop, unit.value
        unit.value = unit.value + (stop - begin.value)
        begin.value = k.constant(0, I64)
        run.value = run.value + 1


def gather_rows(
    k: Builder, x: Pointer, y: Pointer, indices: Pointer, status: Pointer, sizes: Pointer,
    strides: Pointer, length: Value, depth: Value, count: Value, outer: Value, batches: Value,
    block: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """Rows of `length` bytes; strides and blocks are in bytes.

    The target is (batches, outer, count), the indices (batches, count, depth). The part of x for a
    batch and an outer index is `block` bytes behind the one before it.
    """
    for part, start, stop, unit in _runs(k, count, first, last):
        vectors, source = part // outer * count, x + part * block
        target = y + (unit - start) * length
        for i in k.range(start, stop):
            right, place = _place(
                k, indices, vectors + i, depth, batches * count, sizes, strides, status
            )
            with k.when(right):
                copy_bytes(k, source + place, target + i * length, length)


def gather(lanes: int) -> Callable[..., None]:
    """Single elements, or vectors of so many, by index vectors of one.

    The target is (batches, outer, count); there is a block of `size` for each batch and outer
    index.
    """

    def write(
        k: Builder, x: Pointer, y: Pointer, indices: Pointer, status: Pointer, size: Value,
        count: Value, outer: Value, batches: Value, first: Value, last: Value,
    ) -> None:  # fmt: skip
        width = lanes or 1
        for part, start, stop, unit in _runs(k, count, first, last):
            numbers, source = indices + part // outer * count, x + part * size * width
            target = y + (unit - start) * width
            for i in k.range(start, stop):
                index = k.scalar(numbers, i).to(I64)
                inside = index.below_unsigned(size)
                # Where it is wrong any element will do, and there is one.
                found = k.load(source, k.select(inside, index, 0) * width, lanes=lanes)
                k.store(target, i * width, found)
                with k.when(inside ^ 1):
                    _complain(k, status, indices, batches * count, k.constant(1, I64))

    return write


def gather_scaled(
    k: Builder, x: Pointer, y: Pointer, indices: Pointer, status: Pointer, scales: Pointer,
    size: Value, length: Value, scale_step: Value, count: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """Rows of `length` int8 times a scale, each row's or (scale_step 0) one for all."""
    for i in k.range(first, last):
        index = k.scalar(indices, i).to(I64)
        inside = index.below_unsigned(size)
        with k.when(inside):
            scale = k.scalar(scales, index * scale_step)
            source, target = x + index * length, y + i * length
            for j, lanes in pieces(k, length * 0, length):
                k.store(target, j, k.load(source, j, lanes=lanes).to(F32) * scale)
        with k.when(inside ^ 1):
            _complain(k, status, indices, count, k.constant(1, I64))


def scatter(
    k: Builder, y: Pointer, updates: Pointer, indices: Pointer, status: Pointer, sizes: Pointer,
    strides: Pointer, depth: Value, count: Value, length: Value, drops: Value, first: Value,
    last: Value,
) -> None:  # fmt: skip
    """Add rows of `length` elements to those that `count` index vectors name, in their order."""
    for vector in k.range(0, count):
        right, place = _place(k, indices, vector, depth, count, sizes, strides, status, drops)
        with k.when(right):
            target, source = y + place, updates + vector * length
            for i, lanes in pieces(k, first, last):
                total = k.load(target, i, lanes=lanes) + k.load(source, i, lanes=lanes)
                k.store(target, i, total)


def put_rows(
    k: Builder, x: Pointer, y: Pointer, indices: Pointer, status: Pointer, sizes: Pointer,
    strides: Pointer, length: Value, pitch: Value, depth: Value, count: Value, drops: Value,
    first: Value, last: Value,
) -> None:  # fmt: skip
    """Rows of `length` bytes, `pitch` apart; of those that name one place, the last stays."""
    for vector in k.range(0, count):
        right, place = _place(k, indices, vector, depth, count, sizes, strides, status, drops)
        with k.when(right):
            copy_bytes(k, x + vector * pitch, y + place, length)


def one_hot(
    k: Builder, indices: Pointer, on: Pointer, y: Pointer, depth: Value, inner: Value,
    first: Value, last: Value,
) -> None:  # fmt: skip
    """y is (outer, depth, inner), the indices (outer, inner). Wrong ones name no place."""
    value = k.scalar(on)
    for i in k.range(first, last):
        index = k.scalar(indices, i).to(I32).to(I64)
        with k.when(index.below_unsigned(depth)):
            k.store(y, (i // inner * depth + index) * inner + i % inner, value)


def reverse(
    k: Builder, x: Pointer, y: Pointer, lengths: Pointer, status: Pointer, row: Value,
    size: Value, stride: Value, batches: Value, batch_stride: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """Rows of `row` bytes. size, stride: of the sequence; batches, batch_stride: of the batch,
    both strides in rows; one of them is 1."""
    along = stride.equals(1)
    run = k.select(along, size, batches)
    step, batch_step = along.to(I64), (along ^ 1).to(I64)
    for _, start, stop, unit in _runs(k, run, first, last):
        begin = unit - start
        first_at, first_batch = begin // stride % size, begin // batch_stride % batches
        for i in k.range(start, stop):
            at = first_at + i * step
            length = k.scalar(lengths, first_batch + i * batch_step).to(I64)
            with k.when(length <= size):
                source = k.select(at < length, length - 1 - at, at)
                from_ = begin + i + (source - at) * stride
                copy_bytes(k, x + from_ * row, y + (begin + i) * row, row)
            with k.when(length > size):
                _complain(k, status, lengths, batches, k.constant(1, I64), below=False)


def _moved_inside(
    k: Builder, begins: Pointer, limits: Pointer, strides: Pointer, rank: Value
) -> Value:
    """The place that begins name, each moved to between 0 and its limit."""
    place = k.variable(k.constant(0, I64))
    for axis in k.range(0, rank):
        begin = k.maximum(k.scalar(begins, axis).to(I64), 0)
        begin = k.minimum(begin, k.scalar(limits, axis))
        place.value = place.value + begin * k.scalar(strides, axis)
    return place.value


def gather_windows(
    k: Builder, x: Pointer, y: Pointer, begins: Pointer, limits: Pointer, strides: Pointer,
    depth: Value, window: Value, pitch: Value, *values: Value,
) -> None:  # fmt: skip
    """Windows of `window` bytes, each moved inside; they go to targets `pitch` bytes apart."""
    *fields, first, last = values
    for vector, start, stop, _ in _runs(k, window, first, last):
        source = x + _moved_inside(k, begins + vector * depth, limits, strides, depth)
        target = y + vector * pitch
        for (x_at, y_at), begin, end in rows(k, fields, start, stop):
            copy_bytes(k, source + (x_at + begin), target + (y_at + begin), end - begin)


def gather_apart(
    k: Builder, x: Pointer, y: Pointer, begins: Pointer, limits: Pointer, strides: Pointer,
    depth: Value, window: Value, pitch: Value, x_step: Value, y_step: Value, *values: Value,
) -> None:  # fmt: skip
    """Windows of `window` elements, of which those of a row are `x_step` and `y_step` apart."""
    *fields, first, last = values
    for vector, start, stop, _ in _runs(k, window, first, last):
        source = x + _moved_inside(k, begins + vector * depth, limits, strides, depth)
        target = y + vector * pitch
        for (x_at, y_at), begin, end in rows(k, fields, start, stop):
            for i in k.range(begin, end):
                k.store(target, y_at + i * y_step, k.scalar(source, x_at + i * x_step))


def update_rows(
    k: Builder, x: Pointer, y: Pointer, begins: Pointer, limits: Pointer, strides: Pointer,
    rank: Value, *values: Value,
) -> None:  # fmt: skip
    """Rows of bytes copied behind the place that the begins name, each moved inside its limit."""
    *fields, first, last = values
    target = y + _moved_inside(k, begins, limits, strides, rank)
    for (x_at, y_at), start, stop in rows(k, fields, first, last):
        copy_bytes(k, x + (x_at + start), target + (y_at + start), stop - start)


def copy_unless_same(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
    with k.when(k.address(x).differs(k.address(y))):
        copy_bytes(k, x + first, y + first, last - first)


def _numbers(*names: str) -> list[str]:
    return [f"{name}: i64" for name in names]


def kernels(target: Target) -> list[Kernel]:
    """All kernels that follow indices. They are the same for every target but for the lanes."""
    found = [Kernel("copy_unless_same", copy_unless_same, arguments("x: *i8", "y: *i8"))]
    block, tables = ("x: *i8", "y: *i8"), ("status: *i64", "sizes: *i64", "strides: *i64")
    found.append(
        Kernel(
            "gather_scaled_i32", gather_scaled,
            arguments(
                "x: *i8", "y: *float", "indices: *i32", "status: *i64", "scales: *float",
                *_numbers("size", "length", "scale_step", "count"),
            ),
        )
    )  # fmt: skip
    for index in (*INDICES, "i16"):
        found.append(
            Kernel(
                f"gather_rows_{index}", gather_rows,
                arguments(
                    *block, f"indices: *{index}", *tables,
                    *_numbers("length", "depth", "count", "outer", "batches", "block"),
                ),
            )
        )  # fmt: skip
    for index in INDICES:
        given = f"indices: *{index}"
        for name, element, lanes in (*((e, e, 0) for e in ELEMENTS), ("i128", "i8", 16)):
            found.append(
                Kernel(
                    f"gather_{name}_{index}", gather(lanes),
                    arguments(
                        f"x: *{element}", f"y: *{element}", given, "status: *i64",
                        *_numbers("size", "count", "outer", "batches"),
                    ),
                )
            )  # fmt: skip
        for element in ELEMENTS:
            found.append(
                Kernel(
                    f"one_hot_{element}_{index}", one_hot,
                    arguments(
                        given, f"on: *{element}", f"y: *{element}", *_numbers("depth", "inner")
                    ),
                )
            )  # fmt: skip
        found += [
            Kernel(
                f"gather_apart_{element}_{index}", gather_apart,
                arguments(
                    f"x: *{element}", f"y: *{element}", f"begins: *{index}", "limits: *i64",
                    "strides: *i64",
                    *_numbers("depth", "window", "pitch", "x_step", "y_step"),
                    *row_fields("x", "y"),
                ),
            )
            for element in APART
        ]  # fmt: skip
        found += [
            Kernel(
                f"scatter_{element}_{index}", scatter,
                arguments(
                    f"y: *{element}", f"updates: *{element}", given, *tables,
                    *_numbers("depth", "count", "length", "drops"),
                ),
            )
            for element in SUMS
        ]  # fmt: skip
        found += [
            Kernel(
                f"put_rows_{index}", put_rows,
                arguments(
                    *block, given, *tables,
                    *_numbers("length", "pitch", "depth", "count", "drops"),
                ),
            ),
            Kernel(
                f"reverse_{index}", reverse,
                arguments(
                    *block, f"lengths: *{index}", "status: *i64",
                    *_numbers("row", "size", "stride", "batches", "batch_stride"),
                ),
            ),
            Kernel(
                f"gather_windows_{index}", gather_windows,
                arguments(
                    *block, f"begins: *{index}", "limits: *i64", "strides: *i64",
                    *_numbers("depth", "window", "pitch"), *row_fields("x", "y"),
                ),
            ),
            Kernel(
                f"update_rows_{index}", update_rows,
                arguments(
                    *block, f"begins: *{index}", "limits: *i64", "strides: *i64", "rank: i64",
                    *row_fields("x", "y"),
                ),
            ),
        ]  # fmt: skip
    return found

"""Where the largest or smallest elements are: ARG_MAX, ARG_MIN, TOPK_V2.

    arg_rows_f32         the dimension searched is the last: vectors along it, units are rows
    arg_columns_f32      it is not: vectors of results, units are results
    arg_short_rows_f32   it is, but so short that vectors are of the results
    top_rows_f32         the `top` largest elements of each row and where they are, units are rows

Elements are compared as keys: the elements themselves, or their opposites (`flip` inverts the
sign of a float, all bits of an integer) where the smallest is wanted. The first of equal elements
counts. Indices are int32, in `arg_…` int64 if `wide` is 1.

What is not a number is never the largest but where nothing else is, or, along the last dimension,
where it comes first; of the largest elements it comes last.
"""

from __future__ import annotations

from collections.abc import Callable

from martlet.kernels.forms import LINE_PAIR
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import I32, I64, Builder, Pointer, Type, Value, arguments
from martlet.kernels.reductions import LARGEST, REDUCTIONS, SMALLEST, Totals, gathered
from martlet.kernels.rows import pieces, row_fields, rows
from martlet.kernels.targets import Target

STORED = {"f32": "float", "i32": "i32", "i8": "i8", "u8": "i8"}
ADD = REDUCTIONS["sum"]["i32"]
LEAST, MOST = -(1 << 31), (1 << 31) - 1  # int32


def _key(k: Builder, name: str, flip: Value, value: Value) -> Value:
    """A float, or an int32, that grows as what is searched for."""
    if name == "f32":
        return (value.bits_as(I32) ^ flip).bits_as(value.type.of(0))
    wide = value.to_unsigned(I32) if name == "u8" else value.to(I32)
    return wide ^ flip


def _put(k: Builder, y: Pointer, at: Value, index: Value, wide: Value) -> None:
    """Store indices as int32, or as int64."""
    with k.when(wide.differs(0)):
        k.store(y.as_elements(I64), at, index.to(I64))
    with k.when(wide.equals(0)):
        k.store(y, at, index)


def arg_rows(name: str) -> Callable[..., None]:
    """The writer of a search in rows: the extreme first, then where it is."""

    def write(
        k: Builder, x: Pointer, y: Pointer, flip: Value, wide: Value, length: Value, x_step: Value,
        *fields: Value,
    ) -> None:  # fmt: skip
        flip = flip.to(I32)
        least = k.constant(-float("inf") if name == "f32" else LEAST, _key_type(x, name))
        for (x_at, y_at), start, stop in rows(k, fields[:-2], *fields[-2:]):
            for at in k.range(start, stop):
                row = x + (x_at + at * x_step)
                keys = Totals(k, LARGEST, least, k.lanes, lambda value: _key(k, name, flip, value))
                keys.add(row, length)
                best = keys.all()
                places = Totals(k, SMALLEST, k.constant(MOST, I32), k.lanes)
                for i, lanes in pieces(k, length * 0, length):
                    found = keys.read(k.load(row, i, lanes=lanes)).equals(k.broadcast(best, lanes))
                    here = k.lane_numbers(I32, lanes) + i.to(I32)
                    places.join([k.select(found, here, MOST)])
                index = places.all()
                if name == "f32":
                    first = k.scalar(row)
                    index = k.select(first.differs(first), 0, index)
                _put(k, y, y_at + at, index, wide)

    return write


def _key_type(x: Pointer, name: str) -> Type:
    return x.element if name == "f32" else I32


def arg_columns(name: str, apart: bool = False) -> Callable[..., None]:
    """The writer of a search across vectors, one step after the other.

    apart: the vectors' elements are `x_step` apart in x, each the beginning of a row.
    """

    def write(
        k: Builder, x: Pointer, y: Pointer, flip: Value, wide: Value, count: Value, step: Value,
        *rest: Value,
    ) -> None:  # fmt: skip
        x_step, fields = (rest[0], rest[1:]) if apart else (k.constant(1, I64), rest)
        flip = flip.to(I32)
        widest = k.lanes if apart else max(k.lanes, LINE_PAIR // 4)
        for (x_at, y_at), start, stop in rows(k, fields[:-2], *fields[-2:]):
            for at, lanes in pieces(k, start, stop, widest):
                column = x + (x_at + at * x_step)

                def key(row: Value, lanes: int = lanes, column: Pointer = column) -> Value:
                    p = column + row * step
                    value = gathered(k, p, x_step, lanes) if apart else k.load(p, lanes=lanes)
                    return _key(k, name, flip, value)

                first = key(k.constant(0, I64))
                best = k.variable(first)
                index = k.variable(k.zeros(I32, lanes))
                for row in k.range(1, count):
                    new, old = key(row), best.value
                    better = new > old
                    if name == "f32":  # any number is better than none
                        better = ((new <= old) ^ 1) & new.equals(new)
                    best.value = k.select(better, new, old)
                    index.value = k.select(better, k.broadcast(row.to(I32), lanes), index.value)
                found = index.value
                if apart and name == "f32":
                    found = k.select(first.differs(first), 0, found)
                _put(k, y, y_at + at, found, wide)

    return write


def top_rows(name: str) -> Callable[..., None]:
    """The writer of a search for several elements.

    1. The key of the last of them: the greatest that at least `top` keys reach, bit by bit.
    2. The elements above it, and the first ones that equal it, go through the row in order, each
       to its place among those that came before.
    """

    def order(k: Builder, value: Value) -> Value:
        """An int32 that grows with the element."""
        if name == "i32":
            return value
        bits = (value + 0.0).bits_as(I32)  # both zeros are equal
        return k.select(value.equals(value), bits ^ ((bits >> 31) & MOST), LEAST)

    def count(k: Builder, x: Pointer, length: Value, least: Value, above: bool) -> Value:
        """How many keys of a row are at least, or above, `least`."""
        found = Totals(k, ADD, k.constant(0, I32), k.lanes)
        for i, lanes in pieces(k, length * 0, length):
            key = order(k, k.load(x, i, lanes=lanes))
            found.join([(key > least if above else key >= least).to(I32)])
        return found.all().to(I64)

    def threshold(k: Builder, x: Pointer, length: Value, top: Value) -> Value:
        low = k.variable(k.constant(LEAST, I32))
        bit = k.variable(k.constant(LEAST, I32))
        with k.forever() as searching:
            searching.leave_if(bit.value.equals(0))
            middle = low.value + bit.value
            reached = count(k, x, length, middle, above=False)
            low.value = k.select(reached >= top, middle, low.value)
            rest = bit.value.shift_right_unsigned(1)
            bit.value = k.select(reached.equals(top), rest * 0, rest)
        return low.value

    def insert(
        k: Builder, y: Pointer, indices: Pointer, end: Value, value: Value, i: Value
    ) -> None:
        """Put an element behind all of those before `end` that are not smaller."""
        key, place = order(k, value), k.variable(end)
        with k.forever() as moving:
            at = place.value
            moving.leave_if(at <= 0)
            before = k.scalar(y, at - 1)
            moving.leave_if(order(k, before) >= key)
            k.store(y, at, before)
            k.store(indices, at, k.scalar(indices, at - 1))
            place.value = at - 1
        k.store(y, place.value, value)
        k.store(indices, place.value, i.to(I32))

    def write(
        k: Builder, x: Pointer, y: Pointer, indices: Pointer, length: Value, top: Value,
        first: Value, last: Value,
    ) -> None:  # fmt: skip
        for row in k.range(first, last):
            source, values, places = x + row * length, y + row * top, indices + row * top
            least = threshold(k, source, length, top)
            equal = k.variable(top - count(k, source, length, least, above=True))
            end = k.variable(top * 0)
            for start, lanes in pieces(k, length * 0, length):
                keys = order(k, k.load(source, start, lanes=lanes))
                with k.when(k.all_lanes(keys < least).equals(0)):
                    for i in k.range(start, start + lanes):
                        value = k.scalar(source, i)
                        key = order(k, value)
                        equals = key.equals(least) & (equal.value > 0)
                        with k.when((key > least) | equals):
                            insert(k, values, places, end.value, value, i)
                            end.value = end.value + 1
                            equal.value = equal.value - equals.to(I64)

    return write


def kernels(target: Target) -> list[Kernel]:
    """All searches. They are the same for every target."""
    found = []
    for name, element in STORED.items():
        operands = f"x: *{element}", "y: *i32", "flip: i64", "wide: i64"
        fields = row_fields("x", "y")
        block = arguments(*operands, "length: i64", "x_step: i64", *fields)
        found.append(Kernel(f"arg_rows_{name}", arg_rows(name), block))
        block = arguments(*operands, "count: i64", "step: i64", *fields)
        found.append(Kernel(f"arg_columns_{name}", arg_columns(name), block))
    block = arguments(
        "x: *float", "y: *i32", "flip: i64", "wide: i64", "count: i64", "step: i64", "x_step: i64",
        *row_fields("x", "y"),
    )  # fmt: skip
    found.append(Kernel("arg_short_rows_f32", arg_columns("f32", apart=True), block))
    for name in ("f32", "i32"):
        element = STORED[name]
        block = arguments(
            f"x: *{element}", f"y: *{element}", "indices: *i32", "length: i64", "top: i64"
        )
        found.append(Kernel(f"top_rows_{name}", top_rows(name), block))
    return found

"""Rows of a tensor put together where their numbers, which come from data, are the same.

    segment_{sum,prod,max,min}_{f32,i32}    units: elements of a row

Rows are taken in their order, one after the other, so that sums round as they do in NumPy. What
is not a number is never the largest or the smallest.
"""

from __future__ import annotations

from collections.abc import Callable

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import I64, Builder, Pointer, Value, arguments
from martlet.kernels.rows import pieces
from martlet.kernels.targets import Target

STORED = {"f32": "float", "i32": "i32"}
JOINS: dict[str, Callable[[Builder, Value, Value], Value]] = {
    "sum": lambda k, total, value: total + value,
    "prod": lambda k, total, value: total * value,
    "max": lambda k, total, value: _extreme(k, "maxnum", "smax", total, value),
    "min": lambda k, total, value: _extreme(k, "minnum", "smin", total, value),
}


def _extreme(k: Builder, floats: str, integers: str, total: Value, value: Value) -> Value:
    """The larger or smaller of two vectors; `total` where a float is not a number.

    Where `select` chooses between what is stored and what was loaded from there, LLVM makes a
    masked store, which takes Zen four times as long as the rest.
    """
    name, element = (floats, "f32") if total.type.is_float else (integers, "i32")
    return k.intrinsic(f"llvm.{name}.v{total.type.lanes}{element}", total.type, total, value)


def segment(join: Callable[[Builder, Value, Value], Value]) -> Callable[..., None]:
    """The writer of a kernel that joins each of `count` rows to the row of y that its id names.

    Rows with negative ids drop. An id of `size` or above is not followed, and the highest of all
    is written to the status; every thread looks at all ids, so all write the same.
    """

    def write(
        k: Builder, x: Pointer, y: Pointer, ids: Pointer, status: Pointer, size: Value,
        count: Value, length: Value, first: Value, last: Value,
    ) -> None:  # fmt: skip
        highest = k.variable(k.constant(-1, I64))
        for row in k.range(0, count):
            number = k.scalar(ids, row).to(I64)
            highest.value = k.maximum(highest.value, number)
            with k.when(number.below_unsigned(size)):
                source, target = x + row * length, y + number * length
                for i, lanes in pieces(k, first, last):
                    total = k.load(target, i, lanes=lanes)
                    k.store(target, i, join(k, total, k.load(source, i, lanes=lanes)))
        with k.when(highest.value >= size):
            k.store(status, 1, highest.value)
            k.store(status, 0, k.constant(1, I64))

    return write


def kernels(target: Target) -> list[Kernel]:
    """All kernels that join rows. They are the same for every target but for the lanes."""
    return [
        Kernel(
            f"segment_{name}_{stored}", segment(join),
            arguments(
                f"x: *{element}", f"y: *{element}", "ids: *i32", "status: *i64", "size: i64",
                "count: i64", "length: i64",
            ),
        )
        for name, join in JOINS.items()
        for stored, element in STORED.items()
    ]  # fmt: skip

"""Kernels that compare numbers with tables, and sizes with sizes.

bucketize_{f32,i32,i64}      how many of `count` boundaries are not above each element, as
                             int32; integers are compared as float32; units are elements
broadcast_args_{i32,i64}     the shape to which two shapes broadcast, in one unit; where there
                             is none, a status (`martlet.runtime.status`) says so
"""

from __future__ import annotations

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, I32, I64, Builder, Pointer, Value, arguments
from martlet.kernels.rows import pieces
from martlet.kernels.targets import Target

STORED = {"f32": "float", "i32": "i32", "i64": "i64"}


def bucketize(
    k: Builder, x: Pointer, y: Pointer, boundaries: Pointer, count: Value, first: Value,
    last: Value,
) -> None:  # fmt: skip
    """What is not a number lies beyond all boundaries."""
    for i, lanes in pieces(k, first, last):
        value = k.load(x, i, lanes=lanes).to(F32)
        total = k.variable(k.zeros(I32, lanes))
        for n in k.range(0, count):
            above = value < k.broadcast(k.scalar(boundaries, n), lanes)
            total.value = total.value + (above ^ 1).to(I32)
        k.store(y, i, total.value)


def broadcast_args(
    k: Builder, a: Pointer, b: Pointer, y: Pointer, status: Pointer, a_count: Value,
    b_count: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """Shapes end together; what the shorter lacks in front is 1."""
    count = k.maximum(a_count, b_count)

    def size(shape: Pointer, at: Value) -> Value:
        found = k.variable(k.constant(1, shape.element))
        found.value = k.constant(1, shape.element)
        with k.when(at >= 0):
            found.value = k.scalar(shape, at)
        return found.value

    for i in k.range(0, count):
        one, other = size(a, i - (count - a_count)), size(b, i - (count - b_count))
        k.store(y, i, k.select(one.equals(1), other, one))
        wrong = one.differs(other) & one.differs(1) & other.differs(1)
        with k.when(wrong & k.scalar(status).equals(0)):
            k.store(status, 1, other.to(I64))
            k.store(status, 0, k.constant(1, I64))


def kernels(target: Target) -> list[Kernel]:
    """The same for every target but for the lanes."""
    found = [
        Kernel(
            f"bucketize_{name}", bucketize,
            arguments(f"x: *{stored}", "y: *i32", "boundaries: *float", "count: i64"),
        )
        for name, stored in STORED.items()
    ]  # fmt: skip
    for index in ("i32", "i64"):
        shapes = (f"{name}: *{index}" for name in "aby")
        block = arguments(*shapes, "status: *i64", "a_count: i64", "b_count: i64")
        found.append(Kernel(f"broadcast_args_{index}", broadcast_args, block))
    return found

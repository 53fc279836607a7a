"""Windows folded into one element each, in their order: REDUCE_WINDOW.

    reduce_window_{add,mul,max,min}_{f32,i32,i64}, reduce_window_{all,any}_i8

Units are elements of the output, which is rows of strided blocks (`martlet.kernels.rows`). The
window of an element begins where x does for it, `x_step` elements after that of its neighbour in
the row, and takes the elements of x that lie `offsets` behind. They are folded into `initial` one
after the other, as NumPy's meaning does, so results are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from martlet.kernels.forms import SHORT
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import Builder, Pointer, Value, arguments
from martlet.kernels.rows import pieces, row_fields, rows
from martlet.kernels.targets import Target

Fold = Callable[[Builder, Value, Value], Value]

NUMBERS: dict[str, Fold] = {
    "add": lambda k, total, x: total + x,
    "mul": lambda k, total, x: total * x,
    # What is not a number is taken, and then given up for the next element.
    "max": lambda k, total, x: k.select(total >= x, total, x),
    "min": lambda k, total, x: k.select(total <= x, total, x),
}
BOOLEANS: dict[str, Fold] = {
    "all": lambda k, total, x: total & x,
    "any": lambda k, total, x: total | x,
}


def reduce_window(fold: Fold) -> Callable[..., None]:
    """The writer of a kernel; vectors go along the rows where their windows begin side by side."""

    def write(
        k: Builder, x: Pointer, y: Pointer, initial: Pointer, offsets: Pointer, taps: Value,
        x_step: Value, *values: Any,
    ) -> None:  # fmt: skip
        *fields, first, last = values
        start_value = k.scalar(initial)

        def reduce(source: Pointer, target: Pointer, i: Value, lanes: int) -> None:
            whole = k.broadcast(start_value, lanes) if lanes else start_value
            total = k.variable(whole)
            for tap in k.range(0, taps):
                element = k.load(source, k.scalar(offsets, tap), lanes=lanes)
                total.value = fold(k, total.value, element)
            k.store(target, i, total.value)

        for (x_at, y_at), start, stop in rows(k, fields, first, last):
            source, target = x + x_at, y + y_at
            with k.when(x_step.equals(1)):
                for i, lanes in pieces(k, start, stop):
                    reduce(source + i, target, i, lanes)
            with k.when(x_step.differs(1)):
                for i in k.range(start, stop):
                    reduce(source + i * x_step, target, i, 0)

    return write


def kernels(target: Target) -> list[Kernel]:
    """Every fold of every type. They are the same for every target but for the lanes."""
    folds = [
        *((name, fold, kind) for kind in ("float", "i32", "i64") for name, fold in NUMBERS.items()),
        *((name, fold, "i8") for name, fold in BOOLEANS.items()),
    ]
    return [
        Kernel(
            f"reduce_window_{name}_{SHORT[kind]}", reduce_window(fold),
            arguments(
                f"x: *{kind}", f"y: *{kind}", f"initial: *{kind}", "offsets: *i64", "taps: i64",
                "x_step: i64", *row_fields("x", "y"),
            ),
        )
        for name, fold, kind in folds
    ]  # fmt: skip

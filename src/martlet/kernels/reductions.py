"""Reductions: sums, products, extremes of the elements along some dimensions; running sums.

    sum_rows_f32      the last dimension is reduced: vectors along it, units are results
    sum_columns_f32   it is kept: vectors of results, units are results, too
    sum_short_rows_f32   it is reduced, but so short that vectors are of the results, whose
                      elements, `x_step` apart, are put together one by one

`REDUCTIONS` says how elements become one. Each kernel reduces three dimensions, of `count`
elements (`length` in the last, of rows) `step` elements apart; the results are rows of strided
blocks (`martlet.kernels.rows`), whose elements are `y_step` apart, and what they are made of
`x_step`, where the last dimension is reduced.

How the elements of a result are taken together depends on the shape alone, so that any number of
threads finds the same. Every lane starts from `start[0]`. Sums of float32 are made of eight
elements at a time, and these of each other in float64. Extremes pass over what is not a number,
unless it is the start. A sum is divided by `divisor`; quotients of integers are truncated.

    cumulative_sum_f32   running sums along one dimension, from its beginning or (by a negative
                         step) its end; units are elements of the others
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from martlet.kernels.forms import LINE_PAIR, SHORT
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F64, I64, Builder, Pointer, Type, Value, arguments
from martlet.kernels.rows import pieces, row_fields, rows
from martlet.kernels.targets import Target
from martlet.records import dataclass

TOGETHER = 8  # vectors, or rows of them, are combined before they join the total

Pair = Callable[[Builder, Value, Value], Value]


@dataclass(frozen=True)
class Reduction:
    """How elements become one.

    pair: of two elements, or two totals. total: the type of totals, if not that of elements.
    skips: whether `pair` drops what is not a number only as its first operand.
    divides: whether the total is divided at the end.
    """

    pair: Pair
    total: Type | None = None
    skips: bool = False
    divides: bool = False

    def add(self, k: Builder, total: Value, values: Sequence[Value]) -> Value:
        """A total with more elements."""
        values = list(values)
        if self.skips:
            # None of these is a number if the total is none, else all are.
            values = [self.pair(k, value, total) for value in values]
        while len(values) > 1:
            halves = zip(values[::2], values[1::2], strict=True)
            values = [self.pair(k, a, b) for a, b in halves]
        return values[0] if self.skips else self.pair(k, total, self.widened(values[0]))

    def widened(self, value: Value) -> Value:
        return value if self.total is None else value.to(self.total)

    def finish(self, k: Builder, total: Value, divisor: Value, element: Type) -> Value:
        if not self.divides:
            return total
        if total.type.is_float:
            return (total / divisor.to(F64)).to(element)
        return (total // divisor).to(element)


def _add(k: Builder, a: Value, b: Value) -> Value:
    return a + b


def _multiply(k: Builder, a: Value, b: Value) -> Value:
    return a * b


def _larger(k: Builder, a: Value, b: Value) -> Value:
    return k.maximum(a, b)


def _smaller(k: Builder, a: Value, b: Value) -> Value:
    return k.minimum(a, b)


LARGEST = Reduction(_larger, skips=True)
SMALLEST = Reduction(_smaller, skips=True)
LARGEST_UNSIGNED = Reduction(lambda k, a, b: k.select(a.below_unsigned(b), b, a), skips=True)
SMALLEST_UNSIGNED = Reduction(lambda k, a, b: k.select(a.below_unsigned(b), a, b), skips=True)
INTEGERS = ("i8", "i16", "i32", "i64")
REDUCTIONS: dict[str, dict[str, Reduction]] = {
    "sum": {
        "float": Reduction(_add, F64, divides=True),
        "i32": Reduction(_add),
        "i64": Reduction(_add),
    },
    "mean": {
        "i32": Reduction(_add, I64, divides=True),
        "i64": Reduction(_add, divides=True),
    },
    "prod": dict.fromkeys(("float", "i32", "i64"), Reduction(_multiply)),
    "max": {"float": LARGEST, "u8": LARGEST_UNSIGNED, **dict.fromkeys(INTEGERS, LARGEST)},
    "min": {"float": SMALLEST, "u8": SMALLEST_UNSIGNED, **dict.fromkeys(INTEGERS, SMALLEST)},
    "any": {"i8": Reduction(lambda k, a, b: a | b)},
    "all": {"i8": Reduction(lambda k, a, b: a & b)},
}
"""By name and element type. `any` and `all` are of bytes that are 0 or 1."""
OUTER = ("count2: i64", "step2: i64", "count1: i64", "step1: i64")


class Totals:
    """A total for each lane, to which rows are added.

    start: what every lane starts from, of the elements' type; it may be added any number of times.
    read: what is done to the elements first.
    """

    def __init__(
        self, k: Builder, how: Reduction, start: Value, lanes: int,
        read: Callable[[Value], Value] = lambda value: value,
    ) -> None:  # fmt: skip
        self.k = k
        self.how = how
        self.start = start
        self.lanes = lanes
        self.read = read
        self.total = k.variable(k.broadcast(how.widened(start), lanes))

    def add(self, x: Pointer, length: Value) -> None:
        """Add `length` elements that follow each other."""
        k, step = self.k, TOGETHER * self.lanes
        whole = length // step * step
        for i in k.range(0, whole, step):
            self.join(
                self.read(k.load(x, i + n * self.lanes, lanes=self.lanes)) for n in range(TOGETHER)
            )
        for i, lanes in pieces(k, whole, length, self.lanes):
            self.join([self.read(k.load(x, i, lanes=lanes))])

    def join(self, values: Iterable[Value]) -> None:
        """Add vectors; those that are shorter are filled up."""
        self.total.value = self.how.add(self.k, self.total.value, [self._full(v) for v in values])

    def _full(self, value: Value) -> Value:
        k, width = self.k, value.type.lanes
        if width == self.lanes:
            return value
        lanes = [min(lane, width) for lane in range(self.lanes)]
        return k.shuffle(value, k.broadcast(self.start, width), lanes)

    def all(self) -> Value:
        """The total of all lanes."""
        k, total = self.k, self.total.value
        while (half := total.type.lanes // 2) > 0:
            low = k.shuffle(total, total, range(half))
            total = self.how.pair(k, low, k.shuffle(total, total, range(half, 2 * half)))
        return k.lane(total, 0)


def row_lanes(k: Builder, element: Type) -> int:
    """Elements of a vector."""
    return max(k.lanes, 4 * k.lanes // element.element_bytes)


def reduce_rows(how: Reduction) -> Callable[..., None]:
    """The writer of a kernel that reduces the last dimension, and two more."""

    def write(
        k: Builder, x: Pointer, y: Pointer, start: Pointer, divisor: Value, length: Value,
        count2: Value, step2: Value, count1: Value, step1: Value, x_step: Value, y_step: Value,
        *fields: Value,
    ) -> None:  # fmt: skip
        initial = k.scalar(start)
        for (x_at, y_at), first, last in rows(k, fields[:-2], *fields[-2:]):
            for at in k.range(first, last):
                totals = Totals(k, how, initial, row_lanes(k, x.element))
                row = x + (x_at + at * x_step)
                for i in k.range(0, count2):
                    for j in k.range(0, count1):
                        totals.add(row + (i * step2 + j * step1), length)
                total = how.finish(k, totals.all(), divisor, y.element)
                k.store(y, y_at + at * y_step, total)

    return write


def reduce_columns(how: Reduction, apart: bool = False) -> Callable[..., None]:
    """The writer of a kernel that keeps the last dimension and reduces three others.

    apart: the elements of the last dimension are `x_step` apart in x, else side by side.
    """

    def write(
        k: Builder, x: Pointer, y: Pointer, start: Pointer, divisor: Value, count0: Value,
        step0: Value, count2: Value, step2: Value, count1: Value, step1: Value, *rest: Value,
    ) -> None:  # fmt: skip
        x_step, fields = (rest[0], rest[1:]) if apart else (k.constant(1, I64), rest)
        initial = how.widened(k.scalar(start))
        # Integers gain little from it, and their kernels compile sooner without.
        together = TOGETHER if x.element.is_float else 1
        whole = count0 // together * together
        widest = k.lanes if apart else max(k.lanes, LINE_PAIR // x.element.element_bytes)

        def load(column: Pointer, row: Value, lanes: int) -> Value:
            if not apart:
                return k.load(column, row * step0, lanes=lanes)
            return gathered(k, column + row * step0, x_step, lanes)

        for (x_at, y_at), first, last in rows(k, fields[:-2], *fields[-2:]):
            for at, lanes in pieces(k, first, last, widest):
                total = k.variable(k.broadcast(initial, lanes))
                for i in k.range(0, count2):
                    for j in k.range(0, count1):
                        column = x + (x_at + at * x_step + i * step2 + j * step1)
                        for row in k.range(0, whole, together):
                            values = [load(column, row + n, lanes) for n in range(together)]
                            total.value = how.add(k, total.value, values)
                        if together > 1:
                            for row in k.range(whole, count0):
                                total.value = how.add(k, total.value, [load(column, row, lanes)])
                k.store(y, y_at + at, how.finish(k, total.value, divisor, y.element))

    return write


def gathered(k: Builder, p: Pointer, step: Value, lanes: int) -> Value:
    """A vector of elements that are `step` apart."""
    result = k.broadcast(k.scalar(p), lanes)
    for lane in range(1, lanes):
        result = k.with_lane(result, lane, k.scalar(p, step * lane))
    return result


def cumulative_sum(
    k: Builder, x: Pointer, y: Pointer, count: Value, x_step: Value, y_step: Value,
    exclusive: Value, *fields: Value,
) -> None:  # fmt: skip
    """Sums up to each element, or (`exclusive`) up to the one before it."""
    before = exclusive.differs(0)
    widest = LINE_PAIR // x.element.element_bytes
    for (x_at, y_at), first, last in rows(k, fields[:-2], *fields[-2:]):
        for at, lanes in pieces(k, first, last, widest):
            total = k.variable(k.zeros(x.element, lanes))
            for i in k.range(0, count):
                old = total.value
                new = old + k.load(x, x_at + at + i * x_step, lanes=lanes)
                k.store(y, y_at + at + i * y_step, k.select(before, old, new))
                total.value = new


def kernels(target: Target) -> list[Kernel]:
    """All reductions and running sums. They are the same for every target."""
    found = []
    for name, types in REDUCTIONS.items():
        for element, how in types.items():
            stored = element.replace("u", "i")
            operands = [f"x: *{stored}", f"y: *{stored}", f"start: *{stored}", "divisor: i64"]
            fields = row_fields("x", "y")
            full = f"{name}_rows_{SHORT[element]}"
            steps = "x_step: i64", "y_step: i64"
            block = arguments(*operands, "length: i64", *OUTER, *steps, *fields)
            found.append(Kernel(full, reduce_rows(how), block))
            columns = [*operands, "count0: i64", "step0: i64", *OUTER]
            full = f"{name}_columns_{SHORT[element]}"
            block = arguments(*columns, *fields)
            found.append(Kernel(full, reduce_columns(how), block))
            if element == "float":
                full = f"{name}_short_rows_{SHORT[element]}"
                block = arguments(*columns, "x_step: i64", *fields)
                found.append(Kernel(full, reduce_columns(how, apart=True), block))
    numbers = "count: i64", "x_step: i64", "y_step: i64", "exclusive: i64"
    for element in ("float", "i32", "i64"):
        block = arguments(f"x: *{element}", f"y: *{element}", *numbers, *row_fields("x", "y"))
        found.append(Kernel(f"cumulative_sum_{SHORT[element]}", cumulative_sum, block))
    return found

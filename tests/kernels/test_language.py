"""What the vector language means, on every target: each rule by a kernel of a few lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import (
    F16,
    F32,
    F64,
    I1,
    I8,
    I16,
    I32,
    I64,
    Builder,
    Pointer,
    Type,
    Value,
    arguments,
)  # fmt: skip
from martlet.kernels.targets import Target
from native import guarded, run_kernel, targets

pytestmark = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)

ELEMENTS: dict[str, Any] = {
    "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "half": np.float16, "float": np.float32, "double": np.float64,
}  # fmt: skip
_count = 0


def run(
    target: Target,
    write: Callable[..., None],
    *operands: Any,
    units: int = 1,
    split: int | None = None,
) -> None:
    """Write a kernel whose arguments are of the types of these operands, and run it on them."""
    global _count
    _count += 1
    names = {np.dtype(t): n for n, t in ELEMENTS.items()}
    declared = []
    for i, operand in enumerate(operands):
        if isinstance(operand, np.ndarray):
            declared.append(f"a{i}: *{names[operand.dtype]}")
        else:
            declared.append(f"a{i}: {'float' if isinstance(operand, float) else 'i64'}")
    kernel = Kernel(f"test_{_count}", write, arguments(*declared))
    run_kernel(kernel, target, *operands, units=units, split=split)


def elementwise(target: Target, function: Callable[..., Value], result: Any, *xs: Any) -> Any:
    """function of arrays, by four lanes; the result's type is that of the array `result`."""

    def write(k: Builder, out: Pointer, *rest: Any) -> None:
        *inputs, first, last = rest
        for i, mask in k.vectors(first, last, lanes=4):
            k.store(out, i, function(k, *(k.load(p, i, mask, lanes=4) for p in inputs)), mask)

    out = np.zeros(len(xs[0]), result)
    run(target, write, out, *xs, units=len(xs[0]))
    return out


# Loops ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "stop", "step"), [(0, 5, 1), (2, 9, 3), (3, 3, 1), (5, 2, 1), (-4, 4, 2)]
)
def test_ranges_are_those_of_python(target: Target, start: int, stop: int, step: int) -> None:
    def write(k: Builder, y: Pointer, a: Value, b: Value, first: Value, last: Value) -> None:
        at = k.variable(k.constant(0, I64))
        for i in k.range(a, b, step):
            k.store(y, at.value, i)
            at.value = at.value + 1

    y = np.full(8, 99)
    run(target, write, y, start, stop)
    wanted = list(range(start, stop, step))
    assert y.tolist() == wanted + [99] * (8 - len(wanted))


def test_ranges_nest(target: Target) -> None:
    def write(k: Builder, y: Pointer, n: Value, first: Value, last: Value) -> None:
        for i in k.range(0, n):
            for j in k.range(0, i):
                k.store(y, i * n + j, i * 10 + j)

    y = np.zeros((4, 4), np.int64)
    run(target, write, y, 4)
    assert y.tolist() == [[0] * 4, [10, 0, 0, 0], [20, 21, 0, 0], [30, 31, 32, 0]]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 8, 15, 16, 17, 33])
@pytest.mark.parametrize("at_end", [True, False])
def test_vectors_cover_all_elements_and_touch_no_other(
    target: Target, size: int, at_end: bool
) -> None:
    def write(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
        for i, mask in k.vectors(first, last):
            k.store(y, i, k.load(x, i, mask) + 1, mask)

    x = guarded(np.arange(size, dtype=np.float32), at_end)
    y = guarded(np.zeros(size, np.float32), at_end)
    run(target, write, x, y, units=size, split=7)
    assert y.tolist() == [v + 1 for v in range(size)]


@pytest.mark.parametrize("dtype", ELEMENTS.values(), ids=ELEMENTS)
def test_masks_of_every_element(target: Target, dtype: Any) -> None:
    """What the mask leaves out is neither read (it gives 0) nor written."""

    def write(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
        mask = k.lane_numbers(I32, 4) < last.to(I32)
        k.store(y, 0, k.load(x, 0, mask, lanes=4))
        k.store(y, 4, k.load(x, 0, mask, lanes=4), mask)

    x, y = guarded(np.array([1, 2, 3], dtype)), np.full(8, 9, dtype)
    run(target, write, x, y, units=3)
    assert y.tolist() == [1, 2, 3, 0, 1, 2, 3, 9]


def test_when(target: Target) -> None:
    def write(k: Builder, y: Pointer, first: Value, last: Value) -> None:
        for i in k.range(first, last):
            with k.when(i % 3 < 1), k.when(i > 0):
                k.store(y, i, k.constant(1, I8))

    y = np.zeros(10, np.int8)
    run(target, write, y, units=10)
    assert np.flatnonzero(y).tolist() == [3, 6, 9]


def test_forever_until_left(target: Target) -> None:
    """Steps of the Collatz sequence: left from the middle of the body."""

    def write(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
        for i in k.range(first, last):
            value, steps = k.variable(k.scalar(x, i)), k.variable(k.constant(0, I64))
            value.value, steps.value = k.scalar(x, i), k.constant(0, I64)
            with k.forever() as loop:
                loop.leave_if(value.value <= 1)
                steps.value = steps.value + 1
                odd = (value.value & 1).equals(1)
                value.value = k.select(odd, value.value * 3 + 1, value.value >> 1)
            k.store(y, i, steps.value)

    y = np.zeros(5, np.int64)
    run(target, write, np.array([1, 2, 3, 7, 27]), y, units=5)
    assert y.tolist() == [0, 1, 7, 16, 111]


# Arithmetic -------------------------------------------------------------------------------------


def test_integers_are_signed_and_wrap(target: Target) -> None:
    a = np.array([100, -100, 7, -7, 127, -128], np.int8)
    b = np.array([100, 100, 2, 2, 1, 1], np.int8)
    with np.errstate(over="ignore"):
        for function in (lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y):
            found = elementwise(target, lambda k, x, y, f=function: f(x, y), np.int8, a, b)
            assert found.tolist() == function(a, b).tolist()
    a, b = a[:4], b[:4]  # no lane may be left out, where the divisor would be 0
    quotients = elementwise(target, lambda k, x, y: x // y, np.int8, a, b)
    rests = elementwise(target, lambda k, x, y: x % y, np.int8, a, b)
    assert quotients.tolist() == [1, -1, 3, -3]
    assert rests.tolist() == [0, 0, 1, -1]


def test_bits_and_shifts(target: Target) -> None:
    x = np.array([-8, 13, 2**31 - 1, -1], np.int32)
    assert elementwise(target, lambda k, v: v & 6, np.int32, x).tolist() == (x & 6).tolist()
    assert elementwise(target, lambda k, v: v | 6, np.int32, x).tolist() == (x | 6).tolist()
    assert elementwise(target, lambda k, v: v ^ 6, np.int32, x).tolist() == (x ^ 6).tolist()
    assert elementwise(target, lambda k, v: v << 1, np.int32, x).tolist() == (x << 1).tolist()
    assert elementwise(target, lambda k, v: v >> 1, np.int32, x).tolist() == (x >> 1).tolist()
    found = elementwise(target, lambda k, v: v.shift_right_unsigned(1), np.int32, x)
    assert found.view(np.uint32).tolist() == (x.view(np.uint32) >> 1).tolist()


def test_numbers_take_the_type_of_what_they_meet(target: Target) -> None:
    x = np.array([1.5, -2, 0, 8], np.float32)
    found = elementwise(target, lambda k, v: 1 - 2 * v / 4 + (3 / (v + 10)), np.float32, x)
    np.testing.assert_allclose(found, 1 - 2 * x / 4 + 3 / (x + 10), rtol=1e-6)


def test_scalars_meet_vectors_in_every_lane(target: Target) -> None:
    def write(k: Builder, x: Pointer, factor: Value, first: Value, last: Value) -> None:
        k.store(x, 0, k.load(x, 0, lanes=4) * factor)
        k.store(x, 0, k.scalar(x, 3) - k.load(x, 0, lanes=4))

    x = np.array([1, 2, 3, 4], np.float32)
    run(target, write, x, 0.5)
    assert x.tolist() == [1.5, 1, 0.5, 0]


def test_a_product_and_a_sum_rounded_once(target: Target) -> None:
    x = np.array([1 + 2**-12, 1 - 2**-12, 3, 0.1], np.float32)
    wide = x.astype(np.float64) ** 2 - 1
    found = elementwise(target, lambda k, v: k.fma(v, v, k.constant(-1, v.type)), np.float32, x)
    assert found.tolist() == wide.astype(np.float32).tolist()
    found = elementwise(target, lambda k, v: v * v - 1, np.float32, x)
    assert found.tolist() == (x * x - np.float32(1)).tolist()


def test_signs_and_roundings(target: Target) -> None:
    x = np.array([2.5, -2.5, 0.5, -0.5, 1.5, -3.7, 1e20, 0.49999997], np.float32)
    for name, function in {
        "absolute": np.abs, "floor": np.floor, "ceil": np.ceil, "round_to_even": np.rint,
        "truncate": np.trunc,
    }.items():  # fmt: skip
        found = elementwise(target, lambda k, v, n=name: getattr(k, n)(v), np.float32, x)
        assert found.tobytes() == function(x).tobytes(), name
    assert elementwise(target, lambda k, v: -v, np.float32, x).tobytes() == (-x).tobytes()
    whole = np.array([5, -5, 0, 2**31 - 1], np.int32)
    assert elementwise(target, lambda k, v: k.absolute(v), np.int32, whole)[1] == 5
    roots = elementwise(target, lambda k, v: k.square_root(k.absolute(v)), np.float32, x)
    assert roots.tolist() == np.sqrt(np.abs(x)).tolist()


def test_comparisons_with_what_is_no_number(target: Target) -> None:
    x = np.array([1, 2, np.nan, -np.inf], np.float32)
    for function, wanted in [
        (lambda v: v < 2, [1, 0, 0, 1]),
        (lambda v: v <= 2, [1, 1, 0, 1]),
        (lambda v: v > 1, [0, 1, 0, 0]),
        (lambda v: v >= 1, [1, 1, 0, 0]),
        (lambda v: v.equals(2), [0, 1, 0, 0]),
        (lambda v: v.differs(2), [1, 0, 1, 1]),
    ]:
        found = elementwise(
            target, lambda k, v, f=function: k.select(f(v), 1 + 0 * v, 0), np.float32, x
        )
        assert np.nan_to_num(found, nan=1).tolist() == wanted


def test_the_larger_and_the_smaller(target: Target) -> None:
    """Where the first is no number, the second."""
    x = np.array([1, -4, np.nan, np.inf], np.float32)
    assert elementwise(target, lambda k, v: k.maximum(v, 0), np.float32, x).tolist() == [
        1, 0, 0, np.inf,
    ]  # fmt: skip
    assert elementwise(target, lambda k, v: k.minimum(v, 6), np.float32, x).tolist() == [
        1, -4, 6, 6,
    ]  # fmt: skip


def test_unsigned_comparison(target: Target) -> None:
    x = np.array([1, -1, 5, 4], np.int32)
    found = elementwise(
        target, lambda k, v: k.select(v.below_unsigned(5), k.constant(1, v.type), 0), np.int32, x
    )
    assert found.tolist() == [1, 0, 0, 1]


# Types ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "wanted"), [
    (np.int8, I32), (np.int32, I8), (np.int16, I64), (np.int32, F32), (np.int64, F64),
    (np.int8, F32), (np.float32, F64), (np.float64, F32), (np.float16, F32), (np.float32, F16),
])  # fmt: skip
def test_conversions_are_those_of_numpy(target: Target, source: Any, wanted: Type) -> None:
    x = np.array([1, -2, 100, -128, 3, 127], source)
    if np.dtype(source).kind == "f":
        x += np.array([0.1, 0.2, 0.3, 0, 0.0625, 0], source)
    found = elementwise(target, lambda k, v: v.to(wanted), ELEMENTS[wanted.scalar], x)
    assert found.tolist() == x.astype(ELEMENTS[wanted.scalar]).tolist()


def test_floats_become_integers_towards_zero(target: Target) -> None:
    x = np.array([1.9, -1.9, 0.5, -0.5, 1e6, -7], np.float32)
    assert elementwise(target, lambda k, v: v.to(I32), np.int32, x).tolist() == [
        1, -1, 0, 0, 1000000, -7,
    ]  # fmt: skip


def test_unsigned_conversions(target: Target) -> None:
    x = np.array([-1, 1, -128, 127], np.int8)
    unsigned = x.view(np.uint8)
    assert (
        elementwise(target, lambda k, v: v.to_unsigned(I32), np.int32, x).tolist()
        == unsigned.tolist()
    )
    assert (
        elementwise(target, lambda k, v: v.to_unsigned(F32), np.float32, x).tolist()
        == unsigned.tolist()
    )


def test_conditions_become_numbers(target: Target) -> None:
    x = np.array([3, -3, 0, 1], np.int32)
    assert elementwise(target, lambda k, v: (v > 0).to(I32), np.int32, x).tolist() == [1, 0, 0, 1]
    assert I1.of(4).lanes == 4


def test_the_same_bits(target: Target) -> None:
    x = np.array([1, -0.0, np.inf, 1e-45], np.float32)
    found = elementwise(target, lambda k, v: v.bits_as(I32), np.int32, x)
    assert found.tolist() == x.view(np.int32).tolist()


# Lanes ------------------------------------------------------------------------------------------


def test_shuffles(target: Target) -> None:
    def write(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
        a, b = k.load(x, 0, lanes=4), k.load(x, 4, lanes=4)
        k.store(y, 0, k.shuffle(a, b, [0, 4, 1, 5]))
        k.store(y, 4, k.shuffle(a, a, [3, 2]))
        k.store(y, 6, k.lane(b, 2))
        k.store(y, 7, k.shuffle(a, b, range(8)))

    y = np.zeros(15, np.int16)
    run(target, write, np.arange(8, dtype=np.int16), y)
    assert y.tolist() == [0, 4, 1, 5, 3, 2, 6, 0, 1, 2, 3, 4, 5, 6, 7]


def test_lane_numbers_and_zeros(target: Target) -> None:
    def write(k: Builder, y: Pointer, first: Value, last: Value) -> None:
        k.store(y, 0, k.lane_numbers(I32, 8))
        k.store(y, 8, k.zeros(I32, 4))
        k.store(y, 12, k.broadcast(k.scalar(y, 3), 4))

    y = np.full(16, 9, np.int32)
    run(target, write, y)
    assert y.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 3, 3, 3, 3]


def test_sums_of_lanes_have_one_order(target: Target) -> None:
    """Halves are added to halves: (0 + 4) + (2 + 6), and so on."""

    def write(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
        k.store(y, 0, k.sum_of_lanes(k.load(x, 0, lanes=8)))

    x = np.array([1e8, 1, -1e8, 3, 5, 7, 1e-3, -2], np.float32)
    y = np.zeros(1, np.float32)
    run(target, write, x, y)
    half = x[:4] + x[4:]
    quarter = half[:2] + half[2:]
    assert y[0] == quarter[0] + quarter[1]


def test_conditions_over_all_lanes(target: Target) -> None:
    def write(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
        for i in k.range(first, last):
            k.store(y, i, k.all_lanes(k.load(x, i, lanes=4) > 0).to(I32))

    y = np.zeros(3, np.int32)
    run(target, write, np.array([1, 2, 3, 4, 0, 5], np.int32), y, units=3)
    assert y.tolist() == [1, 0, 0]


# Memory -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ELEMENTS.values(), ids=ELEMENTS)
def test_tables_of_every_element(target: Target, dtype: Any) -> None:
    values = (np.arange(-20, 20) * 3).astype(dtype)

    def write(k: Builder, index: Pointer, y: Pointer, first: Value, last: Value) -> None:
        table = k.table(values)
        assert k.table(values.copy()).name == table.name
        for i in k.range(first, last):
            k.store(y, i, k.scalar(table, k.scalar(index, i)))

    index = np.array([39, 0, 7, 7, 20])
    y = np.zeros(5, dtype)
    run(target, write, index, y, units=5)
    assert y.tolist() == values[index].tolist()


@pytest.mark.parametrize("dtype", ELEMENTS.values(), ids=ELEMENTS)
def test_addresses_need_no_alignment(target: Target, dtype: Any) -> None:
    def write(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
        k.store(y, 0, k.load(x, 0, lanes=4))

    raw = np.zeros(2 * 64, np.uint8)
    size = 4 * np.dtype(dtype).itemsize
    x, y = raw[1 : 1 + size].view(dtype), raw[65 : 65 + size].view(dtype)
    x[:] = [1, 2, 3, 4]
    run(target, write, x, y)
    assert y.tolist() == [1, 2, 3, 4]


def test_pointers_count_in_elements(target: Target) -> None:
    def write(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
        k.store(y, 0, k.scalar(x + 1 + k.constant(2, I64)))
        k.store(y, 1, k.scalar(x.as_elements(I8) + 5).to(I32))

    x, y = np.array([1, 0x0203, 3, 4], np.int32), np.zeros(2, np.int32)
    run(target, write, x, y)
    assert y.tolist() == [4, 2]


def test_pointers_in_memory(target: Target) -> None:
    """The address of an array, kept in an array, leads back to it."""

    def write(k: Builder, kept: Pointer, x: Pointer, first: Value, last: Value) -> None:
        k.store(kept, 1, k.address(x + 2))
        k.store(k.pointer_at(kept, 1, I32), 0, k.constant(77, I32))

    x = np.zeros(4, np.int32)
    run(target, write, np.zeros(2, np.int64), x)
    assert x.tolist() == [0, 0, 77, 0]


def test_room_on_the_stack(target: Target) -> None:
    def write(k: Builder, x: Pointer, first: Value, last: Value) -> None:
        room = k.local(I16, 64)
        for i in k.range(0, 64):
            k.store(room, i, k.scalar(x, i) * 2)
        for i in k.range(0, 64):
            k.store(x, i, k.scalar(room, 63 - i))

    x = np.arange(64, dtype=np.int16)
    run(target, write, x)
    assert x.tolist() == [2 * (63 - i) for i in range(64)]


def test_atomic_additions(target: Target) -> None:
    def write(k: Builder, x: Pointer, first: Value, last: Value) -> None:
        for _ in k.range(first, last):
            before = k.atomic_add(x, 3)
            k.atomic_store(x + 1, before)
        k.store(x, 2, k.atomic_load(x) * 10)
        k.pause()

    x = np.array([100, 0, 0])
    run(target, write, x, units=4)
    assert x.tolist() == [112, 109, 1120]


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(("wrong", "message"), [
    (lambda k, x: k.load(x) + k.load(x).to(I32), "is not"),
    (lambda k, x: k.store(x, 0, k.constant(1, I32)), "i32 does not go into elements of float"),
    (lambda k, x: k.load(x) // 2, "no such operation"),
    (lambda k, x: k.load(x) & 1, "no such operation"),
    (lambda k, x: k.constant(1, I32) / 2, "no such operation"),
    (lambda k, x: setattr(k.variable(k.zeros()), "value", k.constant(0, F32)), "cannot hold float"),
])  # fmt: skip
def test_types_that_do_not_fit(target: Target, wrong: Any, message: str) -> None:
    k = Builder("wrong", target.lanes, target.machine)
    with pytest.raises(TypeError, match=message):
        wrong(k, Pointer(k, F32, "%x"))

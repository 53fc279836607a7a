"""Elementwise operators on kernels: their values, their shapes, what is left to NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from build import const, one_node
from lowered_node import compute, is_lowered, lower
from martlet.kernels.elementwise import COMPARISON, INTEGER_BINARY, INTEGER_UNARY, UNARY, kernels
from martlet.kernels.forms import COMPARISONS, INTEGER_BINARIES, INTEGER_UNARIES
from martlet.kernels.targets import Target
from martlet.plan.lowering.elementwise import CLAMPS, PLAIN
from martlet.plan.lowering.strides import row_arguments
from native import guarded, run_kernel, targets

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)

ROOTS = ("SQRT", "RSQRT", "LOG")
ACTIVATED = ("ADD", "SUB", "MUL", "DIV")
BINARY = (*ACTIVATED, "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU", "FLOOR_MOD", "POW")
OPTIONS = {
    "LEAKY_RELU": [{"alpha": 0.2}],
    "FAKE_QUANT": [
        {"min": -1.0, "max": 2.0, "num_bits": 4},
        {"min": -4.0, "max": 4.0, "num_bits": 8},
        {"min": 0.0, "max": 6.0, "num_bits": 8, "narrow_range": True},
    ],
    "GELU": [{"approximate": True}, {"approximate": False}],
}
FUNCTIONS = [
    (op, options)
    for op in (*PLAIN, *CLAMPS, *OPTIONS)
    for options in OPTIONS.get(op, [None])
]  # fmt: skip


def floats(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(sum(shape) + len(shape))
    return (3 * rng.standard_normal(shape)).astype(np.float32)


def check(target: Target, op: str, inputs: list[Any], options: Any = None, **kwargs: Any) -> None:
    (found,), (expected,) = compute(target, op, inputs, options, **kwargs)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def same(target: Target, op: str, inputs: list[Any], split: int | None = None) -> None:
    (found,), (expected,) = compute(target, op, inputs, split=split)
    np.testing.assert_array_equal(found, expected)


# One operand ----------------------------------------------------------------------------------


@each
@pytest.mark.parametrize(("op", "options"), FUNCTIONS)
def test_functions_are_those_of_numpy_at_any_length(op: str, options: Any, target: Target) -> None:
    for size in (0, 1, *range(target.lanes - 1, target.lanes + 2), 3 * target.lanes + 5):
        x = floats(size)
        check(target, op, [np.abs(x) if op in ROOTS else x], options)


@each
@pytest.mark.parametrize(("op", "options"), FUNCTIONS)
def test_where_the_work_is_cut_changes_no_bit(op: str, options: Any, target: Target) -> None:
    x = [np.abs(floats(3, 17))]
    (whole,), _ = compute(target, op, x, options)
    for split in (1, 3, 16):
        (pieces,), _ = compute(target, op, x, options, split=split)
        np.testing.assert_array_equal(pieces, whole)


@each
@pytest.mark.parametrize("name", UNARY)
def test_what_is_not_a_number_stays_so(name: str, target: Target) -> None:
    kernel = next(k for k in kernels(target) if k.name == f"{name}_f32")
    x, y = guarded(np.full(5, np.nan, np.float32)), guarded(np.zeros(5, np.float32))
    numbers = [0.5 for a in kernel.arguments if a.type.is_float and not a.pointer]
    run_kernel(kernel, target, x, y, *numbers, *row_arguments((5,), (1,), (1,)), units=5)
    assert np.isnan(y).all()


@each
def test_halves_round_to_even(target: Target) -> None:
    (found,), _ = compute(target, "ROUND", [np.array([0.5, 1.5, -2.5, -0.4], np.float32)])
    assert found.tolist() == [0, 2, -2, 0]


@each
def test_elu_is_exact_near_zero(target: Target) -> None:
    x = -np.logspace(-20, 0, 50, dtype=np.float32)
    (found,), _ = compute(target, "ELU", [x])
    np.testing.assert_allclose(found, np.expm1(x.astype(np.float64)), rtol=3e-7)


@each
def test_sines_of_large_numbers(target: Target) -> None:
    x = np.array([1e4, -12345.678, 3e7, 1e12, math.pi, 8.5 * math.pi], np.float32)
    for op, function in (("SIN", np.sin), ("COS", np.cos)):
        (found,), _ = compute(target, op, [x])
        np.testing.assert_allclose(found, function(x.astype(np.float64)), rtol=3e-7, atol=1e-8)
    (found,), _ = compute(target, "SIN", [np.array([3e38, np.inf, -np.inf], np.float32)])
    assert abs(found[0]) <= 1
    assert np.isnan(found[1:]).all()


@each
def test_a_kernel_may_write_where_it_reads(target: Target) -> None:
    kernel = next(k for k in kernels(target) if k.name == "square_f32")
    x = guarded(np.arange(21, dtype=np.float32))
    run_kernel(kernel, target, x, x, *row_arguments((21,), (1,), (1,)), units=21)
    assert x.tolist() == [i * i for i in range(21)]


@each
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_signs_of_integers(dtype: Any, target: Target) -> None:
    info = np.iinfo(dtype)
    x = np.array([0, 1, -1, 5, -7, info.min, info.max, *range(-9, 9)], dtype)
    for op in ("NEG", "ABS", "SIGN")[: 3 if dtype is np.int32 else 1]:
        same(target, op, [x])
        same(target, op, [np.tile(x, (3, 1))], split=4)


# Two operands ---------------------------------------------------------------------------------

SHAPES = [
    ((5,), (5,)),
    ((2, 3, 4, 17), (17,)),  # a row for all rows
    ((2, 3, 4, 17), (1,)),  # one number
    ((3, 4), ()),
    ((2, 5, 5, 9), (2, 1, 1, 9)),  # a row for each image
    ((2, 5, 5, 9), (2, 5, 5, 1)),  # a number for each row
    ((2, 3, 4, 5), (1, 3, 1, 5)),
    ((4, 1, 5, 1), (1, 3, 1, 6)),  # both broadcast
    ((1, 8, 9, 3), (3,)),  # short rows
    ((6, 1), (1, 16)),
    ((7, 1), (1, 1)),
    ((), ()),
    ((2, 0), (2, 1)),
]


@each
@pytest.mark.parametrize(("shape", "other"), SHAPES)
@pytest.mark.parametrize("op", BINARY)
def test_operands_broadcast(
    op: str, shape: tuple[int, ...], other: tuple[int, ...], target: Target
) -> None:
    pairs = [(shape, other)]
    if op != "PRELU":  # whose slopes must not be larger
        pairs.append((other, shape))
    if np.broadcast_shapes(shape, other) != shape and op == "PRELU":
        shape = np.broadcast_shapes(shape, other)
        pairs = [(shape, other)]
    for a, b in pairs:
        # Whether a single exponent is whole decides what POW means.
        if op != "POW" or math.prod(b) != 1 or a == b:
            check(target, op, [floats(*a), floats(*b)])
        check(target, op, [floats(*a), const(floats(*b))])


@each
@pytest.mark.parametrize("op", ["SUB", "SQUARED_DIFFERENCE"])
@pytest.mark.parametrize("b", [(4, 3, 19), (19,), (3, 1), (4, 1, 1)])
def test_a_range_of_units_may_begin_anywhere(op: str, b: tuple[int, ...], target: Target) -> None:
    inputs = [floats(4, 3, 19), floats(*b)]
    (whole,), _ = compute(target, op, inputs)
    for split in (1, 7, 50):
        (pieces,), _ = compute(target, op, inputs, split=split)
        np.testing.assert_array_equal(pieces, whole)


@each
@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])
@pytest.mark.parametrize("op", ACTIVATED)
def test_fused_activations_clamp(op: str, activation: str, target: Target) -> None:
    a = np.array([-9, -0.5, 0.5, 9, np.inf, -np.inf, np.nan], np.float32)
    options = {"fused_activation_function": activation}
    check(target, op, [a, np.full(7, 0.5, np.float32)], options)


@each
def test_without_an_activation_sums_stay_finite_as_in_numpy(target: Target) -> None:
    largest = np.finfo(np.float32).max
    (found,), _ = compute(target, "ADD", [np.full(3, largest), np.full(3, largest)])
    assert (found == largest).all()


@each
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"])
@pytest.mark.parametrize(("shape", "other"), SHAPES)
def test_integers_wrap(
    op: str, shape: tuple[int, ...], other: tuple[int, ...], dtype: Any, target: Target
) -> None:
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    rng = np.random.default_rng(5)
    inputs = [rng.integers(least, most, s, dtype) for s in (shape, other)]
    (found,), (expected,) = compute(target, op, inputs)
    np.testing.assert_array_equal(found, expected)
    activated = {"fused_activation_function": "RELU"}
    assert op not in ACTIVATED or not is_lowered(op, inputs, activated)


SPECIAL = np.array(
    [0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 1e-45, 1e-30, 1e30, -1e30, 16777216, -16777217,
     2147483648, np.inf, -np.inf, np.nan], np.float32
)  # fmt: skip


@each
@pytest.mark.parametrize("op", ["POW", "FLOOR_MOD", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"])
def test_special_numbers_meet_each_other(op: str, target: Target) -> None:
    check(target, op, [SPECIAL[:, None], SPECIAL[None]])


@each
def test_floor_division(target: Target) -> None:
    divisors = SPECIAL[(SPECIAL != 0)]
    check(target, "FLOOR_DIV", [SPECIAL[:, None], const(divisors[None])])
    check(target, "FLOOR_DIV", [floats(5, 33), const(np.float32([0.3]))])
    check(target, "FLOOR_DIV", [SPECIAL[:, None], divisors[None]])
    assert not is_lowered("FLOOR_DIV", [SPECIAL, const(SPECIAL)])


@each
def test_angles(target: Target) -> None:
    for shape in ((), (1,), (5, 19), (2, 3, 4, 17), (0, 3)):
        check(target, "ATAN2", [floats(*shape), floats(*shape)[..., ::-1] if shape else floats()])
    inputs = [floats(7, 33), floats(33, 7).reshape(7, 33)]
    (whole,), _ = compute(target, "ATAN2", inputs)
    (pieces,), _ = compute(target, "ATAN2", inputs, split=5)
    np.testing.assert_array_equal(pieces, whole)
    y, x = (a.ravel() for a in np.meshgrid(SPECIAL, SPECIAL))
    (found,), (expected,) = compute(target, "ATAN2", [y, x])
    np.testing.assert_allclose(found, expected, rtol=2e-7, atol=0)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[known]), np.signbit(expected[known]))
    assert not is_lowered("ATAN2", [np.ones(3), np.ones(3)])


@each
def test_powers_of_whole_exponents_stay_finite(target: Target) -> None:
    x = np.array([3e30, -3e30, 2.5, -1e-30], np.float32)
    for exponent in (1, 2, 3, 0.5, -1):
        check(target, "POW", [np.abs(x), const(np.float32(exponent))])


@each
@pytest.mark.parametrize("count", [2, 3, 5])
def test_sums_of_many(count: int, target: Target) -> None:
    check(target, "ADD_N", [floats(3, 7 + i)[:, :7] for i in range(count)])
    integers = [np.arange(21, dtype=np.int32) + i for i in range(count)]
    check(target, "ADD_N", integers)


def test_short_constant_rows_are_repeated() -> None:
    lowering = lower(*one_node("MUL", [floats(1, 50, 50, 3), const(floats(3))]))
    assert lowering is not None
    (repeated,) = lowering.constants
    assert repeated.size % 3 == 0
    assert repeated.size > 256


def test_pieces_for_threads_are_large_and_begin_on_cache_lines() -> None:
    for size, pieces in ((100, 1), (5000, 2), (1 << 20, 16)):
        lowering = lower(*one_node("ADD", [floats(size), floats(size)]), threads=2)
        assert lowering is not None
        (step,) = lowering.steps
        assert step.grain % 16 == 0
        assert -(-step.units // step.grain) == pieces


@each
def test_many_dimensions_take_several_steps(target: Target) -> None:
    check(target, "SUB", [floats(2, 3, 2, 3, 2), floats(2, 1, 2, 1, 2)])
    check(target, "SUB", [floats(2, 3, 2, 3, 2), const(floats(2, 1, 2, 1, 2))])
    assert not is_lowered("ADD", [floats(100, 3, 2, 3, 2), floats(100, 1, 2, 1, 2)])


def test_other_types_are_left_to_numpy() -> None:
    assert not is_lowered("ADD", [np.ones(3, np.int16)] * 2)
    assert not is_lowered("ABS", [np.ones(3, np.int16)])


def test_plans_know_which_functions_there_are() -> None:
    assert tuple(COMPARISON) == COMPARISONS
    assert set(INTEGER_UNARY) == INTEGER_UNARIES
    assert tuple(INTEGER_BINARY) == INTEGER_BINARIES

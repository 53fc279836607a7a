"""ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM, SQUARED_DIFFERENCE, FLOOR_*, POW, ATAN2, ADD_N."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from build import Value, one_node, run, run_model
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError
from martlet.graph import Quantization, Tensor
from oracle import litert

F32 = np.float32
OPTIONS = {
    "ADD": "AddOptions",
    "SUB": "SubOptions",
    "MUL": "MulOptions",
    "DIV": "DivOptions",
    "POW": "PowOptions",
    "SQUARED_DIFFERENCE": "SquaredDifferenceOptions",
    "FLOOR_DIV": "FloorDivOptions",
    "FLOOR_MOD": "FloorModOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "ATAN2": "ATan2Options",
    "ADD_N": "AddNOptions",
}
RNG = np.random.default_rng(5)
Q = Quantization.of


def ints(dtype: Any, shape: Any = 600) -> np.ndarray:
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype, endpoint=True)


def array(*values: Any, dtype: Any = np.int32) -> np.ndarray:
    return np.array(values, dtype)


def assert_litert_s(op: str, inputs: list[Any], options: Any = None, outputs: Any = None) -> None:
    """Martlet's answer equals LiteRT's: integers to the bit, floats to the last digits."""
    fields = {"options_type": OPTIONS[op], "outputs": outputs}
    model, arrays = one_node(op, inputs, options, **fields)
    got, want = run_model(model, arrays)[0], litert(model, arrays)[0]
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_allclose(got, want, rtol=0 if got.dtype.kind in "iu" else 1e-6)


def quantized(op: str, x: Any, y: Any, scales: Any, zeros: Any, **options: Any) -> None:
    """`assert_litert_s` for quantised x and y and an output of their type."""
    qs = [Q(s, z) for s, z in zip(scales, zeros, strict=True)]
    output = Tensor(dtype=DType.of(x), quantization=qs[2])
    inputs = [Value(x, quantization=qs[0]), Value(y, quantization=qs[1])]
    assert_litert_s(op, inputs, options, [output])


# Plain values


@pytest.mark.parametrize(
    ("op", "result"),
    [("ADD", [-1, 0]), ("SUB", [5, 8]), ("MUL", [-6, -16]), ("DIV", [0, -1]),
     ("FLOOR_DIV", [-1, -1]), ("FLOOR_MOD", [-1, 0]), ("SQUARED_DIFFERENCE", [25, 64]),
     ("MAXIMUM", [2, 4]), ("MINIMUM", [-3, -4])],
)  # fmt: skip
def test_integers(op: str, result: list[int]) -> None:
    assert run(op, [array(2, 4), array(-3, -4)]).tolist() == result


def test_integers_wrap() -> None:
    most = array(2**31 - 1)
    assert run("ADD", [most, array(1)]).tolist() == [-(2**31)]
    assert run("MUL", [most, array(2)]).tolist() == [-2]
    assert run("SUB", [array(-(2**31)), array(1)]).tolist() == [2**31 - 1]
    assert run("ADD_N", [most, most, most]).tolist() == [2**31 - 3]


def test_division_of_integers_truncates() -> None:
    assert run("DIV", [array(7, -7, 7, -7), array(2, 2, -2, -2)]).tolist() == [3, -3, -3, 3]


def test_inputs_broadcast_to_one_shape() -> None:
    x, y = np.ones((3, 1), F32), np.arange(2, dtype=F32)
    assert run("ADD", [x, y]).tolist() == [[1, 2]] * 3
    assert run("MUL", [np.zeros((0, 3), F32), np.ones(3, F32)]).shape == (0, 3)
    assert run("ADD", [np.array(1, F32), np.array(2, F32)]).shape == ()


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    with pytest.raises(ModelError, match=r"do not broadcast.*\[2\] and \[3\]"):
        run("ADD", [np.ones(2, F32), np.ones(3, F32)])


def test_both_inputs_have_one_type_that_the_operator_takes() -> None:
    with pytest.raises(ModelError, match="expected FLOAT32, found INT32"):
        run("ADD", [np.ones(2, F32), array(1)])
    with pytest.raises(ModelError, match="type that DIV does not take.*found INT64"):
        run("DIV", [np.ones(2, np.int64), np.ones(2, np.int64)])


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL", "DIV"])
@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_fused_activations_are_litert_s(op: str, activation: str, dtype: Any) -> None:
    x, y = (RNG.normal(0, 5, 50).astype(dtype) for _ in range(2))
    y[y == 0] = 1
    if dtype == np.float32:
        x[:5], y[:5] = [np.inf, -np.inf, np.nan, 0, -1], [1, 2, 3, 0, 0]
    assert_litert_s(op, [x, y], {"fused_activation_function": activation})


def test_complex_products_have_no_activation() -> None:
    z = np.array([1 + 2j, -1j], np.complex64)
    assert run("MUL", [z, z]).tolist() == [-3 + 4j, -1]
    with pytest.raises(ModelError, match="complex"):
        run("MUL", [z, z], {"fused_activation_function": "RELU"})


@pytest.mark.parametrize("dtype", [np.float16, np.int16, np.uint32, np.int64, np.complex64])
def test_products_of_other_types_are_litert_s(dtype: Any) -> None:
    x, y = (ints(np.int16).astype(dtype) for _ in range(2))
    assert_litert_s("MUL", [x, y])


@pytest.mark.parametrize("dtype", [np.float16, np.int16, np.int64])
def test_sums_of_other_types_are_litert_s(dtype: Any) -> None:
    assert_litert_s("ADD", [ints(np.int16).astype(dtype), ints(np.int16).astype(dtype)])


def test_maximum_gives_the_second_where_nothing_is_greater() -> None:
    x, y = array(np.nan, 1, 3, dtype=F32), array(1, np.nan, 2, dtype=F32)
    np.testing.assert_array_equal(run("MAXIMUM", [x, y]), [1, np.nan, 3])
    np.testing.assert_array_equal(run("MINIMUM", [x, y]), [1, np.nan, 2])


@pytest.mark.parametrize("op", ["FLOOR_DIV", "FLOOR_MOD"])
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.float32])
def test_floored_division_is_litert_s(op: str, dtype: Any) -> None:
    if dtype == np.float32:
        x, y = (RNG.normal(0, 3, 200).astype(dtype) for _ in range(2))
        x[:3], y[3:5] = [np.inf, np.nan, -1], [np.inf, -np.inf]
    else:
        x, y = ints(dtype), RNG.integers(1, 9, 600).astype(dtype) * RNG.choice([1, -1], 600)
        y = y.astype(dtype)
    assert_litert_s(op, [x, y])


def test_the_least_integer_by_minus_1_does_not_stop_the_process() -> None:
    x, y = array(-(2**31)), array(-1)
    assert run("FLOOR_MOD", [x, y]).tolist() == [0]
    assert run("DIV", [x, y]).tolist() == [-(2**31)]


@pytest.mark.parametrize("op", ["DIV", "FLOOR_DIV", "FLOOR_MOD"])
def test_division_of_integers_by_zero_is_an_error_of_the_run(op: str) -> None:
    with pytest.raises(RunError, match="division by zero"):
        run(op, [array(1, 2), array(1, 0)])


def test_floor_div_refuses_zero_among_floats_too_but_not_the_modulo() -> None:
    x, y = np.ones(1, F32), np.zeros(1, F32)
    with pytest.raises(RunError, match="division by zero"):
        run("FLOOR_DIV", [x, y])
    assert np.isnan(run("FLOOR_MOD", [x, y])).all()


def test_integer_powers_do_not_fit_as_the_least_integer_or_wrap_for_a_single_exponent() -> None:
    assert run("POW", [array(2, -2, 3), array(31, 31, 2)]).tolist() == [-(2**31), -(2**31), 9]
    assert run("POW", [array(2, -2, 3), array(33)]).tolist() == [0, 0, 3**33 % 2**32 - 2**32]
    with pytest.raises(RunError, match="negative powers"):
        run("POW", [array(2), array(-1)])


@pytest.mark.parametrize(("op", "version"), [("ADD", 6), ("MUL", 8)])
def test_float16_has_a_version_of_its_own(op: str, version: int) -> None:
    x = array(1.5, dtype=np.float16)
    assert run(op, [x, x], version=version).tolist() == [3 if op == "ADD" else 2.25]


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 2.5, -1, 2.000001])
@pytest.mark.parametrize("size", [1, 9])
def test_powers_of_floats_are_litert_s(exponent: float, size: int) -> None:
    x = array(0, 1, -2, 3.5, 1e30, -1e30, np.inf, -np.inf, np.nan, dtype=F32)
    assert_litert_s("POW", [x, np.full(size, exponent, F32)])


def test_atan2_knows_the_quadrant_and_does_not_broadcast() -> None:
    y, x = array(1, -1, 0, dtype=F32), array(-1, -1, -1, dtype=F32)
    expected = [3 * np.pi / 4, -3 * np.pi / 4, np.pi]
    np.testing.assert_allclose(run("ATAN2", [y, x]), expected, rtol=1e-6)
    with pytest.raises(ModelError, match=r"one shape; expected \[3\], found \[1\]"):
        run("ATAN2", [y, x[:1]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_atan2_of_every_width(dtype: Any) -> None:
    assert run("ATAN2", [np.ones(2, dtype), np.ones(2, dtype)]).dtype == dtype


@given(st.lists(hnp.arrays(np.int32, (4,)), min_size=2, max_size=6))
@settings(max_examples=25)
def test_add_n_is_a_chain_of_additions(inputs: list[np.ndarray]) -> None:
    total = inputs[0]
    for x in inputs[1:]:
        total = run("ADD", [total, x])
    assert run("ADD_N", inputs).tolist() == total.tolist()


def test_add_n_leaves_its_inputs_alone() -> None:
    x, y = array(1, 2), array(3, 4)
    run("ADD_N", [x, y])
    assert x.tolist() == [1, 2]


# Quantised values


@pytest.mark.parametrize(
    ("op", "scale"), [("ADD", 0.07), ("SUB", 0.06), ("MUL", 0.09), ("DIV", 0.011)]
)
@pytest.mark.parametrize(
    ("dtype", "zeros", "finer"),
    [(np.int8, (3, -7, 5), 1), (np.uint8, (120, 131, 100), 1), (np.int16, (0, 0, 0), 200)],
)
@pytest.mark.parametrize("activation", ["NONE", "RELU6"])
def test_quantised_arithmetic_is_litert_s(
    op: str, scale: float, dtype: Any, zeros: Any, finer: int, activation: str
) -> None:
    x, y = ints(dtype), ints(dtype)
    y[y == zeros[1]] += 1
    scales = (0.05 / finer, 0.02 / finer, scale if op == "DIV" else scale / finer)
    quantized(op, x, y, scales, zeros, fused_activation_function=activation,
              **({"pot_scale_int16": False} if op in ("ADD", "SUB") else {}))  # fmt: skip
    quantized(op, x[:60].reshape(5, 1, 12), y[:4].reshape(4, 1), scales, zeros)


def test_squared_difference_is_litert_s() -> None:
    quantized("SQUARED_DIFFERENCE", ints(np.int8), ints(np.int8), (0.05, 0.02, 0.3), (3, -4, -100))


@pytest.mark.parametrize("op", ["ADD", "SUB"])
@pytest.mark.parametrize("exponents", [(-10, -13), (-13, -10), (-10, -10)])
def test_powers_of_two_of_int16_are_shifted(op: str, exponents: Any) -> None:
    scales = (2.0 ** exponents[0], 2.0 ** exponents[1], 2.0**-10)
    quantized(op, ints(np.int16), ints(np.int16), scales, (0, 0, 0), pot_scale_int16=True,
              fused_activation_function="RELU6")  # fmt: skip


def test_powers_of_two_finer_than_both_inputs_are_refused() -> None:
    x = Value(ints(np.int16), quantization=Q(2.0**-3))
    output = Tensor(dtype=DType.INT16, quantization=Q(2.0**-4))
    with pytest.raises(ModelError, match=r"scale of the output.*2\^-4"):
        run("ADD", [x, x], {"pot_scale_int16": True}, outputs=[output])


@pytest.mark.parametrize(("dtype", "zero"), [(DType.INT8, 4), (DType.UINT8, 120)])
def test_int16_products_stored_in_8_bits_are_litert_s(dtype: DType, zero: int) -> None:
    inputs = [Value(ints(np.int16), quantization=Q(2.0**-15)) for _ in range(2)]
    output = Tensor(dtype=dtype, quantization=Q(2.0**-7, zero))
    assert_litert_s("MUL", inputs, {}, [output])


@pytest.mark.parametrize("scale", [1e-6, 0.02, 30.0, 1e4])
@pytest.mark.parametrize("zero", [-7, 127])
def test_quotients_shifted_beyond_their_bits_are_litert_s(scale: float, zero: int) -> None:
    every = np.arange(-128, 128).astype(np.int8)
    x, y = np.meshgrid(every, every[every != zero])
    quantized("DIV", x, y, (0.05, 0.02, scale), (3, zero, 5))


def test_division_by_the_zero_point_is_division_by_zero() -> None:
    x = Value(array(3, 4, dtype=np.int8), quantization=Q(0.1, 4))
    with pytest.raises(RunError, match="division by zero.*divisor of 4"):
        run("DIV", [x, x], outputs=[Tensor(dtype=DType.INT8, quantization=Q(0.1))])


def test_large_8_bit_tensors_go_through_the_table_of_pairs() -> None:
    x, y = ints(np.int8, 70_000), ints(np.int8, 70_000)
    output = Tensor(dtype=DType.INT8, quantization=Q(0.07, 1))
    options = {"pot_scale_int16": False}

    def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        inputs = [Value(a, quantization=Q(0.05, 3)), Value(b, quantization=Q(0.02, -7))]
        result: np.ndarray = run("ADD", inputs, options, outputs=[output])
        return result

    halves = [add(x[:35_000], y[:35_000]), add(x[35_000:], y[35_000:])]
    assert np.array_equal(add(x, y), np.concatenate(halves))


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL", "DIV", "SQUARED_DIFFERENCE"])
def test_8_bit_values_need_a_usable_scale(op: str) -> None:
    x = array(1, 2, dtype=np.int8)
    with pytest.raises(ModelError, match="quantisation"):
        run(op, [x, x])
    with pytest.raises(ModelError, match="unusable scale"):
        run(op, [Value(x, quantization=Q(np.nan))] * 2)
    with pytest.raises(ModelError, match="scale per channel"):
        run(op, [Value(x, quantization=Q([0.1, 0.2]))] * 2)
    with pytest.raises(ModelError, match="zero point of .* is out of range.*-128 to 127"):
        run(op, [Value(x, quantization=Q(0.1, 200))] * 2)


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
def test_int16_is_symmetric(op: str) -> None:
    x = Value(array(1, 2, dtype=np.int16), quantization=Q(0.1, 3))
    with pytest.raises(ModelError, match="zero points of 0"):
        run(op, [x, x])


def test_scales_whose_ratio_overflows_are_refused() -> None:
    x = Value(array(1, dtype=np.int8), quantization=Q(1e30))
    with pytest.raises(ModelError, match="scales do not fit together"):
        run("MUL", [x, x], outputs=[Tensor(dtype=DType.INT8, quantization=Q(1e-30))])

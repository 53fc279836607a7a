"""FULLY_CONNECTED in every pairing of types, and weights quantised in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import Value, const, one_node, run_model
from martlet.dtypes import DType
from martlet.errors import LimitError, ModelError
from martlet.graph import Blockwise, Model, Quantization, Tensor
from oracle import litert

RNG = np.random.default_rng(5)
CHANNELS = RNG.uniform(0.001, 0.02, 32)
INT4 = RNG.integers(-8, 8, (32, 64)).astype(np.int8)
INT2 = (INT4 >> 2).astype(np.int8)
INT8 = RNG.integers(-127, 128, (32, 64)).astype(np.int8)
INT16 = RNG.integers(-32767, 32768, (32, 64)).astype(np.int16)
BIAS = RNG.integers(-2000, 2000, 32)
FLOATS = RNG.normal(size=(4, 64)).astype(np.float32)
Q = Quantization.of


def model_of(
    inputs: list[Any], options: dict[str, Any] | None = None, *outputs: Tensor
) -> tuple[Model, list[np.ndarray]]:
    return one_node(
        "FULLY_CONNECTED", inputs, options, outputs or (Tensor(dtype=DType.FLOAT32),),
        options_type="FullyConnectedOptions", version=12,
    )  # fmt: skip


def run(inputs: list[Any], options: dict[str, Any] | None = None, *outputs: Tensor) -> np.ndarray:
    return run_model(*model_of(inputs, options, *outputs))[0]


def quantized(x: np.ndarray, scale: float, zero_point: int = 0) -> Value:
    return Value(x, quantization=Q(scale, zero_point))


def output(dtype: DType, scale: float, zero_point: int = 0) -> Tensor:
    return Tensor(dtype=dtype, quantization=Q(scale, zero_point))


# What the operator means ----------------------------------------------------------------------


def test_each_unit_weighs_a_row_and_adds_its_bias() -> None:
    x = np.array([[1, 2], [3, 4]], np.float32)
    weights = np.array([[1, 0], [0, 1], [10, 100]], np.float32)
    bias = np.array([0, 0, 5], np.float32)
    assert run([x, weights, bias]).tolist() == [[1, 2, 215], [3, 4, 435]]


def test_the_bias_may_be_left_out() -> None:
    x, weights = np.ones((1, 2), np.float32), np.ones((1, 2), np.float32)
    assert run([x, weights]).tolist() == run([x, weights, None]).tolist() == [[2]]


def test_x_is_read_as_rows_unless_its_dimensions_are_kept() -> None:
    x, weights = np.zeros((2, 3, 4), np.float32), np.zeros((5, 4), np.float32)
    assert run([x, weights]).shape == (6, 5)
    assert run([x, weights], {"keep_num_dims": True}).shape == (2, 3, 5)
    assert run([x, np.zeros((5, 12), np.float32)]).shape == (2, 5)


def test_no_depth_gives_zeros_and_no_bias() -> None:
    x, weights = np.zeros((2, 0), np.float32), np.zeros((3, 0), np.float32)
    assert run([x, weights, np.ones(3, np.float32)]).tolist() == [[0] * 3] * 2


def test_no_rows_give_no_rows() -> None:
    assert run([np.zeros((0, 2), np.float32), np.ones((3, 2), np.float32)]).shape == (0, 3)


@pytest.mark.parametrize(("total", "stored"), [(1, 1), (2, 1), (3, 2), (-1, -1), (-3, -2)])
def test_integers_round_once_half_away_from_zero(total: int, stored: int) -> None:
    x = quantized(np.array([[total]], np.int8), 1.0)
    weights = const(np.array([[1]], np.int8), q=Q(1.0))
    assert run([x, weights], None, output(DType.INT8, 2.0)).tolist() == [[stored]]


def test_a_fused_activation_clamps_to_the_stored_values_that_stand_for_its_ends() -> None:
    x = quantized(np.array([[-50], [50]], np.int8), 1.0)
    weights = const(np.array([[1]], np.int8), q=Q(1.0))
    relu6 = {"fused_activation_function": "RELU6"}
    assert run([x, weights], relu6, output(DType.INT8, 0.5, 3)).tolist() == [[3], [15]]


def test_a_row_of_zeros_gives_the_bias_of_a_hybrid_layer() -> None:
    weights, bias = const(INT8[:2, :4], q=Q(0.5)), np.array([7, 8], np.float32)
    for asymmetric in (False, True):
        options = {"asymmetric_quantize_inputs": asymmetric}
        assert run([np.zeros((1, 4), np.float32), weights, bias], options).tolist() == [[7, 8]]


# Answers of LiteRT ----------------------------------------------------------------------------

X8, X16 = INT8[:4], INT16[:4]


@pytest.mark.parametrize("rows", [1, 4])
def test_shuffled_weights_and_the_workspace_equal_litert(rows: int) -> None:
    inputs = [
        quantized(X8[:rows].view(np.uint8), 0.05, 128),
        const(INT8.view(np.uint8), q=Q(0.02, 128)),
        const(BIAS.astype(np.int32), q=Q(0.001)),
    ]
    outputs = (
        Tensor("y", (rows, 32), DType.INT16, Q(0.01)),
        Tensor("workspace", (rows, 64), DType.UINT8),
    )
    model, arrays = model_of(inputs, {"weights_format": "SHUFFLED4x16INT8"}, *outputs)
    for found, expected in zip(run_model(model, arrays), litert(model, arrays), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("x", "weights", "bias", "y"),
    [
        (quantized(X8, 0.05, -3), const(INT8, q=Q(0.02)), np.int32, output(DType.INT8, 0.3, 4)),
        (quantized(X8, 0.05, -3), const(INT8, q=Q(0.02, 5)), np.int32, output(DType.INT8, 0.3)),
        (quantized(X8, 0.05, -3), const(INT8, q=Q(CHANNELS)), np.int32, output(DType.INT8, 0.3)),
        (
            quantized(X8, 0.05, -3), const(INT4, DType.INT4, Q(CHANNELS)), np.int32,
            output(DType.INT8, 0.03),
        ),
        (
            quantized(X8, 0.05, -3), const(INT2, DType.INT2, Q(CHANNELS)), np.int32,
            output(DType.INT8, 0.01),
        ),
        (
            quantized(X8.view(np.uint8), 0.05, 120), const(INT8.view(np.uint8), q=Q(0.02, 130)),
            np.int32, output(DType.UINT8, 0.3, 90),
        ),
        (
            quantized(X8.view(np.uint8), 0.05, 120), const(INT8.view(np.uint8), q=Q(0.02, 130)),
            np.int32, output(DType.INT16, 0.003),
        ),
        (quantized(X16, 0.001), const(INT8, q=Q(0.02)), np.int64, output(DType.INT16, 0.003)),
        (quantized(X16, 0.001), const(INT8, q=Q(CHANNELS)), np.int64, output(DType.INT16, 0.003)),
        (
            quantized(X16, 0.001), const(INT4, DType.INT4, Q(CHANNELS)), np.int64,
            output(DType.INT16, 0.003),
        ),
        (
            quantized(X16, 0.001), const(INT2, DType.INT2, Q(CHANNELS)), np.int64,
            output(DType.INT16, 0.001),
        ),
        (quantized(X16, 0.001), const(INT8, q=Q(0.02)), np.int32, output(DType.INT16, 0.003)),
        (quantized(X16, 0.001), const(INT16, q=Q(0.0002)), np.int64, output(DType.INT16, 0.03)),
        (quantized(X16, 0.001), const(INT16, q=Q(0.0002)), np.int32, output(DType.INT16, 0.03)),
        (
            quantized(X16, 0.001), const(INT16, q=Q(CHANNELS / 100)), np.int64,
            output(DType.INT16, 0.03),
        ),
    ],
)  # fmt: skip
def test_integers_equal_litert(x: Value, weights: Value, bias: type, y: Tensor) -> None:
    assert x.quantization is not None
    assert weights.quantization is not None
    scales = x.quantization.scale * weights.quantization.scale
    inputs = [x, weights, const(BIAS.astype(bias), q=Q(scales))]
    options = {}
    if x.dtype is DType.INT16:
        options["quantized_bias_type"] = DType.of(BIAS.astype(bias)).name
    model, arrays = model_of(inputs, options, y)
    np.testing.assert_array_equal(run_model(model, arrays)[0], litert(model, arrays)[0])


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("activation", ["NONE", "RELU6", "TANH", "SIGN_BIT"])
@pytest.mark.parametrize(
    "weights",
    [
        const(INT8, q=Q(0.01)),
        const(INT8, q=Q(CHANNELS)),
        const(INT4, DType.INT4, Q(0.1)),
        const(INT4, DType.INT4, Q(CHANNELS)),
        const(INT2, DType.INT2, Q(CHANNELS)),
        const(INT8.view(np.uint8), q=Q(0.01)),
    ],
)
def test_hybrid_layers_equal_litert(weights: Value, activation: str, asymmetric: bool) -> None:
    options = {
        "asymmetric_quantize_inputs": asymmetric,
        "fused_activation_function": activation,
    }
    bias = const(np.linspace(-1, 1, 32).astype(np.float32))
    model, arrays = model_of([FLOATS, weights, bias], options)
    found, expected = run_model(model, arrays)[0], litert(model, arrays)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


# Weights in blocks ----------------------------------------------------------------------------


def blockwise(
    weights: np.ndarray, scales: np.ndarray, block_size: int, dimensions: tuple[int, ...] = (),
    zero_points: np.ndarray | None = None,
) -> tuple[Model, list[np.ndarray]]:  # fmt: skip
    blocks = Blockwise(-1, -1, block_size, dimensions)
    q = Quantization(blockwise=blocks)
    x = np.array([[127, 1, -128, 64]], np.float32)  # 255 steps of 1: quantised without loss
    dtype = DType.INT4 if abs(weights).max() <= 8 else DType.INT8
    model, arrays = model_of([x, const(weights, dtype, q)])
    blocks.scales = model.main.constant(scales, "scales")
    if zero_points is not None:
        blocks.zero_points = model.main.constant(zero_points, "zero points")
    return model, arrays


def test_each_block_along_the_depth_has_its_scale() -> None:
    weights = np.array([[1, 2, 3, 4], [5, 6, 7, -8]], np.int8)
    scales = np.array([[1, 2], [0.5, 4]], np.float16)
    expected = [[127 + 2 - 768 + 512, 317.5 + 3 - 3584 - 2048]]
    assert run_model(*blockwise(weights, scales, 2))[0].tolist() == expected
    assert run_model(*blockwise(weights, scales, 2, (0, 1)))[0].tolist() == expected


def test_without_blocks_the_listed_dimensions_have_a_scale_for_each_index() -> None:
    weights = np.array([[1, 0, 0, 0], [0, 100, 0, 0]], np.int8)
    rows = run_model(*blockwise(weights, np.array([2, 3], np.float32), 0, (0,)))[0]
    assert rows.tolist() == [[254, 300]]
    columns = run_model(*blockwise(weights, np.array([2, 3, 4, 5], np.float32), 0, (1,)))[0]
    assert columns.tolist() == [[254, 300]]


def test_blocks_may_have_zero_points() -> None:
    weights = np.array([[1, 2, 3, 4]], np.int8)
    zeros = np.array([[1, 3]], np.int8)
    model = blockwise(weights, np.array([[1, 2]], np.float16), 2, (), zeros)
    assert run_model(*model)[0].tolist() == [[1 + 2 * 64]]


@pytest.mark.parametrize(
    ("block", "dimensions", "problem"),
    [(3, (), "do not divide"), (-2, (), "do not divide"), (2, (0, 2), "not its own"),
     (2, (1, 1), "not its own"), (4, (), "do not fit its blocks")],
)  # fmt: skip
def test_blocks_that_do_not_fit_are_refused(
    block: int, dimensions: tuple[int, ...], problem: str
) -> None:
    scales = np.ones((1, 2), np.float16)
    with pytest.raises(ModelError, match=problem):
        run_model(*blockwise(np.ones((1, 4), np.int8), scales, block, dimensions))


# What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "options", "problem"),
    [
        ([np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)], {}, "a multiple of 4"),
        (
            [np.ones((2, 3), np.float32), np.ones((2, 6), np.float32)],
            {"keep_num_dims": True}, "last size of x",
        ),
        ([FLOATS, np.ones((2, 2, 64), np.float32)], {}, "number of dimensions; expected 2"),
        ([FLOATS, np.ones((2, 64), np.float32), FLOATS[0, :3]], {}, "bias does not fit"),
        ([FLOATS, INT8], {}, "no quantisation"),
        ([FLOATS, const(INT8, q=Q(CHANNELS[:31]))], {}, "32 along axis 0, found 31"),
        ([FLOATS, const(INT8, q=Q(CHANNELS, 0, 1))], {}, "32 along axis 1"),
        ([FLOATS, np.ones((2, 64), np.int32)], {}, "FLOAT32 or INT8 or INT4 or INT2 or UINT8"),
        (
            [FLOATS, np.ones((2, 64), np.float32)], {"fused_activation_function": "TANH"},
            "cannot have the fused activation TANH",
        ),
        ([FLOATS, np.ones((2, 64), np.float32)], {"weights_format": 7}, "format of weights"),
        ([FLOATS, np.ones((2, 64), np.float32)], {"weights_format": "SHUFFLED4x16INT8"}, "UINT8"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    inputs: list[Any], options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ModelError, match=problem):
        run(inputs, options)


def test_int16_activations_are_symmetric() -> None:
    with pytest.raises(ModelError, match=r"zero point of x .* expected 0, found 1"):
        run([quantized(X16, 0.1, 1), const(INT8, q=Q(1.0))], {}, output(DType.INT16, 1.0))


def test_the_type_of_the_bias_is_the_one_announced() -> None:
    inputs = [quantized(X16, 0.1), const(INT8, q=Q(1.0)), const(BIAS.astype(np.int32))]
    with pytest.raises(ModelError, match="expected INT64, found INT32"):
        run(inputs, {"quantized_bias_type": "INT64"}, output(DType.INT16, 1.0))


def test_sums_beyond_the_memory_limit_are_refused() -> None:
    model, arrays = model_of([quantized(X8, 0.1), const(INT8, q=Q(1.0))], {}, output(DType.INT8, 1))
    with pytest.raises(LimitError):
        run_model(model, arrays, memory_limit=4000)

"""CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV and MediaPipe's transposed convolution."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

from build import Value, const, one_node, run_model
from martlet.dtypes import DType
from martlet.errors import LimitError, ModelError, UnsupportedError
from martlet.graph import Model, Quantization, Tensor
from martlet.ops import sliding_window
from oracle import litert

OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
}
STRIDE_1 = {"padding": "VALID", "stride_h": 1, "stride_w": 1}
SAME_1 = {**STRIDE_1, "padding": "SAME"}
PER_CHANNEL = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "TRANSPOSE_CONV": 0}


def f32(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def model_of(
    op: str, inputs: Sequence[Any], options: dict[str, Any], output: Tensor | None = None
) -> tuple[Model, list[np.ndarray]]:
    outputs = [output or Tensor(dtype=DType.FLOAT32)]
    return one_node(op, inputs, options, outputs, options_type=OPTIONS[op])


def run(
    op: str, inputs: Sequence[Any], options: dict[str, Any], output: Tensor | None = None
) -> np.ndarray:
    return run_model(*model_of(op, inputs, options, output))[0]


# What the operators mean ----------------------------------------------------------------------


def test_a_convolution_sums_products_under_each_window() -> None:
    image = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    window = np.array([[1, 10], [100, 1000]], np.float32).reshape(1, 2, 2, 1)
    result = run("CONV_2D", [image, const(window)], STRIDE_1)
    assert result[0, :, :, 0].tolist() == [[4310, 5421], [7643, 8754]]


def test_same_padding_puts_the_odd_element_behind_and_counts_as_zero() -> None:
    image = np.ones((1, 3, 3, 1), np.float32)
    result = run("CONV_2D", [image, const(np.ones((1, 2, 2, 1), np.float32))], SAME_1)
    assert result[0, :, :, 0].tolist() == [[4, 4, 2], [4, 4, 2], [2, 2, 1]]


def test_dilation_spreads_the_taps() -> None:
    image = np.arange(5, dtype=np.float32).reshape(1, 1, 5, 1)
    options = {**STRIDE_1, "dilation_w_factor": 3}
    result = run(
        "CONV_2D", [image, const(np.array([1, 10], np.float32).reshape(1, 1, 2, 1))], options
    )
    assert result.ravel().tolist() == [30, 41]


def test_groups_see_their_own_channels() -> None:
    image = np.array([1, 2, 3, 4], np.float32).reshape(1, 1, 1, 4)
    weights = np.array([[1, 1], [1, -1]], np.float32).reshape(2, 1, 1, 2)
    assert run("CONV_2D", [image, const(weights)], STRIDE_1).ravel().tolist() == [3, -1]


def test_a_depth_multiplier_makes_neighbours_of_the_channels_of_one_input() -> None:
    image = np.array([2, 3], np.float32).reshape(1, 1, 1, 2)
    weights = np.array([1, 10, 100, 1000], np.float32).reshape(1, 1, 1, 4)
    result = run("DEPTHWISE_CONV_2D", [image, const(weights)], {**STRIDE_1, "depth_multiplier": 2})
    assert result.ravel().tolist() == [2, 20, 300, 3000]


def test_a_transposed_convolution_spreads_the_window() -> None:
    shape = np.array([1, 1, 5, 1], np.int32)
    image = np.array([1, 2], np.float32).reshape(1, 1, 2, 1)
    window = np.array([1, 10, 100], np.float32).reshape(1, 1, 3, 1)
    options = {"padding": "VALID", "stride_h": 1, "stride_w": 2}
    result = run("TRANSPOSE_CONV", [const(shape), const(window), image], options)
    assert result.ravel().tolist() == [1, 10, 102, 20, 200]


def test_a_transposed_convolution_is_the_adjoint() -> None:
    options = {"padding": "SAME", "stride_h": 2, "stride_w": 3}
    image, weights = f32(2, 7, 8, 3), f32(4, 3, 5, 3, seed=1)
    forward = run("CONV_2D", [image, const(weights)], options)
    other = f32(*forward.shape, seed=2)
    shape = const(np.array(image.shape, np.int32))
    back = run("TRANSPOSE_CONV", [shape, const(weights.transpose(3, 1, 2, 0)), other], options)
    assert np.vdot(forward, other) == pytest.approx(np.vdot(image, back), rel=1e-4)


def test_the_shape_of_a_transposed_convolution_may_come_with_the_data() -> None:
    weights, image = const(f32(2, 3, 3, 1)), f32(1, 4, 4, 1)
    options = {"padding": "SAME", "stride_h": 2, "stride_w": 2}
    for size in (7, 8):
        shape = np.array([1, size, size, 2], np.int32)
        given = run("TRANSPOSE_CONV", [shape, weights, image], options)
        fixed = run("TRANSPOSE_CONV", [const(shape), weights, image], options)
        assert given.shape == (1, size, size, 2)
        np.testing.assert_array_equal(given, fixed)


def test_bias_and_activation_follow_the_sums() -> None:
    image = np.array([-1, 1, 9], np.float32).reshape(1, 1, 3, 1)
    options = {**STRIDE_1, "fused_activation_function": "RELU6"}
    inputs = [image, const(np.ones((1, 1, 1, 1), np.float32)), const(np.float32([0.5]))]
    assert run("CONV_2D", inputs, options).ravel().tolist() == [0, 1.5, 6]


@pytest.mark.parametrize("op", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize("weights", ["FLOAT32", "INT8"])
def test_no_batches_give_no_batches(op: str, weights: str) -> None:
    kernel = const(np.ones((1, 2, 2, 1), np.float32))
    if weights == "INT8":
        kernel = const(np.ones((1, 2, 2, 1), np.int8), DType.INT8, Quantization.of(0.1))
    assert run(op, [f32(0, 4, 4, 1), kernel], SAME_1).shape == (0, 4, 4, 1)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [
        ("CONV_2D", [f32(3, 6, 5, 4), const(f32(6, 3, 3, 2, seed=1))]),
        ("DEPTHWISE_CONV_2D", [f32(3, 6, 5, 4), const(f32(1, 3, 3, 8, seed=1))]),
        (
            "TRANSPOSE_CONV",
            [const(np.array([3, 6, 5, 2], np.int32)), const(f32(2, 3, 3, 4)), f32(3, 6, 5, 4)],
        ),
    ]
    whole = [run(op, inputs, SAME_1) for op, inputs in cases]
    for limit in (1, 700, 5000):
        monkeypatch.setattr(sliding_window, "BLOCK_BYTES", limit)
        for (op, inputs), expected in zip(cases, whole, strict=True):
            np.testing.assert_allclose(run(op, inputs, SAME_1), expected, atol=1e-5)


# The same numbers as LiteRT -------------------------------------------------------------------


def operands(op: str, kind: str, rng: np.random.Generator) -> tuple[Value, Value, Value, Tensor]:
    """Random input, weights, bias and output of one arithmetic; 4 channels in, 6 or 8 out."""
    shape = {
        "CONV_2D": (6, 3, 2, 4),
        "DEPTHWISE_CONV_2D": (1, 3, 2, 8),
        "TRANSPOSE_CONV": (6, 3, 2, 4),
    }
    channels = 8 if op == "DEPTHWISE_CONV_2D" else 6
    data, weights = (2, 5, 6, 4), shape[op]
    floats = f32(*data, seed=int(rng.integers(1000)))
    scales = rng.uniform(0.01, 0.05, channels).astype(np.float32)
    signed = rng.integers(-127, 128, weights).astype(np.int8)
    per_channel = const(signed, DType.INT8, Quantization.of(scales, 0, PER_CHANNEL[op]))
    real = const(f32(channels))
    if kind == "float":
        return Value(floats), const(f32(*weights)), real, Tensor(dtype=DType.FLOAT32)
    if kind == "hybrid":
        return Value(floats), per_channel, real, Tensor(dtype=DType.FLOAT32)
    small = const(rng.integers(-5000, 5000, channels).astype(np.int32), DType.INT32)
    if kind == "uint8":
        q = Quantization.of(0.02, 120)
        small.quantization = Quantization.of(np.float32(0.02) * np.float32(0.03))
        return (
            Value(rng.integers(0, 256, data).astype(np.uint8), quantization=q),
            const(rng.integers(0, 256, weights).astype(np.uint8), q=Quantization.of(0.03, 101)),
            small,
            Tensor(dtype=DType.UINT8, quantization=Quantization.of(0.3, 90)),
        )
    if kind.startswith("int16"):
        bias = const(rng.integers(-(10**6), 10**6, channels), DType.INT64)
        if kind == "int16, narrow":
            bias = const(bias.array.astype(np.int32), DType.INT32)
        words = rng.integers(-(1 << 15), 1 << 15, data).astype(np.int16)
        output = Tensor(dtype=DType.INT16, quantization=Quantization.of(1e-3))
        return Value(words, quantization=Quantization.of(1e-4)), per_channel, bias, output
    if kind == "int8, one scale":
        per_channel = const(signed, DType.INT8, Quantization.of(0.02))
    if kind == "int4":
        per_channel = const(signed >> 4, DType.INT4, per_channel.quantization)
    bytes_ = rng.integers(-128, 128, data).astype(np.int8)
    output = Tensor(dtype=DType.INT8, quantization=Quantization.of(0.3, 9))
    return Value(bytes_, quantization=Quantization.of(0.05, -7)), per_channel, small, output


KINDS = ["float", "hybrid", "uint8", "int8", "int8, one scale", "int4", "int16", "int16, narrow"]

LACKING = {("TRANSPOSE_CONV", "int4"), ("DEPTHWISE_CONV_2D", "int16, narrow")}  # in LiteRT


@pytest.mark.parametrize(("op", "kind"), sorted(set(product(OPTIONS, KINDS)) - LACKING))
def test_every_arithmetic_gives_the_numbers_of_litert(op: str, kind: str) -> None:
    for seed, padding in enumerate(("SAME", "VALID")):
        data, weights, bias, output = operands(op, kind, np.random.default_rng(seed))
        options: dict[str, Any] = {"padding": padding, "stride_h": 2, "stride_w": 1}
        if op == "DEPTHWISE_CONV_2D":
            options["depth_multiplier"] = 2
        else:
            options["quantized_bias_type"] = {"int16": "INT64", "int16, narrow": "INT32"}.get(
                kind, "FLOAT32"
            )
        inputs = [data, weights, bias]
        if op == "TRANSPOSE_CONV":
            size = (10, 6) if padding == "SAME" else (11, 7)
            inputs = [const(np.array([2, *size, 6], np.int32)), weights, data, bias]
        else:
            options["dilation_w_factor"] = 2
        model, arrays = model_of(op, inputs, options, output)
        ours, theirs = run_model(model, arrays)[0], litert(model, arrays)[0]
        if ours.dtype == np.float32:
            np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())
        else:
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", ["uint8 weights", "one scale"])
def test_hybrid_weights_of_one_scale_meet_symmetric_activations(kind: str) -> None:
    raw = np.random.default_rng(0).integers(-127, 128, (3, 2, 2, 4)).astype(np.int8)
    weights = const(raw, DType.INT8, Quantization.of(0.02))
    if kind == "uint8 weights":  # signed bytes all the same
        weights = const(raw.view(np.uint8), DType.UINT8, Quantization.of(0.02, 77))
    inputs = [f32(2, 5, 6, 4) + 1, weights, const(f32(3))]
    model, arrays = model_of("CONV_2D", inputs, SAME_1)
    ours, theirs = run_model(model, arrays)[0], litert(model, arrays)[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_infinite_sums_become_the_largest_floats() -> None:
    inputs = [np.full((1, 1, 1, 1), np.inf, np.float32), const(f32(1, 1, 1, 1)), const(f32(1))]
    model, arrays = model_of("CONV_2D", inputs, STRIDE_1)
    np.testing.assert_array_equal(run_model(model, arrays), litert(model, arrays))


# Where it rounds ------------------------------------------------------------------------------


def scaled(acc: int, scale: float, bias: DType, data: DType) -> int:
    """The output for a sum of `acc`, all of it from the bias, under a multiplier of `scale`."""
    inputs = [
        Value(np.zeros((1, 1, 1, 1), data.numpy), data, Quantization.of(1.0)),
        const(np.zeros((1, 1, 1, 1), np.int8), DType.INT8, Quantization.of(scale)),
        const(np.array([acc], bias.numpy), bias),
    ]
    return int(
        run(
            "CONV_2D", inputs, STRIDE_1, Tensor(dtype=data, quantization=Quantization.of(1.0))
        ).item()
    )


def test_narrow_sums_round_twice() -> None:
    # 1 * 0.375 is 1 * 0.75, rounded to 1, then halved and rounded to 1.
    assert scaled(1, 0.375, DType.INT32, DType.INT8) == 1
    assert [scaled(n, 0.25, DType.INT32, DType.INT8) for n in (2, 6, -2, -6)] == [1, 2, -1, -2]
    assert [scaled(n, 0.25, DType.INT32, DType.INT16) for n in (2, 6, -2, -6)] == [1, 2, -1, -2]


def test_wide_sums_round_once_and_ties_go_up() -> None:
    assert scaled(1, 0.375, DType.INT64, DType.INT16) == 0
    assert [scaled(n, 0.25, DType.INT64, DType.INT16) for n in (2, 6, -2, -6)] == [1, 2, 0, -1]


def test_narrow_sums_wrap() -> None:
    inputs = [
        Value(np.full((1, 1, 1, 1), 1, np.int8), quantization=Quantization.of(1.0)),
        const(np.full((1, 1, 1, 1), 1, np.int8), q=Quantization.of(1e-7)),
        const(np.array([2**31 - 1], np.int32)),
    ]
    output = Tensor(dtype=DType.INT8, quantization=Quantization.of(1.0))
    model, arrays = model_of("CONV_2D", inputs, STRIDE_1, output)
    np.testing.assert_array_equal(run_model(model, arrays), litert(model, arrays))


def test_16_bit_biases_of_microcontrollers_add_to_wide_sums() -> None:
    assert scaled(3, 0.5, DType.INT16, DType.INT16) == 2
    assert scaled(-3, 0.5, DType.INT16, DType.INT16) == -1


# MediaPipe ------------------------------------------------------------------------------------


def mediapipe(
    image: np.ndarray, weights: np.ndarray, bias: np.ndarray, *options: int
) -> np.ndarray:
    raw = np.frombuffer(np.array(options, "<i4").tobytes(), np.uint8)
    model, arrays = one_node(
        "Convolution2DTransposeBias", [image, const(weights), const(bias)],
        outputs=[DType.FLOAT32], custom=True, custom_options=raw,
    )  # fmt: skip
    return run_model(model, arrays)[0]


def test_mediapipe_works_out_the_size() -> None:
    image = np.array([1, 2], np.float32).reshape(1, 1, 2, 1)
    window = np.array([1, 10, 100], np.float32).reshape(1, 1, 3, 1)
    bias = np.array([0.5], np.float32)
    valid = mediapipe(image, window, bias, 2, 2, 1)
    assert valid.ravel().tolist() == [1.5, 10.5, 102.5, 20.5, 200.5]
    # SAME: 3 - (2 - 1) % 2 - 1 = 1 element is cut, behind.
    same = mediapipe(image, window, bias, 1, 2, 1)
    assert same.ravel().tolist() == [1.5, 10.5, 102.5, 20.5]


def test_mediapipe_with_bad_options_is_refused() -> None:
    image, weights, bias = f32(1, 2, 2, 1), f32(1, 2, 2, 1), f32(1)
    with pytest.raises(ModelError, match="too short"):
        mediapipe(image, weights, bias, 1, 2)
    with pytest.raises(ModelError, match="unknown padding"):
        mediapipe(image, weights, bias, 0, 2, 2)
    with pytest.raises(ModelError, match="strides must be positive"):
        mediapipe(image, weights, bias, 1, 2, 0)
    with pytest.raises(ModelError, match="the bias does not fit"):
        mediapipe(image, weights, f32(2), 1, 2, 2)


# What is refused ------------------------------------------------------------------------------


def conv(data: Any = None, weights: Any = None, bias: Any = None, **options: Any) -> np.ndarray:
    data = f32(1, 4, 4, 4) if data is None else data
    weights = const(f32(2, 3, 3, 4)) if weights is None else weights
    return run("CONV_2D", [data, weights, bias], {**SAME_1, **options})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"stride_h": 0}, "stride_h must be positive"),
        ({"stride_w": -1}, "stride_w must be positive"),
        ({"dilation_h_factor": 0}, "dilation_h_factor must be positive"),
        ({"padding": 7}, "unknown padding"),
        ({"fused_activation_function": "TANH"}, "cannot have the fused activation TANH"),
        ({"padding": "VALID", "dilation_w_factor": 9}, "the window is longer than the image"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        conv(**options)


def test_a_window_that_hangs_over_by_less_than_a_stride_has_no_position() -> None:
    result = conv(f32(1, 2, 4, 4), padding="VALID", stride_h=2)
    assert result.shape == (1, 0, 2, 2)


def test_operands_that_do_not_fit_are_refused() -> None:
    for problem, arguments in (
        ("channels of the input do not fit", {"weights": const(f32(2, 3, 3, 3))}),
        ("do not divide into the groups", {"weights": const(f32(3, 3, 3, 2))}),
        ("bias does not fit the output channels", {"bias": const(f32(3))}),
        ("wrong number of dimensions", {"data": f32(4, 4, 4)}),
        ("type that CONV_2D does not take", {"data": np.zeros((1, 4, 4, 4))}),
        ("type that CONV_2D does not take", {"bias": const(np.zeros(2, np.int32))}),
        ("is empty", {"data": f32(1, 0, 4, 4)}),
    ):
        with pytest.raises(ModelError, match=problem):
            conv(**arguments)
    with pytest.raises(ModelError, match="weights do not fit the channels"):
        run("DEPTHWISE_CONV_2D", [f32(1, 4, 4, 4), const(f32(1, 3, 3, 6))], SAME_1)


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        (None, "has no quantisation"),
        (Quantization.of([0.1, 0.2, 0.3]), "scales of the weights do not fit"),
        (Quantization.of([0.1, 0.2], axis=3), "scales of the weights do not fit"),
        (Quantization.of([0.1, 0.2], axis=9), "scales of the weights do not fit"),
        (Quantization.of([0.1, np.nan]), "unusable scale"),
        (Quantization.of([0.1, 0.2], [0, 1]), "zero point other than 0"),
    ],
)
def test_bad_quantisation_is_refused(weights: Quantization | None, problem: str) -> None:
    q = Quantization.of(0.1)
    inputs = [
        Value(np.zeros((1, 4, 4, 4), np.int8), quantization=q),
        const(np.zeros((2, 3, 3, 4), np.int8), DType.INT8, weights),
    ]
    with pytest.raises(ModelError, match=problem):
        run("CONV_2D", inputs, SAME_1, Tensor(dtype=DType.INT8, quantization=q))


def test_16_bit_activations_have_no_zero_point() -> None:
    inputs = [
        Value(np.zeros((1, 4, 4, 4), np.int16), quantization=Quantization.of(0.1, 3)),
        const(np.zeros((2, 3, 3, 4), np.int8), q=Quantization.of(0.1)),
    ]
    output = Tensor(dtype=DType.INT16, quantization=Quantization.of(0.1))
    with pytest.raises(ModelError, match="the input has an unusable zero point"):
        run("CONV_2D", inputs, SAME_1, output)


@pytest.mark.parametrize(
    "shape", [[1, 9, 8, 2], [2, 8, 8, 2], [1, 8, 8, 3], [1, 0, 8, 2], [-1, 8, 8, 2]]
)
def test_an_output_shape_that_cannot_be_is_refused(shape: list[int]) -> None:
    options = {"padding": "SAME", "stride_h": 2, "stride_w": 2}
    for wrap in (const, Value):
        inputs = [wrap(np.array(shape, np.int32)), const(f32(2, 3, 3, 1)), f32(1, 4, 4, 1)]
        with pytest.raises(ModelError, match="does not fit|is empty"):
            run("TRANSPOSE_CONV", inputs, options)


def test_outputs_beyond_the_memory_limit_are_refused_before_the_work() -> None:
    options = {"padding": "VALID", "stride_h": 1 << 15, "stride_w": 1 << 15}
    side = 3 * (1 << 15) + 1
    shape = const(np.array([1, side, side, 1], np.int32))
    inputs = [shape, const(f32(1, 1, 1, 1)), f32(1, 4, 4, 1)]
    model, arrays = model_of("TRANSPOSE_CONV", inputs, options)
    with pytest.raises(LimitError, match="more memory"):
        run_model(model, arrays, memory_limit=1 << 20)


def test_unknown_versions_are_refused() -> None:
    model, arrays = model_of("CONV_2D", [f32(1, 4, 4, 4), const(f32(2, 3, 3, 4))], SAME_1)
    model.main.nodes[0].version = 9
    with pytest.raises(UnsupportedError, match="version 9 of CONV_2D"):
        run_model(model, arrays)

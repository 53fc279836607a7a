"""DEPTHWISE_CONV_2D on machine code means what it means in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lowered_node
from build import const, one_node
from lowered_node import HOST, lower
from martlet.kernels.targets import Target
from native import targets
from pitched_node import compute_pitched

PLAIN = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
random = np.random.default_rng(6)


def normal(*shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def check(inputs: list[Any], options: dict[str, Any], threads: int = 1) -> None:
    lowered_node.check(HOST, "DEPTHWISE_CONV_2D", inputs, options, threads=threads)


def kernel_of(size: int, window: int, stride: int, padding: str = "SAME", **more: Any) -> str:
    inputs = [normal(1, size, size, 8), const(normal(1, window, window, 8)), None]
    options = {"padding": padding, "stride_h": stride, "stride_w": stride, **more}
    lowering = lower(*one_node("DEPTHWISE_CONV_2D", inputs, options))
    assert lowering is not None
    return lowering.steps[0].kernel


@given(
    image=st.tuples(st.integers(1, 3), *[st.integers(1, 12)] * 2),
    window=st.tuples(*[st.integers(1, 5)] * 2),
    stride=st.tuples(*[st.integers(1, 3)] * 2),
    dilation=st.tuples(*[st.integers(1, 3)] * 2),
    channels=st.integers(1, 40),
    activation=st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]),
    threads=st.integers(1, 3),
)
def test_any_image_and_window(
    image: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, int],
    dilation: tuple[int, int], channels: int, activation: str, threads: int,
) -> None:  # fmt: skip
    inputs = [normal(*image, channels), const(normal(1, *window, channels)), normal(channels)]
    options = {
        "padding": "SAME", "stride_h": stride[0], "stride_w": stride[1],
        "dilation_h_factor": dilation[0], "dilation_w_factor": dilation[1],
        "fused_activation_function": activation,
    }  # fmt: skip
    check(inputs, options, threads)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("taps", [3, 5])
@pytest.mark.parametrize("size", [(5, 5), (7, 7), (14, 14), (35, 60)])
def test_square_windows(size: tuple[int, int], stride: int, taps: int, padding: str) -> None:
    inputs = [normal(1, *size, 72), const(normal(1, taps, taps, 72)), const(normal(72))]
    options = {"padding": padding, "stride_h": stride, "stride_w": stride}
    for threads in (1, 2, 16):
        check(inputs, options, threads)


def test_windows_of_3x3_and_5x5_have_kernels_of_their_own() -> None:
    for padding in ("SAME", "VALID"):
        assert kernel_of(20, 3, 1, padding) == "depthwise_f32_3x3s1_2x4"
        assert kernel_of(20, 3, 2, padding) == "depthwise_f32_3x3s2_7"
        assert kernel_of(20, 5, 1, padding) == "depthwise_f32_5x5s1_7"
        assert kernel_of(20, 5, 2, padding) == "depthwise_f32_5x5s2_7"
    assert kernel_of(14, 3, 1, "SAME") == "depthwise_f32_3x3s1_7"
    assert kernel_of(14, 3, 1, "VALID") == "depthwise_f32_3x3s1_2x4"
    assert kernel_of(5, 3, 1) == "depthwise_f32_3x3s1_4"
    assert kernel_of(3, 3, 1) == kernel_of(9, 7, 1) == "depthwise_f32"
    assert kernel_of(9, 3, 3) == kernel_of(9, 3, 1, dilation_h_factor=2) == "depthwise_f32"


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
@pytest.mark.parametrize(
    "padding", [((0, 0), (0, 0)), ((0, 1), (0, 1)), ((1, 1), (1, 1)), ((4, 2), (3, 5))]
)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("width", [3, 9, 18])
@pytest.mark.parametrize("channels", [3, 13, 32])
def test_images_among_others_with_zeros_around_and_an_activation_behind(
    channels: int, width: int, stride: int, padding: Any, target: Target
) -> None:
    inputs = [normal(2, 5, width, channels), const(normal(1, 3, 3, channels)), normal(channels)]
    options = {"padding": "VALID", "stride_h": stride, "stride_w": stride}
    for wider, split in (((0, 0), None), ((5, 0), 1), ((16, 7), 2)):
        found, expected, _ = compute_pitched(
            target, "DEPTHWISE_CONV_2D", inputs, options, wider=wider, padding=padding,
            activation="RELU6", split=split,
        )  # fmt: skip
        np.testing.assert_allclose(found, expected, atol=1e-5)


@given(
    image=st.tuples(st.integers(1, 2), *[st.integers(1, 12)] * 2),
    window=st.tuples(*[st.integers(1, 4)] * 2),
    stride=st.integers(1, 2),
    channels=st.integers(1, 9),
    multiplier=st.integers(2, 9),
    threads=st.integers(1, 3),
)
def test_several_outputs_for_a_channel(
    image: tuple[int, ...], window: tuple[int, int], stride: int, channels: int, multiplier: int,
    threads: int,
) -> None:  # fmt: skip
    weights = const(normal(1, *window, channels * multiplier))
    inputs = [normal(*image, channels), weights, normal(channels * multiplier)]
    check(inputs, {"padding": "SAME", "stride_h": stride, "stride_w": stride}, threads)


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
@pytest.mark.parametrize(("channels", "multiplier"), [(1, 8), (3, 6), (5, 4)])
def test_several_outputs_among_others(channels: int, multiplier: int, target: Target) -> None:
    inputs = [normal(2, 5, 9, channels), const(normal(1, 3, 3, channels * multiplier)), None]
    options = {"padding": "VALID", "stride_h": 1, "stride_w": 1}
    for wider, split in (((0, 0), None), ((5, 3), 1)):
        found, expected, _ = compute_pitched(
            target, "DEPTHWISE_CONV_2D", inputs, options, wider=wider,
            padding=((1, 1), (0, 1)), activation="RELU6", split=split,
        )  # fmt: skip
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_weights_that_are_computed_take_the_general_kernel() -> None:
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
    inputs = [normal(1, 20, 20, 16), normal(1, 3, 3, 16), normal(16)]
    lowering = lower(*one_node("DEPTHWISE_CONV_2D", inputs, options))
    assert lowering is not None
    assert lowering.steps[0].kernel == "depthwise_f32"
    check(inputs, options)


def test_an_image_without_windows_takes_no_step() -> None:
    inputs = [normal(0, 5, 5, 3), const(normal(1, 3, 3, 3)), None]
    lowering = lower(*one_node("DEPTHWISE_CONV_2D", inputs, PLAIN))
    assert lowering is not None
    assert lowering.steps == []

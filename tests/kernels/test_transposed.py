"""Transposed convolution on machine code means what it means in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lowered_node
from build import const, one_node
from lowered_node import compute, lower
from martlet.dtypes import DType
from martlet.kernels.targets import Target
from martlet.plan.costs import COSTS
from martlet.plan.lowering import Fused, Lowering, lowering_of
from native import targets

on_targets = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
random = np.random.default_rng(8)


def normal(*shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def node(
    image: tuple[int, ...], window: tuple[int, int], channels: int, stride: tuple[int, int],
    padding: str, more: tuple[int, int] = (0, 0), bias: str = "known", activation: str = "NONE",
    computed: bool = False,
) -> tuple[list[Any], dict[str, Any]]:  # fmt: skip
    """(inputs, options); more: rows and columns of the output that no window need cover."""
    sizes = []
    for n, taps, step, extra in zip(image[1:3], window, stride, more, strict=True):
        size = (n - 1) * step + taps if padding == "VALID" else n * step
        sizes.append(size + (extra % step if padding == "VALID" else -(extra % step)))
    shape = np.array([image[0], *sizes, channels], np.int32)
    weights = normal(channels, *window, image[3])
    inputs = [const(shape), weights if computed else const(weights), normal(*image)]
    if bias:
        values = normal(channels)
        inputs.append(const(values) if bias == "known" else values)
    return inputs, {
        "padding": padding, "stride_h": stride[0], "stride_w": stride[1],
        "fused_activation_function": activation,
    }  # fmt: skip


def check(target: Target, inputs: list[Any], options: Any, split: int | None = None) -> np.ndarray:
    return lowered_node.check(
        target, "TRANSPOSE_CONV", inputs, options, split, outputs=[DType.FLOAT32]
    )


@on_targets
@given(
    image=st.tuples(st.integers(1, 3), *[st.integers(1, 7)] * 2, st.integers(1, 9)),
    window=st.tuples(*[st.integers(1, 6)] * 2),
    channels=st.integers(1, 35),
    stride=st.tuples(*[st.integers(1, 4)] * 2),
    padding=st.sampled_from(["SAME", "VALID"]),
    more=st.tuples(*[st.integers(0, 3)] * 2),
    bias=st.sampled_from(["", "known", "computed"]),
    activation=st.sampled_from(["NONE", "RELU", "RELU6"]),
    computed=st.booleans(),
    split=st.sampled_from([None, 1, 2]),
)
def test_any_image_and_window(
    image: tuple[int, ...], window: tuple[int, int], channels: int, stride: tuple[int, int],
    padding: str, more: tuple[int, int], bias: str, activation: str, computed: bool,
    split: int | None, target: Target,
) -> None:  # fmt: skip
    inputs = node(image, window, channels, stride, padding, more, bias, activation, computed)
    check(target, *inputs, split)


@on_targets
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("channels", [1, 3, 8, 24, 65])
def test_usual_windows(channels: int, padding: str, target: Target) -> None:
    for taps, stride in ((2, 2), (3, 2), (4, 2), (3, 3), (5, 1)):
        inputs = node((2, 9, 11, 5), (taps, taps), channels, (stride, stride), padding)
        whole = check(target, *inputs)
        np.testing.assert_array_equal(check(target, *inputs, split=1), whole)


@on_targets
@pytest.mark.parametrize("bias", ["known", "computed"])
@pytest.mark.parametrize("padding", [1, 2])
def test_mediapipes_operator(padding: int, bias: str, target: Target) -> None:
    for taps, stride, channels in (((2, 2), (2, 2), 3), ((3, 4), (2, 1), 8), ((1, 3), (1, 3), 20)):
        weights, values = const(normal(channels, *taps, 6)), normal(channels)
        inputs = [normal(2, 4, 5, 6), weights, const(values) if bias == "known" else values]
        raw = np.frombuffer(np.array([padding, *stride], "<i4").tobytes(), np.uint8)
        for split in (None, 1):
            (found,), (expected,) = compute(
                target, "Convolution2DTransposeBias", inputs, split=split,
                outputs=[DType.FLOAT32], custom=True, custom_options=raw,
            )  # fmt: skip
            np.testing.assert_allclose(found, expected, atol=1e-4)


def lowered(inputs: list[Any], options: Any) -> Lowering | None:
    return lower(*one_node("TRANSPOSE_CONV", inputs, options, outputs=[DType.FLOAT32]))


def phases(*arguments: Any, **more: Any) -> int:
    lowering = lowered(*node(*arguments, **more))
    assert lowering is not None
    return len(lowering.steps)


def test_phases_that_read_the_same_windows_are_one_product() -> None:
    assert phases((1, 5, 5, 4), (2, 2), 3, (2, 2), "SAME") == 2
    assert phases((1, 5, 5, 4), (3, 3), 3, (2, 2), "SAME") == 4
    assert phases((1, 5, 5, 4), (3, 3), 3, (1, 1), "SAME") == 1
    assert phases((1, 5, 5, 4), (2, 2), 3, (2, 2), "SAME", bias="computed") == 5  # one packs it


def test_images_and_outputs_may_lie_among_others() -> None:
    inputs, options = node((1, 3, 3, 6), (2, 2), 4, (2, 2), "SAME")
    alone = lowered(inputs, options)
    assert alone is not None
    image, output = alone.call.node.inputs[2], alone.call.node.outputs[0]
    lowering = Lowering(
        alone.call, COSTS["x86-64-avx2"], 1, Fused(activation="RELU6"), {image: 9, output: 7}
    )
    function = lowering_of(alone.call)
    assert function is not None
    assert function(lowering)
    assert len(lowering.steps) == 4  # columns of two pixels do not follow one another
    for native in lowering.steps:
        assert native.arguments[9:11] == [9, 2 * 7]
        assert native.arguments[15:17] == [0.0, 6.0]
        assert native.arguments[-2:] == [6 * 6 * 7, 2 * 6 * 7]


def test_long_strides_are_left_to_numpy() -> None:
    assert lowered(*node((1, 3, 3, 2), (2, 2), 4, (9, 9), "SAME")) is None


def test_computed_weights_are_packed_by_steps() -> None:
    lowering = lowered(*node((1, 3, 3, 2), (2, 2), 4, (2, 2), "SAME", computed=True))
    assert lowering is not None
    kinds = [step.kernel.partition("_")[0] for step in lowering.steps]
    assert kinds == 2 * ["pack", "pack", "conv"]

"""CONV_3D_TRANSPOSE on machine code means what it means in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lowered_node
from build import const, one_node
from lowered_node import lower
from martlet.dtypes import DType
from martlet.kernels.targets import Target
from martlet.plan.costs import COSTS
from martlet.plan.lowering import Fused, Lowering, lowering_of
from native import targets

on_targets = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
three = st.tuples(*[st.integers(1, 3)] * 3)
random = np.random.default_rng(9)


def normal(*shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def node(
    volume: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...], channels: int,
    padding: str = "SAME", bias: str = "known", activation: str = "NONE", depth: int = 4,
) -> tuple[list[Any], dict[str, Any]]:  # fmt: skip
    """(inputs, options) for two volumes of these sizes."""
    sizes = [
        (n - 1) * step + taps if padding == "VALID" else n * step
        for n, taps, step in zip(volume, window, stride, strict=True)
    ]
    shape = np.array([2, *sizes, channels], np.int32)
    inputs = [const(shape), const(normal(*window, channels, depth)), normal(2, *volume, depth)]
    if bias:
        values = normal(channels)
        inputs.append(const(values) if bias == "known" else values)
    options = dict(zip(("stride_d", "stride_h", "stride_w"), stride, strict=True))
    return inputs, {"padding": padding, "fused_activation_function": activation, **options}


def check(target: Target, inputs: list[Any], options: Any, split: int | None = None) -> np.ndarray:
    return lowered_node.check(
        target, "CONV_3D_TRANSPOSE", inputs, options, split, outputs=[DType.FLOAT32]
    )


@on_targets
@given(
    volume=three,
    window=st.tuples(*[st.integers(1, 5)] * 3),
    stride=three,
    channels=st.integers(1, 20),
    depth=st.integers(1, 5),
    padding=st.sampled_from(["SAME", "VALID"]),
    bias=st.sampled_from(["", "known", "computed"]),
    activation=st.sampled_from(["NONE", "RELU6"]),
    split=st.sampled_from([None, 1]),
)
def test_any_volume_and_window(
    volume: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...], channels: int,
    depth: int, padding: str, bias: str, activation: str, split: int | None, target: Target,
) -> None:  # fmt: skip
    check(target, *node(volume, window, stride, channels, padding, bias, activation, depth), split)


@on_targets
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("channels", [1, 3, 8, 24])
def test_usual_windows(channels: int, padding: str, target: Target) -> None:
    for taps, stride in ((2, 2), (3, 2), (4, 2), (3, 1), (1, 2)):
        inputs = node((3, 4, 5), (taps,) * 3, (stride,) * 3, channels, padding)
        whole = check(target, *inputs)
        np.testing.assert_array_equal(check(target, *inputs, split=1), whole)


def lowered(inputs: list[Any], options: Any) -> Lowering | None:
    model, arrays = one_node("CONV_3D_TRANSPOSE", inputs, options, outputs=[DType.FLOAT32])
    return lower(model, arrays)


def test_sums_go_straight_to_their_places_where_a_slice_has_one_tap() -> None:
    def kinds(window: int, stride: int) -> set[str]:
        lowering = lowered(*node((3, 3, 3), (window,) * 3, (stride,) * 3, 8))
        assert lowering is not None
        return {step.kernel.partition("_")[0] for step in lowering.steps}

    assert kinds(2, 2) == kinds(3, 1) == {"conv"}
    assert kinds(4, 2) == {"conv", "copy"}


def test_volumes_and_outputs_may_lie_among_others() -> None:
    alone = lowered(*node((2, 3, 3), (2, 2, 2), (2, 2, 2), 4))
    assert alone is not None
    volume, output = alone.call.node.inputs[2], alone.call.node.outputs[0]
    lowering = Lowering(
        alone.call, COSTS["x86-64-avx2"], 1, Fused(activation="RELU6"), {volume: 9, output: 7}
    )
    function = lowering_of(alone.call)
    assert function is not None
    assert function(lowering)
    assert len(lowering.steps) == 8
    for native in lowering.steps:
        assert native.arguments[9:11] == [9, 2 * 7]
        assert native.arguments[15:17] == [0.0, 6.0]
        assert native.arguments[-1] == 2 * 6 * 7


def test_weights_that_are_not_known_and_long_strides_are_left_to_numpy() -> None:
    inputs, options = node((2, 2, 2), (2, 2, 2), (2, 2, 2), 4)
    inputs[1] = normal(2, 2, 2, 4, 4)
    assert lowered(inputs, options) is None
    assert lowered(*node((2, 2, 2), (2, 2, 2), (5, 5, 5), 4)) is None
    inputs, options = node((2, 2, 2), (2, 2, 2), (1, 1, 1), 4)
    assert lowered(inputs, {**options, "dilation_d_factor": 2}) is None

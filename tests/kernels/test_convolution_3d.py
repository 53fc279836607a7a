"""CONV_3D on machine code means what it means in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import const
from lowered_node import compute
from martlet.kernels.targets import Target
from native import targets

on_targets = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
STRIDES = ("stride_d", "stride_h", "stride_w")
random = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def options(padding: str, strides: tuple[int, ...] = (1, 1, 1), **more: Any) -> dict[str, Any]:
    return {"padding": padding, **dict(zip(STRIDES, strides, strict=True)), **more}


@on_targets
@given(
    volume=st.tuples(*[st.integers(1, 6)] * 3),
    window=st.tuples(*[st.integers(1, 4)] * 3),
    strides=st.tuples(*[st.integers(1, 3)] * 3),
    dilation=st.integers(1, 2),
    depth=st.integers(1, 5),
    channels=st.integers(1, 20),
    activation=st.sampled_from(["NONE", "RELU6"]),
    computed=st.booleans(),
    bias=st.sampled_from(["", "known", "computed"]),
    split=st.sampled_from([None, 1]),
)
def test_any_volume_and_window(
    volume: tuple[int, ...], window: tuple[int, ...], strides: tuple[int, ...], dilation: int,
    depth: int, channels: int, activation: str, computed: bool, bias: str, split: int | None,
    target: Target,
) -> None:  # fmt: skip
    weights, shift = normal(*window, depth, channels), normal(channels)
    inputs: list[Any] = [normal(2, *volume, depth), weights if computed else const(weights)]
    if bias:
        inputs.append(const(shift) if bias == "known" else shift)
    opts = options(
        "SAME", strides, dilation_d_factor=dilation, dilation_h_factor=dilation,
        fused_activation_function=activation,
    )  # fmt: skip
    (found,), (expected,) = compute(target, "CONV_3D", inputs, opts, split)
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max()))


@on_targets
def test_windows_that_stay_inside(target: Target) -> None:
    inputs = [normal(2, 4, 5, 6, 3), const(normal(3, 2, 3, 3, 10)), const(normal(10))]
    (found,), (expected,) = compute(target, "CONV_3D", inputs, options("VALID"))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@on_targets
@pytest.mark.parametrize("channels", [1, 3, 8, 24, 65])
def test_weights_that_are_computed(channels: int, target: Target) -> None:
    """Every width of panel, and a dot product where there are few channels."""
    inputs = [normal(1, 3, 5, 7, 6), normal(2, 3, 3, 6, channels)]
    (whole,), (expected,) = compute(target, "CONV_3D", inputs, options("SAME"))
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    (pieces,), _ = compute(target, "CONV_3D", inputs, options("SAME"), split=1)
    np.testing.assert_array_equal(pieces, whole)

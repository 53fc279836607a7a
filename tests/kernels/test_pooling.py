"""Pooling on machine code means what it means in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import const, one_node
from lowered_node import compute, lower
from martlet.kernels.forms import POOLING_SQUARES, Square
from martlet.kernels.targets import Target
from native import targets
from pitched_node import compute_pitched

on_targets = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
pools = pytest.mark.parametrize("op", ["MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D"])
random = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def options(
    window: tuple[int, int], stride: tuple[int, int] = (1, 1), padding: str = "SAME", **more: Any
) -> dict[str, Any]:
    return {
        "filter_height": window[0], "filter_width": window[1], "stride_h": stride[0],
        "stride_w": stride[1], "padding": padding, **more,
    }  # fmt: skip


def check(
    target: Target, op: str, inputs: list[Any], opts: dict[str, Any], split: int | None = None
) -> np.ndarray:
    (found,), (expected,) = compute(target, op, inputs, opts, split)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    return found


@on_targets
@pools
@given(
    image=st.tuples(st.integers(1, 2), *[st.integers(1, 15)] * 2, st.integers(1, 40)),
    window=st.tuples(*[st.integers(1, 6)] * 2),
    stride=st.tuples(*[st.integers(1, 3)] * 2),
    activation=st.sampled_from(["NONE", "RELU", "RELU6"]),
)
def test_any_image_and_window(
    target: Target, op: str, image: tuple[int, ...], window: tuple[int, int],
    stride: tuple[int, int], activation: str,
) -> None:  # fmt: skip
    check(
        target, op, [normal(*image)], options(window, stride, fused_activation_function=activation)
    )


@on_targets
@pools
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("square", POOLING_SQUARES, ids=lambda s: s.name)
def test_square_windows(op: str, square: Square, padding: str, target: Target) -> None:
    taps, stride, *_ = square
    for width in (7 * stride, 8 * stride + 1, 14 * stride + 2, 20 * stride + 1):
        opts = options((taps, taps), (stride, stride), padding)
        check(target, op, [normal(2, 5, width, 19)], opts)
        check(target, op, [normal(1, taps, width, 16)], opts)


@pytest.mark.parametrize("op", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
def test_square_windows_have_kernels_of_their_own(op: str) -> None:
    lowering = lower(*one_node(op, [normal(1, 20, 20, 16)], options((3, 3), (2, 2))))
    assert lowering is not None
    assert lowering.steps[0].kernel.endswith("_pool_f32_3x3s2_7")


@on_targets
@pools
def test_windows_inside_the_image(op: str, target: Target) -> None:
    check(target, op, [normal(1, 9, 20, 35)], options((3, 3), (2, 2), "VALID"))


@on_targets
@pools
@pytest.mark.parametrize("split", [1, 2, 3])
def test_splits_give_the_same_bits(op: str, split: int, target: Target) -> None:
    x = normal(3, 9, 200, 37)
    whole = check(target, op, [x], options((3, 3)))
    np.testing.assert_array_equal(check(target, op, [x], options((3, 3)), split), whole)


@on_targets
@pools
@pytest.mark.parametrize("channels", [3, 21, 32])
@pytest.mark.parametrize("window", [(3, 1), (3, 2), (2, 2), (5, 3)])
def test_images_among_others(
    op: str, window: tuple[int, int], channels: int, target: Target
) -> None:
    taps, stride = window
    for padding, wider in (("SAME", (3, 0)), ("VALID", (0, 5)), ("SAME", (32, 48))):
        for width in (5, 15, 30):
            opts = options((taps, taps), (stride, stride), padding)
            x = normal(2, 6, width, channels)
            found, expected, _ = compute_pitched(target, op, [x], opts, wider=wider, threads=2)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@on_targets
def test_means_of_images_among_others(target: Target) -> None:
    x, axes = normal(2, 6, 7, 37), const(np.array([1, 2], np.int32))
    for keep in (False, True):
        found, expected, _ = compute_pitched(
            target, "MEAN", [x, axes], {"keep_dims": keep}, wider=(11, 3)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@on_targets
def test_the_maximum_passes_over_what_is_no_number(target: Target) -> None:
    x = normal(1, 4, 9, 9)
    x[0, :2, :3] = np.nan
    x[0, 2] = -np.inf
    check(target, "MAX_POOL_2D", [x], options((2, 2), (2, 2)))


@on_targets
@pytest.mark.parametrize("keep_dims", [False, True])
@pytest.mark.parametrize("shape", [(1, 7, 7, 64), (2, 3, 5, 33), (1, 1, 1, 1), (1, 70, 9, 130)])
@pytest.mark.parametrize("axes", [[1, 2], [-2, 1], [2, 1, 1]])
def test_mean_over_the_image(
    axes: list[int], shape: tuple[int, ...], keep_dims: bool, target: Target
) -> None:
    inputs = [normal(*shape), const(np.array(axes, np.int32))]
    check(target, "MEAN", inputs, {"keep_dims": keep_dims})


@on_targets
def test_the_mean_of_many_pixels_is_exact(target: Target) -> None:
    x = np.full((1, 300, 300, 3), 0.1, np.float32)
    (found,), _ = compute(target, "MEAN", [x, const(np.array([1, 2], np.int32))], {})
    np.testing.assert_allclose(found, np.full((1, 3), 0.1), rtol=2e-6)


@on_targets
def test_an_average_over_the_whole_image_is_a_mean(target: Target) -> None:
    inputs, opts = [normal(2, 7, 8, 40)], options((7, 8), (1, 1), "VALID")
    lowering = lower(*one_node("AVERAGE_POOL_2D", inputs, opts))
    assert lowering is not None
    assert [step.kernel for step in lowering.steps] == ["mean_f32"]
    check(target, "AVERAGE_POOL_2D", inputs, opts)
    check(target, "AVERAGE_POOL_2D", inputs, options((9, 20), (9, 20)))

"""CONV_2D by Winograd's algorithms means what it means in NumPy, and is chosen where it pays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import const, one_node
from lowered_node import HOST, compute, lower
from martlet.kernels.forms import FORMS, tile_of
from martlet.kernels.targets import Target
from martlet.ops.operator import Spec
from martlet.ops.sliding_window import Axis
from martlet.plan.costs import COSTS
from martlet.plan.lowering import Fused, Lowering
from martlet.plan.lowering.winograd import Choice, blocks, choose, winograd
from martlet.runtime.session import Session
from native import targets
from pitched_node import compute_pitched

AVX2 = COSTS["x86-64-avx2"]
PLAIN = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
WINDOWS = [(3, 3), (5, 5), (1, 3), (3, 1), (1, 7), (7, 1)]
TOLERANCE = 1.5e-4  # 2e-5 of the range of what `operands` gives
random = np.random.default_rng(8)


def normal(*shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def operands(
    image: tuple[int, ...], window: tuple[int, int], channels: int
) -> tuple[np.ndarray, Any, Any]:
    """With results of about 1, whatever the window's size."""
    weights = normal(channels, *window, image[3])
    weights /= np.float32(np.sqrt(weights[0].size))
    return normal(*image), const(weights), const(normal(channels))


def form_of(size: int, window: tuple[int, int], depth: int, channels: int) -> str | None:
    """What is chosen for a layer of an image of size x size with edges (SAME), with 8 lanes."""
    axes = [Axis(size, taps, 1, 1, size, taps // 2) for taps in window]
    choice = choose(axes, 1, depth, channels, AVX2)
    return None if choice is None else choice.form.name + "_swapped" * choice.swapped


def check(inputs: Any, options: dict[str, Any], threads: int = 1) -> None:
    (result,), (expected,) = compute(HOST, "CONV_2D", inputs, options, threads=threads)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, atol=TOLERANCE)


@given(
    image=st.tuples(st.integers(1, 3), *[st.integers(13, 30)] * 2),
    window=st.sampled_from(WINDOWS),
    depth=st.integers(40, 60),
    channels=st.sampled_from([32, 45, 48]),
    activation=st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]),
    padding=st.sampled_from(["SAME", "VALID"]),
    threads=st.integers(1, 3),
)
def test_any_image_and_window(
    image: tuple[int, ...], window: tuple[int, int], depth: int, channels: int, activation: str,
    padding: str, threads: int,
) -> None:  # fmt: skip
    options = {**PLAIN, "padding": padding, "fused_activation_function": activation}
    check(operands((*image, depth), window, channels), options, threads)


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
@pytest.mark.parametrize("window", [(3, 3), (7, 1), (1, 3)])
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((0, 2), (3, 1))])
def test_images_among_others_with_zeros_around_and_an_activation_behind(
    padding: Any, window: tuple[int, int], target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = COSTS[target.name]._replace(winograd_gain=0.1)  # else 16 lanes do without it
    monkeypatch.setitem(COSTS, target.name, eager)
    inputs = operands((2, 13, 14, 37), window, 45)
    for wider, split in (((5, 0), 1), ((16, 7), 2)):
        found, expected, kernels = compute_pitched(
            target, "CONV_2D", inputs, {**PLAIN, "padding": "VALID"}, wider=wider,
            padding=padding, activation="RELU6", threads=2, split=split,
        )  # fmt: skip
        assert kernels[-1].startswith("winograd")
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_a_residual_is_read_with_its_own_pitch() -> None:
    image, weights, bias = operands((1, 28, 28, 64), (3, 3), 32)
    model, arrays = one_node("CONV_2D", [image, weights, bias], PLAIN)
    specs = [
        Spec(model.main.tensors[i].dtype, a.shape)
        for i, a in zip(model.main.inputs, arrays, strict=True)
    ]
    (step,) = Session(model, reference=True).plan(0, specs).steps
    lowering = Lowering(step.call, AVX2, 1, Fused(residual=99), {99: 40})
    assert winograd(lowering, weights.array)
    (run,) = lowering.steps
    assert run.arguments[4:6] == [lowering.residual(), 1]
    assert run.arguments[12:15] == [28 * 28 * 40, 28 * 40, 40]


@pytest.mark.parametrize("window", WINDOWS)
def test_results_are_the_same_on_any_number_of_threads(window: tuple[int, int]) -> None:
    inputs = operands((1, 21, 22, 30), window, 70)
    alone, _ = compute(HOST, "CONV_2D", inputs, PLAIN)
    for threads in (2, 3, 8):
        found, _ = compute(HOST, "CONV_2D", inputs, PLAIN, threads=threads)
        np.testing.assert_array_equal(found, alone)


def test_large_layers_take_large_tiles_and_deep_ones_small_weights() -> None:
    assert form_of(147, (3, 3), 32, 64) == "4x6_3x3"
    assert form_of(14, (3, 3), 256, 256) == "4x4_3x3"
    assert form_of(7, (3, 3), 512, 512) == "2x4_3x3"
    assert form_of(35, (5, 5), 48, 64) == "4x4_5x5"
    assert form_of(17, (1, 7), 192, 192) == "1x4_1x7"
    assert form_of(17, (7, 1), 192, 192) == "1x4_1x7_swapped"
    assert form_of(8, (3, 1), 384, 384) == "1x4_1x3_swapped"


def test_few_places_and_few_channels_are_computed_directly() -> None:
    assert form_of(2, (3, 3), 256, 256) is None
    assert form_of(100, (3, 3), 1, 1) is None
    assert form_of(100, (1, 1), 64, 64) is None
    assert form_of(100, (2, 4), 64, 64) is None


def test_strides_and_dilations_are_computed_directly() -> None:
    for more in ({"stride_h": 2}, {"dilation_w_factor": 2}):
        lowering = lower(
            *one_node("CONV_2D", operands((1, 30, 30, 32), (3, 3), 32), {**PLAIN, **more})
        )
        assert lowering is not None
        assert lowering.steps[0].kernel.startswith("conv_f32")


@given(
    form=st.sampled_from(FORMS),
    tiles=st.integers(1, 2000),
    depth=st.integers(1, 2000),
    channels=st.integers(1, 1000),
    threads=st.integers(1, 8),
)
def test_blocks_are_within_what_there_is(
    form: Any, tiles: int, depth: int, channels: int, threads: int
) -> None:
    panels = -(-channels // tile_of(8).width(8))
    block, group = blocks(Choice(form, False, tiles), depth, channels, AVX2, threads)
    assert 1 <= block <= tiles
    assert 1 <= group <= panels
    if threads == 1:
        assert group == panels


def test_two_threads_share_few_tiles_evenly() -> None:
    few = Choice(FORMS[1], False, 16)
    block, group = blocks(few, 128, 32, AVX2, 2)
    assert (block, group) in ((8, 2), (16, 1))
    block, group = blocks(few, 256, 256, AVX2, 2)
    assert block == 16
    assert group in (2, 4, 8)

"""First convolutions mean what they mean in NumPy, whatever the edges, blocks and batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import const, one_node
from lowered_node import lower
from martlet.kernels.forms import STEMS, Stem
from martlet.kernels.targets import Target
from martlet.kernels.winograd import tile_of
from native import targets
from pitched_node import compute_pitched

on_targets = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)


def operands(stem: Stem, image: tuple[int, int, int], channels: int) -> list[Any]:
    random = np.random.default_rng([*image, channels])
    shapes = (*image, 3), (channels, stem.taps, stem.taps, 3), (channels,)
    x, weights, bias = (random.standard_normal(shape).astype(np.float32) for shape in shapes)
    return [x, const(weights / np.float32(stem.taps)), const(bias)]


def options(stem: Stem, padding: str) -> dict[str, Any]:
    return {"padding": padding, "stride_h": stem.stride, "stride_w": stem.stride}


@on_targets
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stem", STEMS, ids=lambda stem: stem.name)
def test_every_remainder_of_columns_and_channels(stem: Stem, padding: str, target: Target) -> None:
    # Winograd's algorithms are for stride 1 and more channels than these. A tile wants its width.
    narrowest = max(22, tile_of(target.lanes).rows * stem.stride + stem.taps - 1)
    for width in range(narrowest, narrowest + 15, 1 if stem.taps == 3 else 4):
        for channels in (1, 7, 8, 16, 19):
            inputs = operands(stem, (2, 9, width), channels)
            found, expected, names = compute_pitched(
                target, "CONV_2D", inputs, options(stem, padding), wider=(0, 3)
            )
            assert names == [f"stem_f32_{stem.name}"]
            np.testing.assert_allclose(found, expected, atol=2e-5)


@on_targets
@pytest.mark.parametrize("stem", STEMS, ids=lambda stem: stem.name)
def test_zeros_around_and_an_activation_behind(stem: Stem, target: Target) -> None:
    for padding in (((3, 3), (3, 3)), ((0, 1), (0, 1)), ((9, 2), (1, 8))):
        for split in (None, 1):
            found, expected, names = compute_pitched(
                target, "CONV_2D", operands(stem, (1, 12, 40), 12), options(stem, "VALID"),
                padding=padding, activation="RELU6", split=split,
            )  # fmt: skip
            assert names == [f"stem_f32_{stem.name}"]
            np.testing.assert_allclose(found, expected, atol=2e-5)


def test_other_windows_and_narrow_images_take_the_general_kernel() -> None:
    def kernel(size: int, stem: Stem, **more: int) -> str:
        inputs = operands(stem, (1, size, size), 16)
        lowering = lower(*one_node("CONV_2D", inputs, {**options(stem, "SAME"), **more}))
        assert lowering is not None
        return lowering.steps[-1].kernel

    assert kernel(32, Stem(3, 2)) == "stem_f32_3x3s2"
    for name in (kernel(8, Stem(3, 2)), kernel(32, Stem(5, 3))):
        assert name.startswith("conv_f32")
    assert kernel(32, Stem(3, 2), stride_h=1).startswith("conv_f32")
    dilated = {"dilation_h_factor": 2, "dilation_w_factor": 2, "stride_h": 1, "stride_w": 1}
    assert kernel(32, Stem(3, 2), **dilated).startswith("conv_f32")

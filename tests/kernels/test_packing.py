"""Packing at run time gives the panels that `pack` gives, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest

from martlet.kernels import packing
from martlet.kernels.gemm import TILES
from martlet.kernels.targets import Target
from martlet.plan.blocking import pack
from native import guarded, run_kernel, targets

on_targets = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
KERNELS = {t.name: {k.name: k for k in packing.kernels(t)} for t in targets()}


@on_targets
@pytest.mark.parametrize("order", ["rows", "columns"])
@pytest.mark.parametrize("depth", [0, 1, 3, 4, 9])
def test_panels_of_every_width(depth: int, order: str, target: Target) -> None:
    kernel = KERNELS[target.name][f"pack_{order}_f32"]
    for tile in TILES[target.lanes]:
        if tile.dots:
            continue
        width = tile.width(target.lanes)
        for columns in {1, 2, 3, 7, width - 1, width, width + 5, 2 * width}:
            weights = np.random.default_rng(columns).random((2, columns, depth), np.float32)
            expected = pack(weights, tile, target.lanes)
            expected[:, -1, :, columns - (expected.shape[1] - 1) * width :] = 77
            stored = weights if order == "columns" else weights.swapaxes(1, 2)
            rows, length = stored.shape[1:]
            for pitch in (length, length + 3):
                source = np.full((2, rows, pitch), np.nan, np.float32)
                source[..., :length] = stored
                inside = max(source.size - (pitch - length), 0)
                for split in (None, 1):
                    y = guarded(np.full_like(expected, 77))
                    run_kernel(
                        kernel, target, guarded(source.ravel()[:inside]), y, columns, depth,
                        pitch, rows * pitch, width, units=2 * expected.shape[1], split=split,
                    )  # fmt: skip
                    np.testing.assert_array_equal(y, expected)

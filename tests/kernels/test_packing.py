"""Kernels pack the panels that `pack` gives, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest

from martlet.kernels import packing
from martlet.kernels.forms import TILES
from martlet.kernels.targets import Target
from martlet.plan.blocking import pack
from native import guarded, run_kernel, targets

on_targets = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
KERNELS = {t.name: {k.name: k for k in packing.kernels(t)} for t in targets()}


@on_targets
@pytest.mark.parametrize("source", ["f32", "f16"])
@pytest.mark.parametrize("order", ["rows", "columns", "dots"])
@pytest.mark.parametrize("depth", [0, 1, 3, 4, 9, 22])
def test_panels_of_every_width(depth: int, order: str, source: str, target: Target) -> None:
    kernel = KERNELS[target.name][f"pack_{order}_{source}"]
    for tile in TILES[target.lanes]:
        if tile.dots is not (order == "dots"):
            continue
        width = tile.width(target.lanes)
        for columns in {1, 2, 3, 7, width - 1, width, width + 5, 2 * width} - {0}:
            weights = np.random.default_rng(columns).normal(size=(2, columns, depth))
            weights = weights.astype(np.float16 if source == "f16" else np.float32)
            expected = pack(weights, tile, target.lanes)
            stored = weights.swapaxes(1, 2) if order == "rows" else weights
            rows, length = stored.shape[1:]
            for pitch in (length, length + 3):
                memory = np.full((2, rows, pitch), np.nan, weights.dtype)
                memory[..., :length] = stored
                inside = max(memory.size - (pitch - length), 0)
                for split in (None, 1):
                    y = guarded(np.full_like(expected, np.nan))
                    run_kernel(
                        kernel, target, guarded(memory.ravel()[:inside]), y, columns, depth,
                        pitch, rows * pitch, width, units=2 * expected.shape[1], split=split,
                    )  # fmt: skip
                    np.testing.assert_array_equal(y, expected)

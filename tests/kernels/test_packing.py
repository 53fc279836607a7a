"""Kernels pack the panels that `pack` gives, whatever the sizes."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import one_node
from martlet.dtypes import DType
from martlet.kernels import packing
from martlet.kernels.forms import TILES
from martlet.kernels.targets import Target
from martlet.ops.operator import Spec
from martlet.plan.blocking import pack
from martlet.plan.costs import COSTS
from martlet.plan.lowering import Lowering
from martlet.plan.lowering.packing import Part, packed_parts
from martlet.runtime.session import Session
from native import guarded, run_kernel, targets
from packed_weights import pack_all

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
                        pitch, rows * pitch, width, 0, depth, 1, units=2 * expected.shape[1],
                            split=split,
                    )  # fmt: skip
                    np.testing.assert_array_equal(y, expected)


@on_targets
@pytest.mark.parametrize("dots", [False, True])
@given(st.data())
def test_parts_of_a_matrix_fill_its_panels(target: Target, dots: bool, data: st.DataObject) -> None:
    """Cut along the columns, and each part along the depth."""
    tile = data.draw(st.sampled_from([t for t in TILES[target.lanes] if bool(t.dots) is dots]))
    widths = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
    depths = data.draw(st.lists(st.integers(1, 19), min_size=1, max_size=3))
    columns, depth = sum(widths), sum(depths)
    dtypes = st.sampled_from([np.float32, np.float16])
    whole = np.random.default_rng(columns).normal(size=(columns, depth)).astype(np.float16)
    parts = []
    for column, width in zip(accumulate(widths, initial=0), widths, strict=False):
        for step, length in zip(accumulate(depths, initial=0), depths, strict=False):
            stored = whole.astype(data.draw(dtypes))
            part = stored[column : column + width, step : step + length]
            parts.append(Part(part, column, step))
    lowering = lowering_for(target)
    packed_parts(lowering, data.draw(st.permutations(parts)), columns, depth, tile)
    (found,) = lowering.constants
    pack_all(lowering.packing, target, data.draw(st.sampled_from([None, 1])))
    expected = pack(whole.astype(np.float32)[None], tile, target.lanes)
    np.testing.assert_array_equal(found, expected.ravel())


def lowering_for(target: Target) -> Lowering:
    """Of any node, for its packing."""
    model, _ = one_node("RELU", [np.ones(1, np.float32)])
    (step,) = Session(model).plan(0, [Spec(DType.FLOAT32, (1,))]).steps
    return Lowering(step.call, COSTS[target.name], 1)

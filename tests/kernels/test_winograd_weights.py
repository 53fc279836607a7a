"""Weights of every form are transformed in float64 and rounded once."""

from __future__ import annotations

import numpy as np
import pytest

from martlet.kernels import winograd_weights
from martlet.kernels.forms import FORMS, Form, tile_of
from martlet.kernels.targets import Target
from native import guarded, run_kernel, targets
from packed_weights import transformed

KERNELS = {t.name: {k.name: k for k in winograd_weights.kernels(t)} for t in targets()}


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
@pytest.mark.parametrize("source", ["f32", "f16"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_panels_of_all_sizes(form: Form, source: str, target: Target) -> None:
    down, across = (along.taps for along in form)
    width = tile_of(target.lanes).width(target.lanes)
    kernel = KERNELS[target.name][f"pack_winograd_{form.name}_{source}"]
    for depth in (1, 3, 4, 9):
        for columns in (1, 4, width, width + 6):
            weights = np.random.default_rng(columns).normal(size=(columns, down, across, depth))
            stored = weights.astype(np.float16 if source == "f16" else np.float32)
            expected = transformed(form, stored, width)
            for turned in (False, True):
                strides = (across * depth, depth)
                memory = stored
                if turned:
                    memory, strides = stored.swapaxes(1, 2), (depth, down * depth)
                for split in (None, 1):
                    y = guarded(np.full(expected.shape, np.nan, np.float32))
                    run_kernel(
                        kernel, target, guarded(memory), y, columns, depth, down * across * depth,
                        *strides, units=len(y), split=split,
                    )  # fmt: skip
                    # float64 has an error of its own, which may turn a rounding that is close, and
                    # is all that is left where a sum is 0.
                    assert (abs(y - expected) <= 0.500001 * np.spacing(abs(y)) + 1e-15).all()

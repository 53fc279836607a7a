"""Run one node whose tensors lie among others, and which does its neighbours' work, in tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from build import one_node, run_model
from lowered_node import run_steps
from martlet.kernels.targets import Target
from martlet.ops.operator import Spec
from martlet.plan.costs import COSTS
from martlet.plan.lowering import Fused, Lowering, lowering_of
from martlet.runtime.session import Session
from native import guarded
from packed_weights import pack_all

UNTOUCHED = 77.0
IMAGE, OUTPUT, RESIDUAL = 1000, 1001, 1002  # tensors in place of the node's own


def compute_pitched(
    target: Target,
    op: str,
    inputs: Sequence[Any],
    options: Any = None,
    *,
    wider: tuple[int, int] = (0, 0),
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0)),
    activation: str | None = None,
    shift: np.ndarray | None = None,
    residual: np.ndarray | None = None,
    threads: int = 1,
    split: int | None = None,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(output of the node's kernels, its output in NumPy, names of its kernels).

    wider: how much longer than the channels the rows of image and output are; what lies there is
    not a number in the image, and must stay as it is in the output. padding: zeros that a PAD
    would have put around the image. activation: of an operator behind it. shift: what an ADD of a
    constant adds before that. residual: what an ADD of a tensor adds; its rows lie as the
    output's do.
    """
    image = np.asarray(inputs[0])
    padded = np.pad(image, ((0, 0), *padding, (0, 0)))
    model, arrays = one_node(op, [padded, *inputs[1:]], options)
    graph = model.main
    specs = [
        Spec(graph.tensors[i].dtype, a.shape) for i, a in zip(graph.inputs, arrays, strict=True)
    ]
    (expected,) = run_model(model, arrays)
    for added in (shift, residual):
        if added is not None:
            expected = expected + added
    if activation is not None:
        lows = {"RELU": 0.0, "RELU6": 0.0}
        expected = np.clip(expected, lows[activation], 6.0 if activation == "RELU6" else np.inf)
    (step,) = Session(model).plan(0, specs).steps
    pitches = {IMAGE: image.shape[-1] + wider[0], OUTPUT: expected.shape[-1] + wider[1]}
    pitches[RESIDUAL] = pitches[OUTPUT]
    lowering = Lowering(
        step.call, COSTS[target.name], threads=threads,
        fused=Fused(
            IMAGE, padding, None if residual is None else RESIDUAL, shift, OUTPUT, activation
        ),
        pitches=pitches,
    )  # fmt: skip
    function = lowering_of(step.call)
    assert function is not None
    assert function(lowering), f"{op} is not lowered"
    pack_all(lowering.packing, target, split)
    tensors = dict(zip(graph.inputs, map(guarded, arrays), strict=True))
    tensors[IMAGE] = _widened(image, pitches[IMAGE], np.nan)
    if residual is not None:
        tensors[RESIDUAL] = _widened(residual, pitches[RESIDUAL], np.nan)
    tensors[OUTPUT] = _widened(np.full_like(expected, np.nan), pitches[OUTPUT], UNTOUCHED)
    run_steps(lowering, tensors, target, split)
    rows = np.full((*expected.shape[:-1], pitches[OUTPUT]), UNTOUCHED, np.float32)
    flat = rows.reshape(-1)
    flat[: tensors[OUTPUT].size] = tensors[OUTPUT]
    channels = expected.shape[-1]
    assert np.all(rows[..., channels:] == UNTOUCHED)
    return rows[..., :channels], expected, [native.kernel for native in lowering.steps]


def _widened(array: np.ndarray, pitch: int, between: float) -> np.ndarray:
    """Rows `pitch` elements apart; a guard page follows the last."""
    length = array.shape[-1]
    rows = np.full((array.size // length, pitch), between, np.float32)
    rows[:, :length] = array.reshape(-1, length)
    flat = rows.reshape(-1)
    return guarded(flat[: flat.size - (pitch - length)])

"""Run a node with state on the kernels that its lowering asks for, several times, in tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lowered_node import lower, run_steps
from martlet.graph import ABSENT, Model
from martlet.kernels.targets import Target
from martlet.ops.operator import Spec
from martlet.runtime.session import Session
from native import guarded
from packed_weights import pack_all


def check(
    target: Target, model: Model, runs: Sequence[Sequence[np.ndarray]], split: int | None = None
) -> None:
    """Outputs and states after every run are those of NumPy.

    The states begin as random numbers. Every tensor ends where a page begins that must not be
    touched. split: how many units each call gets.
    """
    graph = model.main
    numpy = Session(model, reference=True)
    states = [i for i, t in enumerate(graph.tensors) if t.is_variable]
    specs = [
        Spec(graph.tensors[i].dtype, a.shape) for i, a in zip(graph.inputs, runs[0], strict=True)
    ]
    plan = numpy.plan(0, specs)
    tensors: dict[int, np.ndarray] = {}
    for i in states:
        first = np.random.default_rng(i).normal(size=graph.tensors[i].shape)
        numpy.variable(0, i)[...] = first
        tensors[i] = guarded(first.astype(np.float32))
    lowering = lower(model, runs[0], target=target)
    assert lowering is not None, f"{graph.nodes[0].op} is not lowered"
    pack_all(lowering.packing, target, split)
    for arrays in runs:
        expected = numpy.run(plan, arrays)
        tensors.update(zip(graph.inputs, map(guarded, arrays), strict=True))
        for i, array in zip(graph.outputs, expected, strict=True):
            tensors[i] = guarded(np.full_like(array, 77))
        run_steps(lowering, tensors, target, split)
        found = [tensors[i] for i in (*graph.outputs, *states)]
        expected = [*expected, *(numpy.variable(0, i) for i in states)]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def is_lowered(model: Model, arrays: Sequence[np.ndarray]) -> bool:
    """Whether there are kernels for the model's node."""
    assert ABSENT not in model.main.inputs
    return lower(model, arrays) is not None

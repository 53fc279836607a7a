"""Run one node of a model on the kernels that its lowering asks for, in tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from build import one_node, run_model
from martlet.graph import Model
from martlet.kernels.kernel import Kernel
from martlet.kernels.registry import kernels_of
from martlet.kernels.slots import SLOT_FLAG
from martlet.kernels.targets import TARGETS, Target
from martlet.ops.operator import Spec
from martlet.plan.costs import COSTS
from martlet.plan.lowering import Lowering, Ref, lowering_of
from martlet.runtime.session import Session
from native import Inside, guarded, host_targets, run_kernel
from packed_weights import pack_all

AVX2 = TARGETS["x86-64-avx2"]
HOST = host_targets()[0]


@cache
def _kernels(target: Target) -> dict[str, Kernel]:
    return {k.name: k for k in kernels_of(target) if isinstance(k, Kernel)}


def lower(
    model: Model, arrays: Sequence[np.ndarray], threads: int = 1, target: Target = AVX2
) -> Lowering | None:
    """What the model's only node becomes; None where it is left to NumPy."""
    graph = model.main
    specs = [
        Spec(graph.tensors[i].dtype, a.shape) for i, a in zip(graph.inputs, arrays, strict=True)
    ]
    (step,) = Session(model).plan(0, specs).steps
    lowering = Lowering(step.call, COSTS[target.name], threads=threads)
    function = lowering_of(step.call) if step.static else None
    return lowering if function is not None and function(lowering) else None


def is_lowered(op: str, inputs: Sequence[Any], options: Any = None, **kwargs: Any) -> bool:
    """Whether there are kernels for a node."""
    return lower(*one_node(op, inputs, options, **kwargs)) is not None


def compute(
    target: Target,
    op: str,
    inputs: Sequence[Any],
    options: Any = None,
    split: int | None = None,
    threads: int = 1,
    **kwargs: Any,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(outputs of the node's kernels, its outputs in NumPy)."""
    return compute_model(target, *one_node(op, inputs, options, **kwargs), split, threads)


def check(
    target: Target, op: str, inputs: Sequence[Any], options: Any = None, split: int | None = None,
    threads: int = 1, **kwargs: Any,
) -> np.ndarray:  # fmt: skip
    """The output of a node's kernels, which is that of NumPy to 1e-5 of the largest number."""
    (found,), (expected,) = compute(target, op, inputs, options, split, threads, **kwargs)
    assert found.shape == expected.shape
    size = max(float(np.abs(expected).max(initial=0)), 1e-3)
    np.testing.assert_allclose(found, expected, atol=1e-5 * size)
    return found


def compute_model(
    target: Target, model: Model, arrays: Sequence[np.ndarray], split: int | None = None,
    threads: int = 1,
) -> tuple[list[np.ndarray], list[np.ndarray]]:  # fmt: skip
    """The same of a model of one node.

    Every tensor ends where a page begins that must not be touched, so that few are aligned.
    split: how many units each call gets. threads: for how many it is lowered.
    """
    op, expected = model.main.nodes[0].op, run_model(model, arrays)
    lowering = lower(model, arrays, threads, target)
    assert lowering is not None, f"{op} is not lowered"
    pack_all(lowering.packing, target, split)
    graph = model.main
    tensors = dict(zip(graph.inputs, map(guarded, arrays), strict=True))
    for i, array in zip(graph.outputs, expected, strict=True):
        tensors[i] = guarded(np.full_like(array, 77))
    run_steps(lowering, tensors, target, split)
    return [tensors[i] for i in graph.outputs], expected


def run_steps(
    lowering: Lowering, tensors: Mapping[int, np.ndarray], target: Target, split: int | None = None
) -> None:
    """Run the steps of a node on these tensors; constants and scratch lie at pages that must not
    be touched. No step may complain of its data."""
    places: dict[str, Any] = {
        "tensor": tensors,
        "data": [guarded(array) for array in lowering.constants],
        "scratch": [guarded(np.full(n, 77, np.uint8)) for n in lowering.scratch_bytes],
        "slots": [guarded(np.zeros(lowering.threads * SLOT_FLAG, np.int64))],
    }
    words = guarded(np.zeros(2 * len(lowering.statuses), np.int64))
    places["status"] = [words[2 * i :] for i in range(len(lowering.statuses))]
    for step in lowering.steps:
        kernel = _kernels(target)[step.kernel]
        block: list[Any] = []
        for value, argument in zip(step.arguments, kernel.arguments, strict=True):
            assert isinstance(value, Ref) == argument.pointer
            assert isinstance(value, float) == (not argument.pointer and argument.type.is_float)
            if isinstance(value, Ref):
                block.append(Inside(places[value.kind][value.index], value.offset))
            else:
                block.append(value)
        run_kernel(kernel, target, *block, units=step.units, split=split)
    assert not words.any()

"""Run one node on the machine code that its lowering asks for, beside its NumPy meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from build import one_node, run_model
from martlet.kernels.registry import kernels_of
from martlet.kernels.slots import SLOT_FLAG
from martlet.kernels.targets import Target
from martlet.ops.operator import Call, Spec
from martlet.plan.costs import COSTS
from martlet.plan.lowering import Lowering, Ref, lowering_of
from martlet.plan.planner import Step
from martlet.runtime.session import Session
from native import Inside, guarded, host_targets, run_kernel
from packed_weights import pack_all

TARGET = host_targets()[0]


def lower(
    op: str,
    inputs: Sequence[Any],
    options: Mapping[str, Any] | None = None,
    threads: int = 1,
    target: Target = TARGET,
) -> tuple[Lowering | None, Step, list[np.ndarray]]:
    """(the lowering or None if it declines, the node's step, arrays of its inputs)."""
    model, arrays = one_node(op, inputs, options)
    graph = model.main
    specs = [
        Spec(graph.tensors[i].dtype, a.shape) for i, a in zip(graph.inputs, arrays, strict=True)
    ]
    (step,) = Session(model, reference=True).plan(0, specs).steps
    function = lowering_of(step.call)
    assert function is not None
    lowering = Lowering(step.call, COSTS[target.name], threads)
    return (lowering if function(lowering) else None), step, arrays


def run_lowered(
    op: str,
    inputs: Sequence[Any],
    options: Mapping[str, Any] | None = None,
    threads: int = 1,
    target: Target = TARGET,
) -> np.ndarray:
    """The node's output by its native steps; tensors and scratch lie between guard pages."""
    lowering, step, arrays = lower(op, inputs, options, threads, target)
    assert lowering is not None
    pack_all(lowering.packing, target)
    call: Call = step.call
    tensors = {
        i: guarded(a) for i, a in zip(call.graph.inputs, arrays, strict=True)
    }  # fmt: skip
    for i, spec in zip(step.outputs, step.specs, strict=True):
        assert spec.shape is not None
        tensors[i] = guarded(np.full(spec.shape, -77, spec.dtype.numpy))
    scratch = [guarded(np.zeros(n, np.uint8)) for n in lowering.scratch_bytes]
    slots = [guarded(np.zeros(threads * SLOT_FLAG, np.int64))]
    for native in lowering.steps:
        places: list[Any] = []
        for argument in native.arguments:
            if isinstance(argument, Ref):
                kinds: dict[str, Any] = {"tensor": tensors, "scratch": scratch, "slots": slots}
                kinds["data"] = lowering.constants
                places.append(Inside(kinds[argument.kind][argument.index], argument.offset))
            else:
                places.append(argument)
        run_kernel(_kernels(target)[native.kernel], target, *places, units=native.units)
    return tensors[step.outputs[0]]


def meaning(op: str, inputs: Sequence[Any], options: Mapping[str, Any] | None = None) -> np.ndarray:
    """The node's output by its NumPy meaning."""
    model, arrays = one_node(op, inputs, options)
    (result,) = run_model(model, arrays)
    return result


@cache
def _kernels(target: Target) -> dict[str, Any]:
    return {kernel.name: kernel for kernel in kernels_of(target)}

"""Where a model's time goes: each step of its plan timed, beside what the machine could do.

In: an Interpreter whose inputs are set. Out: plain values. The steps run in their order, one at a
time, so that each finds the caches as it does in a run; the calls in between cost a few
microseconds each, and steps do not overlap.

- `flops` are the multiplications and additions of the direct algorithm, padding counted like any
  other element: 2 x outputs x (taps x depth). A step that needs fewer of them, by Winograd's way,
  has an effective rate, which may exceed the peak.
- `bytes` are those of the tensors and weights that go in and out, each once, as if caches were
  perfect; weights that an algorithm enlarges are counted as the file has them.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from martlet.graph import ABSENT
from martlet.ops.operator import Call
from martlet.plan.planner import Plan, Step
from martlet.report.benchmark import Progress
from martlet.report.peak import peak_gflops
from martlet.runtime.interpreter import Interpreter
from martlet.runtime.native import NativePlan

SECONDS = 2.0
LEAST_RUNS = 5
REDUCED = ("winograd", "strassen")  # in the names of kernels that multiply less
MULTIPLYING = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "FULLY_CONNECTED", "BATCH_MATMUL"}
)


@dataclass
class Part:
    """What is timed by itself: one native step (kernel), or one step of NumPy (kernel None)."""

    nodes: tuple[int, ...]
    kernel: str | None
    run: Callable[[], None]
    seconds: list[float] = field(default_factory=list)


def profile(interpreter: Interpreter, runs: int | None, progress: Progress) -> dict[str, Any]:
    """The peak, and the steps with their times and rates, in the order in which they run."""
    plan, native, parts = _parts(interpreter)
    peaks = [] if native is None else [peak_gflops(native.pool)]
    begin = time.perf_counter()
    done, spent = 0, 0.0
    while done < (runs or LEAST_RUNS) or (runs is None and spent < 1):
        for part in parts:
            start = time.perf_counter()
            part.run()
            part.seconds.append(time.perf_counter() - start)
        done, spent = done + 1, (time.perf_counter() - begin) / SECONDS
        progress(done / runs if runs else min(spent, 1))
    if native is not None:  # once more, since clocks change
        peaks.append(peak_gflops(native.pool))
    peak = max(peaks, default=None)
    total = sum(min(part.seconds) for part in parts)
    return {
        "runs": done,
        "peak_gflops": peak,
        "steps_ms": 1e3 * total,
        "steps": [_row(plan, group, total, peak) for group in _by_nodes(parts)],
    }


def _parts(interpreter: Interpreter) -> tuple[Plan, NativePlan | None, list[Part]]:
    """What a run of the main graph is made of, bound to the values of its inputs."""
    tensors, session = interpreter._graphs[0], interpreter._session
    plan = tensors.planned
    assert plan is not None
    env: dict[int, np.ndarray] = dict(plan.values)
    env.update({i: tensors._input(i) for i in plan.graph.inputs if i != ABSENT})
    for i, tensor in enumerate(plan.graph.tensors):
        if tensor.is_variable and not tensor.is_constant and i not in env:
            env[i] = session.variable(plan.index, i)
    session.start_clock()
    native = session.native(plan)

    def run_numpy(step: Step) -> None:
        results = session._do(plan.index, step, env)
        for i, array in zip(step.outputs, results, strict=True):
            if native is not None and i in native.views:
                np.copyto(native.views[i], array)
            elif i != ABSENT:
                env[i] = array.copy()

    def of_numpy(step: Step) -> Part:
        return Part((step.number,), None, lambda: run_numpy(step))

    if native is None:
        return plan, None, [of_numpy(step) for step in plan.steps]
    _enter(native, env)
    parts: list[Part] = []
    for segment in native.segments:
        if segment.step is not None:
            parts.append(of_numpy(segment.step))
        for number in range(segment.first, segment.first + segment.count):
            parts.append(
                Part(native.nodes[number], native.steps[number].kernel, _one(native, number))
            )
    return plan, native, parts


def _enter(native: NativePlan, env: dict[int, np.ndarray]) -> None:
    """Copy the inputs to their places."""
    for i in native.plan.graph.inputs:
        if i in native.views:
            np.copyto(native.views[i], env[i])
    env.update(native.views)


def _one(native: NativePlan, number: int) -> Callable[[], None]:
    """A function that runs one native step."""
    return lambda: native.pool.run(native.records, number, 1)


def _by_nodes(parts: Sequence[Part]) -> list[list[Part]]:
    """Parts that do the work of the same nodes, together."""
    groups: list[list[Part]] = []
    for part in parts:
        if groups and groups[-1][0].nodes == part.nodes:
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


def _row(plan: Plan, parts: Sequence[Part], total: float, peak: float | None) -> dict[str, Any]:
    nodes, graph = parts[0].nodes, plan.graph
    calls = {step.number: step.call for step in plan.steps}
    seconds = sum(min(part.seconds) for part in parts)
    count = sum(flops(calls[n]) for n in nodes if n in calls)
    moved = _moved_bytes(plan, nodes)
    rate = count / seconds / 1e9 if count and seconds else None
    kernels = [part.kernel for part in parts if part.kernel is not None]
    last = graph.nodes[max(nodes)].outputs  # what was absorbed stands before or behind
    spec = plan.specs[last[0]] if last and last[0] != ABSENT else None
    return {
        "nodes": list(nodes),
        "op": "+".join(graph.nodes[n].op for n in nodes),
        "shape": list(spec.shape) if spec is not None and spec.shape is not None else None,
        "kernels": [
            {"kernel": part.kernel, "min_ms": 1e3 * min(part.seconds)}
            for part in parts
            if part.kernel is not None
        ],
        "min_ms": 1e3 * seconds,
        "median_ms": 1e3 * sum(statistics.median(part.seconds) for part in parts),
        "share": seconds / total if total else 0.0,
        "flops": count,
        "gflops": rate,
        "of_peak": rate / peak if rate is not None and peak else None,
        "effective": any(word in kernel for word in REDUCED for kernel in kernels),
        "bytes": moved,
        "gbytes_per_s": moved / seconds / 1e9 if seconds else None,
    }


def flops(call: Call) -> int:
    """Multiplications and additions of a node's direct algorithm; 0 where it has no products."""
    if call.op not in MULTIPLYING:
        return 0
    shapes = [spec.shape if spec is not None else None for spec in call.specs]
    if call.op == "TRANSPOSE_CONV":  # every input element times a window of every channel
        shape, weights = shapes[2], shapes[1]
        if shape is None or weights is None:
            return 0
        return 2 * math.prod(shape) * math.prod(weights[:3])
    if shapes[0] is None or shapes[1] is None:
        return 0
    outputs = [spec.shape for spec in call.operator.infer(call)]
    if outputs[0] is None:
        return 0
    return 2 * math.prod(outputs[0]) * _products(call, shapes[0], shapes[1])


def _products(call: Call, x: tuple[int, ...], weights: tuple[int, ...]) -> int:
    """How many products an output element is the sum of."""
    if call.op == "DEPTHWISE_CONV_2D":
        return math.prod(weights[1:3])
    if call.op == "CONV_3D":  # depth, height, width, channels in, channels out
        return math.prod(weights[:4])
    if call.op == "BATCH_MATMUL":
        return x[-2 if call.option("adj_x") else -1]
    return math.prod(weights[1:])


def _moved_bytes(plan: Plan, nodes: Sequence[int]) -> int:
    """Bytes of what goes in and out of nodes, without what passes between them."""
    graph = plan.graph
    read = {i for n in nodes for i in graph.nodes[n].inputs}
    written = {i for n in nodes for i in graph.nodes[n].outputs}
    between = read & written
    sizes = [plan.specs[i] for i in (read | written) - between if i != ABSENT]
    return sum(spec.nbytes for spec in sizes if spec is not None)

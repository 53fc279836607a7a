"""A plan whose steps are machine code where there is a kernel, and NumPy where there is none.

1. Every node is lowered to native steps if its family can; nodes that only rename elements
   (RESHAPE) share their input's memory.
2. The tensors that native steps touch get a place in one arena; the others stay arrays of
   Python. Where a NumPy step reads an arena tensor it gets a view; what it computes for one is
   copied there.
3. Consecutive native steps form one segment: one call, whatever their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from martlet.graph import ABSENT
from martlet.kernels.executor import BLOCK, GRAIN, KERNEL, SLOTS, UNITS
from martlet.kernels.targets import TARGETS
from martlet.ops.operator import Spec
from martlet.plan.arena import ALIGNMENT, Life, place
from martlet.plan.lowering import VIEWS, Lowering, NativeStep, Ref, lowering_of
from martlet.plan.planner import Plan, Step
from martlet.runtime.threads import Pool, aligned


@dataclass
class Segment:
    """`count` native steps from `first` on, or one step of the plan for NumPy."""

    first: int = 0
    count: int = 0
    step: Step | None = None


class NativePlan:
    """A plan laid out in memory, ready to run with `pool`."""

    def __init__(self, plan: Plan, pool: Pool) -> None:
        self.plan = plan
        self.pool = pool
        image = pool.image
        lanes = TARGETS[image.image.target].lanes
        lowered = [_lower(step, lanes, pool.threads) for step in plan.steps]
        roots = _roots(plan, lowered)
        self.views, self._arena, scratch = _lay_out(plan, lowered, roots)
        self.arena_bytes = self._arena.nbytes
        self._constants: list[np.ndarray] = []
        self._blocks: list[np.ndarray] = []
        self.steps: list[NativeStep] = []
        self.nodes: list[tuple[int, ...]] = []
        """The nodes whose work each step does, its own operator's first."""
        self.segments: list[Segment] = []
        for position, (step, lowering) in enumerate(zip(plan.steps, lowered, strict=True)):
            if lowering is None:
                if step.number not in roots.renamed:
                    self.segments.append(Segment(step=step))
                continue
            if not self.segments or self.segments[-1].step is not None:
                self.segments.append(Segment(len(self.steps)))
            self.segments[-1].count += len(lowering.steps)
            self.nodes += [(step.number,)] * len(lowering.steps)
            self._add(lowering, roots.of, scratch[position])
        self._records = aligned(SLOTS * max(len(self.steps), 1)).reshape(-1, SLOTS)
        for record, native, block in zip(self._records, self.steps, self._blocks, strict=False):
            record[KERNEL] = image.address(native.kernel)
            record[BLOCK] = block.ctypes.data
            record[UNITS], record[GRAIN] = native.units, native.grain

    def _add(self, lowering: Lowering, root: Callable[[int], int], scratch: list[int]) -> None:
        base = len(self._constants)
        self._constants += lowering.constants
        for step in lowering.steps:
            block = np.zeros(max(len(step.arguments), 1), np.int64)
            for i, argument in enumerate(step.arguments):
                if isinstance(argument, Ref):
                    if argument.kind == "tensor":
                        address = self.views[root(argument.index)].ctypes.data
                    elif argument.kind == "scratch":
                        address = self._arena.ctypes.data + scratch[argument.index]
                    else:
                        address = self._constants[base + argument.index].ctypes.data
                    block[i] = address + argument.offset
                elif isinstance(argument, float):
                    block[i : i + 1].view(np.float32)[0] = argument
                else:
                    block[i] = argument
            self.steps.append(step)
            self._blocks.append(block)

    def run(
        self,
        env: dict[int, np.ndarray],
        run_step: Callable[[Step, dict[int, np.ndarray]], Sequence[np.ndarray]],
        tick: Callable[[], None],
    ) -> None:
        """Run all segments. `env`: values by tensor; it receives views of what is in the arena."""
        for i in self.plan.graph.inputs:
            if i in self.views:
                np.copyto(self.views[i], env[i])
        env.update(self.views)
        for segment in self.segments:
            if segment.step is None:
                tick()
                self.pool.run(self._records, segment.first, segment.count)
                continue
            step = segment.step
            for i, array in zip(step.outputs, run_step(step, env), strict=True):
                if i in self.views:
                    np.copyto(self.views[i], array)
                elif i != ABSENT:
                    # A view of the arena would change when its place is used again.
                    shared = np.may_share_memory(array, self._arena)
                    env[i] = array.copy() if shared else array


def _lower(step: Step, lanes: int, threads: int) -> Lowering | None:
    """The native steps of a node, or None where NumPy runs it."""
    lower = lowering_of(step.call) if step.static else None
    if lower is None:
        return None
    lowering = Lowering(step.call, lanes, threads)
    return lowering if lower(lowering) else None


@dataclass
class _Roots:
    """Which tensors share memory: `parent` by tensor; the nodes that thereby need no step."""

    parent: dict[int, int]
    renamed: set[int]

    def of(self, i: int) -> int:
        while i in self.parent:
            i = self.parent[i]
        return i


def _roots(plan: Plan, lowered: Sequence[Lowering | None]) -> _Roots:
    """Let nodes that rename elements share their input's memory, if it is in the arena."""
    native = {
        r.index
        for lowering in lowered
        if lowering is not None
        for step in lowering.steps
        for r in step.arguments
        if isinstance(r, Ref) and r.kind == "tensor"
    }
    roots = _Roots({}, set())
    for step in plan.steps:
        node = step.call.node
        if node.custom or node.op not in VIEWS or not step.static:
            continue
        source, target = node.inputs[0], node.outputs[0]
        touched = source in native or target in native or roots.of(source) in native
        if touched and source not in plan.values and target not in plan.graph.outputs:
            roots.parent[target] = source
            roots.renamed.add(step.number)
    return roots


def _lay_out(
    plan: Plan, lowered: Sequence[Lowering | None], roots: _Roots
) -> tuple[dict[int, np.ndarray], np.ndarray, list[list[int]]]:
    """(view of each arena tensor, the arena, offsets of each node's scratch)."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}

    def touch(i: int, position: int) -> None:
        i = roots.of(i)
        first[i] = min(first.get(i, position), position)
        last[i] = max(last.get(i, position), position)

    wanted: set[int] = set()
    for position, (step, lowering) in enumerate(zip(plan.steps, lowered, strict=True)):
        for i in [*step.inputs, *step.outputs]:
            if i != ABSENT and i not in plan.values:
                touch(i, position)
                if lowering is not None:
                    wanted.add(roots.of(i))
    for i in plan.graph.inputs:
        if i != ABSENT and roots.of(i) in first:
            touch(i, -1)
    for i in plan.graph.outputs:
        if roots.of(i) in first:
            touch(i, len(plan.steps))
    tensors = sorted(wanted)
    lives = [Life(_spec(plan, i).nbytes, first[i], last[i]) for i in tensors]
    counts = []
    for position, lowering in enumerate(lowered):
        sizes = lowering.scratch_bytes if lowering else []
        counts.append(len(sizes))
        lives += [Life(n, position, position) for n in sizes]
    offsets, size = place(lives)
    arena = _bytes(size)
    views = {}
    for i, offset in zip(tensors, offsets, strict=False):
        views[i] = _view(arena, offset, _spec(plan, i))
    for target in roots.parent:
        root = roots.of(target)
        if root in views:
            views[target] = views[root].reshape(_spec(plan, target).shape)
    rest = iter(offsets[len(tensors) :])
    return views, arena, [[next(rest) for _ in range(n)] for n in counts]


def _spec(plan: Plan, i: int) -> Spec:
    spec = plan.specs[i]
    assert spec is not None
    return spec


def _view(arena: np.ndarray, offset: int, spec: Spec) -> np.ndarray:
    part = arena[offset : offset + spec.nbytes]
    return part.view(spec.dtype.numpy).reshape(spec.shape or ())


def _bytes(size: int) -> np.ndarray:
    """Bytes that start on a cache line; the system clears them when they are first touched."""
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    skip = -memory.ctypes.data % ALIGNMENT
    return memory[skip : skip + size]

"""A plan whose steps are machine code where there is a kernel, and NumPy where there is none.

1. Neighbours that one kernel can do together become one work (`plan/fusion.py`), and tensors get
   their places inside others (`plan/layout.py`).
2. Every work is lowered to native steps if its family can.
3. The tensors that native steps touch get a place in one arena; the others stay arrays of
   Python. Where a NumPy step reads an arena tensor it gets a view; what it computes for one is
   copied there. Inputs of the graph keep their places for the whole run. Variables stay where the
   session keeps them: native steps and NumPy ones, of all plans, read and write them there.
4. Consecutive native steps form one segment: one call, whatever their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate, chain

import numpy as np

from martlet.graph import ABSENT
from martlet.kernels.slots import BESIDE, BLOCK, GRAIN, KERNEL, SLOTS, UNITS
from martlet.plan.costs import COSTS, Costs
from martlet.plan.fusion import Work, works
from martlet.plan.layout import Layout, layout
from martlet.plan.lowering import STATUS_BYTES, Lowering, NativeStep, Ref, lowering_of
from martlet.plan.packed import Packing
from martlet.plan.planner import Plan, Step
from martlet.records import dataclass
from martlet.runtime.background import Background
from martlet.runtime.image import LoadedImage
from martlet.runtime.memory import Pairs, is_kept, lay_out, spec_of
from martlet.runtime.status import Status
from martlet.runtime.threads import Pool, aligned

_NOTHING = np.zeros(0)  # in place of an input that is left out


@dataclass
class Segment:
    """`count` native steps from `first` on, or one step of the plan for NumPy."""

    first: int = 0
    count: int = 0
    step: Step | None = None


class NativePlan:
    """A plan laid out in memory, ready to run with `pool`.

    variable: the array of a variable tensor, always the same one. debug: run step by step, each
    in memory of its own, and look for writes outside of it (`runtime/memory.py`). stepwise: a call
    for each step, so that a limit on time is looked at in between.
    """

    def __init__(
        self,
        plan: Plan,
        pool: Pool,
        variable: Callable[[int], np.ndarray],
        debug: bool = False,
        stepwise: bool = False,
    ) -> None:
        self.plan = plan
        self._debug = debug
        self._stepwise = stepwise or debug
        self.pool = pool
        image = pool.image
        background = Background(image)
        packing = Packing(background.do)
        try:
            self._lay_out(image, packing, variable)
        finally:
            background.finish()
        packing.publish()
        self.packs = packing.packs

    def _lay_out(
        self, image: LoadedImage, packing: Packing, variable: Callable[[int], np.ndarray]
    ) -> None:
        plan, debug = self.plan, self._debug
        costs = COSTS[image.image.target]
        pairs, self.layout = _lowered(plan, costs, self.pool.threads, packing)
        self._memory = lay_out(plan, pairs, self.layout, debug, self.pool.threads)
        self.arena, self.offsets = self._memory.arena, self._memory.offsets
        self._pitches = self.layout.pitches
        self._variables = {i: variable(i) for i in _variables(plan, pairs)}
        self.views = {i: self._view(i) for i in self.offsets} | self._variables
        self._entrances = [self.views.get(i) for i in plan.graph.inputs]
        self._entrance_ids = {id(view) for view in self._entrances}
        self._given = [i for i in self.offsets if plan.graph.tensors[i].is_variable]
        """Variables that are inputs of the graph: the caller's arrays."""
        self._written = [self.arena, *self._variables.values()]
        self.arena_bytes = self.arena.nbytes
        rules = [
            (work.step.call, *rule)
            for work, lowering in pairs
            if lowering is not None and lowering.steps
            for rule in lowering.statuses
        ]
        self.status = Status(rules) if rules else None
        self._status_address = self.status.address if self.status else 0  # of the next work
        arena = self.arena.ctypes.data
        addresses = {i: arena + n for i, n in self.offsets.items()}
        addresses.update((i, array.ctypes.data) for i, array in self._variables.items())
        self._addresses = addresses
        self.constants: list[np.ndarray] = []
        words: list[list[int]] = []
        self.steps: list[NativeStep] = []
        self.first_constants: list[int] = []
        """For each step, which of `constants` is the first of its lowering."""
        self.nodes: list[tuple[int, ...]] = []
        """The nodes whose work each step does, its own operator's first."""
        self.segments: list[Segment] = []
        for position, (work, lowering) in enumerate(pairs):
            if lowering is None:
                self.segments.append(Segment(step=work.step))
                continue
            if not lowering.steps:
                continue
            if not self.segments or self.segments[-1].step is not None:
                self.segments.append(Segment(len(self.steps)))
            self.segments[-1].count += len(lowering.steps)
            others = [s.number for s in work.steps if s is not work.step]
            self.nodes += [(work.step.number, *others)] * len(lowering.steps)
            words += self._add(lowering, self._memory.scratch[position])
        self.records = aligned(SLOTS * max(len(self.steps), 1)).reshape(-1, SLOTS)
        self._address: int = self.records.ctypes.data
        self.words = np.array(list(chain.from_iterable(words)), np.int64)
        starts = accumulate((8 * len(block) for block in words), initial=self.words.ctypes.data)
        fields = [
            (image.address(step.kernel), start, step.units, step.grain)
            for step, start in zip(self.steps, starts, strict=False)
        ]
        if fields:
            self.records[:, [KERNEL, BLOCK, UNITS, GRAIN]] = fields
            if self.pool.threads > 1:
                self.records[:, BESIDE] = self._beside(pairs)

    def _add(self, lowering: Lowering, scratch: list[int]) -> list[list[int]]:
        """Append the steps of a work; returns their arguments as words."""
        arena = self.arena.ctypes.data
        places: dict[str, dict[int, int] | list[int]] = {
            "tensor": self._addresses,
            "scratch": [arena + n for n in scratch],
            "data": [array.ctypes.data for array in lowering.constants],
            "status": [
                self._status_address + STATUS_BYTES * n for n in range(len(lowering.statuses))
            ],
            "slots": [self.pool.slots.ctypes.data],
        }

        def word(argument: Ref | float) -> int:
            if isinstance(argument, Ref):
                return places[argument.kind][argument.index] + argument.offset
            if isinstance(argument, float):
                return int(np.float32(argument).view(np.uint32))
            return argument

        self.first_constants += [len(self.constants)] * len(lowering.steps)
        self.constants += lowering.constants
        self._status_address += STATUS_BYTES * len(lowering.statuses)
        self.steps += lowering.steps
        # Most are numbers, which need no call.
        return [[a if type(a) is int else word(a) for a in s.arguments] for s in lowering.steps]

    def _beside(self, pairs: Pairs) -> list[int]:
        """For each step: how many of those right before it may run beside it."""
        from martlet.plan.order import Span, Touched, beside, rows, touched  # not for one thread

        def span(i: int) -> Span:
            spec, start = spec_of(self.plan, i), self._addresses[i]
            if i not in self._pitches:
                return Span(start, start + spec.nbytes, 0, 0)
            assert spec.shape is not None
            size = spec.dtype.numpy.itemsize
            return rows(start, spec.nbytes, size * self._pitches[i], size * spec.shape[-1])

        arena, status = self.arena.ctypes.data, self.status.address if self.status else 0
        found: list[Touched] = []
        for (work, lowering), scratch in zip(pairs, self._memory.scratch, strict=True):
            if lowering is not None and lowering.steps:
                found += touched(work, lowering, span, [arena + n for n in scratch], status)
                status += STATUS_BYTES * len(lowering.statuses)
        return beside(found)

    def _view(self, i: int) -> np.ndarray:
        """A tensor as an array of the arena."""
        spec, start = spec_of(self.plan, i), self.offsets[i]
        dtype, shape = spec.dtype.numpy, spec.shape or ()
        if i not in self._pitches:
            part = self.arena[start : start + spec.nbytes]
            return part.view(dtype).reshape(shape)
        strides = [dtype.itemsize]
        for n in (self._pitches[i], *reversed(shape[1:-1])):
            strides.insert(0, strides[0] * n)
        return np.ndarray(shape, dtype, self.arena, start, strides)

    @property
    def is_one_call(self) -> bool:
        """Whether a run is nothing but native steps on what lies in the arena."""
        ends = {*self.plan.graph.inputs, *self.plan.graph.outputs}
        return self.is_callable and ends <= set(self.offsets)

    @property
    def is_pure(self) -> bool:
        """Whether such a run depends on nothing but the inputs."""
        return self.is_one_call and not self._variables

    @property
    def is_callable(self) -> bool:
        """Whether a run is nothing but native steps, whatever becomes of ends that they leave."""
        graph = self.plan.graph
        known = {*self.offsets, *self.plan.values, *graph.inputs}
        return (
            len(self.segments) == 1
            and self.segments[0].step is None
            and known.issuperset(graph.outputs)
            and ABSENT not in graph.inputs
            and len({*graph.inputs}) == len(graph.inputs)  # of one given twice, the last counts
            and not self._given
            and not self._stepwise
            and not any(i in self._pitches for i in (*graph.inputs, *graph.outputs))
        )

    @cached_property
    def run_alone(self) -> Callable[[], None]:
        """Runs a plan that is one call, on the inputs that lie in the arena."""
        run, status = self.pool.runner(self._address, len(self.steps)), self.status
        if status is None:
            return run

        def run_and_check() -> None:
            run()
            status.check()

        return run_and_check

    @cached_property
    def _exits(self) -> list[np.ndarray | int]:
        """Where the outputs of a plan that is callable are; a number: the input of that number."""
        graph, known = self.plan.graph, self.plan.values | self.views
        return [known[i] if i in known else graph.inputs.index(i) for i in graph.outputs]

    def call(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run a plan that is callable on these inputs; most outputs lie in the arena."""
        self._enter(inputs)
        self.run_alone()
        return [inputs[exit_] if isinstance(exit_, int) else exit_ for exit_ in self._exits]

    def _enter(self, inputs: Sequence[np.ndarray]) -> None:
        """Copy inputs to their places.

        A loop hands on what the last turn left, even an input in the place of another.
        """
        moved = []
        for place, array in zip(self._entrances, inputs, strict=True):
            if place is not None and array is not place:
                inside = id(array) in self._entrance_ids
                moved.append((place, array.copy() if inside else array))
        for place, array in moved:
            np.copyto(place, array)

    def _run_segment(self, segment: Segment, tick: Callable[[], None]) -> None:
        if not self._stepwise:
            self.pool.run(self.records, segment.first, segment.count)
        else:
            for k in range(segment.first, segment.first + segment.count):
                tick()
                self.pool.run(self.records, k, 1)
                if self._debug:
                    self._memory.check(f"{self.steps[k].kernel}, of nodes {self.nodes[k]},")
        if self.status is not None:
            self.status.check()

    def run(
        self,
        env: dict[int, np.ndarray],
        run_step: Callable[[Step, dict[int, np.ndarray]], Sequence[np.ndarray]],
        tick: Callable[[], None],
    ) -> None:
        """Run all segments. `env`: values by tensor; it receives views of what is in the arena."""
        self._enter([env.get(i, _NOTHING) for i in self.plan.graph.inputs])
        state = {i: env[i] for i in self._given}
        env.update(self.views)
        env.update(state)  # steps of NumPy change it in place, native ones only read it
        for segment in self.segments:
            if segment.step is None:
                tick()
                for i, array in state.items():
                    np.copyto(self.views[i], array)
                self._run_segment(segment, tick)
                continue
            step = segment.step
            for i in step.inputs:
                if i in self._pitches:
                    env[i] = np.ascontiguousarray(self.views[i])
            for i, array in zip(step.outputs, run_step(step, env), strict=True):
                if i in self.views:
                    np.copyto(self.views[i], array)
                elif i != ABSENT:
                    # A view would change when its place is used again, or the variable written.
                    shared = any(np.may_share_memory(array, m) for m in self._written)
                    env[i] = array.copy() if shared else array


def _lowered(plan: Plan, costs: Costs, threads: int, packing: Packing) -> tuple[Pairs, Layout]:
    """All works of a plan, lowered, and where their tensors lie."""
    found = works(plan)
    can = [work.step.static and lowering_of(work.step.call) is not None for work in found]
    where = layout(plan, found, can)
    pitches = where.pitches

    def lower(work: Work) -> Pairs:
        step = work.step
        in_place = where.in_place.get(step.number, frozenset())
        lowering = Lowering(
            step.call, costs, threads, work.fused, pitches, in_place, packing
        )  # fmt: skip
        if step.number in where.idle:
            return [(work, lowering)]
        function = lowering_of(step.call) if step.static else None
        if function is not None and function(lowering):
            return [(work, lowering)]
        if len(work.steps) == 1:
            return [(work, None)]
        # Together they cannot; each by itself may. Nobody else reads what they hand on.
        return [pair for part in work.parts for pair in lower(part)]

    return [pair for work in found for pair in lower(work)], where


def _variables(plan: Plan, pairs: Pairs) -> set[int]:
    """The variables that native steps touch, those that the session keeps."""
    touched = {i for work, lowering in pairs if lowering is not None for i in work.inputs}
    return {i for i in touched if i != ABSENT and is_kept(plan, i)}

"""One running model: its plans, its state (variables, tables), its limits.

A `Session` is what an Interpreter owns and what stateful operators see. It plans graphs for the
shapes that come, keeps a bounded number of plans, and runs them step by step.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.errors import LimitError, MartletError, ModelError
from martlet.graph import ABSENT, Model, Tensor
from martlet.ops.operator import Call, Operator, Spec
from martlet.passes.retype import retype
from martlet.plan.planner import Plan, Step, evaluate, infer, make_plan
from martlet.runtime.image import host_image
from martlet.runtime.limits import memory_limit_from, time_limit_from
from martlet.runtime.native import NativePlan
from martlet.runtime.threads import Pool

PLANS_KEPT = 16
CALL_DEPTH = 24
PLANS_AT_ONCE = 2000
"""Plans of subgraphs that the plan of one graph may need. Graphs that call each other in many
ways would otherwise be planned again for every path between them."""


class Session:
    """Runs the graphs of one model. Not safe for two threads at once; its owner locks."""

    def __init__(
        self,
        model: Model,
        *,
        reference: bool = False,
        memory_limit: float | None = None,
        time_limit: float | None = None,
        custom: Mapping[str, Operator] | None = None,
        keep_all: bool = False,
        threads: int = 1,
    ) -> None:
        self.model = retype(model)
        self.reference = reference
        self.custom = dict(custom or {})
        self.memory_limit = memory_limit_from(memory_limit)
        self.time_limit = time_limit_from(time_limit)
        self.resources: dict[Any, Any] = {}
        self.variables: dict[tuple[int, int], np.ndarray] = {}
        self.shapes: dict[tuple[int, int], tuple[int, ...]] = {}
        """Shapes that the last run found for tensors whose shape depends on data."""
        self.kept: dict[int, dict[int, np.ndarray]] | None = {} if keep_all else None
        """Every tensor of the last run of each graph, if they are to be kept."""
        self.latest: dict[int, Plan] = {}
        """The plan that was last used or made for each graph."""
        self._deadline: float | None = None
        self._plans: OrderedDict[Any, Plan] = OrderedDict()
        self._at_once: dict[Any, Plan] | None = None
        self.threads = threads
        self._machine_code = not (reference or keep_all)
        self._debug = os.environ.get("MARTLET_DEBUG", "0") not in ("", "0")
        self._pool: Pool | None = None
        self._native: OrderedDict[int, NativePlan] = OrderedDict()
        self._calls: OrderedDict[Any, NativePlan] = OrderedDict()
        """Subgraphs that are one native call, by number and shapes of the inputs."""
        self._live = 0
        self._state = 0
        self._calling: list[int] = []

    # For operators ------------------------------------------------------------------------

    def tick(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise LimitError(
                "the run took longer than its time limit",
                where=self.model.source,
                expected=f"at most {self.time_limit} s",
                hint="Raise time_limit= or MARTLET_TIME_LIMIT, or look for an endless loop.",
            )

    def reserve(self, nbytes: int, what: str) -> None:
        if self.memory_limit is not None and nbytes + self._live > self.memory_limit:
            raise LimitError(
                "the model needs more memory than the limit",
                where=what,
                expected=f"at most {int(self.memory_limit):,} bytes",
                found=f"{nbytes + self._live:,}",
                hint="Raise memory_limit= or MARTLET_MEMORY_LIMIT if the model is right.",
            )

    def infer_graph(self, index: int, specs: Sequence[Spec]) -> list[Spec]:
        self._check_inputs(index, len(specs))
        if any(s.shape is None for s in specs):
            graph = self.model.graphs[index]
            return [Spec(graph.tensors[i].dtype, None) for i in graph.outputs]
        with self._call_of(index):
            plan = self.plan(index, specs)
        results = [plan.specs[i] for i in plan.graph.outputs]
        return [s for s in results if s is not None]

    def run_graph(self, index: int, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        key = (index, *((a.shape, a.dtype.char) for a in inputs))
        known = self._calls.get(key)
        if known is not None:
            self.latest[index] = known.plan
            return known.call(inputs)
        self._check_inputs(index, len(inputs))
        graph = self.model.graphs[index]
        specs = [_spec_of(graph.tensors[i], a) for i, a in zip(graph.inputs, inputs, strict=True)]
        with self._call_of(index):
            plan = self.plan(index, specs)
            results = self.run(plan, inputs)
        native = self.native(plan)
        if native is not None and native.is_callable:
            self._calls[key] = native
            while len(self._calls) > PLANS_KEPT:
                self._calls.popitem(last=False)
        return results

    @contextmanager
    def _call_of(self, index: int) -> Iterator[None]:
        """Keep track of which subgraphs call each other, for as long as the call lasts."""
        calling = [*self._calling, index]
        if self._calling.count(index) or len(calling) > CALL_DEPTH:
            raise ModelError(
                "subgraphs call each other in a circle, or too deeply",
                where=self.model.source,
                expected=f"at most {CALL_DEPTH} calls inside each other",
                found=" -> ".join(map(str, calling)),
            )
        self._calling.append(index)
        try:
            yield
        finally:
            self._calling.pop()

    # For the owner ------------------------------------------------------------------------

    def plan(self, index: int, specs: Sequence[Spec]) -> Plan:
        """The plan of a graph for inputs of these specs; the last few are kept."""
        key = (index, tuple(specs))
        if key in self._plans:
            self._plans.move_to_end(key)
            self.latest[index] = self._plans[key]
            return self._plans[key]
        if self._at_once is not None:
            return self._plan_inside(key)
        self._at_once, before = {}, self._live
        try:
            plan = self._make_plan(key)
            self._plans.update(self._at_once)
        finally:
            self._at_once, self._live = None, before
        self._plans[key] = self.latest[index] = plan
        while len(self._plans) > PLANS_KEPT:
            self._plans.popitem(last=False)
        return plan

    def _plan_inside(self, key: tuple[int, tuple[Spec, ...]]) -> Plan:
        """The plan of a graph that the graph being planned calls."""
        assert self._at_once is not None
        if key not in self._at_once:
            if len(self._at_once) >= PLANS_AT_ONCE:
                raise LimitError(
                    "subgraphs call each other in too many ways",
                    where=self.model.source,
                    expected=f"at most {PLANS_AT_ONCE} graphs and shapes",
                )
            self._at_once[key] = plan = self._make_plan(key)
            self._live += plan.held_bytes
        self.latest[key[0]] = self._at_once[key]
        return self._at_once[key]

    def _make_plan(self, key: tuple[int, tuple[Spec, ...]]) -> Plan:
        index, specs = key
        try:
            plan = make_plan(self.model, index, specs, self, self.custom)
        except MartletError:
            raise
        except MemoryError as error:
            raise LimitError("out of memory while planning", where=self.model.source) from error
        self.reserve(plan.peak_bytes, f"{self.model.source}, subgraph {index}")
        return plan

    def native(self, plan: Plan) -> NativePlan | None:
        """The plan laid out for machine code; None where there is no image."""
        if self._machine_code and self._pool is None:
            image = host_image()
            self._machine_code = image is not None
            self._pool = Pool(image, self.threads) if image else None
        if self._pool is None:
            return None
        native = self._native.get(id(plan))
        if native is None or native.plan is not plan:
            variable = partial(self.variable, plan.index)
            native = self._native[id(plan)] = NativePlan(
                plan, self._pool, variable, self._debug, stepwise=self.time_limit is not None
            )
        self._native.move_to_end(id(plan))
        while len(self._native) > PLANS_KEPT:
            self._native.popitem(last=False)
        return native

    def one_call(self, plan: Plan) -> NativePlan | None:
        """The same where a run of the plan is one native call, and nothing else runs its steps."""
        native = self.native(plan) if len(self.model.graphs) == 1 else None
        return native if native is not None and native.is_one_call else None

    def start_clock(self) -> None:
        """Begin a run that the time limit bounds."""
        self._live = 0
        self._deadline = None if self.time_limit is None else time.monotonic() + self.time_limit

    def run(self, plan: Plan, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run a plan; returns the outputs."""
        env: dict[int, np.ndarray] = dict(plan.values)
        for i, array in zip(plan.graph.inputs, inputs, strict=True):
            if i != ABSENT:
                env[i] = array
        for i, tensor in enumerate(plan.graph.tensors):
            if tensor.is_variable and not tensor.is_constant and i not in env:
                env[i] = self.variable(plan.index, i)
        before = self._live
        native = self.native(plan)
        if native is not None:
            native.run(env, partial(self._do, plan.index), self.tick)
        else:
            self._run_steps(plan, env)
        if self.kept is not None:
            self.kept[plan.index] = {i: _as_declared(plan, i, array) for i, array in env.items()}
        self._live = before
        return [env[i] for i in plan.graph.outputs]

    def _run_steps(self, plan: Plan, env: dict[int, np.ndarray]) -> None:
        """Run every step by its NumPy meaning, holding only what later steps need."""
        for step in plan.steps:
            for i, array in zip(step.outputs, self._do(plan.index, step, env), strict=True):
                if i != ABSENT:
                    env[i] = array
                    self._live += array.nbytes
            if self.kept is not None:
                self.reserve(0, step.call.place)  # the plan's peak does not count what is kept
                continue
            for i in step.release:
                self._live -= env.pop(i).nbytes

    def variable(self, index: int, tensor: int) -> np.ndarray:
        """The state of a variable tensor; zero (its zero point, if it is int8) at first."""
        key = (index, tensor)
        if key not in self.variables:
            declared = self.model.graphs[index].tensors[tensor]
            self._state += declared.nbytes
            self.reserve(self._state, f"{self.model.source}, variable {declared.name!r}")
            self.variables[key] = np.empty(declared.shape, declared.dtype.numpy)
            self._reset(key)
        return self.variables[key]

    def reset_variables(self, index: int | None = None) -> None:
        """Give the variable tensors (of one graph, or all) their first value, in place.

        With all of them goes what operators keep between runs, under keys that begin with "state".
        """
        for key in self.variables:
            if index in (None, key[0]):
                self._reset(key)
        if index is None:
            kept = [key for key in self.resources if isinstance(key, tuple) and key[0] == "state"]
            for key in kept:
                del self.resources[key]

    def _reset(self, key: tuple[int, int]) -> None:
        declared = self.model.graphs[key[0]].tensors[key[1]]
        quantization = declared.quantization
        zero: object = b"" if declared.dtype is DType.STRING else 0
        # TensorFlow Lite resets int8 state alone to the value that stands for 0.
        if declared.dtype is DType.INT8 and quantization and quantization.zero_point.size == 1:
            zero = int(np.clip(quantization.zero_point[0], -128, 127))
        self.variables[key].fill(zero)

    def _do(self, index: int, step: Step, env: dict[int, np.ndarray]) -> list[np.ndarray]:
        """Run one step of graph `index` by its NumPy meaning; returns its outputs."""
        self.tick()
        plan_call = step.call
        arrays = [env[i] if i != ABSENT else None for i in step.inputs]
        specs = plan_call.specs
        if not step.static:
            specs = [
                None if a is None else Spec(plan_call.graph.tensors[i].dtype, a.shape)
                for i, a in zip(step.inputs, arrays, strict=True)
            ]
        call = Call(
            plan_call.node, plan_call.graph, plan_call.place, self, plan_call.operator,
            specs, arrays,
        )  # fmt: skip
        try:
            results = evaluate(call, step.specs if step.static else infer(call))
        except (MartletError, AssertionError):
            raise
        except MemoryError as error:
            raise LimitError("out of memory", where=call.place) from error
        if not step.static:
            for i, array in zip(step.outputs, results, strict=True):
                self.shapes[index, i] = array.shape
        return results

    def _check_inputs(self, index: int, count: int) -> None:
        graph = self.model.graphs[index]
        if len(graph.inputs) != count:
            raise ModelError(
                "the subgraph is called with the wrong number of inputs",
                where=f"{self.model.source}, subgraph {index} {graph.name!r}",
                expected=str(len(graph.inputs)),
                found=str(count),
            )


def _spec_of(tensor: Tensor, array: np.ndarray) -> Spec:
    """What a caller passes: as the subgraph declares it, unless it is of another type."""
    other = tensor.dtype.supported and tensor.dtype.numpy != array.dtype
    return Spec(DType.of(array) if other else tensor.dtype, array.shape)


def _as_declared(plan: Plan, i: int, array: np.ndarray) -> np.ndarray:
    """A value that the plan holds in float16 as the float32 that it is."""
    spec = plan.specs[i]
    narrow = array.dtype == np.float16 and spec is not None and spec.dtype is DType.FLOAT32
    return array.astype(np.float32) if narrow else array

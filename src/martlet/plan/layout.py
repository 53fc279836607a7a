"""Tensors that lie inside others, so that nothing copies them.

- What a CONCATENATION puts together is written where it belongs: its inputs become parts of its
  output. What a SPLIT takes apart is read where it is: its outputs become parts of its input.
- A node that only renames elements (RESHAPE) lets its output be its input.
- A node that can (`overwrites`) writes over an input that nobody reads after it.

A part along the last dimension has rows that are further apart than they are long (`pitches`).
It takes that every node which reads or writes the tensor can do so (`takes_pitch`); parts along
the first dimension that is not 1 are contiguous and ask for nothing. Constants, variables and
inputs of the graph stay where they are; a tensor has one place, so the second concatenation that
wants it copies it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from martlet.graph import ABSENT
from martlet.plan.fusion import Work
from martlet.plan.lowering import RESIDUAL, VIEWS, overwrites, takes_pitch
from martlet.plan.planner import Plan, Step
from martlet.records import NamedTuple, dataclass, field


class Part(NamedTuple):
    """Where a tensor lies in another: after so many elements, its rows `pitch` elements apart."""

    whole: int
    offset: int
    pitch: int


@dataclass
class Layout:
    """parts: the tensors that lie in others. in_place: inputs that a node need not copy, by its
    number; a node of which nothing is left to do is in `idle`."""

    plan: Plan
    parts: dict[int, Part] = field(default_factory=dict)
    in_place: dict[int, frozenset[int]] = field(default_factory=dict)
    idle: set[int] = field(default_factory=set)

    def root(self, tensor: int) -> int:
        """The tensor whose memory it lies in, itself if in no other."""
        while tensor in self.parts:
            tensor = self.parts[tensor].whole
        return tensor

    def pitch(self, tensor: int) -> int:
        """Elements from one row to the next."""
        return self.parts[tensor].pitch if tensor in self.parts else _row(self.plan, tensor)

    def offset(self, tensor: int) -> int:
        """Elements between the beginning of the root and that of the tensor."""
        total = 0
        while tensor in self.parts:
            total += self.parts[tensor].offset
            tensor = self.parts[tensor].whole
        return total

    @property
    def pitches(self) -> dict[int, int]:
        """Of the tensors whose rows do not follow each other."""
        found = {i: self.pitch(i) for i in self.parts}
        return {i: pitch for i, pitch in found.items() if pitch != _row(self.plan, i)}


def layout(plan: Plan, works: Sequence[Work], lowered: Sequence[bool]) -> Layout:
    """Where tensors lie inside others. lowered: which works have a lowering at all."""
    if not plan.assigns_once:
        return Layout(plan)
    maker = _Maker(plan, works, lowered)
    # Backwards, so that a concatenation of concatenations finds its place before its parts do.
    for work in reversed(works):
        if work.step.call.op == "CONCATENATION" and not work.step.call.node.custom:
            maker.join(work.step)
    for work in works:
        if work.step.call.node.custom or not work.step.static:
            continue
        if work.step.call.op in VIEWS:
            maker.rename(work.step)
        elif work.step.call.op in ("SPLIT", "SPLIT_V"):
            maker.split(work.step)
    maker.overwrite()
    return maker.result


class _Maker:
    def __init__(self, plan: Plan, works: Sequence[Work], lowered: Sequence[bool]) -> None:
        self.plan = plan
        self.works = works
        self.result = Layout(plan)
        self.users: dict[int, list[Step]] = {}
        self.native: set[int] = set()
        self.written: set[int] = set()
        for work, native in zip(works, lowered, strict=True):
            self.written.update(work.outputs)
            for i in {*work.inputs, *work.outputs}:
                self.users.setdefault(i, []).append(work.step)
                if native:
                    self.native.add(i)
        self.fixed = {*plan.graph.inputs, *plan.graph.outputs, *plan.values}
        self.fixed |= {i for i, t in enumerate(plan.graph.tensors) if t.is_variable}

    def join(self, step: Step) -> None:
        """Put the inputs of a concatenation into its output."""
        call, y = step.call, step.outputs[0]
        if not step.static or y in self.plan.values or call.dtype(0).numpy.hasobject:
            return
        from martlet.ops.joining import rescaled  # loaded for the operator, but not for others

        if any(rescaled(call, i) for i in range(call.inputs)):
            return
        shape = call.shape(0)
        if not shape or call.option("fused_activation_function") != "NONE":
            return
        if any(call.rank(i) != len(shape) for i in range(call.inputs)):
            return  # an input without elements may have another rank
        axis = int(call.option("axis")) % len(shape)
        lengths = [call.shape(i)[axis] for i in range(call.inputs)]
        placed = set()
        for i, tensor in enumerate(step.inputs):
            if step.inputs.count(tensor) == 1 and tensor in self.written:
                before = sum(lengths[:i])
                if self._place(tensor, y, call.shape(i), axis, before):
                    placed.add(i)
        self.result.in_place[step.number] = frozenset(placed)

    def split(self, step: Step) -> None:
        """Let the outputs of a split be parts of its input."""
        from martlet.ops.slicing import split_sizes

        call = step.call
        source = 1 if call.op == "SPLIT" else 0
        x, found = step.inputs[source], split_sizes(call)
        if found is None or x in self.plan.values or call.dtype(source).numpy.hasobject:
            return
        if self.plan.graph.tensors[x].is_variable or x not in self.native:
            return
        axis, sizes = found
        before = dict(self.result.parts)
        for i, tensor in enumerate(step.outputs):
            spec = step.specs[i]
            assert spec.shape is not None
            if not self._place(tensor, x, spec.shape, axis, sum(sizes[:i]), step):
                self.result.parts = before
                return
        self.result.idle.add(step.number)

    def rename(self, step: Step) -> None:
        """Let the output of a node that renames elements be its input, or the other way round."""
        x, y = step.inputs[0], step.outputs[0]
        parts, plan = self.result.parts, self.plan
        if x in plan.values or plan.graph.tensors[x].is_variable:
            return
        if step.call.dtype(0).numpy.hasobject:
            return
        if not {x, y, self.result.root(x), self.result.root(y)} & self.native:
            return
        if any(self.result.pitch(i) != _row(plan, i) for i in (x, y)):
            return
        if y not in parts and not (y in plan.graph.outputs and self.result.root(x) in self.fixed):
            parts[y] = Part(x, 0, _row(plan, y))
        elif y in parts and x not in parts and x not in self.fixed and x in self.written:
            parts[x] = Part(y, 0, _row(plan, x))
        else:
            return
        self.result.idle.add(step.number)

    def overwrite(self) -> None:
        """Let outputs lie where inputs lie that are read for the last time."""
        result, specs = self.result, self.plan.specs
        last: dict[int, float] = {}  # the work that needs a root for the last time
        for position, work in enumerate(self.works):
            for i in {*work.inputs, *work.outputs}:
                last[result.root(i)] = position
        last.update({result.root(i): math.inf for i in self.fixed})
        for position, work in enumerate(self.works):
            step = work.step
            if not step.static or step.number in result.idle or len(work.outputs) != 1:
                continue
            y = work.outputs[0]
            if y in result.parts or y == ABSENT:
                continue
            for x in _overwritten(work):
                root = result.root(x)
                if (
                    last.get(root) == position
                    and specs[x] == specs[y]
                    and _nbytes(self.plan, root) == _nbytes(self.plan, x)
                    and not any(i != x and result.root(i) == root for i in work.inputs)
                    and {x, root} & self.native
                ):
                    result.parts[y] = Part(root, 0, _row(self.plan, y))
                    last[root] = last[y]
                    break

    def _place(
        self, part: int, whole: int, shape: Sequence[int], axis: int, before: int,
        maker: Step | None = None,
    ) -> bool:  # fmt: skip
        """Make a tensor of that shape a part; `before`: what precedes it along the axis."""
        if part in self.fixed or part in self.result.parts or part == ABSENT or not shape:
            return False
        if math.prod(shape[:axis]) != 1 and axis != len(shape) - 1:
            return False
        pitch = self.result.pitch(whole)
        if pitch != shape[-1] and math.prod(shape[:-1]) != 1:
            steps = [s for s in self.users.get(part, []) if s is not maker]
            if not all(s.static and takes_pitch(s.call) for s in steps):
                return False
        if axis == len(shape) - 1:
            offset = before
        else:
            offset = before * math.prod(shape[axis + 1 : -1]) * pitch
        own = shape[-1] if math.prod(shape[:-1]) == 1 else pitch
        self.result.parts[part] = Part(whole, offset, own)
        return True


def _overwritten(work: Work) -> list[int]:
    """The tensors in whose memory its output may lie."""
    inputs, added = work.step.inputs, work.fused.residual
    residual = [] if added is None or added in inputs else [added]
    places = overwrites(work.step.call)
    return [inputs[i] for i in places if i != RESIDUAL] + residual * (RESIDUAL in places)


def _nbytes(plan: Plan, tensor: int) -> int:
    spec = plan.specs[tensor]
    return 0 if spec is None else spec.nbytes


def _row(plan: Plan, tensor: int) -> int:
    """The length of a tensor's rows, along its last dimension."""
    spec = plan.specs[tensor]
    assert spec is not None
    assert spec.shape is not None
    return spec.shape[-1] if spec.shape else 1

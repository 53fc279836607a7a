"""Plan -> works: neighbouring nodes that run as one.

A node whose lowering says that it absorbs such neighbours (`plan/lowering`) takes along

- the PAD by zeros of height and width before it,
- then, behind it, one after the other: an ADD of a tensor of its output's shape (a residual), the
  ADD of a constant behind a MUL (a batch norm), and an activation that is a node of its own.

What one of them hands to the next must have no other reader. A work runs where its last node
stood, since what an ADD adds may be computed only shortly before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from martlet.dtypes import DType
from martlet.graph import ABSENT
from martlet.plan.lowering import NO_FUSION, Fused, absorbs
from martlet.plan.planner import Plan, Step
from martlet.records import NamedTuple

ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")
"""Operators that are activations of others under the same name."""


class Work(NamedTuple):
    """Nodes that run as one: `step`, whose operator the kernel is, and the neighbours it absorbs.

    steps: all of them, in their order. fused: what they add to `step`.
    """

    step: Step
    steps: tuple[Step, ...]
    fused: Fused = NO_FUSION

    @property
    def inputs(self) -> list[int]:
        """The tensors that it reads."""
        inside = {i for step in self.steps for i in step.outputs}
        return [i for step in self.steps for i in step.inputs if i not in inside]

    @property
    def outputs(self) -> list[int]:
        """The tensors that it writes."""
        return self.steps[-1].outputs

    @property
    def parts(self) -> list[Work]:
        """The same, each node by itself."""
        return [Work(step, (step,)) for step in self.steps]


def works(plan: Plan) -> list[Work]:
    """All nodes of a plan, each in one work."""
    if not plan.assigns_once:
        return [Work(step, (step,)) for step in plan.steps]
    readers = _Readers(plan)
    found: dict[int, Work] = {}  # by the position of the last node
    taken: set[int] = set()
    for position, step in enumerate(plan.steps):
        if position in taken:
            continue
        work, positions = _work(plan, readers, position, step, taken)
        for other in positions - {position}:
            found.pop(other, None)  # a PAD, which stood by itself until now
        taken |= positions
        found[max(positions)] = work
    return [found[position] for position in sorted(found)]


class _Readers:
    """Who writes and who reads each tensor."""

    def __init__(self, plan: Plan) -> None:
        steps = list(enumerate(plan.steps))
        self.writer = {i: position for position, step in steps for i in step.outputs}
        self.count = Counter(i for _, step in steps for i in step.inputs)
        self.count.update(plan.graph.outputs)
        self.reader = {i: position for position, step in steps for i in step.inputs}
        self.kept = set(plan.graph.outputs)

    def only(self, tensor: int) -> int | None:
        """The position of the one step that reads a tensor, if that is all that reads it."""
        alone = self.count[tensor] == 1 and tensor not in self.kept
        return self.reader[tensor] if alone else None


def _work(
    plan: Plan, readers: _Readers, position: int, step: Step, taken: set[int]
) -> tuple[Work, set[int]]:
    able = absorbs(step.call) if step.static and _float32(plan, step.outputs) else frozenset()
    variable = any(i != ABSENT and plan.graph.tensors[i].is_variable for i in step.inputs)
    steps, positions, fused = [step], {position}, Fused()
    if "PAD" in able:
        before = readers.writer.get(step.inputs[0])
        padding = None if before is None else _padding(plan.steps[before])
        if before is not None and padding is not None and readers.only(step.inputs[0]) == position:
            pad = plan.steps[before]
            fused = fused._replace(image=pad.inputs[0], padding=padding)
            steps, positions = [pad, step], {before, position}
    activation = str(step.call.node.options.get("fused_activation_function", "NONE"))
    while able and not variable and activation == "NONE":
        after = readers.only(steps[-1].outputs[0])
        if after is None or after in taken:
            break
        change = _tail(plan, able, fused, steps[-1].outputs[0], plan.steps[after])
        if change is None:
            break
        fused, activation = change, str(change.activation)
        steps.append(plan.steps[after])
        positions.add(after)
    if len(steps) > 1:
        fused = fused._replace(output=steps[-1].outputs[0])
    return Work(step, tuple(steps), fused), positions


def _float32(plan: Plan, tensors: Iterable[int]) -> bool:
    specs = [plan.specs[i] for i in tensors if i != ABSENT]
    return all(spec is not None and spec.dtype is DType.FLOAT32 for spec in specs)


def _padding(step: Step) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """(before, after) of height and of width that a PAD by zeros adds to an image."""
    call = step.call
    if call.op != "PAD" or call.node.custom or not step.static or call.value(0) is not None:
        return None
    if call.graph.tensors[step.inputs[0]].is_variable or call.rank(0) != 4:
        return None
    from martlet.ops.padding import pad_edges  # loaded for the operator, but not for others

    edges = pad_edges(call)
    if edges is None or any(edges[0]) or any(edges[3]):
        return None
    return edges[1], edges[2]


def _tail(plan: Plan, able: frozenset[str], fused: Fused, tensor: int, after: Step) -> Fused | None:
    """`fused` with the node that reads the output, `tensor`, too; None if that cannot join."""
    call = after.call
    if call.node.custom or not after.static or not _float32(plan, after.outputs):
        return None
    if call.op in ACTIVATIONS and "ACTIVATION" in able:
        return fused._replace(activation=call.op)
    if call.op != "ADD" or fused.residual is not None or fused.shift is not None:
        return None
    other = next(i for i in after.inputs if i != tensor)
    activation = str(call.option("fused_activation_function"))
    result, spec = plan.specs[after.outputs[0]], plan.specs[other]
    assert result is not None
    assert spec is not None
    given = plan.specs[tensor]
    if given is None or given.shape != result.shape:
        return None
    if "SHIFT" in able and other in plan.values:
        return fused._replace(shift=plan.values[other], activation=activation)
    whole = spec.shape == result.shape and other not in plan.values
    if "ADD" in able and whole:
        return fused._replace(residual=other, activation=activation)
    return None

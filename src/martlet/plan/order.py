"""Which steps may run beside each other.

Threads that find nothing left to do in a step go on with the next while others are still busy,
unless the two conflict: one writes bytes that the other reads or writes. What a step touches is
known once all tensors have their addresses (`runtime/native.py`): the tensors and the scratch that
its arguments point to, whole. An input is read; outputs, scratch and variables count as written.

Steps wait for all steps up to the last one that they conflict with. So this is one number for each
step, it never falls below that of the step before, and to find it a few pairs have to be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from martlet.plan.fusion import Work
from martlet.plan.lowering import STATUS_BYTES, Lowering, Ref
from martlet.records import NamedTuple


class Span(NamedTuple):
    """Bytes from `start` to before `stop`: all of them, or with a pitch those of rows of `row`
    bytes that begin `pitch` bytes apart."""

    start: int
    stop: int
    pitch: int = 0
    row: int = 0


class Touched(NamedTuple):
    """What a step reads and what it writes, maybe having read it."""

    reads: list[Span]
    writes: list[Span]


def rows(start: int, nbytes: int, pitch: int, row: int) -> Span:
    """The span of rows of `row` bytes, `nbytes` together, that begin `pitch` bytes apart."""
    between = (nbytes // row - 1) * (pitch - row) if row and nbytes else 0
    return Span(start, start + nbytes + between, pitch, row)


def touched(
    work: Work, lowering: Lowering, span: Callable[[int], Span], scratch: Sequence[int], status: int
) -> list[Touched]:
    """What the steps of a work touch. span: of a tensor; scratch, status: addresses of its own."""
    tensors, inputs = lowering.call.graph.tensors, work.inputs
    found = []
    for step in lowering.steps:
        reads: list[Span] = []
        writes: list[Span] = []
        for kind, i in {(a.kind, a.index) for a in step.arguments if type(a) is Ref}:
            if kind == "tensor":
                read = i in inputs and not tensors[i].is_variable
                (reads if read else writes).append(span(i))
            elif kind == "scratch":
                start = scratch[i]
                writes.append(Span(start, start + lowering.scratch_bytes[i], 0, 0))
            elif kind == "status":
                writes.append(Span(status, status + STATUS_BYTES * len(lowering.statuses), 0, 0))
        found.append(Touched(reads, writes))
    return found


def beside(steps: Sequence[Touched]) -> list[int]:
    """For each step: how many of those right before it may run beside it."""
    found = []
    free = 0  # the first step that the step before need not wait for
    for i, step in enumerate(steps):
        for j in range(i - 1, free - 1, -1):
            if _conflict(step, steps[j]):
                free = j + 1
                break
        found.append(i - free)
    return found


def _conflict(a: Touched, b: Touched) -> bool:
    return _meet(a.writes, b.reads) or _meet(a.reads, b.writes) or _meet(a.writes, b.writes)


def _meet(some: list[Span], others: list[Span]) -> bool:
    for a in some:
        for b in others:
            if a.start < b.stop and b.start < a.stop and not _alternate(a, b):
                return True
    return False


def _alternate(a: Span, b: Span) -> bool:
    """Whether they are rows of one whole, each beside the other: different columns of it."""
    if not a.pitch or a.pitch != b.pitch:
        return False
    apart = (b.start - a.start) % a.pitch
    return a.row <= apart and apart + b.row <= a.pitch

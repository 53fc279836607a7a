"""Where the tensors of a native plan lie in memory.

`lay_out` gives every tensor that native steps touch, and their scratch, a place in one arena; what
lives at different times shares memory. In debug mode (`MARTLET_DEBUG=1`) nothing is shared:
- every place has a zone on both sides that nobody may write, and `Memory.check` looks at them;
- the arena ends where a page begins that nobody may touch, and so does what precedes it;
- memory that was never written holds no numbers (all bits set), so that its use shows.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Sequence

import numpy as np

from martlet.cache_lines import ALIGNMENT, on_a_line
from martlet.graph import ABSENT
from martlet.ops.operator import Spec
from martlet.plan.arena import Life, longer, overlaps, place
from martlet.plan.fusion import Work
from martlet.plan.layout import Layout
from martlet.plan.lowering import Lowering
from martlet.plan.planner import Plan
from martlet.records import dataclass, field

ZONE = 4 * ALIGNMENT  # bytes on each side of a place, in debug mode
UNTOUCHED = 0xA5

Pairs = list[tuple[Work, "Lowering | None"]]
"""Works in their order, with the steps that they became; None where NumPy runs them."""


@dataclass
class Memory:
    """arena: bytes. offsets: of the tensors in it; scratch: of each work's scratch, both in bytes.
    zones: (start, stop, whose) of what nobody may write."""

    arena: np.ndarray
    offsets: dict[int, int]
    scratch: list[list[int]]
    zones: list[tuple[int, int, str]] = field(default_factory=list)

    def check(self, who: str) -> None:
        """Raise if a zone was written; `who` wrote last."""
        for start, stop, whose in self.zones:
            zone = self.arena[start:stop]
            if (zone != UNTOUCHED).any():
                at = start + int(np.argmax(zone != UNTOUCHED))
                raise AssertionError(f"{who} wrote to byte {at} of the arena, beside {whose}")


def lay_out(
    plan: Plan, pairs: Pairs, where: Layout, debug: bool = False, threads: int = 1
) -> Memory:
    """Places for all that native steps touch."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}

    def touch(i: int, position: int) -> None:
        i = where.root(i)
        first[i] = min(first.get(i, position), position)
        last[i] = max(last.get(i, position), position)

    used: list[int] = []
    wanted: set[int] = set()
    for position, (work, lowering) in enumerate(pairs):
        for i in [*work.inputs, *work.outputs]:
            if i != ABSENT and i not in plan.values and not is_kept(plan, i):
                touch(i, position)
                used.append(i)
                if lowering is not None:
                    wanted.add(where.root(i))
    for i in plan.graph.inputs:
        if i != ABSENT and where.root(i) in first:
            touch(i, -1)
            touch(i, len(pairs))
    for i in plan.graph.outputs:
        if where.root(i) in first:
            touch(i, len(pairs))
    tensors = sorted(wanted)
    lives = [Life(spec_of(plan, i).nbytes, first[i], last[i]) for i in tensors]
    owners = [f"tensor {i} {plan.graph.tensors[i].name!r}" for i in tensors]
    counts = []
    for position, (work, lowering) in enumerate(pairs):
        sizes = lowering.scratch_bytes if lowering else []
        counts.append(len(sizes))
        lives += [Life(n, position, position) for n in sizes]
        owners += [f"scratch of {work.step.call.place}"] * len(sizes)
    places, size = place(longer(lives) if threads > 1 else lives)
    zones: list[tuple[int, int, str]] = []
    if debug:
        assert not overlaps(lives, places), [
            (owners[i], owners[j]) for i, j in overlaps(lives, places)
        ]
        places, size, zones = _apart(lives, owners)
    roots = dict(zip(tensors, places, strict=False))
    offsets = {}
    for i in {*used, *tensors}:
        if where.root(i) in roots:
            itemsize = spec_of(plan, i).dtype.numpy.itemsize
            offsets[i] = roots[where.root(i)] + itemsize * where.offset(i)
    rest = iter(places[len(tensors) :])
    scratch = [[next(rest) for _ in range(n)] for n in counts]
    memory = Memory((_guarded if debug else _bytes)(size), offsets, scratch, zones)
    for start, stop, _ in zones:
        memory.arena[start:stop] = UNTOUCHED
    return memory


def is_kept(plan: Plan, i: int) -> bool:
    """Whether a tensor is a variable that the session keeps."""
    tensor = plan.graph.tensors[i]
    return tensor.is_variable and not tensor.is_constant and i not in plan.graph.inputs


def spec_of(plan: Plan, i: int) -> Spec:
    """The spec of a tensor that something computes."""
    spec = plan.specs[i]
    assert spec is not None
    return spec


def _apart(
    lives: Sequence[Life], owners: Sequence[str]
) -> tuple[list[int], int, list[tuple[int, int, str]]]:
    """(places that share nothing, size, the zones between them)."""
    places, zones, at = [], [], 0
    for life, owner in zip(lives, owners, strict=True):
        places.append(at + ZONE)
        end = at + ZONE + life.nbytes
        zones.append((at, at + ZONE, owner))
        at = -(-end // ALIGNMENT) * ALIGNMENT
        zones.append((end, at + ZONE, owner))
        at += ZONE
    return places, at, zones


def _bytes(size: int) -> np.ndarray:
    """Bytes that start on a cache line; the system clears them when they are first touched."""
    return on_a_line(np.zeros, size)


def _guarded(size: int) -> np.ndarray:
    """Bytes between pages that nobody may touch, all bits of them set."""
    page = mmap.PAGESIZE
    pages = -(-size // page) * page
    memory = np.frombuffer(mmap.mmap(-1, pages + 2 * page), np.uint8)
    protect: Callable[..., int] = ctypes.CDLL(None, use_errno=True).mprotect
    for start in (0, page + pages):
        if protect(ctypes.c_void_p(memory.ctypes.data + start), ctypes.c_size_t(page), 0):
            raise OSError(ctypes.get_errno(), "no guard page")
    arena = memory[page + pages - size : page + pages]
    arena[:] = 0xFF
    return arena

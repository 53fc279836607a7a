"""Offsets in one block of memory for values that live at different times.

Greedy by size (Pisarchyk & Lee, arXiv 2001.03288):
1. Take the values from the largest to the smallest.
2. Put each into the lowest gap that is free, for its whole life, of the values placed so far.
3. Where that leaves gaps, try again with the long-lived values first, which are hard to place late.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from itertools import accumulate

from martlet.cache_lines import ALIGNMENT
from martlet.records import NamedTuple

LONG = 10  # a value that lives through more than one of so many parts of a plan is long-lived
SLACK = 1.02  # more than the largest sum of what lives at once is worth another try
FULL = 0.9  # of the most that lives at once: where more lives, no life is made longer
GUARD = 64  # bytes behind the last value, so that whole vectors may be read there


class Life(NamedTuple):
    """A value of `nbytes` that must be kept from step `first` to step `last`, both included."""

    nbytes: int
    first: int
    last: int


def place(lives: Sequence[Life]) -> tuple[list[int], int]:
    """(offset of each value, size of the arena), in bytes."""

    def size(i: int) -> tuple[int, int]:
        return -lives[i].nbytes, lives[i].first

    def long_lived(i: int) -> tuple[bool, int, int]:
        return (lives[i].last - lives[i].first) * LONG < steps, *size(i)

    offsets, end = _place(lives, sorted(range(len(lives)), key=size))
    if end > SLACK * max(_sums(lives), default=0):
        steps = max(life.last for life in lives)
        others, sooner = _place(lives, sorted(range(len(lives)), key=long_lived))
        if sooner < end:
            offsets, end = others, sooner
    return offsets, end + GUARD


def _place(lives: Sequence[Life], order: Sequence[int]) -> tuple[list[int], int]:
    """(offset of each value, where the last one ends) when they are placed in an order."""
    offsets = [0] * len(lives)
    placed: list[tuple[int, int, Life]] = []  # start, end, life; in the order of their starts
    for i in order:
        life = lives[i]
        need = -(-life.nbytes // ALIGNMENT) * ALIGNMENT
        position = 0
        for start, end, other in placed:
            if other.last < life.first or life.last < other.first:
                continue
            if start - position >= need:
                break
            position = max(position, end)
        offsets[i] = position
        insort(placed, (position, position + need, life))
    return offsets, max((end for _, end, _ in placed), default=0)


def longer(lives: Sequence[Life]) -> list[Life]:
    """The same values, kept for a step more wherever memory is not short.

    The next step then writes somewhere else, so that it need not wait for the last readers.
    """
    most = max(_sums(lives), default=0)
    later = [life._replace(last=life.last + 1) for life in lives]
    sums = _sums(later)
    return [
        long if max(sums[long.first + 1 : long.last + 2]) <= FULL * most else life
        for life, long in zip(lives, later, strict=True)
    ]


def _sums(lives: Sequence[Life]) -> list[int]:
    """Bytes that live in each step, from step -1 on."""
    changes = [0] * (max((life.last for life in lives), default=0) + 3)
    for life in lives:
        changes[life.first + 1] += life.nbytes
        changes[life.last + 2] -= life.nbytes
    return list(accumulate(changes))


def overlaps(lives: Sequence[Life], offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of values that share a byte while both live: [] for a sound plan."""
    found = []
    for i, a in enumerate(lives):
        for j in range(i):
            b = lives[j]
            together = a.first <= b.last and b.first <= a.last
            apart = offsets[i] + a.nbytes <= offsets[j] or offsets[j] + b.nbytes <= offsets[i]
            if together and not apart:
                found.append((j, i))
    return found

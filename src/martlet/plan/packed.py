"""Packed weights: made once for each file in a process, shared by all its plans.

Plans for other shapes or numbers of threads and further interpreters of the same file hold the
same arrays. They live as long as one plan needs them. The weights as the file has them are not
needed once they are packed, so the system may take their memory back.

Kernels pack, while the plan is still being made (`runtime/background.py`): a lowering gets the
array at once, and what it will hold when the plan is complete. Some rare layouts are made by NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from weakref import WeakValueDictionary

import numpy as np

from martlet.cache_lines import on_a_line
from martlet.records import NamedTuple
from martlet.schema.file import forget, place_of

LINE = 16  # float32 in a cache line
LARGEST_ROOM = 4 << 20  # float32 asked of the system at once, unless there is more to pack

_known: WeakValueDictionary[Hashable, np.ndarray] = WeakValueDictionary()


class Job(NamedTuple):
    """A kernel that reads weights where they are and writes all of a target, or its piece of one.

    numbers: its arguments after these two.
    """

    kernel: str
    weights: np.ndarray
    target: np.ndarray
    numbers: tuple[int, ...]
    units: int


class Piece(NamedTuple):
    """A part of joined weights: what a kernel makes of it, from `start` to `stop` in the whole.

    numbers: its arguments after weights and target.
    """

    weights: np.ndarray
    kernel: str
    numbers: tuple[int, ...]
    units: int
    start: int
    stop: int


class Pack(NamedTuple):
    """What was asked of a `Packing`, for weights at `place` in a file (None: of no file)."""

    packed: np.ndarray
    kernel: str
    place: tuple[int, ...] | None
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    numbers: tuple[int, ...]
    size: int
    units: int


class Packing:
    """The packed weights of one plan. do: begins a job; without it, somebody else does `jobs`.

    total: float32 that will be packed, if that is known. packs: all that was asked for, also what
    other plans had made, but for what is joined.
    """

    def __init__(self, do: Callable[[Job], None] | None = None, total: int = 0) -> None:
        self.jobs: list[Job] = []
        self.packs: list[Pack] = []
        self._do = do
        self._made: dict[Hashable, np.ndarray] = {}
        self._room = _unwritten(total)
        self._taken = 0
        self._of_files: set[Hashable] = set()
        """Keys of what is made of nothing but parts of files."""

    def packed(
        self, weights: np.ndarray, lanes: int, kernel: str, *numbers: int, size: int, units: int
    ) -> np.ndarray:
        """What a kernel will have made of float32 or float16 weights: float32, so many.

        numbers: its arguments after weights and target. The same array for the same weights, and
        for the same part of a file, in the same layout.
        """
        layout = (lanes, kernel, numbers)
        key = _key(weights, layout) or (weights.ctypes.data, *_form(weights), layout)
        found = self._made.get(key)
        if found is None:
            found = _known.get(key)
        if found is None:
            found = self._made[key] = self._take(size)
            if place_of(weights) is not None:
                self._of_files.add(key)
            self._begin(kernel, weights, found, numbers, units)
        self.packs.append(
            Pack(
                found, kernel, place_of(weights), weights.dtype.str, weights.shape,
                weights.strides, numbers, size, units,
            )
        )  # fmt: skip
        return found

    def _take(self, size: int) -> np.ndarray:
        """Room for so many float32, of any value, on cache lines.

        The first write to a page of memory costs as much as writing it ten times. The system has
        larger pages, but for large blocks alone; each here is as large as all before it.
        """
        whole = -(-size // LINE) * LINE
        if whole > self._room.size:
            self._room = _unwritten(max(whole, min(self._taken, LARGEST_ROOM)))
        found, self._room = self._room[:size], self._room[whole:]
        self._taken += whole
        return found

    def joined(self, pieces: Sequence[Piece], layout: Hashable, size: int) -> np.ndarray:
        """What kernels will have made of several weights, which fill it: float32, so many.

        Shared as the others are, if all the weights are parts of files.
        """
        keys = [_key(piece.weights, piece[1:]) for piece in pieces]
        of_files, key = None not in keys, ("joined", *keys, layout)
        found = self._made.get(key)
        if found is None and of_files:
            found = _known.get(key)
        if found is None:
            found = self._take(size)
            if of_files:
                self._made[key] = found
                self._of_files.add(key)
            for weights, kernel, numbers, units, start, stop in pieces:
                self._begin(kernel, weights, found[start:stop], numbers, units)
        return found

    def _begin(
        self, kernel: str, weights: np.ndarray, target: np.ndarray, numbers: tuple[int, ...],
        units: int,
    ) -> None:  # fmt: skip
        source = "f16" if weights.dtype == np.float16 else "f32"
        job = Job(f"{kernel}_{source}", weights, target, numbers, units)
        self.jobs.append(job)
        if self._do is not None:
            self._do(job)

    def publish(self) -> None:
        """All jobs are done: other plans may have what they made."""
        for key in self._of_files:
            _known.setdefault(key, self._made[key])
        for job in self.jobs:
            if not job.weights.flags.c_contiguous:  # others lay between, and are packed now
                forget(job.weights)
        self.jobs, self._made, self._of_files = [], {}, set()


def packed(weights: np.ndarray, layout: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What `make` makes of weights, a view of a file's bytes: the same array for the same part
    of the same file in the same layout."""
    key = _key(weights, layout)
    if key is None:
        return make()
    found = _known.get(key)
    if found is None:
        found = _known.setdefault(key, make())
    if weights.flags.c_contiguous:
        forget(weights)
    return found


def _key(weights: np.ndarray, layout: Hashable) -> Hashable:
    """What tells weights of files in layouts apart; None for weights of no file."""
    place = place_of(weights)
    return None if place is None else (place, *_form(weights), layout)


def _form(weights: np.ndarray) -> tuple[Hashable, ...]:
    return weights.dtype.char, weights.shape, weights.strides


def _unwritten(count: int) -> np.ndarray:
    """float32 of any value that start on a cache line."""
    return on_a_line(np.empty, 4 * count).view(np.float32)

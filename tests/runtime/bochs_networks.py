"""Whole models on AVX-512 code that runs in Bochs.

    python bochs_networks.py random COUNT    random networks, so many, beside NumPy
    python bochs_networks.py corpus          the corpus' cases, beside TensorFlow Lite's answers

It is a program of its own because the emulator takes its process down at the end.

The emulated processor sees all memory of this process at the same addresses: an entry of its page
tables covers 2**30 bytes, and each page under it is handed over when it is first touched.
Kernels are compiled when a plan first asks for them.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

TESTS = Path(__file__).parent.parent
sys.path += [str(TESTS), str(TESTS / "kernels")]

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from bochs_guest import PAGE, PRESENT, WRITABLE, Memory, Processor, leave, load_emulator  # noqa: E402
from corpus import cases, run_case  # noqa: E402
from martlet.kernels.compiler import compile_object  # noqa: E402
from martlet.kernels.linker import link, read_object  # noqa: E402
from martlet.kernels.registry import kernels_of  # noqa: E402
from martlet.kernels.targets import TARGETS  # noqa: E402
from martlet.runtime import session  # noqa: E402
from martlet.runtime.executable import copy_code  # noqa: E402
from random_networks import compare  # noqa: E402

TARGET = TARGETS["x86-64-avx512"]
LARGE, SLOTS = 1 << 30, 1 << 36  # bytes of a large page; where their physical addresses begin
IS_LARGE = 1 << 7
CALLED = ("run_jobs", "post")  # by their addresses, while a plan is made


class HostMemory(Memory):
    """The memory of this process."""

    def __init__(self, bochscpu: Any) -> None:
        super().__init__(bochscpu)
        self._large: list[int] = []
        """Which large page of this process each slot of physical memory is."""

    def see(self) -> None:
        """Let the guest reach what is mapped by now."""
        with open("/proc/self/maps") as maps:
            ranges = [line.split()[0].split("-") for line in maps if "[vsyscall]" not in line]
        for start, end in ranges:
            for number in range(int(start, 16) // LARGE, -(-int(end, 16) // LARGE)):
                if number not in self._large:
                    physical = SLOTS + len(self._large) * LARGE
                    self._large.append(number)
                    _, table = self._table(1, number >> 9)
                    table[number & 511] = physical | PRESENT | WRITABLE | IS_LARGE

    def hand_over(self, physical: int) -> None:
        """A physical page that is touched for the first time."""
        slot, offset = divmod(physical - SLOTS, LARGE)
        self._insert(physical // PAGE * PAGE, self._large[slot] * LARGE + offset // PAGE * PAGE)


class EmulatedImage:
    """In place of a `LoadedImage`."""

    def __init__(self) -> None:
        bochscpu = load_emulator()
        self._memory = HostMemory(bochscpu)
        self._processor = Processor(bochscpu, self._memory)
        self._processor.on_missing_page(self._memory.hand_over)
        self._kernels = {kernel.name: kernel for kernel in kernels_of(TARGET)}
        self._places: dict[str, int] = {}
        self.image = SimpleNamespace(target=TARGET.name)
        self.lanes = TARGET.lanes
        self.calls = 0
        self.run_alone, self.run_shared = self._entry("run_alone"), self._entry("run_shared")
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        self._callable = {name: function(self._entry(name)) for name in CALLED}

    @property
    def names(self) -> list[str]:
        """The kernels that were asked for."""
        return sorted(self._places)

    def _place(self, name: str) -> int:
        if name not in self._places:
            piece = read_object(compile_object(self._kernels[name].module(TARGET), TARGET))
            code, offsets = link({name: piece})
            self._places[name] = copy_code(code) + offsets[name]
        return self._places[name]

    def _entry(self, name: str) -> Any:
        def call(*arguments: int) -> None:
            self._memory.see()
            self._processor.call(self._place(name), *arguments)
            self.calls += 1

        return call

    def address(self, name: str) -> int:
        """Where the guest finds a kernel, or this process a function that calls it there."""
        if name in CALLED:
            return cast(int, ctypes.cast(self._callable[name], ctypes.c_void_p).value)
        return self._place(name)

    def work(self, pool: int) -> None:
        """A thread that never comes to help: there is one processor."""

    def stop(self, pool: int) -> None:
        """No thread is there to be stopped."""


def run_random(count: int) -> str:
    @settings(
        deadline=None, max_examples=count, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def networks(data: st.DataObject) -> None:
        compare(data)

    networks()
    return f"{count} networks"


def run_corpus() -> str:
    wrong = {}
    for case in cases():
        if problems := run_case(case, reference=False):
            wrong[f"{case.part}/{case.name}"] = problems
    if wrong:
        raise AssertionError(wrong)
    return f"{len(cases())} cases"


def main(what: str, *arguments: str) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # the guest has one processor
    image = EmulatedImage()
    vars(session)["host_image"] = lambda: image
    done = run_corpus() if what == "corpus" else run_random(int(arguments[0]))
    print(f"{done}, {image.calls} calls; kernels: {' '.join(image.names)}", flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BaseException:
        sys.excepthook(*sys.exc_info())
        leave(1)
    leave(0)

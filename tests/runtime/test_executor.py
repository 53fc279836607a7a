"""Threads of another processor that share steps, under an emulator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from emulated import PAGE, Guest, can_emulate, guest
from martlet.kernels.executor import entry_points
from martlet.kernels.slots import (
    BESIDE,
    BLOCK,
    COUNT,
    GRAIN,
    KERNEL,
    SLOTS,
    STEPS,
    SYSCALL,
    THREADS,
    UNITS,
    YIELD,
)
from martlet.kernels.targets import TARGETS
from steps import MIRROR, UNITS_PER_STEP, computed

TARGET = TARGETS["aarch64-neon"]
pytestmark = pytest.mark.skipif(
    not can_emulate(TARGET), reason="this machine has no emulator for AArch64"
)
ENTRIES = {entry.name: entry for entry in entry_points()}
NUMBER, ROUNDS = 30, 20  # of steps, of what each does

# A function of a block [stack, function, argument, ended]: starts a thread there (`clone`), which
# calls function(argument), sets `ended` to 1 and ends.
START_THREAD = """
    eb0300aa 610140f9 00e081d2 a000a0f2 020080d2 030080d2 040080d2 881b80d2 010000d4 400100b5
    f3030baa 600940f9 690540f9 20013fd6 290080d2 690e00f9 000080d2 a80b80d2 010000d4 c0035fd6
"""
SCHED_YIELD = "880f80d2 010000d4 c0035fd6"


@contextmanager
def workers(there: Guest, pool: int, count: int, work: int, stop: int) -> Iterator[None]:
    """Threads of the guest in `work(pool)`, until the end."""
    start = there.load(bytes.fromhex(START_THREAD))
    size = 16 * PAGE
    with there.memory(size * max(count, 1)) as base:
        blocks = range(base, base + size * count, size)
        for block in blocks:
            there.fill(block, np.array([block + size, work, pool, 0], np.int64).tobytes())
            there.call(start, block, (0, 0))
        yield
        there.call(stop, pool, (0, 0))
        for block in blocks:
            while not there.fetch(block + 24, 8)[0]:
                time.sleep(0.001)


@pytest.mark.parametrize("chains", [1, 2, 5])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_of_aarch64_wait_for_what_they_read(threads: int, chains: int) -> None:
    there = guest(TARGET)
    run_shared, work, stop = (
        there.function(ENTRIES[name], TARGET)  # type: ignore[arg-type]
        for name in ("run_shared", "work", "stop")
    )
    mirror = there.function(MIRROR, TARGET)
    rows = np.zeros((NUMBER + chains, UNITS_PER_STEP), np.uint32)
    with there.memory(8 * SLOTS * (NUMBER + 1) + 32 * NUMBER + rows.nbytes) as pool:
        steps = pool + 8 * SLOTS
        blocks = steps + 8 * SLOTS * NUMBER
        data = blocks + 32 * NUMBER
        block = np.zeros(SLOTS, np.int64)
        block[[STEPS, COUNT, THREADS]] = steps, NUMBER, threads
        block[YIELD] = there.load(bytes.fromhex(SCHED_YIELD))
        block[SYSCALL] = there.load(bytes.fromhex(there.machine.system))
        there.fill(pool, block.tobytes())
        records = np.zeros((NUMBER, SLOTS), np.int64)
        for i, record in enumerate(records):
            x, y = (data + rows[0].nbytes * k for k in (i, i + chains))
            words = np.array([x, y, UNITS_PER_STEP, ROUNDS], np.int64)
            there.fill(blocks + 32 * i, words.tobytes())
            record[[KERNEL, BLOCK, UNITS, GRAIN, BESIDE]] = (
                mirror, blocks + 32 * i, UNITS_PER_STEP, 1, chains - 1,
            )  # fmt: skip
        there.fill(steps, records.tobytes())
        with workers(there, pool, threads - 1, work, stop):
            for seed in range(10):
                rows[:] = 0
                begin = rows[:chains]
                begin[:] = np.random.default_rng(seed).integers(0, 1 << 32, begin.shape)
                there.fill(data, rows.tobytes())
                there.call(run_shared, pool, (0, 0))
                found = np.frombuffer(there.fetch(data, rows.nbytes), np.uint32)
                assert found.tobytes() == computed(rows, chains, ROUNDS).tobytes()

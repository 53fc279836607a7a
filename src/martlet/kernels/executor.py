"""The functions that Python calls: run all steps of a plan, alone or with others.

A plan's steps are records of 24 eight-byte slots, three cache lines, so that the counters that
threads share do not lie beside what all of them read:

    line 0   kernel, argument block, units, grain
    line 1   the next unit that nobody took yet
    line 2   how many threads are done with the step

With one thread, each kernel is called once for all its units. With several, every thread walks
all steps; in each it takes `grain` units at a time from the shared counter until none are left,
and then waits until the others are done, since the next step reads what this one wrote. Work is
taken, not dealt out, so that a thread whose processor is busy elsewhere takes less.

A pool is a block of 24 slots too:

    line 0   steps, number of steps, number of threads, address of the system's `sched_yield`,
             address of its `syscall`
    line 1   generation: counts up when there is work; workers wait for it to change
    line 2   how many workers finished the current run
"""

from __future__ import annotations

from martlet.kernels.kernel import EntryPoint
from martlet.kernels.language import I64, Builder, Pointer, Value, arguments

SLOTS = 24
KERNEL, BLOCK, UNITS, GRAIN, NEXT, DONE = 0, 1, 2, 3, 8, 16
STEPS, COUNT, THREADS, YIELD, SYSCALL, GENERATION, FINISHED = 0, 1, 2, 3, 4, 8, 16
STOP = -1  # a generation that ends workers

SPINS_AT_BARRIER = 2000  # then the processor is offered to others between looks
SPINS_BEFORE_SLEEP = 20000
FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE = 128, 129
SYS_FUTEX = {"x86_64": 202, "aarch64": 98}


def run_alone(k: Builder, pool: Pointer) -> None:
    """All steps on the calling thread."""
    steps = k.pointer_at(pool, STEPS, I64)
    for i in k.range(0, k.scalar(pool, COUNT)):
        step = steps + i * SLOTS
        _call(k, step, k.constant(0, I64), k.scalar(step, UNITS))


def _call(k: Builder, step: Pointer, first: Value, last: Value) -> None:
    kernel = k.pointer_at(step, KERNEL, I64)
    block = k.pointer_at(step, BLOCK, I64)
    k.call(kernel, block, first, last)


def _share(k: Builder, pool: Pointer) -> None:
    """Walk all steps as one of several threads."""
    steps = k.pointer_at(pool, STEPS, I64)
    threads = k.scalar(pool, THREADS)
    for i in k.range(0, k.scalar(pool, COUNT)):
        step = steps + i * SLOTS
        units, grain = k.scalar(step, UNITS), k.scalar(step, GRAIN)
        with k.forever() as taking:
            first = k.atomic_add(step + NEXT, grain)
            taking.leave_if(first >= units)
            _call(k, step, first, k.minimum(first + grain, units))
        k.atomic_add(step + DONE, 1)
        _wait(k, pool, step + DONE, threads)


def _wait(k: Builder, pool: Pointer, counter: Pointer, wanted: Value) -> None:
    """Until the counter reaches a value: looking hard at first, then yielding."""
    spins = k.variable(k.constant(0, I64))
    with k.forever() as waiting:
        waiting.leave_if(k.atomic_load(counter) >= wanted)
        k.pause()
        spins.value = spins.value + 1
        with k.when(spins.value > SPINS_AT_BARRIER):
            k.call(k.pointer_at(pool, YIELD, I64))


def _futex(k: Builder, pool: Pointer, machine: str, operation: int, value: Value) -> None:
    zero = k.constant(0, I64)
    number = k.constant(SYS_FUTEX[machine], I64)
    op = k.constant(operation, I64)
    k.call(k.pointer_at(pool, SYSCALL, I64), number, pool + GENERATION, op, value, zero, zero, zero)


def run_shared(machine: str) -> EntryPoint:
    """All steps, with the workers of the pool: resets the counters, wakes them, takes part."""

    def write(k: Builder, pool: Pointer) -> None:
        steps = k.pointer_at(pool, STEPS, I64)
        for i in k.range(0, k.scalar(pool, COUNT)):
            step = steps + i * SLOTS
            k.store(step, NEXT, k.constant(0, I64))
            k.store(step, DONE, k.constant(0, I64))
        k.store(pool, FINISHED, k.constant(0, I64))
        k.atomic_add(pool + GENERATION, 1)
        _futex(k, pool, machine, FUTEX_WAKE_PRIVATE, k.constant(1 << 30, I64))
        _share(k, pool)
        _wait(k, pool, pool + FINISHED, k.scalar(pool, THREADS) - 1)

    return EntryPoint("run_shared", write, arguments("pool: *i64"))


def work(machine: str) -> EntryPoint:
    """A worker's life: wait for a new generation, run its share, again, until told to stop.

    `seen` is the generation at which the worker was made.
    """

    def write(k: Builder, pool: Pointer, seen: Value) -> None:
        known = k.variable(seen)
        with k.forever() as living:
            spins = k.variable(k.constant(0, I64))
            spins.value = k.constant(0, I64)
            with k.forever() as waiting:
                waiting.leave_if(k.atomic_load(pool + GENERATION).differs(known.value))
                k.pause()
                spins.value = spins.value + 1
                with k.when(spins.value > SPINS_BEFORE_SLEEP):
                    _futex(k, pool, machine, FUTEX_WAIT_PRIVATE, known.value)
            known.value = k.atomic_load(pool + GENERATION)
            living.leave_if(known.value < 0)
            _share(k, pool)
            k.atomic_add(pool + FINISHED, 1)

    return EntryPoint("work", write, arguments("pool: *i64", "seen: i64"))


def entry_points(machine: str) -> tuple[EntryPoint, ...]:
    """The functions of every image for a machine."""
    alone = EntryPoint("run_alone", run_alone, arguments("pool: *i64"))
    return (alone, run_shared(machine), work(machine))

"""The functions that Python calls: run all steps of a plan, alone or with others.

A plan's steps are records of 24 eight-byte slots, three cache lines, so that the counters that
threads share do not lie beside what all of them read:

    line 0   kernel, argument block, units, grain, and how many of the steps right before it may
             run beside it
    line 1   the next unit that nobody took yet
    line 2   how many units are done

With one thread, each kernel is called once for all its units. With several, every thread walks
all steps; in each it takes pieces from the shared counter until none are left. Before that, it
waits until all units of those steps are done that must be: the plan knows which (`plan/order.py`),
and where it says nothing, all steps before it are. So a thread that finds nothing left in a step
goes on with the next while others are still busy. Work is taken, not dealt out, so that a thread
whose processor is busy elsewhere takes less. A piece is a thread's fair share of what is left, as
far as the thread knows, in multiples of the step's grain: so there are few of them, and the last
ones are small enough that all threads end together.

A kernel's writes are seen by whoever waited for its step: units are counted as done by atomic
additions, which release what the thread wrote before, and looked at by loads that acquire it.

A pool is a block of 24 slots too:

    line 0   steps, number of steps, number of threads, address of the system's `sched_yield`,
             address of its `syscall`
    line 1   generation: odd while there is a run, even between runs
    line 2   how many workers are in a run, how many sleep, whether they are to end, and the
             processor on which one fell asleep last

Nobody waits for a worker that did not come. A worker enters a run by counting itself in and then
looking whether the run is still open; the run is closed first, then it waits until those inside
have left. So a run needs no certain number of workers, and when it returns, none of them looks at
its steps any more.

Linux wakes a thread on the processor where it slept, even if that is the one of the thread that
wakes it and goes on working, and may leave both there for many milliseconds where it knows of no
cache that the processors share (as in most virtual machines). The thread that is about to wake
workers therefore moves away from such a processor first.

While kernels run, denormal numbers count as 0, as operands and as results. Many processors take
a hundred times as long for them, and a decaying stream is full of them. The control word of
floating-point arithmetic is the same then on every thread, whatever the caller's is, and the
caller gets its own back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from martlet.kernels.kernel import EntryPoint
from martlet.kernels.language import I32, I64, PTR, Builder, Pointer, Value, arguments
from martlet.kernels.slots import (
    ACTIVE,
    BESIDE,
    BLOCK,
    COUNT,
    DONE,
    GENERATION,
    GRAIN,
    KERNEL,
    NEXT,
    SLEEPING,
    SLEPT_ON,
    SLOTS,
    STEPS,
    STOPPED,
    SYSCALL,
    THREADS,
    UNITS,
    YIELD,
)

SPINS_AT_BARRIER = 2000  # then the processor is offered to others between looks
SPINS_BEFORE_SLEEP = 4000  # about 100 microseconds on Zen 1, 180 where a pause is longer
FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE = 128, 129
SYSTEM_CALLS = {
    "futex": {"x86_64": 202, "aarch64": 98},
    "madvise": {"x86_64": 28, "aarch64": 233},
    "getcpu": {"x86_64": 309, "aarch64": 168},
    "sched_getaffinity": {"x86_64": 204, "aarch64": 123},
    "sched_setaffinity": {"x86_64": 203, "aarch64": 122},
}
PROCESSORS = 1024  # as many as a mask of the system has
# Rounding to nearest, no traps, denormal operands and results are 0.
CONTROL_WORD = {"x86_64": 0x9FC0, "aarch64": 1 << 24}


@contextmanager
def _without_denormals(k: Builder) -> Iterator[None]:
    """Our own control word of floating-point arithmetic inside, the caller's behind it."""
    ours = CONTROL_WORD[k.machine]
    if k.machine == "x86_64":
        words = k.local(I32, 2)
        callers, inside = (Value(k, PTR, (words + i).name) for i in range(2))
        k.store(words, 1, k.constant(ours, I32))
        k.call_intrinsic("llvm.x86.sse.stmxcsr", callers)
        k.call_intrinsic("llvm.x86.sse.ldmxcsr", inside)
        yield
        k.call_intrinsic("llvm.x86.sse.ldmxcsr", callers)
    else:
        word = k.intrinsic("llvm.aarch64.get.fpcr", I64)
        k.call_intrinsic("llvm.aarch64.set.fpcr", k.constant(ours, I64))
        yield
        k.call_intrinsic("llvm.aarch64.set.fpcr", word)


def run_alone(k: Builder, pool: Pointer) -> None:
    """All steps on the calling thread."""
    steps = k.pointer_at(pool, STEPS, I64)
    with _without_denormals(k):
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
    count, threads = k.scalar(pool, COUNT), k.scalar(pool, THREADS)
    finished = k.variable(k.constant(0, I64))  # all steps before this one are
    taken = k.variable(k.constant(0, I64))  # by anybody, when this thread last took a piece
    done = k.variable(k.constant(0, I64))  # by this thread

    def wait_for(wanted: Value) -> None:
        """Until so many steps, the first ones, are finished."""
        with k.forever() as waiting:
            waiting.leave_if(finished.value >= wanted)
            step = steps + finished.value * SLOTS
            _wait(k, pool, step + DONE, k.scalar(step, UNITS))
            finished.value = finished.value + 1

    for i in k.range(0, count):
        step = steps + i * SLOTS
        units, grain, beside = (k.scalar(step, slot) for slot in (UNITS, GRAIN, BESIDE))
        wait_for(i - beside)
        taken.value = k.constant(0, I64)
        with k.when(beside > 0):  # others may have been here for long
            taken.value = k.atomic_load(step + NEXT)
        done.value = k.constant(0, I64)
        with k.forever() as taking:
            pieces = (units - taken.value) // (threads * grain)
            piece = k.maximum(pieces, k.constant(1, I64)) * grain
            first = k.atomic_add(step + NEXT, piece)
            taking.leave_if(first >= units)
            last = k.minimum(first + piece, units)
            _call(k, step, first, last)
            taken.value = last
            done.value = done.value + last - first
        with k.when(done.value > 0):
            k.atomic_add(step + DONE, done.value)
    wait_for(count)


def _wait(k: Builder, pool: Pointer, counter: Pointer, wanted: Value) -> None:
    """Until the counter has a value: looking hard at first, then yielding."""
    spins = k.variable(k.constant(0, I64))
    spins.value = k.constant(0, I64)
    with k.forever() as waiting:
        waiting.leave_if(k.atomic_load(counter).equals(wanted))
        k.pause()
        spins.value = spins.value + 1
        with k.when(spins.value > SPINS_AT_BARRIER):
            k.call(k.pointer_at(pool, YIELD, I64))


def _read(k: Builder, p: Pointer) -> Value:
    """The value in the one order of all atomic additions, which a mere load may run ahead of."""
    return k.atomic_add(p, 0)


def _system(k: Builder, pool: Pointer, name: str, *operands: Pointer | Value | int) -> None:
    """A system call; what it returns is lost."""
    words = [k.address(o) if isinstance(o, Pointer) else k.as_value(o, I64) for o in operands]
    words += [k.constant(0, I64)] * (6 - len(words))
    number = k.constant(SYSTEM_CALLS[name][k.machine], I64)
    k.call(k.pointer_at(pool, SYSCALL, I64), number, *words)


def _wake(k: Builder, pool: Pointer) -> None:
    """Wake the workers that sleep, if any do; the generation was changed before."""
    with k.when(_read(k, pool + SLEEPING) > 0):
        _make_room(k, pool)
        _system(k, pool, "futex", pool + GENERATION, FUTEX_WAKE_PRIVATE, 1 << 30)


def _sleep(k: Builder, pool: Pointer, known: Value) -> None:
    """Until there is another generation than that."""
    here = k.local(I64, 1)
    k.store(here, 0, k.constant(0, I64))
    _system(k, pool, "getcpu", here)
    k.atomic_store(pool + SLEPT_ON, k.scalar(here))
    k.atomic_add(pool + SLEEPING, 1)
    _system(k, pool, "futex", pool + GENERATION, FUTEX_WAIT_PRIVATE, known)
    k.atomic_add(pool + SLEEPING, -1)


def _make_room(k: Builder, pool: Pointer) -> None:
    """Move to another processor, if there is one, where a worker sleeps on this one."""
    here, mask = k.local(I64, 1), k.local(I64, PROCESSORS // 64)
    k.store(here, 0, k.constant(0, I64))
    _system(k, pool, "getcpu", here)
    processor = k.scalar(here)
    with (
        k.when(processor.equals(k.atomic_load(pool + SLEPT_ON))),
        k.when(processor < PROCESSORS),
    ):
        for i in k.range(0, PROCESSORS // 64):
            k.store(mask, i, k.constant(0, I64))
        _system(k, pool, "sched_getaffinity", 0, PROCESSORS // 8, mask)
        word = mask + (processor >> 6)
        allowed, bit = k.scalar(word), k.constant(1, I64) << (processor & 63)
        with k.when((allowed & bit).differs(0)):  # the system has filled the mask
            k.store(word, 0, allowed ^ bit)
            _system(k, pool, "sched_setaffinity", 0, PROCESSORS // 8, mask)
            k.store(word, 0, allowed)
            _system(k, pool, "sched_setaffinity", 0, PROCESSORS // 8, mask)


def run_shared(k: Builder, pool: Pointer) -> None:
    """All steps, with the workers of the pool that come."""
    steps = k.pointer_at(pool, STEPS, I64)
    for i in k.range(0, k.scalar(pool, COUNT)):
        step = steps + i * SLOTS
        k.store(step, NEXT, k.constant(0, I64))
        k.store(step, DONE, k.constant(0, I64))
    k.atomic_add(pool + GENERATION, 1)
    _wake(k, pool)
    with _without_denormals(k):
        _share(k, pool)
    k.atomic_add(pool + GENERATION, 1)
    with k.when(_read(k, pool + ACTIVE) > 0):
        _wait(k, pool, pool + ACTIVE, k.constant(0, I64))


def work(k: Builder, pool: Pointer) -> None:
    """A worker's life: wait for another generation, take part in its run, again, until the end."""
    known = k.variable(k.constant(0, I64))
    spins = k.variable(k.constant(0, I64))
    with k.forever() as living:
        spins.value = k.constant(0, I64)
        with k.forever() as waiting:
            waiting.leave_if(k.atomic_load(pool + GENERATION).differs(known.value))
            k.pause()
            spins.value = spins.value + 1
            with k.when(spins.value > SPINS_BEFORE_SLEEP):
                _sleep(k, pool, known.value)
        living.leave_if(k.atomic_load(pool + STOPPED).differs(0))
        k.atomic_add(pool + ACTIVE, 1)
        known.value = _read(k, pool + GENERATION)
        with k.when((known.value & 1).equals(1)), _without_denormals(k):
            _share(k, pool)
        k.atomic_add(pool + ACTIVE, -1)


def stop(k: Builder, pool: Pointer) -> None:
    """Let all workers end, after the run that they are in. The generation keeps its parity."""
    k.atomic_store(pool + STOPPED, 1)
    k.atomic_add(pool + GENERATION, 2)
    _wake(k, pool)


def entry_points() -> tuple[EntryPoint, ...]:
    """The functions of every image."""
    return tuple(
        EntryPoint(write.__name__, write, arguments("pool: *i64"))
        for write in (run_alone, run_shared, work, stop)
    )

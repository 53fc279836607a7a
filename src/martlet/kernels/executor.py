"""The functions that Python calls: run all steps of a plan, alone or with others.

A plan's steps are records of 24 eight-byte slots, three cache lines, so that the counters that
threads share do not lie beside what all of them read:

    line 0   kernel, argument block, units, grain
    line 1   the next unit that nobody took yet
    line 2   how many units are done

With one thread, each kernel is called once for all its units. With several, every thread walks
all steps; in each it takes pieces from the shared counter until none are left, and then waits
until all units are done, since the next step reads what this one wrote. Work is taken, not dealt
out, so that a thread whose processor is busy elsewhere takes less. Pieces are multiples of the
step's grain: large ones first, half of each thread's fair share of what is left, so that there
are few of them, and small ones last, so that all threads end together.

A pool is a block of 24 slots too:

    line 0   steps, number of steps, number of threads, address of the system's `sched_yield`,
             address of its `syscall`
    line 1   generation: odd while there is a run, even between runs
    line 2   how many workers are in a run, how many sleep, whether they are to end

Nobody waits for a worker that did not come. A worker enters a run by counting itself in and then
looking whether the run is still open; the run is closed first, then it waits until those inside
have left. So a run needs no certain number of workers, and when it returns, none of them looks at
its steps any more.
"""

from __future__ import annotations

from martlet.kernels.kernel import EntryPoint
from martlet.kernels.language import I64, Builder, Pointer, Value, arguments

SLOTS = 24
KERNEL, BLOCK, UNITS, GRAIN, NEXT, DONE = 0, 1, 2, 3, 8, 16
STEPS, COUNT, THREADS, YIELD, SYSCALL, GENERATION, ACTIVE, SLEEPING, STOPPED = (
    0, 1, 2, 3, 4, 8, 16, 17, 18,
)  # fmt: skip

SPINS_AT_BARRIER = 2000  # then the processor is offered to others between looks
SPINS_BEFORE_SLEEP = 4000  # some tens of microseconds
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
    shares = k.scalar(pool, THREADS) * 2
    taken = k.variable(k.constant(0, I64))  # by anybody, when this thread last took a piece
    done = k.variable(k.constant(0, I64))  # by this thread
    for i in k.range(0, k.scalar(pool, COUNT)):
        step = steps + i * SLOTS
        units, grain = k.scalar(step, UNITS), k.scalar(step, GRAIN)
        taken.value = k.constant(0, I64)
        done.value = k.constant(0, I64)
        with k.forever() as taking:
            pieces = (units - taken.value) // (shares * grain)
            piece = k.maximum(pieces, k.constant(1, I64)) * grain
            first = k.atomic_add(step + NEXT, piece)
            taking.leave_if(first >= units)
            last = k.minimum(first + piece, units)
            _call(k, step, first, last)
            taken.value = last
            done.value = done.value + last - first
        with k.when(done.value > 0):
            k.atomic_add(step + DONE, done.value)
        _wait(k, pool, step + DONE, units)


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


def _futex(k: Builder, pool: Pointer, machine: str, operation: int, value: Value) -> None:
    zero = k.constant(0, I64)
    number = k.constant(SYS_FUTEX[machine], I64)
    op = k.constant(operation, I64)
    k.call(k.pointer_at(pool, SYSCALL, I64), number, pool + GENERATION, op, value, zero, zero, zero)


def _wake(k: Builder, pool: Pointer, machine: str) -> None:
    """Wake the workers that sleep, if any do; the generation was changed before."""
    with k.when(_read(k, pool + SLEEPING) > 0):
        _futex(k, pool, machine, FUTEX_WAKE_PRIVATE, k.constant(1 << 30, I64))


def run_shared(machine: str) -> EntryPoint:
    """All steps, with the workers of the pool that come."""

    def write(k: Builder, pool: Pointer) -> None:
        steps = k.pointer_at(pool, STEPS, I64)
        for i in k.range(0, k.scalar(pool, COUNT)):
            step = steps + i * SLOTS
            k.store(step, NEXT, k.constant(0, I64))
            k.store(step, DONE, k.constant(0, I64))
        k.atomic_add(pool + GENERATION, 1)
        _wake(k, pool, machine)
        _share(k, pool)
        k.atomic_add(pool + GENERATION, 1)
        with k.when(_read(k, pool + ACTIVE) > 0):
            _wait(k, pool, pool + ACTIVE, k.constant(0, I64))

    return EntryPoint("run_shared", write, arguments("pool: *i64"))


def work(machine: str) -> EntryPoint:
    """A worker's life: wait for another generation, take part in its run, again, until the end."""

    def write(k: Builder, pool: Pointer) -> None:
        known = k.variable(k.constant(0, I64))
        spins = k.variable(k.constant(0, I64))
        with k.forever() as living:
            spins.value = k.constant(0, I64)
            with k.forever() as waiting:
                waiting.leave_if(k.atomic_load(pool + GENERATION).differs(known.value))
                k.pause()
                spins.value = spins.value + 1
                with k.when(spins.value > SPINS_BEFORE_SLEEP):
                    k.atomic_add(pool + SLEEPING, 1)
                    _futex(k, pool, machine, FUTEX_WAIT_PRIVATE, known.value)
                    k.atomic_add(pool + SLEEPING, -1)
            living.leave_if(k.atomic_load(pool + STOPPED).differs(0))
            k.atomic_add(pool + ACTIVE, 1)
            known.value = _read(k, pool + GENERATION)
            with k.when((known.value & 1).equals(1)):
                _share(k, pool)
            k.atomic_add(pool + ACTIVE, -1)

    return EntryPoint("work", write, arguments("pool: *i64"))


def stop(machine: str) -> EntryPoint:
    """Let all workers end, after the run that they are in. The generation keeps its parity."""

    def write(k: Builder, pool: Pointer) -> None:
        k.atomic_store(pool + STOPPED, 1)
        k.atomic_add(pool + GENERATION, 2)
        _wake(k, pool, machine)

    return EntryPoint("stop", write, arguments("pool: *i64"))


def entry_points(machine: str) -> tuple[EntryPoint, ...]:
    """The functions of every image for a machine."""
    alone = EntryPoint("run_alone", run_alone, arguments("pool: *i64"))
    return (alone, run_shared(machine), work(machine), stop(machine))

"""Jobs that threads do while Python goes on: weights are packed while a plan is made.

A job is a record of 24 slots as a step is (`executor.py`), and two things more: the next job, and a
part of a mapped file that the system may take back when the job is done. Jobs are a list, which
grows while threads walk it:

    `run_jobs`   walks the list from its head, takes pieces of each job until none are left, and
                 sleeps at the end of the list until there are more, or until the list is closed
    `post`       writes a word (a job at the end of the list; that it is closed), and wakes those
                 who sleep if told so

The head is a record, too: that of a pool, whose next job is the first one. Python has seen to the
end of all jobs when every thread has returned from `run_jobs`. Denormal numbers are what they are.
"""

from __future__ import annotations

from martlet.kernels.executor import (
    FUTEX_WAIT_PRIVATE,
    FUTEX_WAKE_PRIVATE,
    _call,
    _system,
)
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import I64, Builder, Pointer, Value, arguments
from martlet.kernels.slots import (
    DONE,
    FORGET,
    FORGET_BYTES,
    GENERATION,
    GRAIN,
    LINK,
    NEXT,
    STOPPED,
    UNITS,
)
from martlet.kernels.targets import Target

MADV_DONTNEED = 4


def run_jobs(k: Builder, head: Pointer, first: Value, last: Value) -> None:
    """Take part in all jobs until the list is closed."""
    here = k.local(I64, 1)
    k.store(here, 0, k.address(head))
    with k.forever() as walking:
        before = k.pointer_at(here, 0, I64)
        with k.forever() as waiting:
            known = k.atomic_load(head + GENERATION)
            closed = k.atomic_load(head + STOPPED)  # before the link, lest a last job be missed
            link = k.atomic_load(before + LINK)
            waiting.leave_if(link.differs(0) | closed.differs(0))
            _system(k, head, "futex", head + GENERATION, FUTEX_WAIT_PRIVATE, known)
        walking.leave_if(link.equals(0))
        k.store(here, 0, link)
        _take_part(k, head, k.pointer_at(here, 0, I64))


def _take_part(k: Builder, head: Pointer, job: Pointer) -> None:
    units, grain = k.scalar(job, UNITS), k.scalar(job, GRAIN)
    with k.forever() as taking:
        start = k.atomic_add(job + NEXT, grain)
        taking.leave_if(start >= units)
        stop = k.minimum(start + grain, units)
        _call(k, job, start, stop)
        done = k.atomic_add(job + DONE, stop - start) + (stop - start)
        nbytes = k.scalar(job, FORGET_BYTES)
        with k.when(done.equals(units) & (nbytes > 0)):
            _system(k, head, "madvise", k.scalar(job, FORGET), nbytes, MADV_DONTNEED)


def post(
    k: Builder, head: Pointer, place: Pointer, word: Value, wake: Value, first: Value, last: Value
) -> None:
    """Write a word at a place, and wake all who sleep if `wake` is not 0."""
    k.atomic_store(place, word)
    with k.when(wake.differs(0)):
        k.atomic_add(head + GENERATION, 1)
        _system(k, head, "futex", head + GENERATION, FUTEX_WAKE_PRIVATE, 1 << 30)


def kernels(target: Target) -> list[Kernel]:
    """Both; they have no units."""
    return [
        Kernel("run_jobs", run_jobs, arguments("head: *i64")),
        Kernel("post", post, arguments("head: *i64", "place: *i64", "word: i64", "wake: i64")),
    ]

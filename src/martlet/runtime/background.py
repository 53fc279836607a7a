"""Packs the weights of a plan while the plan is made (`kernels/background.py`).

Threads of their own, each inside one native call, do the jobs as they come; `finish` lends them a
hand. Where there is only one processor, where the system gives no threads, and where there is too
little to do, `finish` does it all.
"""

from __future__ import annotations

import ctypes
import os
import threading

import numpy as np

from martlet.kernels.slots import (
    BLOCK,
    FORGET,
    FORGET_BYTES,
    GRAIN,
    KERNEL,
    LINK,
    SLOTS,
    STOPPED,
    SYSCALL,
    UNITS,
)
from martlet.plan.packed import Job
from martlet.runtime.image import LoadedImage
from martlet.runtime.threads import aligned
from martlet.schema.file import pages_of

MUCH = 1 << 20  # bytes of packed weights, from which on threads pay
BATCH = 1 << 21  # bytes for which threads are woken, which takes about 50 microseconds
PIECE = 1 << 18  # bytes that a thread packs at a time
MOST_THREADS = 4
MUCH_TO_FORGET = 1 << 18  # bytes of weights, which save less than it takes to give them back below


class Background:
    """Does jobs for one plan, until `finish`."""

    def __init__(self, image: LoadedImage) -> None:
        self._image = image
        self._head = aligned(SLOTS)
        self._head[SYSCALL] = ctypes.cast(ctypes.CDLL(None).syscall, ctypes.c_void_p).value or 0
        self._last = self._head.ctypes.data
        self._arguments = np.array([self._last], np.int64)
        self._posted = np.array([self._last, 0, 0, 0], np.int64)
        self._posted_at = self._posted.ctypes.data
        self._held: list[object] = []
        """What native code looks at."""
        self._bytes, self._waiting = 0, 0
        self._threads: list[threading.Thread] = []
        self._wanted = min(MOST_THREADS, len(os.sched_getaffinity(0))) - 1
        kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        self._run_jobs = kernel(image.address("run_jobs"))
        self._post = kernel(image.address("post"))

    def do(self, job: Job) -> None:
        """Begin a job, or remember it for `finish`."""
        weights, target = job.weights, job.target
        record = np.zeros(SLOTS + 2 + len(job.numbers), np.int64)
        address = record.ctypes.data
        record[SLOTS:] = (weights.ctypes.data, target.ctypes.data, *job.numbers)
        record[KERNEL] = self._image.address(job.kernel)
        record[BLOCK] = address + 8 * SLOTS
        record[UNITS] = job.units
        record[GRAIN] = max(1, job.units * PIECE // max(target.nbytes, 1))
        if weights.flags.c_contiguous and weights.nbytes >= MUCH_TO_FORGET:
            record[FORGET], record[FORGET_BYTES] = pages_of(weights)
        self._held += [job, record]
        self._bytes += target.nbytes
        self._waiting += target.nbytes
        wake = self._waiting >= BATCH
        if wake:
            self._waiting = 0
        self._write(self._last + 8 * LINK, address, wake)
        self._last = address
        if self._bytes >= MUCH and len(self._threads) < self._wanted:
            self._start()

    def _write(self, place: int, word: int, wake: bool) -> None:
        self._posted[1:] = place, word, wake
        self._post(self._posted_at, 0, 1)

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="martlet", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads
            self._wanted = len(self._threads)
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        self._run_jobs(self._arguments.ctypes.data, 0, 1)

    def finish(self) -> None:
        """All jobs are done when this returns."""
        self._write(self._head.ctypes.data + 8 * STOPPED, 1, True)
        self._work()
        for thread in self._threads:
            thread.join()
        self._threads, self._held = [], []

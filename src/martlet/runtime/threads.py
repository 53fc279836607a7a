"""Threads that share the steps of a plan: parked in native code, woken for each run.

Workers are Python threads inside one ctypes call, which holds no Python lock, so they cost the
interpreter nothing. They look for work for some microseconds and then sleep in the kernel. A
pool whose system gives it no threads, or fewer, computes the same with those it has. `close` ends
the workers, as do the end of the process and of the last reference to the pool. A child of `fork`
has none of its parent's threads and makes its own when it first runs.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from functools import partial

import numpy as np

from martlet import log
from martlet.cache_lines import on_a_line
from martlet.kernels.slots import COUNT, SLOT_FLAG, SLOTS, STEPS, SYSCALL, THREADS, YIELD
from martlet.runtime.image import LoadedImage


class Pool:
    """`threads` threads, the caller's one of them. One run at a time; others wait for it."""

    def __init__(self, image: LoadedImage, threads: int) -> None:
        self.image = image
        self.threads = threads
        self.slots = aligned(threads * SLOT_FLAG)
        """The flags by which threads take slots of a step's scratch."""
        self._workers: list[threading.Thread] = []
        self._finalizer: weakref.finalize | None = None
        self._forget_workers()
        _pools.add(self)

    def run(self, steps: np.ndarray, first: int, count: int) -> None:
        """Run `count` of the steps (rows of SLOTS int64) from `first` on, to their end."""
        self.run_at(steps.ctypes.data + first * SLOTS * 8, count)

    def run_at(self, address: int, count: int) -> None:
        """The same for steps that begin at an address."""
        with self._lock:
            self._block[STEPS] = address
            self._block[COUNT] = count
            if self.threads == 1:
                self.image.run_alone(self._address)
                return
            if self._finalizer is None:
                self._start()
            self.image.run_shared(self._address)

    def runner(self, address: int, count: int) -> Callable[[], None]:
        """What runs these steps, with nothing left to look up. For callers that take turns."""
        if self.threads > 1:
            return partial(self.run_at, address, count)
        block = aligned(SLOTS)
        block[STEPS], block[COUNT] = address, count
        return partial(
            self.image.run_alone, block.ctypes.data_as(ctypes.c_void_p)
        )  # which holds it

    def close(self) -> None:
        """End the workers. A later run starts new ones."""
        with self._lock:
            if self._finalizer is not None:
                self._finalizer.detach()  # at the end of the process, a call of it does nothing
                _stop(self.image, self._block)
            for worker in self._workers:
                worker.join()
            self._reset()

    def _start(self) -> None:
        self._finalizer = weakref.finalize(self, _stop, self.image, self._block)
        self._finalizer.atexit = False  # `_close_all` waits for the workers, too
        for _ in range(self.threads - 1):
            worker = threading.Thread(
                target=_work, args=(self.image, self._block), name="martlet", daemon=True
            )
            try:
                worker.start()
            except RuntimeError as error:
                log.warning("%s: %d threads compute", error, len(self._workers) + 1)
                return
            self._workers.append(worker)

    def _reset(self) -> None:
        """A block without workers, and none of them yet."""
        self.slots[:] = 0  # in a child of `fork`, a thread that is not there may have one
        self._block = aligned(SLOTS)
        self._address = self._block.ctypes.data
        libc = ctypes.CDLL(None)
        self._block[YIELD] = ctypes.cast(libc.sched_yield, ctypes.c_void_p).value or 0
        self._block[SYSCALL] = ctypes.cast(libc.syscall, ctypes.c_void_p).value or 0
        self._block[THREADS] = self.threads
        self._workers = []
        self._finalizer = None

    def _forget_workers(self) -> None:
        """As new: in a child of `fork`, where there are no workers and nobody holds the lock."""
        if self._finalizer is not None:
            self._finalizer.detach()
        self._lock = threading.Lock()
        self._reset()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Workers must not look at memory that Python has torn down."""
    for pool in list(_pools):
        pool.close()


def _forget_all_workers() -> None:
    for pool in list(_pools):
        pool._forget_workers()


if hasattr(os, "register_at_fork"):  # Windows has none, and no images either
    os.register_at_fork(after_in_child=_forget_all_workers)


def _work(image: LoadedImage, block: np.ndarray) -> None:
    image.work(block.ctypes.data)


def _stop(image: LoadedImage, block: np.ndarray) -> None:
    """Called where a pool is collected, maybe amid other code, so it waits for nobody.

    The workers keep the block until they have ended.
    """
    image.stop(block.ctypes.data)


def aligned(slots: int) -> np.ndarray:
    """int64 zeros that start on a cache line."""
    return on_a_line(np.zeros, 8 * slots).view(np.int64)

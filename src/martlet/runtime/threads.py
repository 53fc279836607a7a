"""Threads that share the steps of a plan: parked in native code, woken for each run.

Workers are Python threads inside one ctypes call, which holds no Python lock, so they cost the
interpreter nothing. They look for work for some microseconds and then sleep in the kernel. Each
pool belongs to one plan's owner; `close` ends its workers. A child of `fork` has none of its
parent's threads and makes its own when it first runs.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from typing import Any

import numpy as np

from martlet.kernels.executor import COUNT, GENERATION, SLOTS, STEPS, SYSCALL, THREADS, YIELD
from martlet.runtime.image import LoadedImage

STOP = -1


class Pool:
    """`threads` threads, the caller's one of them."""

    def __init__(self, image: LoadedImage, threads: int) -> None:
        self.image = image
        self.threads = threads
        self._block = _aligned(SLOTS)
        libc = ctypes.CDLL(None)
        self._block[YIELD] = ctypes.cast(libc.sched_yield, ctypes.c_void_p).value or 0
        self._block[SYSCALL] = ctypes.cast(libc.syscall, ctypes.c_void_p).value or 0
        self._workers: list[threading.Thread] = []
        self._process = 0
        self._finalizer: Any = None

    def run(self, steps: np.ndarray, first: int, count: int) -> None:
        """Run `count` of the steps (rows of SLOTS int64) from `first` on, to their end."""
        self._block[STEPS] = steps.ctypes.data + first * SLOTS * 8
        self._block[COUNT] = count
        if self.threads == 1:
            self.image.run_alone(self._block.ctypes.data)
            return
        if self._process != os.getpid():
            self._start()
        self.image.run_shared(self._block.ctypes.data)

    def _start(self) -> None:
        self._process = os.getpid()
        self._block[THREADS] = self.threads
        self._block[GENERATION] = 0
        self._workers = [
            threading.Thread(
                target=_work, args=(self.image, self._block), name="martlet", daemon=True
            )
            for _ in range(self.threads - 1)
        ]
        for worker in self._workers:
            worker.start()
        self._finalizer = weakref.finalize(self, _stop, self._block, self._workers, os.getpid())

    def close(self) -> None:
        """End the workers. A later run starts new ones."""
        if self._finalizer is not None:
            self._finalizer()
        self._process = 0


def _work(image: LoadedImage, block: np.ndarray) -> None:
    image.work(block.ctypes.data, 0)


def _stop(block: np.ndarray, workers: list[threading.Thread], process: int) -> None:
    if os.getpid() != process:
        return
    block[GENERATION] = STOP
    libc = ctypes.CDLL(None)
    address = block.ctypes.data + GENERATION * 8
    number = {"x86_64": 202, "aarch64": 98}[os.uname().machine]
    # FUTEX_WAKE_PRIVATE: all that sleep on the generation.
    libc.syscall(number, ctypes.c_void_p(address), 129, 1 << 30, None, None, 0)
    for worker in workers:
        worker.join()


def _aligned(slots: int) -> np.ndarray:
    """int64 zeros that start on a cache line."""
    memory = np.zeros(slots + 8, np.int64)
    skip = (-memory.ctypes.data % 64) // 8
    return memory[skip : skip + slots]

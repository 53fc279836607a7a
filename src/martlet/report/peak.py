"""The most multiply-adds that this machine does in a second, measured (`kernels/peak.py`)."""

from __future__ import annotations

import time

import numpy as np

from martlet.kernels.peak import flops
from martlet.kernels.slots import BLOCK, GRAIN, KERNEL, SLOTS, UNITS
from martlet.runtime.threads import Pool, aligned

KERNEL_NAME = "fma_peak_f32"
ROUNDS = 10_000  # some 60 microseconds a unit on Zen 1
PIECES = 8
REPEATS = 60


def peak_gflops(pool: Pool) -> float:
    """GFLOP/s of float32 that the pool's threads reach together, the best of short runs."""
    lanes, units = pool.image.lanes, PIECES * pool.threads
    constants = np.repeat(np.array([0.5, 1.0], np.float32), lanes)
    y = np.zeros(units * lanes, np.float32)
    block = np.array([constants.ctypes.data, y.ctypes.data, ROUNDS])
    record = aligned(SLOTS).reshape(1, SLOTS)
    record[0, KERNEL] = pool.image.address(KERNEL_NAME)
    record[0, BLOCK] = block.ctypes.data
    record[0, UNITS], record[0, GRAIN] = units, 1
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        pool.run(record, 0, 1)
        seconds.append(time.perf_counter() - start)
    return units * flops(lanes, ROUNDS) / min(seconds) / 1e9

"""Steps of known duration and known results, for tests of threads: an image, and plans of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from martlet.kernels.builder import build
from martlet.kernels.executor import entry_points
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import Builder, Pointer, Value, arguments
from martlet.kernels.slots import BLOCK, GRAIN, KERNEL, SLOTS, UNITS
from martlet.runtime.image import LoadedImage, host_targets
from martlet.runtime.threads import aligned

UNITS_PER_STEP = 64
FACTOR = 1664525


def _mirror(
    k: Builder, x: Pointer, y: Pointer, size: Value, rounds: Value, first: Value, last: Value
) -> None:
    """y[i] = x[size - 1 - i], times FACTOR plus 1, again and again, modulo 2**32."""
    value = k.variable(k.constant(0, x.element))
    for i in k.range(first, last):
        value.value = k.scalar(x, size - 1 - i)
        for _ in k.range(0, rounds):
            value.value = value.value * FACTOR + 1
        k.store(y, i, value.value)


MIRROR = Kernel("mirror", _mirror, arguments("x: *i32", "y: *i32", "size: i64", "rounds: i64"))


def build_image(path: Path) -> None:
    """An image of that kernel, and of what runs steps."""
    target = host_targets()[0]
    path.write_bytes(build(target, [*entry_points(), MIRROR]))
    path.chmod(0o600)


class Steps:
    """`count` steps, each of which reads in reverse what the one before it wrote."""

    def __init__(self, image: LoadedImage, count: int, rounds: int) -> None:
        self.rows = np.zeros((count + 1, UNITS_PER_STEP), np.uint32)
        self.rounds = rounds
        self.count = count
        self.records = aligned(SLOTS * count).reshape(-1, SLOTS)
        self._blocks = np.zeros((count, 4), np.int64)
        for i, (record, block) in enumerate(zip(self.records, self._blocks, strict=True)):
            block[:] = (
                self.rows[i].ctypes.data, self.rows[i + 1].ctypes.data, UNITS_PER_STEP, rounds,
            )  # fmt: skip
            record[[KERNEL, BLOCK, UNITS, GRAIN]] = (
                image.address("mirror"), block.ctypes.data, UNITS_PER_STEP, 1,
            )  # fmt: skip

    def start(self, seed: int) -> None:
        """New values to begin with; what the steps wrote is forgotten."""
        self.rows[:] = 0
        self.rows[0] = np.random.default_rng(seed).integers(0, 1 << 32, UNITS_PER_STEP)

    def expected(self) -> np.ndarray:
        factor, term = 1, 0
        for _ in range(self.rounds):
            factor, term = factor * FACTOR % 2**32, (term * FACTOR + 1) % 2**32
        row = self.rows[0]
        for _ in range(self.count):
            row = row[::-1] * np.uint32(factor) + np.uint32(term)
        return row

    def right(self) -> bool:
        """Whether the last row is what it must be, to the bit."""
        return self.rows[-1].tobytes() == self.expected().tobytes()

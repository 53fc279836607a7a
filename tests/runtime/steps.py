"""Steps of known duration and known results, for tests of threads: an image, and plans of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from martlet.kernels.builder import build
from martlet.kernels.executor import entry_points
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import Builder, Pointer, Value, arguments
from martlet.kernels.slots import BESIDE, BLOCK, GRAIN, KERNEL, SLOTS, UNITS
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
    """`count` steps of as many chains in turns: each reads in reverse what the last step of its
    chain wrote, and may run beside those of the others."""

    def __init__(self, image: LoadedImage, count: int, rounds: int, chains: int = 1) -> None:
        self.rows = np.zeros((count + chains, UNITS_PER_STEP), np.uint32)
        self.rounds = rounds
        self.count = count
        self.chains = chains
        self.records = aligned(SLOTS * count).reshape(-1, SLOTS)
        self._blocks = np.zeros((count, 4), np.int64)
        for i, (record, block) in enumerate(zip(self.records, self._blocks, strict=True)):
            x, y = (self.rows[k].ctypes.data for k in (i, i + chains))
            block[:] = x, y, UNITS_PER_STEP, rounds
            record[[KERNEL, BLOCK, UNITS, GRAIN, BESIDE]] = (
                image.address("mirror"), block.ctypes.data, UNITS_PER_STEP, 1, chains - 1,
            )  # fmt: skip

    def start(self, seed: int) -> None:
        """New values to begin with; what the steps wrote is forgotten."""
        self.rows[:] = 0
        begin = self.rows[: self.chains]
        begin[:] = np.random.default_rng(seed).integers(0, 1 << 32, begin.shape)

    def right(self) -> bool:
        """Whether all rows are what they must be, to the bit."""
        return self.rows.tobytes() == computed(self.rows, self.chains, self.rounds).tobytes()


def computed(rows: np.ndarray, chains: int, rounds: int) -> np.ndarray:
    """What the steps make of the first rows."""
    factor, term = 1, 0
    for _ in range(rounds):
        factor, term = factor * FACTOR % 2**32, (term * FACTOR + 1) % 2**32
    expected = rows.copy()
    for i in range(len(rows) - chains):
        expected[i + chains] = expected[i, ::-1] * np.uint32(factor) + np.uint32(term)
    return expected

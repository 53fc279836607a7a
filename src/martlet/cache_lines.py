"""Memory that begins on a cache line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

ALIGNMENT = 64  # a cache line, and the widest vector


def on_a_line(make: Callable[[int, type], np.ndarray], nbytes: int) -> np.ndarray:
    """So many bytes that start on a cache line. make: `np.zeros` or `np.empty`."""
    memory = make(nbytes + ALIGNMENT, np.uint8)
    skip = -memory.ctypes.data % ALIGNMENT
    return memory[skip : skip + nbytes]

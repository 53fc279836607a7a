"""Matrix products of integers, exact, at the speed of floating-point ones.

NumPy has a fast (BLAS) matrix product for floats alone. As long as every partial sum is an integer
up to 2^24 a float32 product is exact, and up to 2^53 a float64 one; only beyond that does the
slow integer product of NumPy take over. Large weights are converted a block of columns at a time,
so that there is never a float copy of all of them.
"""

from __future__ import annotations

import numpy as np

FLOAT32_EXACT, FLOAT64_EXACT = 1 << 24, 1 << 53
BLOCK = 1 << 23  # elements of b that are converted at once


def integer_matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b for arrays of integers, batches broadcast: int64, exact if it fits in 64 bits."""
    bound = a.shape[-1] * _magnitude(a) * _magnitude(b)
    kind: type = np.int64
    if bound <= FLOAT64_EXACT:
        kind = np.float32 if bound <= FLOAT32_EXACT else np.float64
    left: np.ndarray = a.astype(kind)
    if b.ndim > 2 or b.size <= BLOCK:
        return np.asarray(np.matmul(left, b.astype(kind)), np.int64)
    depth, columns = b.shape
    step = max(1, BLOCK // depth)
    result = np.empty((*a.shape[:-1], columns), np.int64)
    for start in range(0, columns, step):
        block = slice(start, start + step)
        result[..., block] = np.matmul(left, b[:, block].astype(kind))
    return result


def centered(x: np.ndarray, zero_point: int) -> np.ndarray:
    """x - zero_point in a type that holds the difference (int32; x unchanged where it is 0)."""
    return x if zero_point == 0 else x.astype(np.int32) - np.int32(zero_point)


def _magnitude(x: np.ndarray) -> int:
    """The largest absolute value; at least 1."""
    return max(1, abs(int(x.min())), abs(int(x.max()))) if x.size else 1

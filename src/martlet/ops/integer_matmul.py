"""Matrix products of integers, exact, at the speed of floating-point ones.

NumPy has a fast (BLAS) matrix product for floats alone. As long as every partial sum is an integer
below 2^24 a float32 product is exact, and below 2^53 a float64 one; only beyond that does the
slow integer product of NumPy take over.
"""

from __future__ import annotations

import numpy as np

FLOAT32_EXACT, FLOAT64_EXACT = 1 << 24, 1 << 53


def integer_matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b for arrays of integers, batches broadcast: int64, exact if it fits in 64 bits."""
    depth = a.shape[-1]
    bound = depth * _magnitude(a) * _magnitude(b)
    if bound <= FLOAT32_EXACT:
        product = np.matmul(a.astype(np.float32), b.astype(np.float32))
    elif bound <= FLOAT64_EXACT:
        product = np.matmul(a.astype(np.float64), b.astype(np.float64))
    else:
        product = np.matmul(a.astype(np.int64), b.astype(np.int64))
    return np.asarray(product, np.int64)


def centered(x: np.ndarray, zero_point: int) -> np.ndarray:
    """x - zero_point in a type that holds the difference (int32; x unchanged where it is 0)."""
    return x if zero_point == 0 else x.astype(np.int32) - np.int32(zero_point)


def _magnitude(x: np.ndarray) -> int:
    """The largest absolute value; at least 1."""
    return max(1, abs(int(x.min())), abs(int(x.max()))) if x.size else 1

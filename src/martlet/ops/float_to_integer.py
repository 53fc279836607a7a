"""How floats become integers: truncated, and what becomes of those beyond the range of a type.

C leaves it open what a float beyond the range of an integer type becomes. TensorFlow Lite's
operators answer in two ways, and these are them:

- saturated: the nearest value of the type, and the greatest one for NaN;
- as x86 converts: -2^31 for all that does not fit into 32 bits, NaN included.
"""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.fixed_point import INT32_MIN


def limits(dtype: DType) -> tuple[int, int]:
    """Least and greatest value of an integer type, those of 4 and 2 bits included."""
    if dtype.numpy.kind == "u":
        return 0, (1 << dtype.bits) - 1
    return -(1 << (dtype.bits - 1)), (1 << (dtype.bits - 1)) - 1


def saturate_float(x: np.ndarray, dtype: DType) -> np.ndarray:
    """Floats truncated towards zero, clamped to an integer type; NaN becomes the greatest value."""
    low, high = limits(dtype)
    if x.dtype == np.float16:
        x = x.astype(np.float32)
    # The bound above the greatest value is a power of two and therefore exact in every float.
    below, above = x < float(low), ~(x < float(high + 1))
    result = np.where(below | above, 0, x).astype(dtype.numpy)
    result[below] = low
    result[above] = high
    return result


def convert_as_x86(x: np.ndarray) -> np.ndarray:
    """Floats truncated towards zero to int32 values, as int64; -2^31 for what does not fit."""
    whole = np.trunc(x)
    fits = (whole >= float(INT32_MIN)) & (whole < -float(INT32_MIN))
    return np.asarray(np.where(fits, np.where(fits, whole, 0).astype(np.int64), INT32_MIN))

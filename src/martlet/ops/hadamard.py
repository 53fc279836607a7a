"""`aeq.hadamard_rotation`, which quantised language models use to spread outliers.

In: float32 of rank 2 or 3, whose last dimension is a multiple of the size 2^k in the options. Out:
the same shape; every group of 2^k neighbours is multiplied by the Walsh-Hadamard matrix in natural
order, divided by sqrt(2^k), so that the rotation is its own inverse. The fast transform takes k
steps of sums and differences.
"""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.custom_options import integer, options
from martlet.ops.operator import Call, Spec, register


def _size(call: Call) -> int:
    size = integer(call, options(call), "hadamard_size", low=1)
    call.check(size & (size - 1) == 0, "hadamard_size is no power of 2", found=str(size))
    return size


def _infer_rotation(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32)
    features, size = call.check_rank(0, 2, 3)[-1], _size(call)
    call.check(
        features % size == 0,
        "the last dimension does not divide into groups of hadamard_size",
        f"a multiple of {size}",
        str(features),
    )
    return [call.spec(0)]


def _rotate(call: Call, x: np.ndarray) -> np.ndarray:
    size = _size(call)
    half = 1
    result = x
    while half < size:
        pairs = result.reshape(-1, 2, half)
        first, second = pairs[:, 0], pairs[:, 1]
        result = np.stack([first + second, first - second], 1)
        half *= 2
    return np.asarray(result * np.float32(1 / np.sqrt(size)), np.float32).reshape(x.shape)


register(
    "aeq.hadamard_rotation", infer=_infer_rotation, evaluate=_rotate, inputs=1, custom=True
)  # fmt: skip

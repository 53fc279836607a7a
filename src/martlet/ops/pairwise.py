"""Functions of two tensors, applied to every pair of elements that broadcast together.

What the families of binary operators share: the rule for shapes and types, the checks of scales
and zero points, and `each_pair`, which applies an exact integer function. It works a piece at a
time, so that its int64 intermediates stay small; for 8-bit tensors with more elements than there
are pairs of values, it tabulates the function over all 65,536 pairs and looks the answers up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from martlet.dtypes import DType
from martlet.ops.fixed_point import quantize_multiplier
from martlet.ops.operator import Call, Shape, broadcast

Pairs = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Takes int64 arrays that broadcast; gives integers or booleans."""

PIECE = 1 << 18
PAIRS = 1 << 16


def check_pair(call: Call, types: tuple[DType, ...]) -> Shape:
    """Both inputs have one of these types, the same; returns the shape that they broadcast to."""
    call.check_dtype(0, *types)
    call.check_same_dtype(0, 1)
    return broadcast(call, 0, 1)


def is_quantized(call: Call, i: int) -> bool:
    """Whether input i has a scale."""
    return bool(call.input(i).quantization)


def real_multiplier(call: Call, value: float) -> tuple[int, int]:
    """A ratio of scales as a mantissa and an exponent."""
    call.check(math.isfinite(value), "the scales do not fit together", "a finite ratio", str(value))
    return quantize_multiplier(value)


def input_zero_point(call: Call, i: int) -> int:
    return _in_range(call, call.zero_point(i), call.dtype(i), f"input {i}")


def output_zero_point(call: Call) -> int:
    dtype = call.output().dtype
    call.check(
        dtype.is_integer, "output 0 cannot hold quantised values", "an integer type", dtype.name
    )
    return _in_range(call, call.output_zero_point(), dtype, "output 0")


def _in_range(call: Call, zero_point: int, dtype: DType, what: str) -> int:
    info = np.iinfo(dtype.numpy)
    call.check(
        info.min <= zero_point <= info.max,
        f"the zero point of {what} is out of range",
        f"{info.min} to {info.max}",
        str(zero_point),
    )
    return zero_point


def each_pair(call: Call, f: Pairs, x: np.ndarray, y: np.ndarray, dtype: DType) -> np.ndarray:
    """f of every pair of x and y; its values must fit `dtype`."""
    shape = np.broadcast_shapes(x.shape, y.shape)
    size = math.prod(shape)
    call.session.reserve(size * (x.itemsize + y.itemsize), call.place)
    result = np.empty(size, dtype.numpy)
    left = np.broadcast_to(x, shape).reshape(-1)
    right = np.broadcast_to(y, shape).reshape(-1)
    if x.itemsize == y.itemsize == 1 and size > PAIRS:
        stored = np.arange(256, dtype=np.uint8)
        a, b = (stored.view(side.dtype).astype(np.int64) for side in (x, y))
        table = f(a[:, np.newaxis], b[np.newaxis, :]).astype(dtype.numpy)
        left, right = left.view(np.uint8), right.view(np.uint8)
        for piece in _pieces(call, size):
            result[piece] = table[left[piece], right[piece]]
    else:
        for piece in _pieces(call, size):
            result[piece] = f(left[piece].astype(np.int64), right[piece].astype(np.int64))
    return result.reshape(shape)


def _pieces(call: Call, size: int) -> Iterator[slice]:
    for start in range(0, size, PIECE):
        call.tick()
        yield slice(start, start + PIECE)

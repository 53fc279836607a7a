"""SOFTMAX and LOG_SOFTMAX of float32 rows.

In and out: (rows, length), rows at any pitch; they may be the same. A unit is a row:

1. its maximum m, so that no exponential overflows;
2. the sum s of exp(beta * (x - m));
3. exp(beta * (x - m)) / s, or x - m - log s (beta is 1 there).

What is not a number makes the whole row so, through the sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import Builder, Pointer, Value, arguments
from martlet.kernels.math import exp, log
from martlet.kernels.targets import Target


def softmax(logarithmic: bool) -> Callable[..., None]:
    """The writer of SOFTMAX, or of LOG_SOFTMAX."""

    def write(
        k: Builder, x: Pointer, y: Pointer, beta: Value, length: Value, x_pitch: Value,
        y_pitch: Value, first: Value, last: Value,
    ) -> None:  # fmt: skip
        largest = k.variable(k.zeros())
        total = k.variable(k.zeros())
        for row in k.range(first, last):
            source, target = x + row * x_pitch, y + row * y_pitch
            largest.value = k.zeros() - math.inf
            for i, mask in k.vectors(0, length):
                value = k.load(source, i, mask)
                if mask is not None:
                    value = k.select(mask, value, -math.inf)
                largest.value = k.maximum(value, largest.value)
            top = k.broadcast(_largest_lane(k, largest.value))
            total.value = k.zeros()
            for i, mask in k.vectors(0, length):
                value = exp(k, (k.load(source, i, mask) - top) * beta)
                if not logarithmic:
                    k.store(target, i, value, mask)
                if mask is not None:
                    value = k.select(mask, value, 0.0)
                total.value = total.value + value
            lane_sum = k.broadcast(k.sum_of_lanes(total.value))
            if logarithmic:
                lane_sum = log(k, lane_sum)
            for i, mask in k.vectors(0, length):
                if logarithmic:
                    result = k.load(source, i, mask) - top - lane_sum
                else:
                    result = k.load(target, i, mask) / lane_sum
                k.store(target, i, result, mask)

    return write


def _largest_lane(k: Builder, value: Value) -> Value:
    while value.type.lanes > 1:
        half = value.type.lanes // 2
        low = k.shuffle(value, value, range(half))
        value = k.maximum(low, k.shuffle(value, value, range(half, 2 * half)))
    return k.lane(value, 0)


def kernels(target: Target) -> list[Kernel]:
    """Both kernels."""
    numbers = "beta: float", "length: i64", "x_pitch: i64", "y_pitch: i64"
    block = arguments("x: *float", "y: *float", *numbers)
    return [
        Kernel("softmax_f32", softmax(logarithmic=False), block),
        Kernel("log_softmax_f32", softmax(logarithmic=True), block),
    ]

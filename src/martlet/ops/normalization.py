"""Normalisation along the last dimension: L2_NORMALIZATION, LOCAL_RESPONSE_NORMALIZATION.

L2_NORMALIZATION divides each vector by its length.
- float32: the length is at least 1e-6.
- uint8, int8: the output's scale is 1/128, its zero point 128 or 0. The integer sum of squares
  becomes a fixed-point 1/sqrt (`inverse_sqrt`), by which each difference from the zero point is
  multiplied, rounded twice.

LOCAL_RESPONSE_NORMALIZATION (float32, rank 4) multiplies each element by
(bias + alpha * sum of the squares of its neighbours)^-beta, neighbours being the channels from
c - radius to c + radius. The reference kernel leaves the last of them out; so does the reference
resolver here, and by default those elements for which either base of the power is not positive.
"""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.activation_range import fused_activation
from martlet.ops.fixed_point import INT32_MAX, multiply_twice, saturate
from martlet.ops.fixed_point_functions import inverse_sqrt
from martlet.ops.operator import Call, Spec, register

EPSILON = np.float32(1e-6)
SCALE_BITS = 7  # the output's scale is 2^-7


def _l2_spec(call: Call) -> list[Spec]:
    dtype = call.check_dtype(0, DType.FLOAT32, DType.UINT8, DType.INT8)
    call.check(call.rank(0) > 0, "a scalar has no length")
    activation = fused_activation(call)
    call.check(activation == "NONE", "L2_NORMALIZATION has no fused activation", "NONE", activation)
    if dtype is not DType.FLOAT32:
        zero = 128 if dtype is DType.UINT8 else 0
        scale, point = call.output_scale(), call.output_zero_point()
        call.check(
            scale == 2.0**-SCALE_BITS and point == zero,
            "the output has other quantisation than its values have",
            f"scale 1/128, zero point {zero}",
            f"scale {scale}, zero point {point}",
        )
        limits = np.iinfo(dtype.numpy)
        call.check(
            limits.min <= call.zero_point(0) <= limits.max,
            "the zero point of the input is out of range",
            f"{limits.min} to {limits.max}",
            str(call.zero_point(0)),
        )
    return [call.spec(0)]


def _l2_normalization(call: Call, x: np.ndarray) -> np.ndarray:
    if call.dtype(0) is DType.FLOAT32:
        length = np.sqrt((x * x).sum(-1, keepdims=True, dtype=np.float32))
        return np.asarray(x / np.maximum(length, EPSILON))
    call.session.reserve(x.size * 16, call.place)
    difference = x.astype(np.int64) - call.zero_point(0)
    squares = (difference * difference).sum(-1, keepdims=True)
    mantissa, exponent = inverse_sqrt(np.minimum(squares, INT32_MAX))
    if call.dtype(0) is DType.UINT8:
        y = multiply_twice(difference << SCALE_BITS, mantissa, exponent)
    else:
        y = multiply_twice(difference, mantissa, exponent + SCALE_BITS)
    return saturate(y + call.output_zero_point(), x.dtype)


def _response_spec(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32)
    call.check_rank(0, 4)
    return [call.spec(0)]


def _local_response(call: Call, x: np.ndarray) -> np.ndarray:
    channels = x.shape[-1]
    radius = min(max(call.option("radius"), -channels), channels)
    bias, alpha, beta = (np.float32(call.option(name)) for name in ("bias", "alpha", "beta"))
    squares = x * x
    sums = np.zeros_like(x)

    def add(offset: int) -> None:
        low, high = max(0, -offset), min(channels, channels - offset)
        if low < high:
            sums[..., low:high] += squares[..., low + offset : high + offset]

    for offset in range(-radius, radius):
        call.tick()
        add(offset)
    base = bias + alpha * sums
    if not call.session.reference and radius >= 0:
        add(radius)
        whole = bias + alpha * sums
        base = np.where((base > 0) & (whole > 0), whole, base)
    return np.asarray(x * np.power(base, -beta))


register(
    "L2_NORMALIZATION", infer=_l2_spec, evaluate=_l2_normalization, inputs=1,
    options="L2NormOptions", versions=2,
)  # fmt: skip
register(
    "LOCAL_RESPONSE_NORMALIZATION", infer=_response_spec, evaluate=_local_response, inputs=1,
    options="LocalResponseNormalizationOptions",
)  # fmt: skip

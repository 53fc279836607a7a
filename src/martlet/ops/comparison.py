"""EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL of two tensors that broadcast.

Quantised values are compared as (stored - zero point) << 8 times the scale, rounded, so that
values of different scales meet, if coarsely: below about 1/256 they are equal. Eight-bit values
are quantised where they have scales; 16-bit ones in EQUAL and NOT_EQUAL alone, and elsewhere mean
themselves, as in TensorFlow Lite. Scales above 1 shift by a negative number of bits, which comes
out as there (`register_shift_right`) and keeps no order; a scale of 1, at which TensorFlow Lite
stops the process, has its plain meaning. Strings compare by their bytes, for equality.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from martlet.dtypes import DType
from martlet.ops.fixed_point import doubling_high_multiply, register_shift_right
from martlet.ops.operator import Call, Spec, register
from martlet.ops.pairwise import (
    Pairs,
    check_pair,
    each_pair,
    input_zero_point,
    is_quantized,
    real_multiplier,
)

ORDERED = (
    DType.FLOAT32, DType.FLOAT16, DType.INT16, DType.INT32, DType.INT64, DType.UINT8, DType.INT8,
)  # fmt: skip
EQUALITY = (*ORDERED, DType.BOOL, DType.STRING)
RESCALED = {
    "EQUAL": (DType.UINT8, DType.INT8, DType.INT16),
    "NOT_EQUAL": (DType.UINT8, DType.INT8, DType.INT16),
}
EIGHT_BITS = (DType.UINT8, DType.INT8)
FRACTION_BITS = 8

_COMPARE: dict[str, tuple[Callable[..., np.ndarray], tuple[DType, ...], int]] = {
    "EQUAL": (np.equal, EQUALITY, 5),
    "NOT_EQUAL": (np.not_equal, EQUALITY, 4),
    "LESS": (np.less, ORDERED, 3),
    "LESS_EQUAL": (np.less_equal, ORDERED, 2),
    "GREATER": (np.greater, ORDERED, 2),
    "GREATER_EQUAL": (np.greater_equal, ORDERED, 3),
}


def _rescales(call: Call) -> bool:
    return call.dtype(0) in RESCALED.get(call.op, EIGHT_BITS) and (
        is_quantized(call, 0) or is_quantized(call, 1)
    )


def _rescaled(call: Call) -> Pairs:
    """The comparison as a function of stored values."""
    compare = _COMPARE[call.op][0]
    zeros = [input_zero_point(call, i) for i in (0, 1)]
    scales = [call.scale(i) for i in (0, 1)]
    multipliers = [real_multiplier(call, s) for s in scales]

    def real(stored: np.ndarray, i: int) -> np.ndarray:
        fixed = (stored - zeros[i]) << FRACTION_BITS
        if scales[i] == 1:
            return fixed
        mantissa, exponent = multipliers[i]
        return register_shift_right(doubling_high_multiply(fixed, mantissa), -exponent)

    return lambda a, b: compare(real(a, 0), real(b, 1))


def _infer(call: Call) -> list[Spec]:
    shape = check_pair(call, _COMPARE[call.op][1])
    if _rescales(call):
        _rescaled(call)
    return [Spec(DType.BOOL, shape)]


def _evaluate(call: Call, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if _rescales(call):
        return each_pair(call, _rescaled(call), x, y, DType.BOOL)
    return np.asarray(_COMPARE[call.op][0](x, y)).astype(np.bool_)


for _name, (_compare, _types, _versions) in _COMPARE.items():
    register(
        _name, infer=_infer, evaluate=_evaluate, inputs=2, versions=_versions,
        options="".join(part.title() for part in _name.split("_")) + "Options",
    )  # fmt: skip

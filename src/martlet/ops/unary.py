"""Operators that take one tensor and give each element a function of it.

Floats: computed in the type of the tensor (float16 in float32). Integers without a scale: ABS,
NEG and SIGN, which wrap. Quantised values each have their own arithmetic:

- ABS: |q - zero point| times the ratio of the scales, rounded twice (`multiply_twice`).
- NEG: the stored value is negated; the scales must be equal and symmetric for this to mean
  anything, and TensorFlow Lite does not ask.
- EXP, LOG: by table (`lookup_table`). LOG of what is not positive is the least output.
- SQRT: in float32, and the quotient by the output's scale is truncated.
- RSQRT: int8 by Newton's iteration in fixed point, int16 by table.

SQRT and RSQRT of negative quantised values: TensorFlow Lite stops with an error. A stored value
is only right to within a step, so Martlet takes what lies below zero as zero, for which SQRT
gives zero and RSQRT the greatest output.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from martlet.dtypes import DType
from martlet.ops.fixed_point import (
    multiply_twice,
    quantize_multiplier,
    saturate,
    wrap_int32,
)
from martlet.ops.fixed_point_functions import inverse_sqrt
from martlet.ops.float_to_integer import convert_as_x86
from martlet.ops.lookup_table import by_value, look_up
from martlet.ops.operator import Call, Spec, register
from martlet.ops.rescaling import check_quantized, scale_ratio
from martlet.ops.single_precision import Function, single
from martlet.records import NamedTuple

FLOATS = (DType.FLOAT32, DType.FLOAT16, DType.FLOAT64)
QUANTIZED = (DType.INT8, DType.INT16)
TINY = float(np.finfo(np.float32).tiny)
SIGNED = (DType.INT8, DType.INT16, DType.INT32, DType.INT64)


def _abs(call: Call, x: np.ndarray) -> np.ndarray:
    distance = np.abs(x.astype(np.int64) - call.zero_point(0))
    if call.scale(0) != call.output_scale():
        distance = multiply_twice(distance, *quantize_multiplier(scale_ratio(call)))
    return saturate(distance + call.output_zero_point(), x.dtype.type)


def _exp(call: Call, x: np.ndarray) -> np.ndarray:
    return look_up(call, x, single(np.exp))


def _log(call: Call, x: np.ndarray) -> np.ndarray:
    low = np.iinfo(x.dtype).min - call.output_zero_point()
    least = np.float32(low) * np.float32(call.output_scale())
    return look_up(call, x, lambda real: np.where(real <= 0, least, single(np.log)(real)))


def _sqrt(call: Call, x: np.ndarray) -> np.ndarray:
    steps = np.maximum(x.astype(np.int64) - call.zero_point(0), 0)
    root = np.sqrt(np.float32(call.scale(0)) * steps.astype(np.float32))
    quotient = convert_as_x86(root / np.float32(call.output_scale()))
    return saturate(wrap_int32(quotient + call.output_zero_point()), x.dtype.type)


def _rsqrt(call: Call, x: np.ndarray) -> np.ndarray:
    if call.dtype(0) is DType.INT16:
        greatest = np.float32(32767) * np.float32(call.output_scale())
        return look_up(
            call, x, lambda real: np.where(real <= 0, greatest, np.float32(1) / np.sqrt(real))
        )
    steps = np.maximum(x.astype(np.int64) - call.zero_point(0), 0)
    mantissa, exponent = inverse_sqrt(steps)
    # 20 fractional bits for 1 / sqrt(steps), which the second multiplication takes away again.
    inverse = multiply_twice(np.ones(x.shape, np.int64), mantissa, exponent + 20)
    scale = np.sqrt(np.float32(call.scale(0))) * np.float32(call.output_scale())
    q, e = quantize_multiplier(1.0 / max(float(scale), TINY))
    output = multiply_twice(inverse, q, e - 20) + call.output_zero_point()
    return saturate(np.where(steps == 0, 127, output), np.int8)


class Unary(NamedTuple):
    """One operator: what it computes, for which types, and how for quantised values."""

    function: Function
    plain: tuple[DType, ...] = FLOATS
    quantized: Callable[[Call, np.ndarray], np.ndarray] | None = None
    versions: int = 1
    options: str = ""

    def is_quantized(self, call: Call) -> bool:
        """int8 where the operator has a quantised form; int16 too, where it has a scale."""
        dtype = call.dtype(0)
        if self.quantized is None or dtype not in QUANTIZED:
            return False
        return dtype not in self.plain or bool(call.input(0).quantization)

    def infer(self, call: Call) -> list[Spec]:
        call.check_dtype(0, *self.plain, *(QUANTIZED if self.quantized else ()))
        if self.is_quantized(call):
            check_quantized(call)
            scale_ratio(call)
        return [call.spec(0)]

    def evaluate(self, call: Call, x: np.ndarray) -> np.ndarray:
        if self.quantized is not None and self.is_quantized(call):
            return by_value(partial(self.quantized, call), x)
        if x.dtype == np.float16:
            return np.asarray(self.function(x.astype(np.float32)), np.float16)
        return np.asarray(self.function(x))


UNARY = {
    "ABS": Unary(np.abs, (*FLOATS, DType.INT16, DType.INT32), _abs, 5, "AbsOptions"),
    "NEG": Unary(np.negative, (*FLOATS, *SIGNED), None, 1, "NegOptions"),
    "SIN": Unary(np.sin, versions=2),
    "COS": Unary(np.cos, versions=2, options="CosOptions"),
    "EXP": Unary(np.exp, FLOATS, _exp, 2, "ExpOptions"),
    "LOG": Unary(np.log, FLOATS, _log, 2),
    "SQRT": Unary(np.sqrt, FLOATS, _sqrt, 2),
    "RSQRT": Unary(lambda x: 1 / np.sqrt(x), FLOATS, _rsqrt, 3),
    "SQUARE": Unary(np.square, options="SquareOptions"),
    "FLOOR": Unary(np.floor),
    "CEIL": Unary(np.ceil),
    "ROUND": Unary(np.rint),
    "SIGN": Unary(np.sign, (*FLOATS, DType.INT32), None, 2, "SignOptions"),
}
for _name, _unary in UNARY.items():
    register(
        _name, infer=_unary.infer, evaluate=_unary.evaluate, inputs=1,
        options=_unary.options, versions=_unary.versions,
    )  # fmt: skip

"""Reductions along axes: SUM, MEAN, REDUCE_*, ARG_MAX, ARG_MIN, CUMSUM.

The axes are input 1: from the end if negative, repeated ones count once, none leaves every
element by itself. A scalar has no axes and ignores them.

Plain integers wrap; MEAN of them adds in 64 bits and truncates. REDUCE_MAX and REDUCE_MIN skip
NaNs and start from the least and the greatest finite number, but a reduction of all axes starts
from the first element. Quantised values, with n elements to each result and s for the scales:

    MEAN          mantissa of s_in / s_out times 2^k / n, cut to an integer (2^k <= n); then the sum
                  less n z_in times it, rounded twice, plus z_out
    SUM, uint8    the sum less n z_in times s_in / s_out, rounded twice, plus z_out
    SUM, int8     the sum times s_in / s_out less z_in s_in / s_out n, in float32, rounded half away
    and int16     from zero, plus z_out: TensorFlow Lite's default kernel, as its reference kernel
                  reads these types as uint8
    REDUCE_PROD   after every multiplication times s_in / s_out^(1/n) with a 16-bit mantissa, half
                  up; after the last once more, plus z_out
    MAX, MIN      as stored: input and output share scale and zero point

An empty reduction gives 0 for MEAN of integers and for quantised sums, NaN for MEAN of floats,
and otherwise the value from which the reduction starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from martlet.dtypes import DType
from martlet.ops.fixed_point import (
    multiply_once,
    multiply_twice,
    quantize_multiplier,
    saturate,
    wrap_int32,
)
from martlet.ops.operator import Call, Shape, Spec, register
from martlet.ops.pairwise import input_zero_point, is_quantized, output_zero_point, real_multiplier
from martlet.records import dataclass

EIGHT_AND_SIXTEEN = (DType.UINT8, DType.INT8, DType.INT16)
NUMBERS = (DType.FLOAT32, DType.INT32, DType.INT64, *EIGHT_AND_SIXTEEN)
Axes = tuple[int, ...]
_WORKING_BYTES = 48  # of 64-bit intermediates, for each element of a quantised result


def _axes(call: Call) -> Axes | None:
    """The axes, each once, in order; None while they are not known."""
    call.check_dtype(1, DType.INT32)
    listed = call.value(1)
    if listed is None:
        return None
    rank = call.rank(0)
    return tuple(sorted({call.axis(int(a), rank) for a in listed.ravel()})) if rank else ()


def _known_axes(call: Call) -> Axes:
    axes = _axes(call)
    assert axes is not None  # in a run every input has a value
    return axes


def _reduced(call: Call, axes: Axes) -> Shape:
    shape = call.shape(0)
    if call.option("keep_dims"):
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def _count(x: np.ndarray, axes: Axes) -> int:
    return math.prod(x.shape[a] for a in axes)


# Plain values --------------------------------------------------------------------------------


def _sum(call: Call, x: np.ndarray, axes: Axes) -> np.ndarray:
    wide = np.float64 if x.dtype.kind == "f" else x.dtype
    return np.asarray(np.add.reduce(x, axis=axes, dtype=wide)).astype(x.dtype)


def _product(call: Call, x: np.ndarray, axes: Axes) -> np.ndarray:
    return np.asarray(np.multiply.reduce(x, axis=axes, dtype=x.dtype))


def _mean(call: Call, x: np.ndarray, axes: Axes) -> np.ndarray:
    count = _count(x, axes)
    if x.dtype.kind == "f":
        return np.asarray(np.add.reduce(x, axis=axes, dtype=np.float64) / count).astype(x.dtype)
    total = np.asarray(np.add.reduce(x, axis=axes, dtype=np.int64))
    magnitude = np.abs(total) // max(count, 1)
    return np.asarray(np.where(total < 0, -magnitude, magnitude)).astype(x.dtype)


def _extreme(call: Call, x: np.ndarray, axes: Axes) -> np.ndarray:
    """The greatest or the least element. Of floats, the one that meets no NaN."""
    greatest = call.op == "REDUCE_MAX"
    if x.dtype.kind == "b":
        return np.asarray((np.logical_or if greatest else np.logical_and).reduce(x, axis=axes))
    info = np.finfo(x.dtype) if x.dtype.kind == "f" else np.iinfo(x.dtype)
    start = x.dtype.type(info.min if greatest else info.max)
    if len(axes) == x.ndim and x.size:
        start = x[(0,) * x.ndim]
        if start != start:
            return np.asarray(start)
    choose = np.fmax if greatest else np.fmin
    return np.asarray(choose.reduce(x, axis=axes, initial=start))


def _any(call: Call, x: np.ndarray, axes: Axes) -> np.ndarray:
    return np.asarray(np.logical_or.reduce(x, axis=axes))


def _all(call: Call, x: np.ndarray, axes: Axes) -> np.ndarray:
    return np.asarray(np.logical_and.reduce(x, axis=axes))


# Quantised values ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scales:
    zero_in: int
    zero_out: int
    scale_in: float
    scale_out: float


def _scales(call: Call) -> _Scales:
    scales = _Scales(
        input_zero_point(call, 0), output_zero_point(call), call.scale(0), call.output_scale()
    )
    if call.dtype(0) is DType.INT16:
        zeros = (scales.zero_in, scales.zero_out)
        call.check(not any(zeros), f"int16 {call.op} needs zero points of 0", "0 and 0", str(zeros))
    return scales


def _totals(x: np.ndarray, axes: Axes) -> np.ndarray:
    """Sums of stored values, which are kept in 32 bits."""
    return wrap_int32(np.add.reduce(x, axis=axes, dtype=np.int64))


def _quantized_mean(call: Call, x: np.ndarray, axes: Axes) -> np.ndarray:
    scales, count = _scales(call), _count(x, axes)
    mantissa, exponent = quantize_multiplier(scales.scale_in / scales.scale_out)
    k = min(count.bit_length() - 1, 32, 31 + exponent)
    centred = wrap_int32(_totals(x, axes) - scales.zero_in * count)
    mean = multiply_twice(centred, (mantissa << k) // count, exponent - k)
    return saturate(mean + scales.zero_out, x.dtype)


def _quantized_sum(call: Call, x: np.ndarray, axes: Axes) -> np.ndarray:
    scales, count = _scales(call), _count(x, axes)
    totals = _totals(x, axes)
    if x.dtype == np.uint8:
        centred = wrap_int32(totals - scales.zero_in * count)
        multiplier = quantize_multiplier(scales.scale_in / scales.scale_out)
        return saturate(multiply_twice(centred, *multiplier) + scales.zero_out, x.dtype)
    scale = np.float32(scales.scale_in) / np.float32(scales.scale_out)
    bias = np.float32(-scales.zero_in) * scale * np.float32(count)
    real = (totals.astype(np.float32) * scale + bias).astype(np.float64)
    rounded = np.trunc(real + np.copysign(0.5, real))
    return saturate(rounded + scales.zero_out, x.dtype)


def _quantized_product(call: Call, x: np.ndarray, axes: Axes) -> np.ndarray:
    scales, count = _scales(call), _count(x, axes)
    multiplier = real_multiplier(call, scales.scale_in / scales.scale_out ** (1 / count))
    call.session.reserve(16 * x.size, call.place)
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    factors = x.astype(np.int64).transpose(axes + kept) - scales.zero_in
    factors = factors.reshape(count, *(x.shape[a] for a in kept))
    product = factors[0]
    for factor in factors[1:]:
        call.tick()
        product = multiply_once(product * factor, *multiplier)
    return saturate(multiply_once(product, *multiplier) + scales.zero_out, x.dtype)


@dataclass(frozen=True)
class _Operator:
    """types: what the operator takes. quantized: how it treats 8 and 16-bit values with a scale
    (of `quantized_types`); None: as stored, with scales that must be equal.
    """

    plain: Callable[[Call, np.ndarray, Axes], np.ndarray]
    types: tuple[DType, ...]
    versions: int
    quantized: Callable[[Call, np.ndarray, Axes], np.ndarray] | None = None
    quantized_types: tuple[DType, ...] = ()


_WITH_BOOL = (*NUMBERS, DType.BOOL)
_OPERATORS = {
    "SUM": _Operator(_sum, _WITH_BOOL, 2, _quantized_sum, EIGHT_AND_SIXTEEN),
    "MEAN": _Operator(_mean, NUMBERS, 3, _quantized_mean, EIGHT_AND_SIXTEEN),
    "REDUCE_PROD": _Operator(
        _product, _WITH_BOOL, 2, _quantized_product, (DType.INT8, DType.INT16)
    ),
    "REDUCE_MAX": _Operator(_extreme, _WITH_BOOL, 3),
    "REDUCE_MIN": _Operator(_extreme, _WITH_BOOL, 3),
    "REDUCE_ANY": _Operator(_any, (DType.BOOL,), 1),
    "REDUCE_ALL": _Operator(_all, (DType.BOOL,), 1),
}


def _rescales(call: Call) -> bool:
    """SUM and MEAN need scales for short integers; a product without them is a plain one."""
    operator = _OPERATORS[call.op]
    short = operator.quantized is not None and call.dtype(0) in EIGHT_AND_SIXTEEN
    return short and (call.op != "REDUCE_PROD" or is_quantized(call, 0))


def _infer(call: Call) -> list[Spec]:
    operator = _OPERATORS[call.op]
    dtype = call.check_dtype(0, *operator.types)
    if _rescales(call):
        call.check_dtype(0, *operator.quantized_types)
        _scales(call)
    elif dtype in EIGHT_AND_SIXTEEN:
        call.check_same_quantization(0)
    axes = _axes(call)
    return [Spec(dtype, None if axes is None else _reduced(call, axes))]


def _evaluate(call: Call, x: np.ndarray, _: np.ndarray) -> np.ndarray:
    axes = _known_axes(call)
    shape = _reduced(call, axes)
    operator = _OPERATORS[call.op]
    if operator.quantized is None or not _rescales(call):
        return operator.plain(call, x, axes).reshape(shape)
    if x.size == 0:
        return np.zeros(shape, x.dtype)
    call.session.reserve(_WORKING_BYTES * math.prod(shape), call.place)
    return operator.quantized(call, x, axes).reshape(shape)


for _name, _operator in _OPERATORS.items():
    register(
        _name, infer=_infer, evaluate=_evaluate, inputs=2, options="ReducerOptions",
        versions=_operator.versions,
    )  # fmt: skip


# One axis ------------------------------------------------------------------------------------


def _one_axis(call: Call, *types: DType) -> int | None:
    call.check_dtype(1, *types)
    call.check(
        math.prod(call.shape(1)) == 1, f"{call.op} takes one axis", "1", str(list(call.shape(1)))
    )
    axis = call.value(1)
    return None if axis is None else call.axis(int(axis.ravel()[0]), call.rank(0))


def _infer_arg(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32, DType.UINT8, DType.INT8, DType.INT32, DType.BOOL)
    call.check(call.rank(0) >= 1, f"{call.op} needs a dimension", "rank 1 or more", "a scalar")
    output = call.option("output_type")
    call.check(
        output in ("INT32", "INT64"), "indices cannot have this type", "INT32 or INT64", str(output)
    )
    axis = _one_axis(call, DType.INT32, DType.INT64)
    if axis is None:
        return [Spec(DType[output], None)]
    shape = call.shape(0)
    call.check(shape[axis] > 0, f"the axis of {call.op} is empty", "1 element or more", "0")
    return [Spec(DType[output], shape[:axis] + shape[axis + 1 :])]


def _arg_extreme(call: Call, x: np.ndarray, _: np.ndarray) -> np.ndarray:
    """The first index of the extreme. NaNs lose against everything, but for one that comes first
    along an axis with nothing behind it.
    """
    axis = _one_axis(call, DType.INT32, DType.INT64)
    assert axis is not None  # in a run every input has a value
    dtype = DType[call.option("output_type")].numpy
    greatest = call.op == "ARG_MAX"
    if x.dtype.kind != "f" or not np.isnan(x).any():
        return np.asarray((np.argmax if greatest else np.argmin)(x, axis=axis)).astype(dtype)
    best = (np.fmax if greatest else np.fmin).reduce(x, axis=axis, keepdims=True)
    index = np.asarray(np.argmax(x == best, axis=axis))  # 0 where all are NaNs
    if math.prod(x.shape[axis + 1 :]) == 1:
        index = np.where(np.isnan(np.take(x, 0, axis)), 0, index)
    return index.astype(dtype)


for _name, _options in (("ARG_MAX", "ArgMaxOptions"), ("ARG_MIN", "ArgMinOptions")):
    register(_name, infer=_infer_arg, evaluate=_arg_extreme, inputs=2, options=_options, versions=3)


def _infer_cumulative(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32, DType.INT32, DType.INT64)
    call.check(call.rank(0) >= 1, f"{call.op} needs a dimension", "rank 1 or more", "a scalar")
    _one_axis(call, DType.INT32)
    return [call.spec(0)]


def _cumulative_sum(call: Call, x: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Running sums from the first element, or the last; exclusive: without the element itself."""
    axis = _one_axis(call, DType.INT32)
    assert axis is not None
    x = np.moveaxis(x, axis, 0)
    order = slice(None, None, -1) if call.option("reverse") else slice(None)
    sums = np.cumsum(x[order], axis=0, dtype=x.dtype)
    if call.option("exclusive"):
        sums = np.concatenate([np.zeros_like(sums[:1]), sums[:-1]])
    return np.ascontiguousarray(np.moveaxis(sums[order], 0, axis))


register(
    "CUMSUM", infer=_infer_cumulative, evaluate=_cumulative_sum, inputs=2, options="CumsumOptions"
)

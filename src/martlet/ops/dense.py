"""FULLY_CONNECTED: y = activation(x · weightsᵀ + bias), in every pairing of types that exists.

In: x, read as rows of `depth` elements; weights (units, depth); an optional bias (units). Out:
(rows, units), or the shape of x with `units` as last size where `keep_num_dims` is set.

What the types of x and of the weights make of it:
- float32, float32: the formula.
- float32, 8 bits or fewer ("hybrid"): x is quantised row by row (dynamic_quantization), the
  product is one of integers, its result goes back to float32. Unsigned weights are read as signed
  ones. Weights quantised in blocks are scaled before the product, and x is always asymmetric.
- 8 bits, 8 bits or fewer: the int32 sum, times the double s_x · s_w / s_y, **rounds once**, half
  away from zero. Sparse int8 weights have a kernel of their own, which rounds twice.
- int16, 8 bits or fewer: the same with 64-bit sums (32-bit where `quantized_bias_type` says so).
- int16, int16: 64-bit sums, times a multiplier of 16 bits, rounded once (`multiply_wide`).
- weights SHUFFLED4x16INT8: uint8 to int16, rounds twice; zero points are 128. The second output is
  x, biased and reordered, as that kernel leaves it.

A scale per channel is one per unit; weights have no zero point then.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from martlet.dtypes import DType
from martlet.ops.activation_range import apply, fused_activation, integer_range
from martlet.ops.blockwise import check_blockwise, dequantize_blocks, is_blockwise
from martlet.ops.dynamic_quantization import quantize_rows
from martlet.ops.fixed_point import (
    INT32_MAX,
    INT32_MIN,
    multiply_twice,
    multiply_wide,
    quantize_multiplier,
    quantize_multipliers,
    round_half_away,
    wrap_int32,
)
from martlet.ops.integer_matmul import centered, integer_matmul
from martlet.ops.operator import Call, Shape, Spec, register

F32, U8, I8, I16 = DType.FLOAT32, DType.UINT8, DType.INT8, DType.INT16
I4, I2, I32, I64 = DType.INT4, DType.INT2, DType.INT32, DType.INT64

# Type of x -> types of weights, of the bias, of the output.
PAIRINGS: dict[DType, tuple[tuple[DType, ...], tuple[DType, ...], tuple[DType, ...]]] = {
    F32: ((F32, I8, I4, I2, U8), (F32,), (F32,)),
    U8: ((U8,), (I32,), (U8, I16)),
    I8: ((I8, I4, I2), (I32,), (I8,)),
    I16: ((I8, I4, I2, I16), (I32, I64), (I16,)),
}
# Only hybrid layers have activations that are no interval.
CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "TANH": np.tanh,
    "SIGN_BIT": lambda x: np.signbit(x).astype(np.float32),
}


def _infer(call: Call) -> list[Spec]:
    dtype = call.check_dtype(0, *PAIRINGS)
    weights, biases, outputs = PAIRINGS[dtype]
    call.check_dtype(1, *weights)
    output = call.output().dtype
    call.check(
        output in outputs,
        f"the output cannot have this type where x has {dtype.name}",
        " or ".join(d.name for d in outputs),
        output.name,
    )
    x_shape = call.shape(0)
    units, depth = call.check_rank(1, 2)
    if call.has(2):
        call.check_dtype(2, *biases)
        size = math.prod(call.shape(2))
        call.check(size == units, "the bias does not fit the weights", str(units), str(size))
    shape = _output_shape(call, x_shape, units, depth)
    specs = [Spec(output, shape)]
    if dtype is F32:
        _check_float(call)
    else:
        _check_quantized(call, dtype, output)
    shuffled = _shuffled(call)
    if shuffled:
        call.check(output is I16, "shuffled weights give int16", "INT16", output.name)
        call.check(call.has(2), "shuffled weights need a bias")
        rows = math.prod(x_shape) // max(1, depth)
        call.check(
            rows in (1, 4) and depth % 16 == 0 and units % 4 == 0,
            "these sizes have no shuffled form",
            "1 or 4 rows, a depth divisible by 16, units divisible by 4",
            f"{rows}, {depth}, {units}",
        )
        specs.append(Spec(U8, x_shape))
    call.check(
        call.outputs == len(specs),
        "the number of outputs does not fit the format of the weights",
        str(len(specs)),
        str(call.outputs),
    )
    return specs


def _output_shape(call: Call, shape: Shape, units: int, depth: int) -> Shape:
    size = math.prod(shape)
    if call.option("keep_num_dims"):
        call.check(
            bool(shape) and shape[-1] == depth,
            "the last size of x and the depth of the weights differ",
            str(depth),
            str(list(shape)),
        )
        return (*shape[:-1], units)
    if depth == 0:
        return (math.prod(shape[:-1]), units)
    call.check(
        size % depth == 0,
        "x is not made of rows as long as the weights are deep",
        f"a multiple of {depth} elements",
        f"{size} (shape {list(shape)})",
    )
    return (size // depth, units)


def _shuffled(call: Call) -> bool:
    weights_format = call.option("weights_format")
    known = ("DEFAULT", "SHUFFLED4x16INT8")
    call.check(
        weights_format in known,
        "unknown format of weights",
        " or ".join(known),
        str(weights_format),
    )
    shuffled = bool(weights_format == known[1])
    if shuffled:
        call.check_dtype(0, U8)
        call.check_dtype(1, U8)
    return shuffled


def _check_float(call: Call) -> None:
    if call.dtype(1) is F32:
        fused_activation(call)
        return
    if call.option("fused_activation_function") not in CURVES:
        fused_activation(call)
    if is_blockwise(call, 1):
        call.check_dtype(1, I8, I4, I2)
        check_blockwise(call, 1)
    else:
        _weight_scales(call)


def _check_quantized(call: Call, dtype: DType, output: DType) -> None:
    activation = fused_activation(call)
    integer_range(call, activation)
    scales = _weight_scales(call)
    per_channel = scales.size > 1
    if dtype is U8:
        call.check(not per_channel, "uint8 weights have one scale", "1", str(scales.size))
    call.scale(0)
    call.output_scale()
    points = [("x", call.zero_point(0), dtype), ("the output", call.output_zero_point(), output)]
    for what, zero, of in points:
        _check_zero_point(call, what, zero, of, symmetric=of is I16)
    if not per_channel:
        of = call.dtype(1)
        _check_zero_point(call, "the weights", call.zero_point(1), of, symmetric=of in (I4, I2))
    if dtype is I16:
        _sum_type(call)


def _check_zero_point(call: Call, what: str, zero: int, dtype: DType, symmetric: bool) -> None:
    info = np.iinfo(dtype.numpy)
    low, high = (0, 0) if symmetric else (info.min, info.max)
    call.check(
        low <= zero <= high,
        f"the zero point of {what} is out of range",
        "0" if symmetric else f"{low} to {high}",
        str(zero),
    )


def _weight_scales(call: Call) -> np.ndarray:
    """The scales of the weights: one, or one for each unit."""
    quantization = call.quantization(1)
    scales = quantization.scale
    units = call.shape(1)[0]
    if scales.size > 1:
        call.check(
            quantization.axis == 0 and scales.size == units,
            "scales per channel must be one for each unit",
            f"{units} along axis 0",
            f"{scales.size} along axis {quantization.axis}",
        )
    call.check(bool(np.isfinite(scales).all()), "a scale of the weights is not a number")
    return scales


def _sum_type(call: Call) -> DType:
    """Width of the sums of an int16 layer."""
    kind = call.option("quantized_bias_type")
    call.check(
        kind in ("FLOAT32", "INT32", "INT64"),
        "unknown quantized_bias_type",
        "INT32 or INT64",
        str(kind),
    )
    if kind == "FLOAT32":  # the default: not said
        return I64
    if call.has(2):
        call.check_dtype(2, DType[kind])
    return DType[kind]


def _fully_connected(
    call: Call, x: np.ndarray, weights: np.ndarray, bias: np.ndarray | None = None
) -> np.ndarray | list[np.ndarray]:
    units, depth = call.shape(1)
    shape = _output_shape(call, call.shape(0), units, depth)
    if depth == 0:
        return np.zeros(shape, call.output().dtype.numpy)
    rows = x.reshape(-1, depth)
    if bias is not None:
        bias = bias.reshape(units)
    if _shuffled(call):
        assert bias is not None
        return [_shuffled_product(call, rows, weights, bias).reshape(shape), _shuffle(rows, x)]
    if call.dtype(0) is not F32:
        return _quantized(call, rows, weights, bias).reshape(shape)
    y = np.matmul(rows, weights.T) if call.dtype(1) is F32 else _hybrid(call, rows, weights)
    if bias is not None:
        y = y + bias
    activation = call.option("fused_activation_function")
    y = CURVES[activation](y) if activation in CURVES else apply(y, activation)
    return y.reshape(shape)


def _reserve(call: Call, rows: np.ndarray, weights: np.ndarray) -> None:
    """Room for x and the sums as 64-bit numbers, once as they are and once on their way."""
    call.session.reserve(16 * (rows.size + rows.shape[0] * weights.shape[0]), call.place)


def _hybrid(call: Call, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    _reserve(call, rows, weights)
    if is_blockwise(call, 1):
        call.session.reserve(weights.size * 4, call.place)
        q, scales = quantize_rows(rows, asymmetric=True)
        real = dequantize_blocks(call, 1, weights)
        return np.asarray(np.matmul(q.astype(np.float32), real.T) * scales)
    q, scales = quantize_rows(rows, bool(call.option("asymmetric_quantize_inputs")))
    sums = integer_matmul(q, weights.view(np.int8).T)
    return np.asarray(sums.astype(np.float32) * (scales * _weight_scales(call)))


def _quantized(
    call: Call, rows: np.ndarray, weights: np.ndarray, bias: np.ndarray | None
) -> np.ndarray:
    dtype, w_dtype = call.dtype(0), call.dtype(1)
    _reserve(call, rows, weights)
    scales = _weight_scales(call)
    if scales.size == 1:
        weights = centered(weights, call.zero_point(1))
    sums = integer_matmul(centered(rows, call.zero_point(0)), weights.T)
    if bias is not None:
        sums = sums + bias
    if dtype is not I16 or (w_dtype is not I16 and _sum_type(call) is I32):
        sums = wrap_int32(sums)
    if w_dtype is I16 and scales.size == 1:
        product = float(np.float32(call.scale(0)) * scales[0])
        y = multiply_wide(sums, *quantize_multiplier(product / call.output_scale()))
    else:
        multipliers = call.scale(0) * scales.astype(np.float64) / call.output_scale()
        if w_dtype is I16:
            y = multiply_wide(sums, *quantize_multipliers(multipliers))
        elif call.input(1).sparsity is not None:
            y = multiply_twice(sums, *quantize_multipliers(multipliers))
        else:
            y = round_half_away(sums.astype(np.float64) * multipliers)
            y = np.clip(y, INT32_MIN, INT32_MAX).astype(np.int64)
    return _clamped(call, y + call.output_zero_point())


def _clamped(call: Call, y: np.ndarray) -> np.ndarray:
    low, high = integer_range(call, fused_activation(call))
    return np.asarray(np.clip(y, low, high)).astype(call.output().dtype.numpy)


def _shuffled_product(
    call: Call, rows: np.ndarray, weights: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Weights lie in tiles of 4 units by 16 deep, their top bit flipped: signed, less 128."""
    units, depth = weights.shape
    tiles = weights.view(np.int8).reshape(units // 4, depth // 16, 4, 16)
    plain = tiles.transpose(0, 2, 1, 3).reshape(units, depth)
    sums = wrap_int32(integer_matmul(centered(rows, 128), plain.T) + bias)
    product = float(np.float32(call.scale(0)) * np.float32(call.scale(1)))
    y = multiply_twice(sums, *quantize_multiplier(product / call.output_scale()))
    return _clamped(call, y)


def _shuffle(rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    """x as the shuffled kernel reads it: runs of 16, row by row, the top bit flipped."""
    runs = (rows ^ 128).reshape(rows.shape[0], -1, 16)
    return np.ascontiguousarray(runs.transpose(1, 0, 2)).reshape(x.shape)


register(
    "FULLY_CONNECTED", infer=_infer, evaluate=_fully_connected, inputs=(2, 3), outputs=(1, 2),
    options="FullyConnectedOptions", versions=14, optional=(2,),
)  # fmt: skip

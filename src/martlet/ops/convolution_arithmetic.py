"""The arithmetic of convolutions: what their operands are as numbers, and what becomes of the sums.

Three kinds, told apart by the types of the activations and the weights:

- float: float32 sums, bias, fused activation;
- hybrid: float32 activations are quantised to 8 bits in the run, one scale for each batch, and
  meet 8-bit or 4-bit weights; the exact sums times both scales are float32 again;
- quantised: exact sums of (x - zero point) * (w - zero point), plus bias, times
  input scale * weight scale / output scale. 32-bit sums wrap as C's do and round twice; 64-bit
  sums (16-bit activations, unless the bias has 32 bits) go through `multiply_wide`.

Sums of integers are taken in float32 while they stay below 2^24, else in float64, both exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from martlet.dtypes import DType
from martlet.ops.activation_range import apply, fused_activation, integer_range
from martlet.ops.dynamic_quantization import quantize_rows
from martlet.ops.fixed_point import multiply_twice, multiply_wide, quantize_multipliers, wrap_int32
from martlet.ops.integer_matmul import FLOAT32_EXACT, FLOAT64_EXACT
from martlet.ops.operator import Call
from martlet.records import NamedTuple

WEIGHTS = {
    DType.FLOAT32: (DType.FLOAT32, DType.INT8, DType.UINT8, DType.INT4),
    DType.UINT8: (DType.UINT8,),
    DType.INT8: (DType.INT8, DType.INT4),
    DType.INT16: (DType.INT8, DType.INT4),
}
BIAS = {
    DType.FLOAT32: (DType.FLOAT32,),
    DType.UINT8: (DType.INT32,),
    DType.INT8: (DType.INT32,),
    DType.INT16: (DType.INT64, DType.INT32, DType.INT16),
}


class Operands(NamedTuple):
    """Which inputs of a node are what. channels: the weights' dimension of output channels."""

    data: int
    weights: int
    bias: int
    channels: int


class Arithmetic(NamedTuple):
    """Operands ready for summing, and the rule for sums.

    The sums are those of (data - offset) * weights, in the type of `weights`. `finish` takes
    sums (batches, …, channels) and the range of batches that they belong to; gives outputs.
    """

    data: np.ndarray
    offset: int
    weights: np.ndarray
    finish: Callable[[np.ndarray, range], np.ndarray]

    def read(self, batches: range, under: tuple[slice, ...]) -> np.ndarray:
        """data - offset of some batches and places, in the type of the weights."""
        part = self.data[(slice(batches.start, batches.stop), *under)]
        centered: np.ndarray = np.subtract(
            part, self.offset, dtype=self.weights.dtype, casting="unsafe"
        )
        return centered


def check_arithmetic(call: Call, at: Operands) -> DType:
    """All checks that types, sizes, scales and zero points allow; the output's type."""
    dtype = call.check_dtype(at.data, *WEIGHTS)
    weights = call.check_dtype(at.weights, *WEIGHTS[dtype])
    channels = call.shape(at.weights)[at.channels]
    activation = fused_activation(call)
    if call.has(at.bias):
        call.check_dtype(at.bias, *BIAS[dtype])
        shape = call.shape(at.bias)
        call.check(
            math.prod(shape) == channels,
            "the bias does not fit the output channels",
            f"{channels} elements",
            f"shape {list(shape)}",
        )
    if weights is not DType.FLOAT32:
        _weight_scales(call, at)
    if dtype is not DType.FLOAT32:
        call.scale(at.data)
        call.output_scale()
        _check_zero_points(call, at, dtype)
        call.check(
            call.output().dtype is dtype,
            "the output has another type than the input",
            dtype.name,
            call.output().dtype.name,
        )
        integer_range(call, activation)
    return dtype


def _check_zero_points(call: Call, at: Operands, dtype: DType) -> None:
    """16-bit activations and biases are symmetric; others have zero points of 32 bits."""
    for what, zero in (
        ("input", call.zero_point(at.data)),
        ("output", call.output_zero_point()),
        ("weights", call.zero_point(at.weights)),
    ):
        symmetric = dtype is DType.INT16 and what != "weights"
        call.check(
            zero == 0 if symmetric else abs(zero) < 1 << 31,
            f"the {what} has an unusable zero point",
            "0" if symmetric else "a 32-bit integer",
            str(zero),
        )
    if call.has(at.bias):
        quantization = call.input(at.bias).quantization
        call.check(
            quantization is None or not quantization.zero_point.any(),
            "the bias has a zero point other than 0",
        )


def _weight_scales(call: Call, at: Operands) -> np.ndarray:
    """float64 scales of the weights: one, or one for each output channel."""
    quantization = call.quantization(at.weights)
    scales = quantization.scale.astype(np.float64)
    shape = call.shape(at.weights)
    channels = shape[at.channels]
    if scales.size != 1:
        along = shape[quantization.axis] if 0 <= quantization.axis < len(shape) else None
        call.check(
            scales.size == channels == along and call.dtype(at.weights) is not DType.UINT8,
            "the scales of the weights do not fit the output channels",
            f"1, or {channels} along axis {at.channels} of signed weights",
            f"{scales.size} along axis {quantization.axis}",
        )
    call.check(
        bool(np.isfinite(scales).all() and (scales >= 0).all()),
        "the weights have an unusable scale",
        "finite numbers from 0",
    )
    return scales


def arithmetic(
    call: Call,
    at: Operands,
    values: tuple[np.ndarray | None, ...],
    symmetric: bool = False,
) -> Arithmetic:
    """The arithmetic of a checked node. `symmetric`: how hybrid activations are quantised."""
    data, weights = values[at.data], values[at.weights]
    bias = values[at.bias] if call.has(at.bias) else None
    assert data is not None
    assert weights is not None
    activation = fused_activation(call)
    bias = None if bias is None else bias.ravel()
    if call.dtype(at.weights) is DType.FLOAT32:
        return _float(data, weights, bias, activation)
    # Weights as floats; for hybrid arithmetic also what quantising the activations takes.
    hybrid = call.dtype(at.data) is DType.FLOAT32
    call.session.reserve(8 * weights.size + 16 * data.size * hybrid, call.place)
    if hybrid:
        return _hybrid(call, at, data, weights, bias, activation, symmetric)
    return _quantized(call, at, data, weights, bias, activation)


def _float(
    data: np.ndarray, weights: np.ndarray, bias: np.ndarray | None, activation: str
) -> Arithmetic:
    def finish(sums: np.ndarray, batches: range) -> np.ndarray:
        return apply(sums if bias is None else sums + bias, activation)

    return Arithmetic(data, 0, weights, finish)


def _hybrid(
    call: Call,
    at: Operands,
    data: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None,
    activation: str,
    symmetric: bool,
) -> Arithmetic:
    """Unsigned weights are read as signed bytes without a zero point: old converters meant so."""
    batches, *rest = data.shape
    centered, row_scales = quantize_rows(data.reshape(batches, math.prod(rest)), not symmetric)
    scales = _weight_scales(call, at).astype(np.float32)
    factors = row_scales.reshape(batches, *(1,) * (data.ndim - 1))

    def finish(sums: np.ndarray, batches: range) -> np.ndarray:
        real = sums.astype(np.float32) * (scales * factors[batches.start : batches.stop])
        return apply(real if bias is None else real + bias, activation)

    exact = _exact(call, at, weights.view(np.int8).astype(np.float32), 255)
    return Arithmetic(centered.reshape(data.shape), 0, exact, finish)


def _quantized(
    call: Call,
    at: Operands,
    data: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None,
    activation: str,
) -> Arithmetic:
    """Signed weights have no zero point: TensorFlow Lite does not look at it."""
    dtype = call.dtype(at.data)
    zero, output_zero = call.zero_point(at.data), call.output_zero_point()
    weights = weights.astype(np.float32)
    if dtype is DType.UINT8:
        weights -= np.float32(call.zero_point(at.weights))
    info = np.iinfo(data.dtype)
    exact = _exact(call, at, weights, max(abs(info.min - zero), abs(info.max - zero)))
    mantissa, exponent = quantize_multipliers(_multipliers(call, at))
    low, high = integer_range(call, activation)
    wide = dtype is DType.INT16 and not _narrow_sums(call, at)
    addend = None if bias is None else bias.astype(np.int64)

    def finish(sums: np.ndarray, batches: range) -> np.ndarray:
        total = sums.astype(np.int64)
        if addend is not None:
            total += addend
        if wide:
            scaled = multiply_wide(total, mantissa, exponent)
        else:
            scaled = multiply_twice(wrap_int32(total), mantissa, exponent)
        clamped: np.ndarray = np.clip(scaled + output_zero, low, high)
        return clamped.astype(data.dtype)

    return Arithmetic(data, zero, exact, finish)


def _multipliers(call: Call, at: Operands) -> np.ndarray:
    """input scale * weight scale / output scale in double; the product in float32 for uint8."""
    scales, scale = _weight_scales(call, at), call.scale(at.data)
    if call.dtype(at.data) is DType.UINT8:
        product = (scales.astype(np.float32) * np.float32(scale)).astype(np.float64)
    else:
        product = scale * scales
    multipliers: np.ndarray = product / call.output_scale()
    return multipliers


def _narrow_sums(call: Call, at: Operands) -> bool:
    """Whether sums of 16-bit activations have 32 bits: the bias says so, or else the option."""
    if call.has(at.bias):
        return call.dtype(at.bias) is DType.INT32
    return "quantized_bias_type" in call.node.options and (
        call.option("quantized_bias_type") == "INT32"
    )


def _exact(call: Call, at: Operands, weights: np.ndarray, reach: int) -> np.ndarray:
    """Weights in a float type in which no sum with activations up to `reach` is rounded."""
    others = tuple(i for i in range(weights.ndim) if i != at.channels)
    largest = reach * float(np.abs(weights).sum(others, dtype=np.float64).max(initial=0))
    if largest < FLOAT32_EXACT:
        return weights
    if largest >= FLOAT64_EXACT:
        call.fail_run("the sums could pass 2^53", found=f"{largest:.3g}")
    return weights.astype(np.float64)

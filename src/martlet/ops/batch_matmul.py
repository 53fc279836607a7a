"""BATCH_MATMUL: the product of two stacks of matrices, whose leading dimensions broadcast.

In: x (…, rows, depth) and y (…, depth, columns), of rank 2 to 5; adj_x and adj_y say that the
last two dimensions of one come swapped. Out: (…, rows, columns).

By type of x and y:
- float32, float32: the product.
- float32, int8 ("hybrid"): x is quantised row by row (dynamic_quantization); y has one scale, or
  one for each column.
- int8, int8 to int8: the int32 sum less the zero points, times s_x · s_y / s_out (the first
  product in float32), rounds twice. To int32: the bare sum of the stored values.
- int16, int16 or int8: 64-bit sums, times a multiplier of 16 bits, rounded once; zero points
  are 0.

Integers have one scale. TensorFlow Lite does not refuse an input with a scale per channel, as some
converters write; it takes it for one of scale 0, and every result for 0. So it is here.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.dynamic_quantization import quantize_rows
from martlet.ops.fixed_point import (
    multiply_twice,
    multiply_wide,
    quantize_multiplier,
    saturate,
    wrap_int32,
)
from martlet.ops.integer_matmul import centered, integer_matmul
from martlet.ops.operator import Call, Spec, register

F32, I8, I16, I32 = DType.FLOAT32, DType.INT8, DType.INT16, DType.INT32

# Types of x and y -> types of the output.
PAIRINGS = {
    (F32, F32): (F32,),
    (F32, I8): (F32,),
    (I8, I8): (I8, I32),
    (I16, I16): (I16,),
    (I16, I8): (I16,),
}


def _infer(call: Call) -> list[Spec]:
    x_dtype = call.check_dtype(0, *dict.fromkeys(x for x, _ in PAIRINGS))
    y_dtype = call.check_dtype(1, *(y for x, y in PAIRINGS if x is x_dtype))
    x_shape, y_shape = call.check_rank(0, 2, 5), call.check_rank(1, 2, 5)
    rows, depth = x_shape[-2:] if not call.option("adj_x") else x_shape[:-3:-1]
    y_depth, columns = y_shape[-2:] if not call.option("adj_y") else y_shape[:-3:-1]
    call.check(
        depth == y_depth,
        "the depths of the matrices differ",
        str(depth),
        f"{y_depth} (shapes {list(x_shape)} and {list(y_shape)})",
    )
    try:
        batch = np.broadcast_shapes(x_shape[:-2], y_shape[:-2])
    except ValueError:
        call.fail(
            "the leading dimensions do not broadcast",
            "equal sizes, or 1",
            f"{list(x_shape)} and {list(y_shape)}",
        )
    output = call.output().dtype
    outputs = PAIRINGS[x_dtype, y_dtype]
    call.check(
        output in outputs,
        "the output has a type that these inputs do not give",
        " or ".join(d.name for d in outputs),
        output.name,
    )
    if y_dtype is not F32 and output is not I32:
        _check_quantization(call)
    return [Spec(output, (*batch, rows, columns))]


def _check_quantization(call: Call) -> None:
    if call.dtype(0) is F32:
        _column_scales(call)
        return
    _multiplier(call)
    symmetric = call.dtype(0) is I16
    for what, zero in (
        ("x", _zero_point(call, 0)),
        ("y", _zero_point(call, 1)),
        ("the output", call.output_zero_point()),
    ):
        low, high = (0, 0) if symmetric else (-128, 127)
        call.check(
            low <= zero <= high,
            f"the zero point of {what} is out of range",
            "0" if symmetric else "-128 to 127",
            str(zero),
        )


def _multiplier(call: Call) -> tuple[int, int]:
    """What turns sums of integers into the output's steps."""
    x, y = (np.float32(0 if call.quantization(i).per_channel else call.scale(i)) for i in range(2))
    with np.errstate(over="ignore"):
        return quantize_multiplier(float(x * y) / call.output_scale())


def _zero_point(call: Call, i: int) -> int:
    return 0 if call.quantization(i).per_channel else call.zero_point(i)


def _column_scales(call: Call) -> np.ndarray:
    """Scales of a quantised y that meets a float x: one, or one for each column."""
    quantization = call.quantization(1)
    scales = quantization.scale
    if scales.size > 1:
        shape = call.shape(1)
        axis = len(shape) - (2 if call.option("adj_y") else 1)
        call.check(
            quantization.axis == axis and scales.size == shape[axis],
            "scales per channel must be one for each column of the product",
            f"{shape[axis]} along axis {axis}",
            f"{scales.size} along axis {quantization.axis}",
        )
    return scales


def _batch_matmul(call: Call, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if call.option("adj_x"):
        x = x.swapaxes(-1, -2)
    if call.option("adj_y"):
        y = y.swapaxes(-1, -2)
    if call.dtype(1) is F32:
        return np.asarray(np.matmul(x, y))
    shape = _infer(call)[0].shape
    assert shape is not None
    # x, y and the sums as 64-bit numbers, and the sums once more on their way.
    call.session.reserve(8 * (x.size + y.size + 2 * math.prod(shape)), call.place)
    if call.dtype(0) is F32:
        q, scales = quantize_rows(x, bool(call.option("asymmetric_quantize_inputs")))
        sums = integer_matmul(q, y).astype(np.float32)
        return np.asarray(sums * (scales * _column_scales(call)))
    if call.output().dtype is I32:
        return wrap_int32(integer_matmul(x, y)).astype(np.int32)
    multiplier = _multiplier(call)
    sums = integer_matmul(centered(x, _zero_point(call, 0)), centered(y, _zero_point(call, 1)))
    if call.dtype(0) is I16:
        return saturate(multiply_wide(sums, *multiplier), np.int16)
    scaled = multiply_twice(wrap_int32(sums), *multiplier)
    return saturate(scaled + call.output_zero_point(), np.int8)


register(
    "BATCH_MATMUL", infer=_infer, evaluate=_batch_matmul, inputs=2, options="BatchMatMulOptions",
    versions=4,
)  # fmt: skip

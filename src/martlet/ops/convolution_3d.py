"""CONV_3D and CONV_3D_TRANSPOSE: convolutions over volumes.

In and out: floats (batches, depth, height, width, channels). The sums are those of `convolution`;
the weights lie the other way round: windows first, then input and output channels (CONV_3D) or
output and input channels (its transpose).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from martlet.dtypes import DType
from martlet.ops.convolution import check_transposed, correlate, output_shape, scatter
from martlet.ops.convolution_arithmetic import Operands, arithmetic, check_arithmetic
from martlet.ops.operator import Call, Shape, Spec, register
from martlet.ops.sliding_window import Axis, window_axes

CONV = Operands(data=0, weights=1, bias=2, channels=4)
TRANSPOSED = Operands(data=2, weights=1, bias=3, channels=3)


def _check(call: Call, at: Operands) -> None:
    """Ranks, types, and input channels: the other of the weights' last two dimensions."""
    data, weights = call.check_rank(at.data, 5), call.check_rank(at.weights, 5)
    call.check_dtype(at.data, DType.FLOAT32)
    call.check_dtype(at.weights, DType.FLOAT32)
    depth = weights[7 - at.channels]
    call.check(
        data[4] == depth and min(*weights, *data[1:]) > 0,
        "the channels of the input do not fit the weights",
        f"{depth}, and no size of 0",
        f"{data[4]} (shape {list(data)}, weights {list(weights)})",
    )
    check_arithmetic(call, at)


def _axes(call: Call, sizes: Sequence[int]) -> list[Axis]:
    return window_axes(call, "dhw", sizes, call.shape(1)[:3])


def _infer_conv(call: Call) -> list[Spec]:
    _check(call, CONV)
    batches, *sizes, _ = call.shape(0)
    positions = [axis.positions for axis in _axes(call, sizes)]
    return [Spec(DType.FLOAT32, (batches, *positions, call.shape(1)[4]))]


def _conv(call: Call, *values: np.ndarray | None) -> np.ndarray:
    numbers = arithmetic(call, CONV, values)
    matrix = numbers.weights.reshape(1, -1, call.shape(1)[4])
    return correlate(call, numbers, matrix, _axes(call, call.shape(0)[1:4]), numbers.data.dtype)


def _infer_transposed(call: Call) -> list[Spec]:
    _check(call, TRANSPOSED)
    shape: Shape | None = output_shape(call, 5)
    if shape is not None:
        check_transposed(call, shape, call.shape(1)[3], _axes(call, shape[1:4]))
    return [Spec(DType.FLOAT32, shape)]


def _transposed(call: Call, *values: np.ndarray | None) -> np.ndarray:
    shape = output_shape(call, 5)
    assert shape is not None
    numbers = arithmetic(call, TRANSPOSED, values)
    weights = numbers.weights.swapaxes(3, 4)
    return scatter(call, numbers, weights, _axes(call, shape[1:4]), numbers.data.dtype)


register(
    "CONV_3D", infer=_infer_conv, evaluate=_conv, inputs=(2, 3), optional=(2,),
    options="Conv3DOptions",
)  # fmt: skip
register(
    "CONV_3D_TRANSPOSE", infer=_infer_transposed, evaluate=_transposed, inputs=(3, 4),
    optional=(3,), options="Conv3DOptions",
)  # fmt: skip

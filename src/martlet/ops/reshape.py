"""Operators that change or report a tensor's shape and leave its elements where they are."""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call, Spec, register


def _new_shape(call: Call) -> list[Spec]:
    """RESHAPE: the shape is input 1 where that is a vector, else the option.

    One -1 is worked out. The option [0] is how old converters wrote the shape of a scalar.
    """
    dtype = call.dtype(0)
    if call.has(1) and call.rank(1) == 1:
        value = call.integers(1)
        if value is None:
            return [Spec(dtype, None)]
        target = value
    else:
        option = call.option("new_shape")
        target = [] if option is None else [int(n) for n in option]
        if target == [0]:
            target = []
    shape = call.shape(0)
    size = math.prod(shape)
    if target.count(-1) == 1 and min(target) == -1:
        others = [n for n in target if n != -1]
        empty = size == 0 and math.prod(others) > 0
        # Zeros are left out on both sides: an empty [0, 4] as [0, -1] is [0, 4] again.
        rest = math.prod(n or 1 for n in shape) // math.prod(n or 1 for n in others)
        target[target.index(-1)] = 0 if empty else rest
    call.check(
        all(n >= 0 for n in target) and math.prod(target) == size,
        "the new shape does not fit the elements",
        f"{size} elements of shape {list(shape)}",
        str(target),
    )
    return [Spec(dtype, tuple(target))]


def _squeezed_shape(call: Call) -> list[Spec]:
    """SQUEEZE: without the sizes of 1 that the option names; without all of them if it is empty."""
    shape = call.shape(0)
    option = call.option("squeeze_dims")
    axes = [] if option is None else [call.axis(int(n), len(shape), "squeeze_dims") for n in option]
    for axis in axes:
        call.check(shape[axis] == 1, f"dimension {axis} cannot be squeezed", "1", str(shape[axis]))
    if not axes:
        axes = [i for i, n in enumerate(shape) if n == 1]
    return [Spec(call.dtype(0), tuple(n for i, n in enumerate(shape) if i not in axes))]


def _expanded_shape(call: Call) -> list[Spec]:
    """EXPAND_DIMS: with a 1 put in where input 1 says; -1 is behind the last dimension."""
    call.check_same_quantization(0)
    value = call.integer(1)
    if value is None:
        return [Spec(call.dtype(0), None)]
    shape = call.shape(0)
    axis = call.axis(value, len(shape) + 1)
    return [Spec(call.dtype(0), (*shape[:axis], 1, *shape[axis:]))]


def _reshape(call: Call, x: np.ndarray, *_: np.ndarray) -> np.ndarray:
    (spec,) = call.operator.infer(call)
    assert spec.shape is not None
    return x.reshape(spec.shape)


def _shape_spec(call: Call) -> list[Spec]:
    out_type = call.option("out_type")
    # The schema's default, FLOAT32, stands where a file leaves the option out.
    call.check(out_type in ("INT32", "INT64"), "out_type is wrong", "INT32 or INT64", str(out_type))
    return [Spec(DType[out_type], (call.rank(0),))]


def _shape(call: Call, _: np.ndarray | None) -> np.ndarray:
    return np.array(call.shape(0), _shape_spec(call)[0].dtype.numpy)


def _rank_spec(call: Call) -> list[Spec]:
    return [Spec(DType.INT32, ())]


def _rank(call: Call, _: np.ndarray | None) -> np.ndarray:
    return np.array(call.rank(0), np.int32)


register(
    "RESHAPE", infer=_new_shape, evaluate=_reshape, inputs=(1, 2), options="ReshapeOptions",
    optional=(1,),
)  # fmt: skip
register(
    "SQUEEZE", infer=_squeezed_shape, evaluate=_reshape, inputs=1, options="SqueezeOptions",
    versions=2,
)  # fmt: skip
register(
    "EXPAND_DIMS", infer=_expanded_shape, evaluate=_reshape, inputs=2, options="ExpandDimsOptions"
)
register(
    "SHAPE", infer=_shape_spec, evaluate=_shape, inputs=1, options="ShapeOptions", shape_only=True
)
register("RANK", infer=_rank_spec, evaluate=_rank, inputs=1, options="RankOptions", shape_only=True)

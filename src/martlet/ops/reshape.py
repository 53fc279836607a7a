"""Operators that give a tensor another shape and leave its elements where they are."""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call, Spec, register


def _new_shape(call: Call) -> list[Spec]:
    """RESHAPE: the shape is input 1 where given, else the option; one -1 is worked out."""
    dtype = call.dtype(0)
    if call.has(1):
        call.check_dtype(1, DType.INT32, DType.INT64)
        wanted = call.value(1)
        if wanted is None:
            return [Spec(dtype, None)]
    else:
        wanted = call.option("new_shape")
    target = [] if wanted is None else [int(n) for n in np.asarray(wanted).ravel()]
    size = math.prod(call.shape(0))
    if target.count(-1) == 1:
        known = -math.prod(target)
        call.check(
            known > 0 and size % known == 0,
            "the new shape does not fit",
            f"a divisor of {size}",
            str(target),
        )
        target[target.index(-1)] = size // known
    call.check(
        all(n >= 0 for n in target) and math.prod(target) == size,
        "the new shape does not fit the elements",
        f"{size} elements of shape {list(call.shape(0))}",
        str(target),
    )
    return [Spec(dtype, tuple(target))]


def _reshape(call: Call, x: np.ndarray, *_: np.ndarray) -> np.ndarray:
    shape = _new_shape(call)[0].shape
    assert shape is not None
    return x.reshape(shape)


register(
    "RESHAPE", infer=_new_shape, evaluate=_reshape, inputs=(1, 2), options="ReshapeOptions",
    optional=(1,),
)  # fmt: skip

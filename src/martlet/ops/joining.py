"""Operators that put tensors together or repeat values: CONCATENATION, PACK, TILE, BROADCAST_TO,
BROADCAST_ARGS, FILL, ZEROS_LIKE, RANGE, ONE_HOT.

Only CONCATENATION computes: uint8 inputs whose scale is not the output's are rescaled in float32,
as q * s + (-z * s) with s = scale / output scale (by way of the inverse), and rounded once, half
away from zero.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.fixed_point import saturate
from martlet.ops.operator import INDICES, Call, Shape, Spec, register

# CONCATENATION and PACK -------------------------------------------------------------------


def _concatenation_spec(call: Call) -> list[Spec]:
    activation = call.option("fused_activation_function")
    call.check(activation == "NONE", "a fused activation is not possible", "NONE", str(activation))
    dtype = call.check_same_dtype(*range(call.inputs))
    first = call.shape(0)
    axis = int(call.option("axis"))
    if not first and axis == 0:
        # Scalars side by side make a vector.
        first = (1,)
    else:
        axis = call.axis(axis, len(first))
    total = 0
    for i in range(call.inputs):
        shape = call.shape(i) or (1,)
        call.check(
            len(shape) == len(first) and _without(shape, axis) == _without(first, axis),
            f"input {i} does not fit",
            f"the shape {list(first)} but for dimension {axis}",
            str(list(call.shape(i))),
        )
        total += shape[axis]
        if dtype is DType.INT8:
            call.check_same_quantization(i)
        elif dtype is DType.UINT8 and rescaled(call, i):
            call.scale(i)
            call.output_scale()
    return [Spec(dtype, (*first[:axis], total, *first[axis + 1 :]))]


def _without(shape: Shape, axis: int) -> Shape:
    return shape[:axis] + shape[axis + 1 :]


def rescaled(call: Call, i: int) -> bool:
    """Whether input i has a scale or zero point that is not the output's."""
    pairs = []
    for q in (call.input(i).quantization, call.output().quantization):
        known = q is not None and q.scale.size > 0
        pairs.append((q.scale.tolist(), q.zero_point.tolist()) if q and known else None)
    return pairs[0] != pairs[1]


def _concatenate(call: Call, *inputs: np.ndarray) -> np.ndarray:
    parts = [np.atleast_1d(x) for x in inputs]
    if call.dtype(0) is DType.UINT8:
        parts = [_rescale(call, i, x) if rescaled(call, i) else x for i, x in enumerate(parts)]
    axis = int(call.option("axis"))
    return np.concatenate(parts, axis)


def _rescale(call: Call, i: int, x: np.ndarray) -> np.ndarray:
    inverse = np.float32(1) / np.float32(call.output_scale())
    scale = np.float32(call.scale(i)) * inverse
    bias = np.float32(-call.zero_point(i)) * scale
    # The table of all 256 values: one lookup an element.
    real = np.arange(256, dtype=np.float32) * scale + bias
    rounded = np.trunc(real + np.copysign(np.float32(0.5), real))
    limited = np.clip(np.nan_to_num(rounded), -(2**31), 2**31 - 1).astype(np.int64)
    table: np.ndarray = saturate(limited + call.output_zero_point(), np.uint8)
    return np.take(table, x)


def _pack_spec(call: Call) -> list[Spec]:
    dtype = call.check_same_dtype(*range(call.inputs))
    shape = call.shape(0)
    count = int(call.option("values_count"))
    call.check(
        count == call.inputs,
        "values_count is not the number of inputs",
        str(call.inputs),
        str(count),
    )
    axis = call.axis(int(call.option("axis")), len(shape) + 1)
    for i in range(call.inputs):
        call.check(
            call.shape(i) == shape,
            f"input {i} has another shape",
            str(list(shape)),
            str(list(call.shape(i))),
        )
        call.check_same_quantization(i)
    return [Spec(dtype, (*shape[:axis], call.inputs, *shape[axis:]))]


def _pack(call: Call, *inputs: np.ndarray) -> np.ndarray:
    return np.stack(inputs, call.axis(int(call.option("axis")), inputs[0].ndim + 1))


# Repetition -------------------------------------------------------------------------------


def _tile_spec(call: Call) -> list[Spec]:
    shape = call.shape(0)
    times = call.integers(1, len(shape))
    if times is None:
        return [Spec(call.dtype(0), None)]
    call.check(min(times, default=0) >= 0, "a multiple is negative", found=str(times))
    return [Spec(call.dtype(0), tuple(n * m for n, m in zip(shape, times, strict=True)))]


def _tile(call: Call, x: np.ndarray, times: np.ndarray) -> np.ndarray:
    return np.tile(x, times.tolist()).reshape(
        [n * m for n, m in zip(x.shape, times.tolist(), strict=True)]
    )


def _broadcast_to_spec(call: Call) -> list[Spec]:
    shape = call.shape(0)
    target = call.integers(1)
    if target is None:
        return [Spec(call.dtype(0), None)]
    tail = target[len(target) - len(shape) :] if shape else []
    call.check(
        len(shape) <= len(target)
        and min(target, default=0) >= 0
        and all(n in (1, m) for n, m in zip(shape, tail, strict=True)),
        "the input does not broadcast to the shape",
        str(target),
        str(list(shape)),
    )
    return [Spec(call.dtype(0), tuple(target))]


def _broadcast_to(call: Call, x: np.ndarray, _: np.ndarray) -> np.ndarray:
    shape = _broadcast_to_spec(call)[0].shape
    assert shape is not None
    return np.broadcast_to(x, shape).copy()


def _broadcast_args_spec(call: Call) -> list[Spec]:
    dtype = call.check_same_dtype(0, 1)
    for i in (0, 1):
        call.integers(i)
    return [Spec(dtype, (max(call.shape(0)[0], call.shape(1)[0]),))]


def _broadcast_args(call: Call, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    rank = max(a.size, b.size)
    first, second = (np.concatenate([np.ones(rank - x.size, x.dtype), x]) for x in (a, b))
    wrong = (first != second) & (first != 1) & (second != 1)
    if wrong.any():
        call.fail_run(
            "the shapes do not broadcast", "1 or the size of the other", str(second[wrong][0])
        )
    return np.where(first == 1, second, first)


# New values -------------------------------------------------------------------------------


def _fill_spec(call: Call) -> list[Spec]:
    call.check_one(1)
    shape = call.integers(0)
    if shape is None:
        return [Spec(call.dtype(1), None)]
    call.check(min(shape, default=0) >= 0, "a size is negative", found=str(shape))
    return [Spec(call.dtype(1), tuple(shape))]


def _fill(call: Call, shape: np.ndarray, value: np.ndarray) -> np.ndarray:
    return np.full(shape.tolist(), value.reshape(()), value.dtype)


def _zeros_spec(call: Call) -> list[Spec]:
    call.check(call.dtype(0) is not DType.STRING, "strings have no zero")
    return [call.spec(0)]


def _zeros(call: Call, _: np.ndarray | None) -> np.ndarray:
    return np.zeros(call.shape(0), call.dtype(0).numpy)


def _range_spec(call: Call) -> list[Spec]:
    """RANGE: from start to limit, without it, in steps of delta."""
    dtype = call.check_dtype(0, DType.FLOAT32, *INDICES)
    call.check_same_dtype(0, 1, 2)
    for i in range(3):
        call.check_one(i)
    values = [call.value(i) for i in range(3)]
    start, limit, delta = (None if v is None else v.item() for v in values)
    if start is None or limit is None or delta is None:
        return [Spec(dtype, None)]
    if dtype is DType.FLOAT32:
        call.check(all(map(math.isfinite, (start, limit, delta))), "a bound is not finite")
    call.check(
        (delta > 0 and start <= limit) or (delta < 0 and start >= limit),
        "the range never reaches its limit",
        "a delta that leads from start to limit",
        f"start {start}, limit {limit}, delta {delta}",
    )
    if dtype is not DType.FLOAT32:
        return [Spec(dtype, (-(-abs(limit - start) // abs(delta)),))]
    with np.errstate(over="ignore"):
        span = np.abs((np.float32(limit) - np.float32(start)) / np.float32(delta))
    call.check(bool(span < 2**31), "the range is too long", "less than 2^31 values", str(span))
    return [Spec(dtype, (math.ceil(span),))]


def _range(call: Call, start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """The values. Floats are summed up in float32, as in C, so that errors add up alike."""
    shape = _range_spec(call)[0].shape
    assert shape is not None
    steps = np.full(shape, delta.reshape(()), delta.dtype)
    steps[:1] = start.reshape(())
    return np.cumsum(steps, dtype=delta.dtype)


def _one_hot_spec(call: Call) -> list[Spec]:
    """ONE_HOT: a new dimension of `depth` at `axis` (-1: the last)."""
    call.check_dtype(0, *INDICES)
    dtype = call.check_same_dtype(2, 3)
    call.check(dtype is not DType.STRING, "one-hot strings are not possible")
    for i in (2, 3):
        call.check_one(i)
    shape = call.shape(0)
    axis = int(call.option("axis"))
    axis = call.axis(axis, len(shape) + 1)
    depth = call.integer(1, (DType.INT32,))
    if depth is None:
        return [Spec(dtype, None)]
    call.check(depth >= 0, "the depth is negative", found=str(depth))
    return [Spec(dtype, (*shape[:axis], depth, *shape[axis:]))]


def _one_hot(
    call: Call, indices: np.ndarray, depth: np.ndarray, on: np.ndarray, off: np.ndarray
) -> np.ndarray:
    axis = call.axis(int(call.option("axis")), indices.ndim + 1)
    # Indices are compared as 32-bit numbers; one outside 0 to depth - 1 gives no `on`.
    wanted = np.expand_dims(indices.astype(np.int32), axis)
    places = np.arange(depth.item(), dtype=np.int32)
    hit = wanted == places.reshape(-1, *[1] * (indices.ndim - axis))
    return np.where(hit, on.reshape(()), off.reshape(()))


register(
    "CONCATENATION", infer=_concatenation_spec, evaluate=_concatenate, inputs=(1, None),
    options="ConcatenationOptions", versions=7,
)  # fmt: skip
register(
    "PACK", infer=_pack_spec, evaluate=_pack, inputs=(1, None), options="PackOptions", versions=5
)
register("TILE", infer=_tile_spec, evaluate=_tile, inputs=2, options="TileOptions", versions=3)
register(
    "BROADCAST_TO", infer=_broadcast_to_spec, evaluate=_broadcast_to, inputs=2,
    options="BroadcastToOptions", versions=4,
)  # fmt: skip
register("BROADCAST_ARGS", infer=_broadcast_args_spec, evaluate=_broadcast_args, inputs=2)
register("FILL", infer=_fill_spec, evaluate=_fill, inputs=2, options="FillOptions", versions=5)
register(
    "ZEROS_LIKE", infer=_zeros_spec, evaluate=_zeros, inputs=1, options="ZerosLikeOptions",
    shape_only=True,
)  # fmt: skip
register("RANGE", infer=_range_spec, evaluate=_range, inputs=3, options="RangeOptions", versions=2)
register("ONE_HOT", infer=_one_hot_spec, evaluate=_one_hot, inputs=4, options="OneHotOptions")

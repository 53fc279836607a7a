"""Operators that find or sort elements by value: TOPK_V2, UNIQUE, WHERE, BUCKETIZE."""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call, Spec, register

_INTEGERS = (DType.INT32, DType.INT64, DType.INT16, DType.INT8, DType.UINT8)


def _top_spec(call: Call) -> list[Spec]:
    """TOPK_V2: the `k` largest of each row; none if k is negative."""
    dtype = call.check_dtype(0, DType.FLOAT32, *_INTEGERS)
    *rows, n = call.check_rank(0, 1, 32)
    indices = call.output(1).dtype
    call.check(
        indices in (DType.INT32, DType.INT16),
        "the indices have the wrong type",
        "INT32 or INT16",
        indices.name,
    )
    call.check(
        indices is DType.INT32 or n < 1 << 15, "a row is too long for INT16 indices", found=str(n)
    )
    k = call.integer(1, (DType.INT32, DType.INT16))
    if k is None:
        return [Spec(dtype, None), Spec(indices, None)]
    call.check(k <= n, "k is larger than a row", f"at most {n}", str(k))
    shape = (*rows, max(k, 0))
    return [Spec(dtype, shape), Spec(indices, shape)]


def _top(call: Call, x: np.ndarray, k: np.ndarray) -> list[np.ndarray]:
    """Of equal elements the earlier comes first; NaNs come last."""
    # ~x turns the order of integers around without overflow, as -x does that of floats.
    key = -x if x.dtype.kind == "f" else ~x
    order = np.argsort(key, axis=-1, kind="stable")[..., : max(int(k.item()), 0)]
    return [np.take_along_axis(x, order, -1), order.astype(call.output(1).dtype.numpy)]


def _unique_spec(call: Call) -> list[Spec]:
    dtype = call.check_dtype(0, DType.FLOAT32, *_INTEGERS)
    indices = call.option("idx_out_type")
    call.check(
        indices in ("INT32", "INT64"), "idx_out_type is wrong", "INT32 or INT64", str(indices)
    )
    return [Spec(dtype, None), Spec(DType[indices], call.check_rank(0, 1))]


def _unique(call: Call, x: np.ndarray) -> list[np.ndarray]:
    """The distinct values in the order in which they come, and which of them each element is."""
    _, first, inverse = np.unique(x, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.argsort(order)
    dtype = _unique_spec(call)[1].dtype.numpy
    return [x[first[order]], rank[inverse].reshape(x.shape).astype(dtype)]


def _where_spec(call: Call) -> list[Spec]:
    call.check_dtype(
        0, DType.BOOL, DType.FLOAT32, DType.INT64, DType.INT32, DType.INT8, DType.UINT8,
        DType.UINT32,
    )  # fmt: skip
    return [Spec(DType.INT64, None)]


def _where(call: Call, condition: np.ndarray) -> np.ndarray:
    """The places of all elements that are not 0, in order."""
    count = int(np.count_nonzero(condition))
    call.session.reserve(16 * count * condition.ndim, call.place)
    if condition.ndim == 0:
        return np.zeros((count, 0), np.int64)
    return np.argwhere(condition).astype(np.int64, copy=False)


def boundaries(call: Call) -> np.ndarray:
    option = call.option("boundaries")
    values = np.zeros(0, np.float32) if option is None else np.asarray(option, np.float32)
    call.check(
        not np.isnan(values).any() and bool((values[1:] >= values[:-1]).all()),
        "the boundaries are not in order",
    )
    return values


def _bucketize_spec(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32, DType.FLOAT64, DType.INT32, DType.INT64)
    boundaries(call)
    return [Spec(DType.INT32, call.shape(0))]


def _bucketize(call: Call, x: np.ndarray) -> np.ndarray:
    """How many boundaries are not above each element. Integers are compared as float32, as in C."""
    values = x if x.dtype.kind == "f" else x.astype(np.float32)
    return np.searchsorted(boundaries(call), values, "right").astype(np.int32)


register(
    "TOPK_V2", infer=_top_spec, evaluate=_top, inputs=2, outputs=2, options="TopKV2Options",
    versions=3,
)  # fmt: skip
register(
    "UNIQUE", infer=_unique_spec, evaluate=_unique, inputs=1, outputs=2, options="UniqueOptions"
)
register("WHERE", infer=_where_spec, evaluate=_where, inputs=1, options="WhereOptions", versions=2)
register(
    "BUCKETIZE", infer=_bucketize_spec, evaluate=_bucketize, inputs=1, options="BucketizeOptions"
)

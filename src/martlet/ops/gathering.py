"""Operators that pick elements by index: GATHER, GATHER_ND, STABLEHLO_GATHER.

Indices come from data and are checked before use; STABLEHLO_GATHER moves its windows inside
instead. Index arithmetic is int64.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import INDICES, Call, Shape, Spec, register

_INDICES = (*INDICES, DType.INT16)


def check_indices(call: Call, indices: np.ndarray, size: int, what: str = "index") -> None:
    """Raise RunError unless every index lies in 0 to size - 1."""
    if indices.size:
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= size:
            found = low if low < 0 else high
            call.fail_run(f"an {what} is out of range", f"0 to {size - 1}", str(found))


# GATHER -----------------------------------------------------------------------------------


def gather_axes(call: Call) -> tuple[int, int]:
    """(axis, how many leading dimensions are batches that input and indices share)."""
    rank, rank_indices = call.rank(0), call.rank(1)
    axis = call.axis(int(call.option("axis")), rank)
    batch = int(call.option("batch_dims"))
    batch += rank_indices if batch < 0 else 0
    highest = min(axis, rank_indices)
    call.check(0 <= batch <= highest, "batch_dims is out of range", f"0 to {highest}", str(batch))
    return axis, batch


def _gather_spec(call: Call) -> list[Spec]:
    call.check_dtype(1, *_INDICES)
    x, indices = call.check_rank(0, 1, 32), call.shape(1)
    axis, batch = gather_axes(call)
    call.check(
        x[:batch] == indices[:batch],
        "the batches of input and indices differ",
        str(list(x[:batch])),
        str(list(indices[:batch])),
    )
    return [Spec(call.dtype(0), (*x[:axis], *indices[batch:], *x[axis + 1 :]))]


def _gather(call: Call, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    axis, batch = gather_axes(call)
    check_indices(call, indices, x.shape[axis])
    shape = (*x.shape[:axis], *indices.shape[batch:], *x.shape[axis + 1 :])
    if batch == 0:  # one string alone would come out of an array as such
        return np.take(x, indices.astype(np.int64).ravel(), axis).reshape(shape)
    batches = math.prod(x.shape[:batch])
    # (batch, outer, axis, inner) by (batch, place) -> (batch, outer, place, inner)
    outer, inner = math.prod(x.shape[batch:axis]), math.prod(x.shape[axis + 1 :])
    parts = x.reshape(batches, outer, x.shape[axis], inner)
    places = indices.reshape(batches, 1, math.prod(indices.shape[batch:])).astype(np.int64)
    rows, columns = np.arange(batches)[:, None, None], np.arange(outer)[:, None]
    return parts[rows, columns, places].reshape(shape)


# GATHER_ND --------------------------------------------------------------------------------


def _gather_nd_spec(call: Call) -> list[Spec]:
    call.check_dtype(1, *_INDICES)
    x, indices = call.check_rank(0, 1, 32), call.check_rank(1, 1, 32)
    depth = indices[-1]
    call.check(
        depth <= len(x),
        "an index has more numbers than dimensions",
        f"at most {len(x)}",
        str(depth),
    )
    return [Spec(call.dtype(0), (*indices[:-1], *x[depth:]))]


def _gather_nd(call: Call, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    depth = indices.shape[-1]
    if depth == 0:
        return np.broadcast_to(x, (*indices.shape[:-1], *x.shape)).copy()
    for i in range(depth):
        check_indices(call, indices[..., i], x.shape[i])
    places = tuple(indices[..., i].astype(np.int64).ravel() for i in range(depth))
    return x[places].reshape((*indices.shape[:-1], *x.shape[depth:]))


# STABLEHLO_GATHER -------------------------------------------------------------------------


def numbers(call: Call, name: str, low: int, high: int, increasing: bool = True) -> list[int]:
    """An option that lists distinct dimensions from `low` to `high` - 1, in order or not."""
    option = call.option(name)
    values = [] if option is None else [int(n) for n in option]
    right = all(low <= n < high for n in values) and len(set(values)) == len(values)
    if increasing:
        right = right and values == sorted(values)
    expected = f"distinct numbers from {low} to {high - 1}" + (", in order" if increasing else "")
    call.check(right, f"{name} is wrong", expected, str(values))
    return values


def index_vectors(call: Call, i: int, length: int) -> Shape:
    """Shape of the index vectors that input i holds along `index_vector_dim`, `length` each.

    A dimension just past the last one stands for vectors of one number.
    """
    shape = call.shape(i)
    dim = int(call.option("index_vector_dim"))
    call.check(
        0 <= dim <= len(shape), "index_vector_dim is out of range", f"0 to {len(shape)}", str(dim)
    )
    found = shape[dim] if dim < len(shape) else 1
    call.check(found == length, "an index vector has the wrong length", str(length), str(found))
    return shape[:dim] + shape[dim + 1 :]


def full_starts(call: Call, indices: np.ndarray, dimensions: list[int], rank: int) -> np.ndarray:
    """The index vectors as rows of (count, rank): 0 in dimensions that they do not name."""
    dim = int(call.option("index_vector_dim"))
    vectors = indices[..., None] if dim == indices.ndim else np.moveaxis(indices, dim, -1)
    count = math.prod(vectors.shape[:-1])
    starts = np.zeros((count, rank), np.int64)
    starts[:, dimensions] = vectors.reshape(count, len(dimensions))
    return starts


def gather_window(call: Call) -> tuple[list[int], list[int], list[int], list[int]]:
    """(offset_dims, collapsed_slice_dims, start_index_map, slice_sizes), checked."""
    shape = call.shape(0)
    rank = len(shape)
    option = call.option("slice_sizes")
    sizes = [] if option is None else [int(n) for n in option]
    call.check(
        len(sizes) == rank and all(0 <= n <= m for n, m in zip(sizes, shape, strict=True)),
        "slice_sizes do not fit the operand",
        f"at most {list(shape)}",
        str(sizes),
    )
    collapsed = numbers(call, "collapsed_slice_dims", 0, rank)
    for axis in collapsed:
        call.check(sizes[axis] <= 1, f"dimension {axis} cannot be collapsed", "1", str(sizes[axis]))
    starts = numbers(call, "start_index_map", 0, rank, increasing=False)
    batch = index_vectors(call, 1, len(starts))
    offsets = numbers(call, "offset_dims", 0, len(batch) + rank - len(collapsed))
    call.check(
        len(offsets) == rank - len(collapsed),
        "offset_dims and collapsed_slice_dims do not make up the operand",
        str(rank - len(collapsed)),
        str(len(offsets)),
    )
    return offsets, collapsed, starts, sizes


def _stablehlo_gather_spec(call: Call) -> list[Spec]:
    call.check_dtype(1, *INDICES)
    offsets, collapsed, starts, sizes = gather_window(call)
    batch = iter(index_vectors(call, 1, len(starts)))
    window = iter([n for axis, n in enumerate(sizes) if axis not in collapsed])
    rank = call.rank(1) - (int(call.option("index_vector_dim")) < call.rank(1)) + len(offsets)
    shape = tuple(next(window if d in offsets else batch) for d in range(rank))
    return [Spec(call.dtype(0), shape)]


def _stablehlo_gather(call: Call, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Windows of one size, moved so that they lie inside the operand.

    1. The corner of each window is read from its index vector and clamped.
    2. Corner + offset, dimension by dimension, add up to a number of the flattened operand.
    3. What the windows hold is brought to the dimensions that the options say.
    """
    offsets, collapsed, dimensions, sizes = gather_window(call)
    (spec,) = _stablehlo_gather_spec(call)
    assert spec.shape is not None
    batch = index_vectors(call, 1, len(dimensions))
    starts = full_starts(call, indices, dimensions, x.ndim)
    starts = np.clip(starts, 0, np.array(x.shape, np.int64) - np.array(sizes, np.int64))
    call.session.reserve(16 * math.prod(spec.shape), call.place)
    flat = np.zeros((len(starts), *[1] * x.ndim), np.int64)
    for axis, size in enumerate(sizes):
        along = np.arange(size).reshape(-1, *[1] * (x.ndim - 1 - axis))
        corner = starts[:, axis].reshape(-1, *[1] * x.ndim)
        flat = flat + (corner + along) * math.prod(x.shape[axis + 1 :])
    kept = [n for axis, n in enumerate(sizes) if axis not in collapsed]
    windows = x.reshape(-1)[flat].reshape((*batch, *kept))
    order, batches = [], iter(range(len(batch)))
    for d in range(windows.ndim):
        order.append(len(batch) + offsets.index(d) if d in offsets else next(batches))
    return windows.transpose(order).copy()


register(
    "GATHER", infer=_gather_spec, evaluate=_gather, inputs=2, options="GatherOptions", versions=8
)
register(
    "GATHER_ND", infer=_gather_nd_spec, evaluate=_gather_nd, inputs=2, options="GatherNdOptions",
    versions=6,
)  # fmt: skip
register(
    "STABLEHLO_GATHER", infer=_stablehlo_gather_spec, evaluate=_stablehlo_gather, inputs=2,
    options="StablehloGatherOptions",
)  # fmt: skip

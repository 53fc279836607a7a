"""Operators that write elements by index, and sums over segments: SCATTER_ND, SPARSE_TO_DENSE,
SEGMENT_SUM, UNSORTED_SEGMENT_SUM, _PROD, _MAX, _MIN, STABLEHLO_SCATTER, DENSIFY.

Where several values meet in one place, they are taken in the order of the input, one after the
other, so that float sums round and integers wrap as they do in C.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.ops.gathering import check_indices, full_starts, index_vectors, numbers
from martlet.ops.operator import INDICES, Call, Spec, like_input, register

# SCATTER_ND, SPARSE_TO_DENSE --------------------------------------------------------------


def _scatter_nd_spec(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.INT32, DType.INT64)
    call.check(call.dtype(1) is not DType.STRING, "strings do not add up")
    call.check_same_dtype(0, 2)
    indices, updates = call.check_rank(0, 1, 32), call.check_rank(1, 0, 32)
    shape = call.integers(2)
    if shape is None:
        return [Spec(call.dtype(1), None)]
    call.check(min(shape, default=0) >= 0, "a size is negative", found=str(shape))
    depth = indices[-1]
    call.check(
        depth <= len(shape) and updates == (*indices[:-1], *shape[depth:]),
        "the updates do not fit indices and shape",
        str([*indices[:-1], *shape[depth:]]),
        str(list(updates)),
    )
    return [Spec(call.dtype(1), tuple(shape))]


def _scatter_nd(
    call: Call, indices: np.ndarray, updates: np.ndarray, shape: np.ndarray
) -> np.ndarray:
    """Sums of the updates that fall on each place; 0 elsewhere."""
    sizes = [int(n) for n in shape]
    flat = _flat_places(call, indices, sizes)
    inner = math.prod(sizes[indices.shape[-1] :])
    result = np.zeros((math.prod(sizes[: indices.shape[-1]]), inner), updates.dtype)
    np.add.at(result, flat, updates.reshape(flat.size, inner))
    return result.reshape(sizes)


def _flat_places(call: Call, indices: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Index vectors (the last dimension of `indices`) as numbers of the flattened places."""
    depth = indices.shape[-1]
    vectors = indices.reshape(math.prod(indices.shape[:-1]), depth).astype(np.int64)
    flat = np.zeros(len(vectors), np.int64)
    for axis in range(depth):
        check_indices(call, vectors[:, axis], sizes[axis])
        flat = flat * sizes[axis] + vectors[:, axis]
    return flat


def _sparse_spec(call: Call) -> list[Spec]:
    """SPARSE_TO_DENSE: indices are one number, a vector of them, or rows."""
    call.check_dtype(0, *INDICES)
    dtype = call.check_same_dtype(2, 3)
    call.check_one(3)
    indices, values = call.check_rank(0, 0, 2), call.check_rank(2, 0, 1)
    rank = indices[1] if len(indices) == 2 else 1
    count = indices[0] if indices else 1
    call.check_dtype(1, *INDICES)
    call.check(
        call.shape(1) == (rank,),
        "the shape does not fit the indices",
        f"{rank} sizes",
        str(list(call.shape(1))),
    )
    call.check(
        values in ((), (count,)), "there is not one value an index", str(count), str(list(values))
    )
    shape = call.integers(1)
    if shape is None:
        return [Spec(dtype, None)]
    call.check(min(shape, default=0) >= 0, "a size is negative", found=str(shape))
    return [Spec(dtype, tuple(shape))]


def _sparse_to_dense(
    call: Call, indices: np.ndarray, shape: np.ndarray, values: np.ndarray, default: np.ndarray
) -> np.ndarray:
    sizes = [int(n) for n in shape]
    rows = indices if indices.ndim == 2 else indices.reshape(-1, 1)
    result = np.full(math.prod(sizes), default.reshape(()), values.dtype)
    result[_flat_places(call, rows, sizes)] = values
    return result.reshape(sizes)


# Segments ---------------------------------------------------------------------------------


def _segment_sum_spec(call: Call) -> list[Spec]:
    dtype = call.check_dtype(0, DType.FLOAT32, DType.INT32)
    call.check_dtype(1, DType.INT32)
    data = call.check_rank(0, 1, 32)
    call.check(
        call.shape(1) == data[:1],
        "there is not one segment a row",
        str(list(data[:1])),
        str(list(call.shape(1))),
    )
    ids = call.value(1)
    if ids is None:
        return [Spec(dtype, None)]
    steps = np.diff(ids.astype(np.int64), prepend=-1)
    if ids.size and (ids[0] != 0 or steps.min() < 0 or steps.max() > 1):
        call.fail_run("the segments are not in order", "0, then equal or one more each time")
    return [Spec(dtype, (int(ids[-1]) + 1 if ids.size else 0, *data[1:]))]


def _segment_sum(call: Call, data: np.ndarray, ids: np.ndarray) -> np.ndarray:
    segments = int(ids[-1]) + 1 if ids.size else 0
    result = np.zeros((segments, *data.shape[1:]), data.dtype)
    np.add.at(result, ids, data)
    return result


def _unsorted_spec(call: Call) -> list[Spec]:
    """UNSORTED_SEGMENT_…: the shape of the segment numbers is the front of the data's."""
    dtype = call.check_dtype(0, DType.FLOAT32, DType.INT32)
    call.check_dtype(1, DType.INT32)
    data, ids = call.shape(0), call.shape(1)
    call.check(
        data[: len(ids)] == ids,
        "the segments do not fit the data",
        f"the front of {list(data)}",
        str(list(ids)),
    )
    count = call.integer(2, (DType.INT32,))
    if count is None:
        return [Spec(dtype, None)]
    call.check(count >= 0, "the number of segments is negative", found=str(count))
    return [Spec(dtype, (count, *data[len(ids) :]))]


def _unsorted(
    at: Callable[[np.ndarray, Any, Any], None], first: Callable[[np.dtype], Any]
) -> Callable[..., np.ndarray]:
    """Evaluation with a ufunc's `at`, from a first value for each type. Negative segments drop."""

    def evaluate(call: Call, data: np.ndarray, ids: np.ndarray, count: np.ndarray) -> np.ndarray:
        segments = int(count.item())
        rest = data.shape[ids.ndim :]
        flat, used = ids.reshape(-1), ids.reshape(-1) >= 0
        check_indices(call, flat[used], segments, "unsorted segment")
        result = np.full((segments, *rest), first(data.dtype), data.dtype)
        at(result, flat[used], data.reshape(flat.size, *rest)[used])
        return result

    return evaluate


def _limits(dtype: np.dtype) -> Any:
    return np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)


# STABLEHLO_SCATTER ------------------------------------------------------------------------

# What the subgraph of the options does where values meet, by its one operator.
_COMBINE: dict[str, np.ufunc] = {
    "STABLEHLO_ADD": np.add,
    "STABLEHLO_MULTIPLY": np.multiply,
    "STABLEHLO_MAXIMUM": np.maximum,
    "STABLEHLO_MINIMUM": np.minimum,
}


def combination(call: Call) -> np.ufunc | None:
    """How a value and an update combine; None: the update replaces the value."""
    graphs = call.session.model.graphs
    index = int(call.option("update_computation_subgraph_index"))
    call.check(0 <= index < len(graphs), "the computation is missing", "a subgraph", str(index))
    nodes = graphs[index].nodes
    if not nodes:
        return None
    names = [node.op for node in nodes]
    if len(nodes) > 1 or names[0] not in _COMBINE:
        call.unsupported(f"the computation {', '.join(names[:4])} is not supported")
    return _COMBINE[names[0]]


def scatter_window(call: Call) -> tuple[list[int], list[int], list[int]]:
    """(update_window_dims, inserted_window_dims, scatter_dims_to_operand_dims), checked."""
    rank, updates = call.rank(0), call.shape(2)
    window = numbers(call, "update_window_dims", 0, len(updates))
    inserted = numbers(call, "inserted_window_dims", 0, rank)
    dimensions = numbers(call, "scatter_dims_to_operand_dims", 0, rank, increasing=False)
    batch = index_vectors(call, 1, len(dimensions))
    call.check(
        len(window) == rank - len(inserted),
        "update_window_dims and inserted_window_dims do not make up the operand",
        str(rank - len(inserted)),
        str(len(window)),
    )
    scattered = tuple(n for d, n in enumerate(updates) if d not in window)
    call.check(
        scattered == batch,
        "the updates do not fit the indices",
        str(list(batch)),
        str(list(scattered)),
    )
    return window, inserted, dimensions


def _stablehlo_scatter_spec(call: Call) -> list[Spec]:
    call.check_dtype(1, *INDICES)
    dtype = call.check_same_dtype(0, 2)
    call.check(dtype is not DType.STRING, "strings cannot be scattered")
    scatter_window(call)
    combination(call)
    return [call.spec(0)]


def _stablehlo_scatter(
    call: Call, x: np.ndarray, indices: np.ndarray, updates: np.ndarray
) -> np.ndarray:
    """Windows of updates put into a copy of x; elements that fall outside are left out.

    1. The corner of each window is read from its index vector.
    2. Corner + place in the window, dimension by dimension, give a number of the flattened
       result, in an array as wide as the updates.
    3. Updates are applied in their own order.
    """
    window, inserted, dimensions = scatter_window(call)
    combine = combination(call)
    starts = full_starts(call, indices, dimensions, x.ndim)
    batch = [n for d, n in enumerate(updates.shape) if d not in window]
    call.session.reserve(32 * updates.size, call.place)
    flat = np.zeros(updates.shape, np.int64)
    inside = np.ones(updates.shape, np.bool_)
    taken = iter(window)
    for axis, size in enumerate(x.shape):
        # The corners lie along the scattered dimensions, the places along one of the window.
        corner_shape = [1 if d in window else n for d, n in enumerate(updates.shape)]
        place = starts[:, axis].reshape(batch).reshape(corner_shape)
        if axis not in inserted:
            dim = next(taken)
            along = [n if d == dim else 1 for d, n in enumerate(updates.shape)]
            place = place + np.arange(updates.shape[dim]).reshape(along)
        inside &= (place >= 0) & (place < size)
        flat = flat * size + place
    result = x.copy().reshape(-1)
    if combine is None:
        result[flat[inside]] = updates[inside]
    else:
        combine.at(result, flat[inside], updates[inside])
    return result.reshape(x.shape)


def _densify(call: Call, x: np.ndarray) -> np.ndarray:
    """Sparse constants are expanded when they are decoded."""
    return x


register(
    "SCATTER_ND", infer=_scatter_nd_spec, evaluate=_scatter_nd, inputs=3,
    options="ScatterNdOptions",
)  # fmt: skip
register(
    "SPARSE_TO_DENSE", infer=_sparse_spec, evaluate=_sparse_to_dense, inputs=4,
    options="SparseToDenseOptions", versions=3,
)  # fmt: skip
register(
    "SEGMENT_SUM", infer=_segment_sum_spec, evaluate=_segment_sum, inputs=2,
    options="SegmentSumOptions",
)  # fmt: skip
for _name, _at, _first in (
    ("Sum", np.add.at, lambda dtype: 0),
    ("Prod", np.multiply.at, lambda dtype: 1),
    # A NaN never wins against the first value.
    ("Max", np.fmax.at, lambda dtype: _limits(dtype).min),
    ("Min", np.fmin.at, lambda dtype: _limits(dtype).max),
):
    register(
        f"UNSORTED_SEGMENT_{_name.upper()}", infer=_unsorted_spec,
        evaluate=_unsorted(_at, _first), inputs=3, options=f"UnsortedSegment{_name}Options",
    )  # fmt: skip
register(
    "STABLEHLO_SCATTER", infer=_stablehlo_scatter_spec, evaluate=_stablehlo_scatter, inputs=3,
    options="StablehloScatterOptions",
)  # fmt: skip
register("DENSIFY", infer=like_input, evaluate=_densify, inputs=1, options="DensifyOptions")

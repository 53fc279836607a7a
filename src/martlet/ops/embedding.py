"""Rows of a table, looked up by number: EMBEDDING_LOOKUP, EMBEDDING_LOOKUP_SPARSE.

EMBEDDING_LOOKUP: ids (n) and a table (rows, …) give (n, …), each the row of that id. Rows of 8 or
4 bits, quantised symmetrically with one scale, a scale for each row, or one for each block,
become float32 or float16 where the output is; unsigned rows are read as signed ones.

EMBEDDING_LOOKUP_SPARSE: a sparse matrix of ids with weights, whose every row becomes one vector:
the sum of its weighted table rows, or their mean (by the sum of the weights), or the sum over the
root of the sum of the squared weights. Entries are combined in their order; a run of entries with
the same place is one row, so they should be sorted.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.blockwise import check_blockwise, dequantize_blocks, is_blockwise
from martlet.ops.operator import Call, Spec, register

F16, F32, I32 = DType.FLOAT16, DType.FLOAT32, DType.INT32
QUANTIZED_ROWS = (DType.INT8, DType.UINT8, DType.INT4, DType.INT2)
COMBINERS = ("SUM", "MEAN", "SQRTN")


def _check_ids(call: Call, ids: np.ndarray, rows: int) -> None:
    wrong = ids[(ids < 0) | (ids >= rows)]
    if wrong.size:
        call.fail_run("an id is not a row of the table", f"0 to {rows - 1}", str(wrong[0]))


# EMBEDDING_LOOKUP -------------------------------------------------------------------------


def _lookup_spec(call: Call) -> list[Spec]:
    call.check_dtype(0, I32)
    (count,) = call.check_rank(0, 1)
    shape = call.check_rank(1, 2, 32)
    dtype, output = call.dtype(1), call.output().dtype
    if _dequantizes(call):
        if is_blockwise(call, 1):
            check_blockwise(call, 1)
        else:
            _check_row_scales(call, shape[0])
    else:
        output = dtype
    return [Spec(output, (count, *shape[1:]))]


def _dequantizes(call: Call) -> bool:
    return call.dtype(1) in QUANTIZED_ROWS and call.output().dtype in (F32, F16)


def _check_row_scales(call: Call, rows: int) -> None:
    quantization = call.quantization(1)
    count = quantization.scale.size
    if count > 1:
        call.check(
            count == rows and quantization.axis == 0,
            "scales per channel must be one for each row of the table",
            f"{rows} along axis 0",
            f"{count} along axis {quantization.axis}",
        )
    call.check(
        not quantization.zero_point.any(),
        "the table must be quantised symmetrically",
        "zero points of 0",
        str(quantization.zero_point[:4].tolist()),
    )


def _lookup(call: Call, ids: np.ndarray, table: np.ndarray) -> np.ndarray:
    _check_ids(call, ids, table.shape[0])
    if not _dequantizes(call):
        return np.asarray(table[ids])
    output = call.output().dtype.numpy
    if is_blockwise(call, 1):
        return dequantize_blocks(call, 1, table, rows=ids).astype(output)
    scales = call.quantization(1).scale
    if scales.size > 1:
        scales = scales[ids].reshape(-1, *[1] * (table.ndim - 1))
    rows = table[ids].view(np.int8)
    return np.asarray(rows * scales.astype(np.float32), output)


# EMBEDDING_LOOKUP_SPARSE ------------------------------------------------------------------


def _sparse_spec(call: Call) -> list[Spec]:
    for i, dtype in enumerate((I32, I32, I32, F32, F32)):
        call.check_dtype(i, dtype)
    (count,) = call.check_rank(0, 1)
    entries, rank = call.check_rank(1, 2)
    (dense_rank,) = call.check_rank(2, 1)
    (weights,) = call.check_rank(3, 1)
    table = call.check_rank(4, 2, 32)
    call.check(
        entries == weights == count,
        "ids, indices and weights differ in number",
        str(count),
        f"{entries} and {weights}",
    )
    call.check(
        dense_rank == rank > 0,
        "the dense shape does not fit the indices",
        f"{rank} sizes, at least 1",
        str(dense_rank),
    )
    combiner = call.option("combiner")
    call.check(combiner in COMBINERS, "unknown combiner", " or ".join(COMBINERS), str(combiner))
    dense = call.value(2)
    if dense is None:
        return [Spec(F32, None)]
    outer = [int(n) for n in dense[:-1]]
    if min(outer, default=0) < 0 or math.prod(outer) >= 1 << 31:
        call.fail_run("the dense shape is impossible", "sizes of less than 2^31 rows", str(outer))
    return [Spec(F32, (*outer, *table[1:]))]


def _sparse(
    call: Call,
    ids: np.ndarray,
    indices: np.ndarray,
    dense: np.ndarray,
    weights: np.ndarray,
    table: np.ndarray,
) -> np.ndarray:
    shape = _sparse_spec(call)[0].shape
    assert shape is not None
    _check_ids(call, ids, table.shape[0])
    outer = list(shape[: dense.size - 1])
    outside = (indices[:, :-1] < 0) | (indices[:, :-1] >= outer)
    if outside.any():
        at = np.argwhere(outside)[0, 0]
        call.fail_run("an index is out of range", f"below {outer}", str(indices[at].tolist()))
    call.session.reserve(ids.size * table[:1].size * 4, call.place)
    places = np.zeros(ids.size, np.int64)
    for size, index in zip(outer, indices.T, strict=False):
        places = places * size + index
    vectors = table.reshape(table.shape[0], -1)[ids] * weights[:, None]
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    ends = np.append(starts[1:], ids.size)[: starts.size]
    combiner = call.option("combiner")
    result = np.zeros((math.prod(outer), vectors.shape[1]), np.float32)
    for start, end in zip(starts, ends, strict=True):
        call.tick()
        row, run = result[places[start]], slice(start, end)
        row += vectors[run].sum(0)
        if combiner == "MEAN":
            row /= weights[run].sum()
        elif combiner == "SQRTN":
            row /= np.sqrt((weights[run] ** 2).sum())
    return result.reshape(shape)


register(
    "EMBEDDING_LOOKUP", infer=_lookup_spec, evaluate=_lookup, inputs=2, versions=5,
)  # fmt: skip
register(
    "EMBEDDING_LOOKUP_SPARSE", infer=_sparse_spec, evaluate=_sparse, inputs=5,
    options="EmbeddingLookupSparseOptions",
)  # fmt: skip

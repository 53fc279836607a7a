"""Ragged tensors: rows of different lengths, as flat values and row partitions.

    (Flex)RaggedRange                starts, limits, deltas -> row splits, the numbers of all rows
    (Flex)RaggedTensorToTensor       shape, values, default, partitions -> a dense tensor

A partition says how values fall into rows: `ROW_SPLITS` holds where each row begins, and the end
of the last; `VALUE_ROWIDS` the row of each value; `FIRST_DIM_SIZE`, in front of row ids, how many
rows there are. Rows that are shorter than the dense tensor are filled with the default, values
past its end are dropped. Row splits rise, and row ids too.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.node_def import attributes
from martlet.ops.operator import Call, Shape, Spec, register

_INDEX = (DType.INT32, DType.INT64)
_NUMBERS = (DType.INT32, DType.INT64, DType.FLOAT32, DType.FLOAT64)
_LARGEST = 1 << 40

# RaggedRange ---------------------------------------------------------------------------------


def _infer_range(call: Call) -> list[Spec]:
    call.check_dtype(0, *_NUMBERS)
    dtype = call.check_same_dtype(0, 1, 2)
    rows = 1
    for i in range(3):
        call.check_rank(i, 0, 1)
        size = math.prod(call.shape(i))
        if size != 1 and rows not in (1, size):
            call.fail("starts, limits and deltas differ in number", str(rows), str(size))
        rows = size if size != 1 else rows
    splits = call.output(0).dtype
    if splits not in _INDEX:
        call.fail("row splits have the wrong type", "INT32 or INT64", splits.name)
    return [Spec(splits, (rows + 1,)), Spec(dtype, None)]


def _range(
    call: Call, starts: np.ndarray, limits: np.ndarray, deltas: np.ndarray
) -> list[np.ndarray]:
    """start, start + delta, … before limit, for each row; each number is the last plus delta."""
    specs = _infer_range(call)
    dtype = call.dtype(0)
    if (deltas == 0).any():
        call.fail_run("a delta is 0")
    rows = (specs[0].shape or (1,))[0] - 1
    columns = [np.broadcast_to(x.reshape(-1), (rows,)).tolist() for x in (starts, limits, deltas)]
    lengths = []
    for start, limit, delta in zip(*columns, strict=True):
        if (limit < start) if delta > 0 else (limit > start):
            lengths.append(0)
        elif dtype.is_integer:
            lengths.append(-(-abs(limit - start) // abs(delta)))
        else:
            ratio = abs((limit - start) / delta)
            if not ratio < _LARGEST:
                call.fail_run("a range has no end", found=f"{start} to {limit} by {delta}")
            lengths.append(math.ceil(ratio))
    total = sum(lengths)
    call.session.reserve(2 * total * dtype.numpy.itemsize, f"{call.place}, its values")
    values = np.empty(total, dtype.numpy)
    position = 0
    for length, start, delta in zip(lengths, columns[0], columns[2], strict=True):
        call.tick()
        steps = np.full(length, delta, dtype.numpy)
        steps[:1] = start
        values[position : position + length] = np.cumsum(steps, dtype=dtype.numpy)
        position += length
    splits = np.cumsum([0, *lengths])
    if total > np.iinfo(specs[0].dtype.numpy).max:
        call.fail_run("there are more values than row splits can count", found=str(total))
    return [splits.astype(specs[0].dtype.numpy), values]


for _name in ("RaggedRange", "FlexRaggedRange"):
    register(_name, infer=_infer_range, evaluate=_range, inputs=3, outputs=2, custom=True)

# RaggedTensorToTensor ------------------------------------------------------------------------


def _partition_types(call: Call) -> list[str]:
    """The kind of each partition, outermost first."""
    found = attributes(call).get("row_partition_types")
    listed = found if isinstance(found, list) else []
    names = [n.decode("utf-8", "replace") if isinstance(n, bytes) else n for n in listed]
    known = ("FIRST_DIM_SIZE", "VALUE_ROWIDS", "ROW_SPLITS")
    if not names or any(name not in known for name in names):
        call.fail("the row partitions have unknown types", " or ".join(known), str(names)[:80])
    if "FIRST_DIM_SIZE" in names[1:] or names[0] == "VALUE_ROWIDS" or names == ["FIRST_DIM_SIZE"]:
        call.fail("the row partitions are in a wrong order", found=str(names)[:80])
    if len(names) != call.inputs - 3:
        call.fail("partitions and their types differ in number", str(len(names)),
                  str(call.inputs - 3))  # fmt: skip
    return names


def _infer_to_tensor(call: Call) -> list[Spec]:
    call.check_dtype(0, *_INDEX)
    call.check_rank(0, 0, 1)
    names = _partition_types(call)
    values = call.check_rank(1, 1, 32)
    call.check_same_dtype(1, 2)
    call.check(
        math.prod(call.shape(2)) == 1, "the default is not one value", "1", str(list(call.shape(2)))
    )
    for i, name in enumerate(names, 3):
        call.check_dtype(i, *_INDEX)
        if name == "FIRST_DIM_SIZE":
            call.check(math.prod(call.shape(i)) == 1, "the number of rows is not one number")
        else:
            (size,) = call.check_rank(i, 1)
            call.check(name == "VALUE_ROWIDS" or size > 0, "row splits are empty", "at least 1")
    wanted, partitions = call.value(0), [call.value(i) for i in range(3, call.inputs)]
    if wanted is None or any(p is None for p in partitions):
        return [Spec(call.dtype(1), None)]
    sizes = _sizes(call, names, [p for p in partitions if p is not None])
    shape = _dense_shape(call, wanted, sizes, values)
    return [Spec(call.dtype(1), shape)]


def _sizes(call: Call, names: list[str], partitions: list[np.ndarray]) -> list[int]:
    """Number of rows, then the longest row of each partition, as they follow from the data.

    As in TensorFlow, row splits of two entries or more count as one wide at least.
    """
    first = partitions[0].reshape(-1)
    rows = int(first[0]) if names[0] == "FIRST_DIM_SIZE" else first.size - 1
    sizes = [rows]
    if not 0 <= rows < _LARGEST:
        call.fail_run("the number of rows is wrong", "0 or more", str(rows))
    count = rows
    for name, partition in zip(names, partitions, strict=True):
        ids = partition.reshape(-1)
        if name == "ROW_SPLITS":
            widths = np.diff(ids)
            if ids[0] != 0 or (widths < 0).any() or len(ids) != count + 1:
                call.fail_run(
                    "row splits do not rise from 0, or are not one more than the rows",
                    f"{count + 1} numbers",
                    str(ids[:8].tolist()),
                )
            sizes.append(max(1, int(widths.max())) if len(widths) else 0)
            count = int(ids[-1])
        elif name == "VALUE_ROWIDS":
            if (np.diff(ids) < 0).any() or ((ids < 0) | (ids >= count)).any():
                call.fail_run("row ids do not rise from 0 to the number of rows", f"below {count}")
            sizes.append(int(np.bincount(ids).max()) if len(ids) else 0)
            count = len(ids)
    if count != call.shape(1)[0]:
        call.fail_run("partitions and values differ in number", str(count), str(call.shape(1)[0]))
    return sizes


def _dense_shape(call: Call, wanted: np.ndarray, sizes: list[int], values: Shape) -> Shape:
    """The given shape, with -1 replaced by what the data needs."""
    rank = len(sizes) - 1 + len(values)
    target = [int(n) for n in wanted.reshape(-1)] if wanted.ndim else [-1] * rank
    if len(target) != rank:
        call.fail_run("the shape has the wrong number of dimensions", str(rank), str(target))
    inner = values[1:]
    for i, size in enumerate([*sizes, *inner]):
        if target[i] < 0:
            target[i] = size
    if tuple(target[len(sizes) :]) != inner:
        call.fail_run("the shape does not fit the values", f"… {list(inner)}", str(target))
    return tuple(target)


def _to_tensor(
    call: Call, shape: np.ndarray, values: np.ndarray, default: np.ndarray, *partitions: np.ndarray
) -> np.ndarray:
    names = _partition_types(call)
    target = _dense_shape(call, shape, _sizes(call, names, list(partitions)), values.shape)
    outer = len(target) - (values.ndim - 1)
    # Where each row of the current level starts in the flat result; -1: it is cut off.
    rows = int(partitions[0].reshape(-1)[0]) if names[0] == "FIRST_DIM_SIZE" else None
    count = rows if rows is not None else partitions[0].size - 1
    stride = math.prod(target[1:outer])
    index = np.arange(count, dtype=np.int64) * stride
    index[target[0] :] = -1
    level = 0
    for name, partition in zip(names, partitions, strict=True):
        if name == "FIRST_DIM_SIZE":
            continue
        level += 1
        ids = partition.reshape(-1).astype(np.int64)
        if name == "ROW_SPLITS":
            ids = np.repeat(np.arange(len(ids) - 1), np.diff(ids))
        column = np.arange(len(ids)) - np.searchsorted(ids, ids)
        stride = math.prod(target[level + 1 : outer])
        parent = index[ids]
        index = np.where((parent >= 0) & (column < target[level]), parent + column * stride, -1)
    result = np.empty((math.prod(target[:outer]), *values.shape[1:]), values.dtype)
    result[...] = default.reshape(())[()]
    kept = index >= 0
    result[index[kept]] = values[kept]
    return result.reshape(target)


for _name in ("RaggedTensorToTensor", "FlexRaggedTensorToTensor"):
    register(
        _name, infer=_infer_to_tensor, evaluate=_to_tensor, inputs=(4, None), custom=True
    )  # fmt: skip

"""Operators that cut pieces out of a tensor, or put one in: SLICE, STRIDED_SLICE,
DYNAMIC_UPDATE_SLICE, SPLIT, SPLIT_V, UNPACK.

Each rule turns begins, sizes and masks into a NumPy index; the meaning is to take that index.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from martlet.ops.operator import Call, Spec, register

Index = tuple[Any, ...]  # slices, numbers and None, as NumPy takes them


# SLICE ------------------------------------------------------------------------------------


def slice_index(call: Call) -> Index | None:
    """The piece from `begin` of `size` in each dimension; size -1 goes to the end."""
    shape = call.shape(0)
    begin, size = call.integers(1, len(shape)), call.integers(2, len(shape))
    if begin is None or size is None:
        return None
    index = []
    for axis, (n, start, count) in enumerate(zip(shape, begin, size, strict=True)):
        stop = n if count == -1 else start + count
        call.check(
            0 <= start <= stop <= n,
            f"the slice leaves dimension {axis}",
            f"a piece of 0 to {n}",
            f"begin {start}, size {count}",
        )
        index.append(slice(start, stop))
    return tuple(index)


def _slice_spec(call: Call) -> list[Spec]:
    index = slice_index(call)
    if index is None:
        return [Spec(call.dtype(0), None)]
    return [Spec(call.dtype(0), tuple(s.stop - s.start for s in index))]


def _slice(call: Call, x: np.ndarray, *_: np.ndarray) -> np.ndarray:
    index = slice_index(call)
    assert index is not None
    return x[(*index, ...)].copy()


# STRIDED_SLICE ----------------------------------------------------------------------------


def _entries(call: Call, count: int) -> list[tuple[str, int]]:
    """What each dimension of the answer, before shrinking, comes from: (kind, number of entry).

    1. An entry whose bit is set in `ellipsis_mask` stands for as many whole dimensions as are
       left over; without one, these come last.
    2. An entry in `new_axis_mask` is a new dimension of 1 and takes none of the input.
    3. Every other entry, in `shrink_axis_mask` or not, takes one dimension.
    """
    masks = {k: int(call.option(f"{k}_mask")) for k in ("ellipsis", "new_axis", "shrink_axis")}
    kinds = []
    for i in range(count):
        kinds.append(next((k for k, mask in masks.items() if mask >> i & 1), "range"))
    call.check(kinds.count("ellipsis") <= 1, "ellipsis_mask has more than one bit")
    left = call.rank(0) - kinds.count("range") - kinds.count("shrink_axis")
    call.check(
        left >= 0,
        "there are more entries than dimensions",
        str(call.rank(0)),
        str(call.rank(0) - left),
    )
    at = kinds.index("ellipsis") if "ellipsis" in kinds else count
    numbered = list(zip(kinds, range(count), strict=True))
    return [*numbered[:at], *[("whole", -1)] * left, *numbered[at + 1 :]]


def strided_index(call: Call) -> tuple[Index, list[int]] | None:
    """(index, shape of the answer), or None where it depends on values that are not known.

    A bound that is not known because only the shape is wanted is 0. With `offset`, ends count
    from the begins, so that the shape does not depend on these.
    """
    (count,) = call.check_rank(1, 1)
    begin, end, strides = (call.integers(i, count) for i in (1, 2, 3))
    offset = bool(call.option("offset"))
    if end is None or strides is None or (begin is None and not offset):
        return None
    sizes = iter(call.shape(0))
    index: list[Any] = []
    shape: list[int] = []
    for kind, i in _entries(call, count):
        if kind == "new_axis":
            index.append(None)
            shape.append(1)
            continue
        n = next(sizes)
        if kind == "whole":
            index.append(slice(None))
            shape.append(n)
            continue
        step = strides[i]
        call.check(step != 0, f"the stride of entry {i} is 0", "another number")
        open_begin, open_end = (int(call.option(f"{k}_mask")) >> i & 1 for k in ("begin", "end"))
        first = None if open_begin else begin[i] if begin is not None else 0
        if offset and kind == "range":
            length = len(range(0, end[i], step))
            start = slice(first, None, step).indices(n)[0]
            last = start + step * (length - 1)
            if begin is not None and length and not (0 <= start < n and 0 <= last < n):
                call.fail_run(f"the slice leaves its dimension of {n}", found=f"{start} to {last}")
            chosen = slice(start, None if last + step < 0 else last + step, step)
        else:
            start, stop, _ = slice(first, None if open_end else end[i], step).indices(n)
            length = len(range(start, stop, step))
            chosen = slice(start, None if stop < 0 else stop, step)
        if kind == "shrink_axis":
            if begin is not None and not 0 <= start < n:
                call.fail_run(f"entry {i} is out of range", f"{-n} to {n - 1}", str(first))
            index.append(start)
        else:
            index.append(chosen if length else slice(0, 0))
            shape.append(length)
    return tuple(index), shape


def _strided_spec(call: Call) -> list[Spec]:
    found = strided_index(call)
    return [Spec(call.dtype(0), None if found is None else tuple(found[1]))]


def _strided_slice(call: Call, x: np.ndarray, *_: np.ndarray) -> np.ndarray:
    found = strided_index(call)
    assert found is not None
    return x[(*found[0], ...)].copy()


# DYNAMIC_UPDATE_SLICE ---------------------------------------------------------------------


def _update_spec(call: Call) -> list[Spec]:
    operand, update = call.shape(0), call.check_rank(1, call.rank(0))
    call.check_same_dtype(0, 1)
    call.check(
        all(n <= m for n, m in zip(update, operand, strict=True)),
        "the update is larger than the operand",
        f"at most {list(operand)}",
        str(list(update)),
    )
    call.integers(2, len(operand))
    return [call.spec(0)]


def _update(call: Call, x: np.ndarray, update: np.ndarray, _: np.ndarray) -> np.ndarray:
    """The operand with the update put in; begins are moved so that it fits."""
    begins = call.integers(2, x.ndim)
    assert begins is not None
    result = x.copy()
    index: list[Any] = []
    for begin, n, size in zip(begins, x.shape, update.shape, strict=True):
        start = min(max(begin, 0), n - size)
        index.append(slice(start, start + size))
    result[(*index, ...)] = update
    return result


# SPLIT, SPLIT_V, UNPACK -------------------------------------------------------------------


def split_sizes(call: Call) -> tuple[int, list[int]] | None:
    """(axis, size of each piece) of SPLIT, whose pieces are equal, and SPLIT_V."""
    equal = call.op == "SPLIT"
    source, axis_input = (1, 0) if equal else (0, 2)
    count = call.outputs
    splits = int(call.option("num_splits"))
    call.check(splits == count, "num_splits is not the number of outputs", str(count), str(splits))
    axis = call.integer(axis_input)
    sizes = None if equal else call.integers(1, count)
    if axis is None or (sizes is None and not equal):
        return None
    shape = call.shape(source)
    axis = call.axis(axis, len(shape))
    total = shape[axis]
    if sizes is None:
        call.check(
            total % count == 0, "the pieces are not equal", f"a multiple of {count}", str(total)
        )
        return axis, [total // count] * count
    given = list(sizes)
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = total - (sum(sizes) + 1)
    call.check(
        all(n >= 0 for n in sizes) and sum(sizes) == total,
        f"the pieces do not make up dimension {axis}",
        f"a sum of {total}",
        str(given),
    )
    return axis, sizes


def _split_spec(call: Call) -> list[Spec]:
    spec = call.spec(1 if call.op == "SPLIT" else 0)
    found = split_sizes(call)
    if found is None:
        return [Spec(spec.dtype, None)] * call.outputs
    axis, sizes = found
    shape = spec.shape
    assert shape is not None
    return [Spec(spec.dtype, (*shape[:axis], n, *shape[axis + 1 :])) for n in sizes]


def _split(call: Call, *inputs: np.ndarray) -> list[np.ndarray]:
    found = split_sizes(call)
    assert found is not None
    axis, sizes = found
    x = inputs[1 if call.op == "SPLIT" else 0]
    return [piece.copy() for piece in np.split(x, np.cumsum(sizes)[:-1], axis)]


def _unpack_spec(call: Call) -> list[Spec]:
    shape = call.shape(0)
    axis = call.axis(int(call.option("axis")), len(shape))
    count = int(call.option("num"))
    call.check(
        count == call.outputs == shape[axis],
        f"dimension {axis} does not come apart into the outputs",
        f"num and size {call.outputs}",
        f"num {count}, size {shape[axis]}",
    )
    for output in range(count):
        call.check_same_quantization(0, output)
    return [Spec(call.dtype(0), (*shape[:axis], *shape[axis + 1 :]))] * count


def _unpack(call: Call, x: np.ndarray) -> list[np.ndarray]:
    axis = call.axis(int(call.option("axis")), x.ndim)
    before: Index = (slice(None),) * axis
    return [x[(*before, i, ...)].copy() for i in range(x.shape[axis])]


register("SLICE", infer=_slice_spec, evaluate=_slice, inputs=3, options="SliceOptions", versions=8)
register(
    "STRIDED_SLICE", infer=_strided_spec, evaluate=_strided_slice, inputs=4,
    options="StridedSliceOptions", versions=8,
)  # fmt: skip
register(
    "DYNAMIC_UPDATE_SLICE", infer=_update_spec, evaluate=_update, inputs=3,
    options="DynamicUpdateSliceOptions", versions=6,
)  # fmt: skip
register(
    "SPLIT", infer=_split_spec, evaluate=_split, inputs=2, outputs=(1, None),
    options="SplitOptions", versions=5,
)  # fmt: skip
register(
    "SPLIT_V", infer=_split_spec, evaluate=_split, inputs=3, outputs=(1, None),
    options="SplitVOptions", versions=3,
)  # fmt: skip
register(
    "UNPACK", infer=_unpack_spec, evaluate=_unpack, inputs=1, outputs=(1, None),
    options="UnpackOptions", versions=6,
)  # fmt: skip

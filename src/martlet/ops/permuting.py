"""Operators that put the elements of a tensor into another order: TRANSPOSE, REVERSE_V2,
REVERSE_SEQUENCE, the moves between space, depth and batch, MATRIX_DIAG, MATRIX_SET_DIAG, Roll.

The moves between space, depth and batch cut every spatial dimension into (blocks, places within
a block) and carry the places to another dimension: one reshape, one transposition.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import INDICES, Call, Spec, register
from martlet.ops.padding import place

# TRANSPOSE, REVERSE_V2, REVERSE_SEQUENCE, Roll --------------------------------------------


def permutation(call: Call) -> list[int] | None:
    rank = call.rank(0)
    given = call.integers(1, rank)
    if given is None:
        return None
    axes = [call.axis(n, rank, "an entry of the permutation") for n in given]
    call.check(len(set(axes)) == rank, "a dimension comes twice", "a permutation", str(given))
    return axes


def _transpose_spec(call: Call) -> list[Spec]:
    axes = permutation(call)
    shape = call.shape(0)
    return [Spec(call.dtype(0), None if axes is None else tuple(shape[i] for i in axes))]


def _transpose(call: Call, x: np.ndarray, _: np.ndarray) -> np.ndarray:
    axes = permutation(call)
    assert axes is not None
    return x.transpose(axes).copy()


def _axes(call: Call, i: int) -> tuple[int, ...] | None:
    """The distinct axes that input i lists."""
    given = call.integers(i)
    if given is None:
        return None
    axes = tuple(call.axis(n, call.rank(0)) for n in given)
    call.check(len(set(axes)) == len(axes), "an axis comes twice", found=str(given))
    return axes


def _reverse_spec(call: Call) -> list[Spec]:
    _axes(call, 1)
    return [call.spec(0)]


def _reverse(call: Call, x: np.ndarray, _: np.ndarray) -> np.ndarray:
    axes = _axes(call, 1)
    assert axes is not None
    return np.flip(x, axes).copy()


def _reverse_sequence_spec(call: Call) -> list[Spec]:
    shape = call.check_rank(0, 2, 32)
    axes = [int(call.option(name)) for name in ("seq_dim", "batch_dim")]
    call.check(
        all(0 <= n < len(shape) for n in axes) and axes[0] != axes[1],
        "seq_dim and batch_dim are wrong",
        f"two dimensions of 0 to {len(shape) - 1}",
        str(axes),
    )
    call.check_dtype(1, *INDICES)
    call.check(
        call.shape(1) == (shape[axes[1]],),
        "the lengths are not one for each batch",
        str([shape[axes[1]]]),
        str(list(call.shape(1))),
    )
    return [call.spec(0)]


def _reverse_sequence(call: Call, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The first `length` elements of each sequence backwards; the others stay."""
    front = (int(call.option("batch_dim")), int(call.option("seq_dim")))
    n = x.shape[front[1]]
    if lengths.size and int(lengths.max()) > n:
        call.fail_run("a length is out of range", f"at most {n}", str(int(lengths.max())))
    position = np.arange(n)
    mirrored = np.maximum(lengths, 0)[:, None] - 1 - position  # none below 0: -2**31 - 1 wraps
    source = np.where(mirrored >= 0, mirrored, position)
    rows = np.moveaxis(x, front, (0, 1))
    turned = rows[np.arange(len(lengths))[:, None], source]
    return np.moveaxis(turned, (0, 1), front).copy()


def _roll_spec(call: Call) -> list[Spec]:
    _roll_axes(call)
    call.check_dtype(1, *INDICES)
    count, axes = math.prod(call.shape(1)), math.prod(call.shape(2))
    call.check(count == axes, "shifts and axes differ in number", str(axes), str(count))
    return [call.spec(0)]


def _roll_axes(call: Call) -> list[int] | None:
    given = call.integers(2) if call.rank(2) else [call.integer(2)]
    if given is None or None in given:
        return None
    return [call.axis(int(n or 0), call.rank(0)) for n in given]


def _roll(call: Call, x: np.ndarray, shift: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Turned around along each axis in turn, so that shifts of one axis add up."""
    for distance, axis in zip(shift.ravel(), _roll_axes(call) or [], strict=True):
        x = np.roll(x, int(distance) % max(x.shape[axis], 1), axis)
    return x.copy()


# Space, depth and batch -------------------------------------------------------------------


def _block_size(call: Call) -> int:
    block = int(call.option("block_size"))
    call.check(block >= 1, "block_size is not positive", found=str(block))
    return block


def _space_to_depth_spec(call: Call) -> list[Spec]:
    block = _block_size(call)
    n, h, w, c = call.check_rank(0, 4)
    call.check(
        h % block == 0 and w % block == 0,
        "height and width do not come apart into blocks",
        f"multiples of {block}",
        f"{h} and {w}",
    )
    return [Spec(call.dtype(0), (n, h // block, w // block, c * block * block))]


def _space_to_depth(call: Call, x: np.ndarray) -> np.ndarray:
    (n, h, w, c), b = x.shape, _block_size(call)
    parts = x.reshape(n, h // b, b, w // b, b, c).transpose(0, 1, 3, 2, 4, 5)
    return parts.reshape(n, h // b, w // b, b * b * c)


def _depth_to_space_spec(call: Call) -> list[Spec]:
    block = _block_size(call)
    n, h, w, c = call.check_rank(0, 4)
    call.check(
        c % (block * block) == 0,
        "the depth does not come apart into blocks",
        f"a multiple of {block * block}",
        str(c),
    )
    return [Spec(call.dtype(0), (n, h * block, w * block, c // (block * block)))]


def _depth_to_space(call: Call, x: np.ndarray) -> np.ndarray:
    (n, h, w, c), b = x.shape, _block_size(call)
    c //= b * b
    parts = x.reshape(n, h, w, b, b, c).transpose(0, 1, 3, 2, 4, 5)
    return parts.reshape(n, h * b, w * b, c)


def space_blocks(call: Call) -> tuple[list[int], list[tuple[int, int]]] | None:
    """(block, (before, after)) of every spatial dimension: inputs 1 and 2."""
    spatial = len(call.check_rank(0, 3, 32)) - 2
    blocks = call.integers(1, spatial, dtypes=(DType.INT32,))
    edges = call.integers(2, spatial, 2, dtypes=(DType.INT32,))
    if blocks is None or edges is None:
        return None
    call.check(min(blocks) >= 1, "a block is not positive", found=str(blocks))
    call.check(min(edges) >= 0, "a padding or crop is negative", found=str(edges))
    return blocks, list(zip(edges[::2], edges[1::2], strict=True))


def _space_to_batch_spec(call: Call) -> list[Spec]:
    call.check_same_quantization(0)
    found = space_blocks(call)
    if found is None:
        return [Spec(call.dtype(0), None)]
    blocks, edges = found
    n, *spatial, c = call.shape(0)
    padded = [size + sum(edge) for size, edge in zip(spatial, edges, strict=True)]
    call.check(
        all(size % block == 0 for size, block in zip(padded, blocks, strict=True)),
        "the padded sizes do not come apart into blocks",
        f"multiples of {blocks}",
        str(padded),
    )
    sizes = [size // block for size, block in zip(padded, blocks, strict=True)]
    return [Spec(call.dtype(0), (n * math.prod(blocks), *sizes, c))]


def space_fill(call: Call) -> int:
    """What SPACE_TO_BATCH_ND puts around its input: what is stored for 0."""
    q, dtype = call.output().quantization, call.dtype(0).numpy
    fill = int(q.zero_point[0]) if q is not None and q.zero_point.size else 0
    return int(np.array(fill).astype(dtype)) if dtype.kind in "iu" else 0


def _space_to_batch(call: Call, x: np.ndarray, *_: np.ndarray) -> np.ndarray:
    found, (spec,) = space_blocks(call), _space_to_batch_spec(call)
    assert found is not None
    assert spec.shape is not None
    blocks, edges = found
    padded = place(x, space_fill(call), [(0, 0), *edges, (0, 0)], [1] * x.ndim)
    split: list[int] = [x.shape[0]]
    for size, block in zip(spec.shape[1:-1], blocks, strict=True):
        split += [size, block]
    # (batch, size, block, …, depth) -> (blocks…, batch, sizes…, depth)
    count = len(blocks)
    order = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count + 1, 2), 2 * count + 1]
    return padded.reshape(*split, x.shape[-1]).transpose(order).reshape(spec.shape)


def _batch_to_space_spec(call: Call) -> list[Spec]:
    call.check_same_quantization(0)
    found = space_blocks(call)
    if found is None:
        return [Spec(call.dtype(0), None)]
    blocks, crops = found
    n, *spatial, c = call.shape(0)
    call.check(
        n % math.prod(blocks) == 0,
        "the batch does not come apart into blocks",
        f"a multiple of {math.prod(blocks)}",
        str(n),
    )
    sizes = [size * block for size, block in zip(spatial, blocks, strict=True)]
    call.check(
        all(sum(crop) <= size for size, crop in zip(sizes, crops, strict=True)),
        "the crops are larger than what they crop",
        f"at most {sizes}",
        str([list(crop) for crop in crops]),
    )
    left = [size - sum(crop) for size, crop in zip(sizes, crops, strict=True)]
    return [Spec(call.dtype(0), (n // math.prod(blocks), *left, c))]


def _batch_to_space(call: Call, x: np.ndarray, *_: np.ndarray) -> np.ndarray:
    found = space_blocks(call)
    assert found is not None
    blocks, crops = found
    batch, count = x.shape[0] // math.prod(blocks), len(blocks)
    # (blocks…, batch, sizes…, depth) -> (batch, size, block, …, depth)
    order = [count]
    for i in range(count):
        order += [count + 1 + i, i]
    parts = x.reshape(*blocks, batch, *x.shape[1:]).transpose([*order, 2 * count + 1])
    sizes = [n * block for n, block in zip(x.shape[1:-1], blocks, strict=True)]
    whole = parts.reshape(batch, *sizes, x.shape[-1])
    cut: list[Any] = [slice(a, n - b) for n, (a, b) in zip(sizes, crops, strict=True)]
    return whole[(slice(None), *cut)].copy()


# Diagonals --------------------------------------------------------------------------------


def _diag_spec(call: Call) -> list[Spec]:
    call.check(call.dtype(0) is not DType.STRING, "strings have no zero")
    shape = call.check_rank(0, 1, 32)
    return [Spec(call.dtype(0), (*shape, shape[-1]))]


def _diag(call: Call, x: np.ndarray) -> np.ndarray:
    """Each vector on the diagonal of a matrix of zeros."""
    n = np.arange(x.shape[-1])
    result = np.zeros((*x.shape, x.shape[-1]), x.dtype)
    result[..., n, n] = x
    return result


def _set_diag_spec(call: Call) -> list[Spec]:
    call.check_same_dtype(0, 1)
    *batch, rows, columns = call.check_rank(0, 2, 32)
    wanted = (*batch, min(rows, columns))
    call.check(
        call.shape(1) == wanted,
        "the diagonal does not fit",
        str(list(wanted)),
        str(list(call.shape(1))),
    )
    return [call.spec(0)]


def _set_diag(call: Call, x: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    n = np.arange(diagonal.shape[-1])
    result = x.copy()
    result[..., n, n] = diagonal
    return result


register(
    "TRANSPOSE", infer=_transpose_spec, evaluate=_transpose, inputs=2, options="TransposeOptions",
    versions=9,
)  # fmt: skip
register(
    "REVERSE_V2", infer=_reverse_spec, evaluate=_reverse, inputs=2, options="ReverseV2Options",
    versions=4,
)  # fmt: skip
register(
    "REVERSE_SEQUENCE", infer=_reverse_sequence_spec, evaluate=_reverse_sequence, inputs=2,
    options="ReverseSequenceOptions",
)  # fmt: skip
register("Roll", infer=_roll_spec, evaluate=_roll, inputs=3, custom=True)
register(
    "SPACE_TO_DEPTH", infer=_space_to_depth_spec, evaluate=_space_to_depth, inputs=1,
    options="SpaceToDepthOptions", versions=2,
)  # fmt: skip
register(
    "DEPTH_TO_SPACE", infer=_depth_to_space_spec, evaluate=_depth_to_space, inputs=1,
    options="DepthToSpaceOptions", versions=2,
)  # fmt: skip
register(
    "SPACE_TO_BATCH_ND", infer=_space_to_batch_spec, evaluate=_space_to_batch, inputs=3,
    options="SpaceToBatchNDOptions", versions=4,
)  # fmt: skip
register(
    "BATCH_TO_SPACE_ND", infer=_batch_to_space_spec, evaluate=_batch_to_space, inputs=3,
    options="BatchToSpaceNDOptions", versions=4,
)  # fmt: skip
register("MATRIX_DIAG", infer=_diag_spec, evaluate=_diag, inputs=1, options="MatrixDiagOptions")
register(
    "MATRIX_SET_DIAG", infer=_set_diag_spec, evaluate=_set_diag, inputs=2,
    options="MatrixSetDiagOptions",
)  # fmt: skip

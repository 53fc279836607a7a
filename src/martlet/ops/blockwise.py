"""Blockwise quantisation: weights whose scales stand in another tensor, one for a block of them.

In: a call, the number of an input, its stored integers. Out: the real numbers they stand for,
float32: scale * (stored - zero_point), each scale serving `block_size` neighbours.

The quantised dimensions are listed in the file; the last of them is cut into blocks, the others
have a scale for each index. In the older form (no list) all dimensions are quantised, and the
blocks run along the last. A block size of 0 means no blocks: a scale for each index of all listed
dimensions. Scales (float16 or float32) lie in memory in the order of the dimensions.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.graph import Blockwise
from martlet.ops.operator import Call, Shape, constant_value

_SCALES: tuple[DType, ...] = (DType.FLOAT16, DType.FLOAT32)
_ZERO_POINTS: tuple[DType, ...] = (
    DType.INT8,
    DType.UINT8,
    DType.INT4,
    DType.INT16,
    DType.INT32,
    DType.INT64,
)


def is_blockwise(call: Call, i: int) -> bool:
    """Whether input i is quantised in blocks."""
    quantization = call.input(i).quantization
    return quantization is not None and quantization.blockwise is not None


def check_blockwise(call: Call, i: int) -> None:
    """For `infer`: raise unless the scales of input i are there, and as many as its blocks."""
    blockwise = _of(call, i)
    count = math.prod(_grid(call, i, blockwise))
    parts = [("scales", blockwise.scales, _SCALES)]
    if blockwise.zero_points >= 0:
        parts.append(("zero points", blockwise.zero_points, _ZERO_POINTS))
    for what, index, dtypes in parts:
        tensor = call.graph.tensors[index]
        if not tensor.is_constant or tensor.dtype not in dtypes or tensor.size != count:
            call.fail(
                f"the {what} of input {i} {call.input(i).name!r} do not fit its blocks",
                f"{count} constants of type {' or '.join(d.name for d in dtypes)}",
                str(tensor),
            )


def dequantize_blocks(
    call: Call, i: int, stored: np.ndarray, rows: np.ndarray | None = None
) -> np.ndarray:
    """The real values of input i, or of those of its rows (indices of the first dimension)."""
    blockwise = _of(call, i)
    grid = list(_grid(call, i, blockwise))
    entry = slice(None) if rows is None else rows // (stored.shape[0] // grid[0])
    if rows is not None:
        stored = stored[rows]
        grid[0] = rows.size
    # Each dimension splits into (its entries in the grid, the elements that share an entry).
    split = []
    for size, entries in zip(stored.shape, grid, strict=True):
        split += [entries, size // entries] if entries else [0, 0]

    def entries_of(index: int) -> np.ndarray:
        tensor = call.graph.tensors[index]
        value = constant_value(tensor, f"{call.place}, tensor {tensor.name!r}")
        chosen = value.reshape(_grid(call, i, blockwise))[entry].astype(np.float32)
        return chosen.reshape([n for entries in grid for n in (entries, 1)])

    values = stored.reshape(split).astype(np.float32)
    if blockwise.zero_points >= 0:
        values -= entries_of(blockwise.zero_points)
    values *= entries_of(blockwise.scales)
    return values.reshape(stored.shape)


def _of(call: Call, i: int) -> Blockwise:
    quantization = call.input(i).quantization
    assert quantization is not None
    assert quantization.blockwise is not None
    return quantization.blockwise


def _grid(call: Call, i: int, blockwise: Blockwise) -> Shape:
    """How many scales there are along each dimension of input i."""
    shape = call.shape(i)
    dimensions = blockwise.dimensions or tuple(range(len(shape)))
    if not all(0 <= d < len(shape) for d in dimensions) or len(set(dimensions)) < len(dimensions):
        call.fail(
            f"the quantised dimensions of input {i} are not its own",
            f"different numbers from 0 to {len(shape) - 1}",
            str(list(dimensions)),
        )
    grid = [size if d in dimensions else 1 for d, size in enumerate(shape)]
    if math.prod(shape) == 0:
        call.unsupported(f"input {i} is empty and quantised in blocks")
    block = blockwise.block_size
    if block:
        size = shape[dimensions[-1]]
        if block < 0 or size % block:
            call.fail(
                f"the blocks of input {i} do not divide its dimension {dimensions[-1]}",
                f"a divisor of {size}",
                str(block),
            )
        grid[dimensions[-1]] = size // block
    return tuple(grid)

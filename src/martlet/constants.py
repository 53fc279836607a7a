"""Bytes of a constant tensor <-> NumPy array: packing of 4 and 2 bits, strings, sparse weights.

In: the bytes as a `.tflite` file has them. Out: an array of the tensor's shape and
`dtype.numpy`; a view of the file where the layout allows it (everything but packed elements,
strings, sparse tensors and misaligned bytes).
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np

from martlet.dtypes import PACKED, DType
from martlet.errors import ModelError

if TYPE_CHECKING:
    from martlet.graph import Tensor

EXPANDED_LIMIT = 1 << 29
"""Bytes that one sparse constant may expand to; the rest of a file expands at most fourfold."""


def decode(tensor: Tensor, where: str) -> np.ndarray:
    """The value of a constant tensor. `where` names it in errors."""
    raw = tensor.raw
    assert raw is not None
    if not tensor.dtype.supported:
        raise ModelError(f"constants of type {tensor.dtype.name} are not supported", where=where)
    if tensor.dtype is DType.STRING:
        return _strings(raw, tensor.shape, where)
    if tensor.sparsity is not None:
        return _densify(tensor, where)
    return _dense(raw, tensor.shape, tensor.dtype, where)


def encode(array: np.ndarray, dtype: DType) -> np.ndarray:
    """The bytes that a file holds for an array (uint8, 1-D)."""
    if dtype is DType.STRING:
        return pack_strings([_to_bytes(s) for s in np.asarray(array, object).reshape(-1)])
    if dtype in PACKED:
        flat = np.asarray(array).astype(np.uint8).reshape(-1) & (1 << dtype.bits) - 1
        flat = np.append(flat, np.zeros(-flat.size % (8 // dtype.bits), np.uint8))
        parts = flat.reshape(-1, 8 // dtype.bits) << _shifts(dtype)
        return np.asarray(np.bitwise_or.reduce(parts, axis=1), np.uint8)
    return np.ascontiguousarray(array, dtype.numpy).reshape(-1).view(np.uint8)


def _shifts(dtype: DType) -> np.ndarray:
    """Where in a byte its elements begin, the first in the lowest bits."""
    return np.arange(0, 8, dtype.bits, dtype=np.uint8)


def pack_strings(strings: list[bytes]) -> np.ndarray:
    """The format's layout of strings: count, count + 1 offsets from the start, the bytes."""
    offsets, position = [], 4 * (len(strings) + 2)
    for s in strings:
        offsets.append(position)
        position += len(s)
    head = struct.pack(f"<{len(strings) + 2}i", len(strings), *offsets, position)
    return np.frombuffer(head + b"".join(strings), np.uint8)


def _to_bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _strings(raw: np.ndarray, shape: tuple[int, ...], where: str) -> np.ndarray:
    data = raw.tobytes()
    count = struct.unpack_from("<i", data)[0] if len(data) >= 4 else -1
    if count != math.prod(shape) or len(data) < 4 * (count + 2):
        raise ModelError(
            "the string buffer does not hold the tensor's elements",
            where=where,
            expected=f"{math.prod(shape)} strings",
            found=f"{count} in {len(data)} bytes",
        )
    offsets = struct.unpack_from(f"<{count + 1}i", data, 4)
    result = np.empty(count, object)
    for i in range(count):
        start, end = offsets[i], offsets[i + 1]
        if not 0 <= start <= end <= len(data):
            raise ModelError(
                f"string {i} lies outside its buffer",
                where=where,
                expected=f"0 to {len(data)}",
                found=f"{start} to {end}",
            )
        result[i] = data[start:end]
    return result.reshape(shape)


def _dense(raw: np.ndarray, shape: tuple[int, ...], dtype: DType, where: str) -> np.ndarray:
    count = math.prod(shape)
    need = (count * dtype.bits + 7) // 8
    if raw.size != need:
        raise ModelError(
            "the buffer of a constant has the wrong size",
            where=where,
            expected=f"{need} bytes for {dtype.name} of shape {list(shape)}",
            found=f"{raw.size}",
        )
    if dtype in PACKED:
        parts = (raw[:, None] >> _shifts(dtype)) & (1 << dtype.bits) - 1
        flat = parts.astype(np.uint8).reshape(-1)[:count]
        if dtype.numpy.kind == "i":
            sign = 1 << dtype.bits - 1
            flat = ((flat ^ sign).astype(np.int8) - sign).astype(np.int8)
        return np.asarray(flat.reshape(shape))
    if raw.ctypes.data % dtype.numpy.alignment:
        raw = raw.copy()
    array = raw.view(dtype.numpy).reshape(shape)
    if dtype is DType.BOOL:
        # Any byte but 0 is true to a C program; to NumPy only 1 is.
        array = (raw != 0).reshape(shape)
    return array


def _densify(tensor: Tensor, where: str) -> np.ndarray:
    """Expand a sparse constant (TACO format: one dense or compressed level a dimension).

    1. Levels come in `traversal_order`; those past the rank are the inner sizes of blocks, and
       `block_map` says which dimension each block splits.
    2. Walk the levels; each turns the list of positions so far into the list of their children.
    3. Place each stored value at the position where its walk ended.
    """

    def bad(problem: str, expected: str = "", found: str = "") -> ModelError:
        return ModelError(f"sparse tensor: {problem}", where=where, expected=expected, found=found)

    if tensor.nbytes > EXPANDED_LIMIT:
        raise bad("it expands beyond the limit", f"{EXPANDED_LIMIT} bytes", f"{tensor.nbytes}")
    rank, sparsity = len(tensor.shape), tensor.sparsity
    none = np.zeros(0, np.int32)
    order = [
        int(i) for i in (sparsity.traversal_order if sparsity.traversal_order is not None else none)
    ]
    blocks = [int(i) for i in (sparsity.block_map if sparsity.block_map is not None else none)]
    levels = sparsity.dim_metadata or []
    if sorted(order) != list(range(rank + len(blocks))) or len(levels) != len(order):
        raise bad("traversal order and levels disagree with the shape", f"{rank} dimensions")
    if any(not 0 <= b < rank for b in blocks) or order[:rank] != [i for i in order if i < rank]:
        raise bad("its blocks name dimensions that it does not have")
    assert tensor.raw is not None
    dtype = tensor.dtype
    itemsize = dtype.numpy.itemsize
    if dtype.bits < 8 or tensor.raw.size % itemsize:
        raise bad("values of this type or size cannot be expanded", found=dtype.name)
    raw = tensor.raw.copy()
    values = raw.view(dtype.numpy)
    # Sizes of the levels in the expanded space: outer dimensions are divided by their blocks.
    sizes = dict(enumerate(tensor.shape))
    for level, dim in zip(range(rank, rank + len(blocks)), blocks, strict=True):
        size = int(levels[order.index(level)].dense_size)
        if size <= 0 or sizes[dim] % size:
            raise bad(
                "a block does not divide its dimension", f"a divisor of {sizes[dim]}", f"{size}"
            )
        sizes[level] = size
        sizes[dim] //= size
    coordinates = np.zeros((1, len(order)), np.int64)
    for depth, level in enumerate(order):
        meta, size = levels[depth], sizes[level]
        if meta.format == "DENSE":
            if int(meta.dense_size) != size:
                raise bad(f"level {depth} has the wrong size", f"{size}", f"{meta.dense_size}")
            if coordinates.shape[0] * size > max(1, tensor.size):
                raise bad(f"level {depth} has more positions than the tensor")
            parents = np.repeat(np.arange(coordinates.shape[0]), size)
            index = np.tile(np.arange(size), coordinates.shape[0])
        elif meta.format == "SPARSE_CSR":
            if meta.array_segments is None or meta.array_indices is None:
                raise bad(f"level {depth} has no indices")
            segments = np.asarray(meta.array_segments.values, np.int64)
            index = np.asarray(meta.array_indices.values, np.int64)
            counts = np.diff(segments)
            if (
                segments.size != coordinates.shape[0] + 1
                or segments[0] != 0
                or segments[-1] != index.size
                or (counts < 0).any()
                or ((index < 0) | (index >= size)).any()
            ):
                raise bad(f"the indices of level {depth} are out of range")
            parents = np.repeat(np.arange(coordinates.shape[0]), counts)
        else:
            raise bad(
                f"level {depth} has an unknown format", "DENSE or SPARSE_CSR", str(meta.format)
            )
        # A later dense level multiplies positions, and each position ends in a value.
        if index.size > values.size and (depth == len(order) - 1 or meta.format == "SPARSE_CSR"):
            raise bad("there are fewer values than positions", f"{index.size}", f"{values.size}")
        coordinates = coordinates[parents]
        coordinates[:, level] = index
    if coordinates.shape[0] != values.size:
        raise bad(
            "values and positions differ in number", f"{coordinates.shape[0]}", f"{values.size}"
        )
    result = np.zeros(tensor.shape, dtype.numpy)
    for level, dim in zip(range(rank, rank + len(blocks)), blocks, strict=True):
        coordinates[:, dim] = coordinates[:, dim] * sizes[level] + coordinates[:, level]
    flat = np.zeros(coordinates.shape[0], np.int64)
    for dim, size in enumerate(tensor.shape):
        flat = flat * size + coordinates[:, dim]
    result.reshape(-1)[flat] = values
    return result

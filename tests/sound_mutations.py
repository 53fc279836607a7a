"""Changes that keep a model file sound in itself: its bytes fit its shapes and types.

What changes is what the operators see: another element type, constants of another size, other
axes, permutations and sizes. Such files reach deeper than those that contradict themselves.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from martlet.schema.layout import Record
from martlet.schema.tflite import SCHEMA

_BITS = {
    "FLOAT32": 32, "FLOAT16": 16, "INT32": 32, "UINT8": 8, "INT64": 64, "BOOL": 8, "INT16": 16,
    "COMPLEX64": 64, "INT8": 8, "FLOAT64": 64, "UINT64": 64, "UINT32": 32, "UINT16": 16,
    "INT4": 4, "BFLOAT16": 16, "UINT4": 4,
}  # fmt: skip
_NUMPY = {"INT32": np.int32, "INT64": np.int64, "INT16": np.int16, "FLOAT32": np.float32}


def _tensors(root: Record) -> list[Any]:
    return [t for g in root.subgraphs or [] for t in g.tensors or []]


def _buffer(root: Record, tensor: Any) -> Any:
    """The buffer of a constant, or None."""
    buffers = root.buffers or []
    buffer = buffers[tensor.buffer] if tensor.buffer < len(buffers) else None
    return buffer if buffer is not None and buffer.data is not None else None


def _constants(root: Record, types: tuple[str, ...], most: int) -> list[tuple[Any, np.ndarray]]:
    """(tensor, its flat value) of constants of these types with at most so many elements."""
    found = []
    for tensor in _tensors(root):
        buffer = _buffer(root, tensor)
        if buffer is None or tensor.type not in types:
            continue
        values = np.dtype(_NUMPY[tensor.type])
        if (
            0 < buffer.data.size <= most * values.itemsize
            and not buffer.data.size % values.itemsize
        ):
            found.append((tensor, buffer.data.copy().view(values)))
    return found


def _hold(root: Record, tensor: Any, data: np.ndarray, shape: Any) -> None:
    """Give a constant other bytes, in a buffer of its own, and another shape."""
    root.buffers.append(SCHEMA.record("Buffer", data=data.reshape(-1).view(np.uint8)))
    tensor.buffer = len(root.buffers) - 1
    tensor.shape = np.array(shape, np.int32)


def _small_integers(root: Record, rng: random.Random) -> bool:
    """Axes, permutations, shapes, paddings: values as they could stand there."""
    found = _constants(root, ("INT32", "INT64"), 16)
    if not found:
        return False
    tensor, values = rng.choice(found)
    kind = rng.randrange(4)
    if kind == 0:
        values[rng.randrange(values.size)] = rng.randrange(-5, 9)
    elif kind == 1:
        values[:] = rng.sample(values.tolist(), values.size)
    elif kind == 2:
        values[:] = rng.sample(range(values.size), values.size)
        if rng.random() < 0.5:
            values -= values.size
    else:
        values[rng.randrange(values.size)] += rng.choice((-1, 1))
    _hold(root, tensor, values, [] if tensor.shape is None else tensor.shape)
    return True


def _vector_length(root: Record, rng: random.Random) -> bool:
    """A constant of another length or number of dimensions, with its bytes."""
    found = _constants(root, ("INT32", "INT64", "FLOAT32", "INT16"), 64)
    if not found:
        return False
    tensor, values = rng.choice(found)
    items = values.tolist()
    kind = rng.randrange(4)
    if kind == 0:
        items.append(rng.choice((0, 1, 2, -1)))
    elif kind == 1:
        items.pop(rng.randrange(len(items)))
    elif kind == 2:
        items = []
    else:
        shape = rng.choice(([], [1], [1, 1], [len(items), 1], [1, len(items)], [len(items)]))
        _hold(root, tensor, values[: math.prod(shape)], shape)
        return True
    _hold(root, tensor, np.array(items, values.dtype), [len(items)])
    return True


def _retype(root: Record, rng: random.Random) -> bool:
    """One type for another, in one tensor or in all of them; constants get fitting bytes."""
    tensors = [t for t in _tensors(root) if t.type in _BITS]
    if not tensors:
        return False
    chosen = rng.choice(tensors)
    old, new = chosen.type, rng.choice(list(_BITS))
    for tensor in tensors if rng.random() < 0.6 else [chosen]:
        if tensor.type != old:
            continue
        tensor.type = new
        buffer = _buffer(root, tensor)
        shape = [] if tensor.shape is None else tensor.shape.tolist()
        if buffer is None or any(n < 0 for n in shape):
            continue
        need = (math.prod(shape) * _BITS[new] + 7) // 8
        if need < 1 << 20 and buffer.data.size:
            _hold(root, tensor, np.resize(buffer.data, need), shape)
    return True


def _size_everywhere(root: Record, rng: random.Random) -> bool:
    """One size for another in every tensor that nothing gives bytes for."""
    tensors = [t for t in _tensors(root) if t.shape is not None and _buffer(root, t) is None]
    sizes = sorted({n for t in tensors for n in t.shape.tolist()})
    if not sizes:
        return False
    old, new = rng.choice(sizes), rng.choice((0, 1, 2, 3, 5, 8))
    for tensor in tensors:
        tensor.shape = np.where(tensor.shape == old, new, tensor.shape).astype(np.int32)
    return True


def _scales(root: Record, rng: random.Random) -> bool:
    """Quantisation that is legal, but other than a converter would choose."""
    known = [
        t.quantization
        for t in _tensors(root)
        if t.quantization is not None
        and t.quantization.scale is not None
        and t.quantization.zero_point is not None
        and t.quantization.scale.size == t.quantization.zero_point.size > 0
    ]
    if not known:
        return False
    q = rng.choice(known)
    kind = rng.randrange(3)
    if kind == 0:
        q.scale = (q.scale * rng.choice((0.01, 0.5, 0.999, 2, 100, 1e6))).astype(np.float32)
    elif kind == 1:
        q.zero_point = q.zero_point + rng.choice((-100, -3, -1, 1, 5, 200))
    else:
        q.scale, q.zero_point = q.scale[:1], q.zero_point[:1]
    return True


def _left_out(root: Record, rng: random.Random) -> bool:
    """An optional input left out, or given though it was left out."""
    nodes = [n for g in root.subgraphs or [] for n in g.operators or [] if n.inputs is not None]
    nodes = [n for n in nodes if n.inputs.size > 2]
    if not nodes:
        return False
    node = rng.choice(nodes)
    node.inputs = node.inputs.copy()
    at = rng.randrange(1, node.inputs.size)
    node.inputs[at] = -1 if node.inputs[at] != -1 else rng.choice(node.inputs.tolist())
    return True


def _swapped(root: Record, rng: random.Random) -> bool:
    """Two inputs of a node in each other's place, or one twice."""
    nodes = [n for g in root.subgraphs or [] for n in g.operators or [] if n.inputs is not None]
    nodes = [n for n in nodes if n.inputs.size > 1]
    if not nodes:
        return False
    node = rng.choice(nodes)
    items = node.inputs.tolist()
    a, b = rng.sample(range(len(items)), 2)
    items[a], items[b] = items[b], items[a] if rng.random() < 0.5 else items[b]
    node.inputs = np.array(items, np.int32)
    return True


MUTATIONS: tuple[Callable[[Record, random.Random], bool], ...] = (
    *(_small_integers,) * 3, *(_vector_length,) * 2, *(_retype,) * 3, *(_size_everywhere,) * 2,
    *(_scales,) * 2, _left_out, _swapped,
)  # fmt: skip

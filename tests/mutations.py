"""One model file -> another with a few facts or bytes changed.

Four fifths are changed in their decoded structure: mostly one fact, sometimes two, that may
contradict the rest (an index, an option, a shape), or several at once so that the file stays
sound (a type with the bytes of its constants, a constant's shape with its bytes). The rest have
bytes damaged.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import mutations_of_files
import sound_mutations
from martlet.schema.layout import Decoder, Encoder, Record
from martlet.schema.tflite import IDENTIFIER, SCHEMA

OUTSIDE = 1 << 40
"""As the offset of a buffer: its bytes go behind the model."""
INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    127,
    255,
    1000,
    65536,
    1 << 24,
    (1 << 31) - 1,
    -(1 << 31),
)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-40, 1e-20, 1e20, 3e38, float("nan"), float("inf"), -5.0)


def mutate(base: bytes, rng: random.Random) -> bytes:
    """One file with a few facts or bytes changed."""
    if rng.random() < 0.2:
        return _damage(base, rng)
    root = Decoder(SCHEMA, memoryview(base), "base").root("Model")
    for _ in range(rng.choice((1, 1, 2))):
        for _ in range(20):
            if rng.choice(_MUTATIONS)(root, rng):
                break
    return mutations_of_files.with_files(encode(root), base, rng)


def encode(root: Record) -> bytes:
    """The bytes of a model; the data of buffers whose offset is `OUTSIDE` go behind the rest."""
    outside = [b for b in root.buffers or [] if b.offset == OUTSIDE and b.data is not None]
    data = [b.data for b in outside]
    for buffer, array in zip(outside, data, strict=True):
        buffer.data, buffer.size = None, buffer.size or array.nbytes
    out = Encoder(SCHEMA, {("Buffer", "data"): 16}).encode(root, IDENTIFIER)
    if outside:
        position = len(out)
        for buffer, array in zip(outside, data, strict=True):
            buffer.offset = position
            position += array.nbytes
        out = Encoder(SCHEMA, {("Buffer", "data"): 16}).encode(root, IDENTIFIER)
        out += b"".join(array.tobytes() for array in data)
    return bytes(out)


def _damage(base: bytes, rng: random.Random) -> bytes:
    data = bytearray(base)
    kind = rng.randrange(5)
    if kind == 0:
        return bytes(data[: rng.randrange(len(data))])
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data))
        if kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            data[at : at + 4] = (rng.choice(INTEGERS) & 0xFFFFFFFF).to_bytes(4, "little")
        else:
            data[at : at + rng.randrange(1, 16)] = bytes(rng.randrange(0, 16))
    return bytes(data)


def _pick(items: Any, rng: random.Random) -> Any:
    return rng.choice(items) if items else None


def _tensor(root: Record, rng: random.Random) -> Any:
    return _pick(rng.choice(root.subgraphs).tensors, rng) if root.subgraphs else None


def _node(root: Record, rng: random.Random) -> Any:
    return _pick(rng.choice(root.subgraphs).operators, rng) if root.subgraphs else None


def _changed_list(values: Any, rng: random.Random, candidates: Sequence[int]) -> np.ndarray:
    items = [] if values is None else list(map(int, values))
    kind = rng.randrange(4)
    if kind == 0 and items:
        items.pop(rng.randrange(len(items)))
    elif kind == 1:
        items.insert(rng.randrange(len(items) + 1), rng.choice(candidates))
    elif items:
        items[rng.randrange(len(items))] = rng.choice(candidates)
    return np.array(items, np.int32)


def _shape(root: Record, rng: random.Random) -> bool:
    tensor = _tensor(root, rng)
    if tensor is not None:
        tensor.shape = _changed_list(tensor.shape, rng, INTEGERS)
    return tensor is not None


def _type(root: Record, rng: random.Random) -> bool:
    tensor = _tensor(root, rng)
    if tensor is not None:
        tensor.type = rng.choice([*range(24), 1, 3, 9, 7, 2])
    return tensor is not None


def _tensor_fact(root: Record, rng: random.Random) -> bool:
    tensor = _tensor(root, rng)
    if tensor is None:
        return False
    kind = rng.randrange(3)
    if kind == 0:
        tensor.buffer = rng.randrange(len(root.buffers or []) + 2)
    elif kind == 1:
        tensor.is_variable = not tensor.is_variable
    else:
        tensor.shape_signature = _changed_list(tensor.shape, rng, INTEGERS)
    return True


def _quantization(root: Record, rng: random.Random) -> bool:
    tensor = _tensor(root, rng)
    if tensor is None:
        return False
    if tensor.quantization is None or rng.random() < 0.1:
        if rng.random() < 0.5:
            tensor.quantization = None
        else:
            tensor.quantization = SCHEMA.record(
                "QuantizationParameters",
                scale=np.array([rng.choice(FLOATS)], np.float32),
                zero_point=np.array([rng.choice(INTEGERS)], np.int64),
            )
        return True
    q = tensor.quantization
    kind = rng.randrange(4)
    if kind == 0 and q.scale is not None and q.scale.size:
        q.scale = q.scale.copy()
        q.scale[rng.randrange(q.scale.size)] = rng.choice(FLOATS)
    elif kind == 1 and q.zero_point is not None and q.zero_point.size:
        q.zero_point = q.zero_point.copy()
        q.zero_point[rng.randrange(q.zero_point.size)] = rng.choice((*INTEGERS, 1 << 40))
    elif kind == 2:
        q.quantized_dimension = rng.choice(INTEGERS)
    else:
        size = rng.choice((0, 1, 2, 3, 8))
        q.scale = np.full(size, 0.1, np.float32)
        q.zero_point = np.zeros(size, np.int64)
    return True


def _wiring(root: Record, rng: random.Random) -> bool:
    node = _node(root, rng)
    if node is None:
        return False
    count = max(len(g.tensors or []) for g in root.subgraphs)
    candidates = [-1, *range(count), *range(count), count, 1 << 30]
    which = rng.choice(("inputs", "inputs", "inputs", "outputs", "intermediates"))
    setattr(node, which, _changed_list(getattr(node, which), rng, candidates))
    return True


def _options(root: Record, rng: random.Random) -> bool:
    node = _node(root, rng)
    if node is None:
        return False
    options = node.builtin_options or node.builtin_options_2
    if options is None:
        if node.custom_options is None or not node.custom_options.size:
            return False
        data = node.custom_options.copy()
        data[rng.randrange(data.size)] = rng.randrange(256)
        node.custom_options = data[: rng.randrange(data.size + 1)] if rng.random() < 0.2 else data
        return True
    if rng.random() < 0.05:
        node.builtin_options = node.builtin_options_2 = None
        return True
    fields = [f for f in SCHEMA.fields(options.table) if f.kept]
    if not fields:
        return False
    field = rng.choice(fields)
    if field.kind == "enum":
        value: Any = rng.choice((*SCHEMA.enums[field.type].values.values(), 99))
    elif field.type == "bool":
        value = not getattr(options, field.name)
    elif field.kind == "scalar" and field.type == "float":
        value = rng.choice(FLOATS)
    elif field.kind == "scalar":
        bits = {"b": 8, "B": 8, "h": 16, "H": 16, "i": 32, "I": 32}.get(field.format, 64)
        low = 0 if field.format.isupper() else -(1 << (bits - 1))
        value = rng.choice([n for n in INTEGERS if low <= n < low + (1 << bits)])
    elif field.kind == "vector" and field.vector_of == "scalar":
        value = _changed_list(getattr(options, field.name), rng, (0, 1, 2, 5, 100))
        value = value.astype("<" + field.format)
    else:
        return False
    setattr(options, field.name, value)
    return True


def _operator_code(root: Record, rng: random.Random) -> bool:
    code = _pick(root.operator_codes, rng)
    if code is None:
        return False
    if rng.random() < 0.3:
        code.version = rng.choice((0, -1, 1, 2, 3, 4, 5, 100))
    else:
        number = rng.randrange(212)
        code.builtin_code, code.deprecated_builtin_code = number, min(number, 127)
        if rng.random() < 0.7:
            for graph in root.subgraphs:
                for node in graph.operators or []:
                    node.builtin_options = node.builtin_options_2 = None
    return True


def _data(root: Record, rng: random.Random) -> bool:
    buffer = _pick([b for b in root.buffers or [] if b.data is not None and b.data.size], rng)
    if buffer is None:
        return False
    data = buffer.data.copy()
    kind = rng.randrange(3)
    if kind == 0:
        data = data[: rng.randrange(data.size)]
    elif kind == 1 and data.size % 4 == 0:
        words = data.view(np.int32)
        words[rng.randrange(words.size)] = rng.choice(INTEGERS)
    else:
        data[rng.randrange(data.size)] = rng.randrange(256)
    buffer.data = data
    return True


def _interface(root: Record, rng: random.Random) -> bool:
    if not root.subgraphs:
        return False
    graph = rng.choice(root.subgraphs)
    which = rng.choice(("inputs", "outputs"))
    candidates = [-1, *range(len(graph.tensors or [])), 1 << 30]
    setattr(graph, which, _changed_list(getattr(graph, which), rng, candidates))
    return True


def _sparsity(root: Record, rng: random.Random) -> bool:
    tensors = [t for g in root.subgraphs or [] for t in g.tensors or []]
    tensor = _pick([t for t in tensors if t.sparsity is not None], rng)
    if tensor is None:
        tensor = _pick(tensors, rng)
        if tensor is None or rng.random() < 0.7:
            return False
        sizes = [] if tensor.shape is None else tensor.shape.tolist()
        levels = [SCHEMA.record("DimensionMetadata", dense_size=n) for n in sizes]
        tensor.sparsity = SCHEMA.record(
            "SparsityParameters",
            traversal_order=np.arange(len(sizes), dtype=np.int32),
            dim_metadata=levels,
        )
    sparsity = tensor.sparsity
    kind = rng.randrange(5)
    if kind == 0:
        sparsity.traversal_order = _changed_list(sparsity.traversal_order, rng, INTEGERS)
    elif kind == 1:
        sparsity.block_map = _changed_list(sparsity.block_map, rng, INTEGERS)
    elif sparsity.dim_metadata:
        level = rng.choice(sparsity.dim_metadata)
        side = rng.choice(("array_segments", "array_indices"))
        vector = getattr(level, side)
        if kind == 2:
            level.dense_size = rng.choice(INTEGERS)
        elif kind == 3 and vector is not None:
            values = _changed_list(vector.values, rng, (0, 1, 2, 5, 100, 255))
            table = rng.choice(("Int32Vector", "Uint16Vector", "Uint8Vector"))
            limit = {"Int32Vector": 2**31 - 1, "Uint16Vector": 65535, "Uint8Vector": 255}[table]
            setattr(level, side, SCHEMA.record(table, values=np.clip(values, 0, limit)))
        else:
            level.format = rng.choice((0, 1, 2))
    return True


def _custom_options(root: Record, rng: random.Random) -> bool:
    nodes = [n for g in root.subgraphs or [] for n in g.operators or []]
    node = _pick([n for n in nodes if n.custom_options is not None], rng)
    if node is None:
        return False
    data = bytearray(node.custom_options.tobytes())
    kind = rng.randrange(5)
    if kind == 0:
        node.large_custom_options_offset = rng.choice((1, 2, 8, 1000, 1 << 31, 1 << 63))
        node.large_custom_options_size = rng.choice((0, 1, 100, 1 << 62))
    elif kind == 1:
        data = data[: rng.randrange(len(data) + 1)]
    elif kind == 2 and len(data) > 4:
        at = rng.randrange(len(data) - 3)
        data[at : at + 4] = (rng.choice(INTEGERS) & 0xFFFFFFFF).to_bytes(4, "little")
    elif data:
        data[-rng.randrange(1, min(16, len(data)) + 1)] = rng.randrange(256)
    node.custom_options = np.frombuffer(bytes(data), np.uint8)
    return True


def _strings(root: Record, rng: random.Random) -> bool:
    """Counts and offsets of a constant of strings."""
    tensors = [t for g in root.subgraphs or [] for t in g.tensors or [] if t.type == "STRING"]
    held = [root.buffers[t.buffer] for t in tensors if t.buffer < len(root.buffers or [])]
    buffer = _pick([b for b in held if b.data is not None and b.data.size >= 8], rng)
    if buffer is None:
        return False
    words = buffer.data[: buffer.data.size // 4 * 4].copy().view(np.int32)
    at = rng.randrange(min(words.size, max(2, 2 + int(words[0]) % 1000)))
    words[at] = rng.choice((*INTEGERS, int(words[at]) + 1, int(words[at]) - 1))
    buffer.data = np.concatenate([words.view(np.uint8), buffer.data[words.nbytes :]])
    return True


def _buffer_place(root: Record, rng: random.Random) -> bool:
    """Where a buffer's bytes lie: behind the model, in it, outside the file."""
    buffer = _pick([b for b in root.buffers or [] if b.data is not None and b.data.size], rng)
    if buffer is None:
        return False
    kind = rng.randrange(3)
    if kind < 2:
        buffer.offset = OUTSIDE
        buffer.size = rng.choice((0, 0, 1, buffer.data.size + 1, buffer.data.size - 1))
    else:
        buffer.offset = rng.choice((1, 2, 3, 8, 100, 10_000, 1 << 32, (1 << 64) - 1))
        buffer.size = rng.choice((0, 1, buffer.data.size, 1 << 20, (1 << 64) - 1))
    return True


def _external(root: Record, rng: random.Random) -> bool:
    tensor = _tensor(root, rng)
    if tensor is None:
        return False
    tensor.external_buffer = rng.choice((0, 1, 2, 1 << 31))
    root.external_buffer_groups = [SCHEMA.record("ExternalBufferGroup", name="weights.bin")]
    root.external_buffers = [
        SCHEMA.record("ExternalBuffer", id=1, length=rng.choice((4, 1 << 40)), packing="x")
    ]
    return True


def _header(root: Record, rng: random.Random) -> bool:
    kind = rng.randrange(4)
    if kind == 0:
        root.version = rng.choice((0, 1, 2, 4, 100))
    elif kind == 1:
        _remove(root.buffers, rng)
    elif kind == 2:
        _remove(root.operator_codes, rng)
    else:
        root.description = rng.choice((None, "", "\udcff\udc80", "x" * 5000))
    return True


def _remove(items: Any, rng: random.Random) -> None:
    if items:
        del items[rng.randrange(len(items))]


def _names(root: Record, rng: random.Random) -> bool:
    """Names are no keys: missing, equal, or no text at all."""
    tensor = _tensor(root, rng)
    if tensor is not None:
        other = _tensor(root, rng)
        tensor.name = rng.choice((None, "", "\udcff", "[bold]", other and other.name))
    return tensor is not None


def _nodes(root: Record, rng: random.Random) -> bool:
    graph = _pick(root.subgraphs, rng)
    if graph is None or not graph.operators:
        return False
    at, to = rng.randrange(len(graph.operators)), rng.randrange(len(graph.operators))
    kind = rng.randrange(3)
    if kind == 0:
        del graph.operators[at]
    elif kind == 1:
        graph.operators.insert(to, graph.operators[at])
    else:
        graph.operators[at], graph.operators[to] = graph.operators[to], graph.operators[at]
    return True


def _calls(root: Record, rng: random.Random) -> bool:
    """Which graphs control flow calls, and what these take and give."""
    graphs = root.subgraphs or []
    if len(graphs) < 2:
        return False
    calling = []
    for node in (n for g in graphs for n in g.operators or []):
        options = node.builtin_options or node.builtin_options_2
        names = options.fields() if options else {}
        calling += [(options, k) for k in names if k.endswith("subgraph_index")]
    graph = rng.choice(graphs[1:])
    which = rng.choice(("inputs", "outputs"))
    values = getattr(graph, which)
    items = [] if values is None else values.tolist()
    kind = rng.randrange(4)
    if kind == 0 and calling:
        options, name = rng.choice(calling)
        setattr(options, name, rng.randrange(-1, len(graphs) + 1))
    elif kind == 1:
        rng.shuffle(items)
        setattr(graph, which, np.array(items, np.int32))
    elif kind == 2 and items:
        items[rng.randrange(len(items))] = rng.randrange(max(1, len(graph.tensors or [])))
        setattr(graph, which, np.array(items, np.int32))
    else:
        graphs.append(rng.choice(graphs))
        del graphs[rng.randrange(len(graphs))]
    return True


def _blocks(root: Record, rng: random.Random) -> bool:
    """Scales for blocks of a tensor, in another tensor."""
    tensor = _tensor(root, rng)
    if tensor is None:
        return False
    if tensor.quantization is None:
        tensor.quantization = SCHEMA.record("QuantizationParameters")
    count = max(len(g.tensors or []) for g in root.subgraphs)
    fields: dict[str, Any] = {
        "scales": rng.choice((-1, count, *range(count), *range(count))),
        "zero_points": rng.choice((-1, -1, count, rng.randrange(count))),
        "block_size": rng.choice((*INTEGERS, 32, 32, 64)),
    }
    table = rng.choice(("BlockwiseQuantization", "MultiAxisQuantization", "CustomQuantization"))
    if table == "MultiAxisQuantization":
        fields["quantized_dimensions"] = _changed_list([0], rng, (0, 1, 2, -1, 100))
    if table == "CustomQuantization":
        fields = {"custom": np.zeros(rng.randrange(9), np.uint8)}
    tensor.quantization.details = SCHEMA.record(table, **fields)
    return True


_MUTATIONS: tuple[Callable[[Record, random.Random], bool], ...] = (
    *(_options,) * 6, *(_shape,) * 3, *(_quantization,) * 4, *(_wiring,) * 4, *(_data,) * 4,
    *(_type,) * 2, *(_tensor_fact,) * 2, *(_operator_code,) * 2, *(_interface,) * 2,
    *(_sparsity,) * 2, *(_custom_options,) * 2, *(_calls,) * 2, *(_nodes,) * 2,
    _strings, _buffer_place, _external, _header, _names, _blocks,
    *sound_mutations.MUTATIONS, *mutations_of_files.MUTATIONS,
)  # fmt: skip

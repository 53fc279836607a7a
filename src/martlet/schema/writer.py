"""`Model` -> `.tflite` bytes that TensorFlow Lite, too, reads.

Constants that share one `raw` array share one buffer. When the weights pass what a FlatBuffer can
address (2 GiB), they are laid behind it and referred to by offset and size. Associated files
follow as a ZIP archive, which readers find from the end of the file.
"""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from martlet.errors import ModelError
from martlet.graph import Graph, Model, Node, Quantization, Signature, Tensor
from martlet.schema.layout import Encoder, Record
from martlet.schema.tflite import IDENTIFIER, SCHEMA

ALIGNMENT = 16
FLATBUFFER_LIMIT = (1 << 31) - (1 << 24)  # room for the structure beside the weights
_ALIGNED = {("Buffer", "data"): ALIGNMENT, ("CustomQuantization", "custom"): ALIGNMENT}


def write(model: Model, flatbuffer_limit: int = FLATBUFFER_LIMIT) -> bytearray:
    """The bytes of a file. Weights beyond `flatbuffer_limit` bytes in sum go outside."""
    records = _Records(model)
    root = records.root()
    weights = [b.data for b in records.buffers if b.data is not None]
    if sum(a.nbytes for a in weights) <= flatbuffer_limit:
        out = Encoder(SCHEMA, _ALIGNED).encode(root, IDENTIFIER)
    else:
        out = _write_outside(root, records.buffers)
    if model.files:
        # A stored archive would shift every offset that zipfile writes, so it appends itself.
        stream = io.BytesIO(out)
        with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
            for name, content in model.files.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        out = bytearray(stream.getbuffer())
    return out


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a file. It appears whole or not at all; a mapped older one stays what it was."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(write(model))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _write_outside(root: Record, buffers: list[Record]) -> bytearray:
    data = [b.data for b in buffers]
    for buffer, array in zip(buffers, data, strict=True):
        if array is not None:
            # Any offset that is not a default takes its place in the layout.
            buffer.data, buffer.offset, buffer.size = None, 1 << 40, array.nbytes
    position = len(Encoder(SCHEMA, _ALIGNED).encode(root, IDENTIFIER))
    for buffer, array in zip(buffers, data, strict=True):
        if array is not None:
            position += -position % ALIGNMENT
            buffer.offset = position
            position += array.nbytes
    out = Encoder(SCHEMA, _ALIGNED).encode(root, IDENTIFIER)
    for buffer, array in zip(buffers, data, strict=True):
        if array is not None:
            out += bytes(buffer.offset - len(out))
            out += memoryview(array)
    return out


class _Records:
    """The tables of one model, with its buffers and operator codes numbered as they come up."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.buffers = [SCHEMA.record("Buffer")]  # buffer 0 is empty by rule
        self._buffer_of: dict[int, int] = {}
        self._codes: dict[tuple[str, bool, int], int] = {}

    def root(self) -> Record:
        model = self.model
        metadata = [
            SCHEMA.record("Metadata", name=name, buffer=self._buffer(data))
            for name, data in model.metadata.items()
        ]
        graphs = [self._graph(g) for g in model.graphs]
        return SCHEMA.record(
            "Model",
            version=3,
            operator_codes=[self._operator_code(*key) for key in self._codes],
            subgraphs=graphs,
            description=model.description,
            buffers=self.buffers,
            metadata=metadata or None,
            signature_defs=[_signature(s) for s in model.signatures] or None,
        )

    def _buffer(self, raw: np.ndarray | None) -> int:
        if raw is None:
            return 0
        if id(raw) not in self._buffer_of:
            self._buffer_of[id(raw)] = len(self.buffers)
            self.buffers.append(SCHEMA.record("Buffer", data=raw))
        return self._buffer_of[id(raw)]

    def _graph(self, graph: Graph) -> Record:
        return SCHEMA.record(
            "SubGraph",
            tensors=[self._tensor(t) for t in graph.tensors],
            inputs=_ints(graph.inputs),
            outputs=_ints(graph.outputs),
            operators=[self._node(n) for n in graph.nodes],
            name=graph.name,
        )

    def _tensor(self, tensor: Tensor) -> Record:
        return SCHEMA.record(
            "Tensor",
            shape=_ints(tensor.shape),
            type=tensor.dtype.name,
            buffer=self._buffer(tensor.raw),
            name=tensor.name,
            quantization=_quantization(tensor.quantization),
            is_variable=tensor.is_variable,
            sparsity=tensor.sparsity,
            shape_signature=None if tensor.signature is None else _ints(tensor.signature),
            has_rank=tensor.has_rank,
            variant_tensors=tensor.variant_tensors,
        )

    def _node(self, node: Node) -> Record:
        key = (node.op, node.custom, node.version)
        fields: dict[str, Any] = {}
        if node.options_type:
            table = SCHEMA.record(node.options_type, **node.options)
            first = node.options_type in SCHEMA.unions["BuiltinOptions"]
            fields["builtin_options" if first else "builtin_options_2"] = table
        elif node.options:
            raise ModelError(
                f"node {node.op} has options but no options_type",
                where=self.model.source,
                hint="Name the table of the schema that holds them, such as 'Conv2DOptions'.",
            )
        mutating = node.mutating_inputs
        return SCHEMA.record(
            "Operator",
            opcode_index=self._codes.setdefault(key, len(self._codes)),
            inputs=_ints(node.inputs),
            outputs=_ints(node.outputs),
            custom_options=node.custom_options,
            mutating_variable_inputs=None if mutating is None else np.array(mutating, np.bool_),
            intermediates=_ints(node.intermediates) if node.intermediates else None,
            **fields,
        )

    def _operator_code(self, name: str, custom: bool, version: int) -> Record:
        codes = SCHEMA.enums["BuiltinOperator"].values
        if not custom and name not in codes:
            raise ModelError(
                f"{name} is not a builtin operator",
                where=self.model.source,
                hint="Set custom=True on the node if it is a custom one.",
            )
        builtin = "CUSTOM" if custom else name
        return SCHEMA.record(
            "OperatorCode",
            # Readers from before the wider field take 127 as "see the other field".
            deprecated_builtin_code=min(codes[builtin], 127),
            custom_code=name if custom else None,
            version=version,
            builtin_code=builtin,
        )


def _ints(values: Any) -> np.ndarray:
    return np.array(list(values), np.int32)


def _signature(signature: Signature) -> Record:
    def maps(names: dict[str, int]) -> list[Record]:
        return [SCHEMA.record("TensorMap", name=n, tensor_index=i) for n, i in names.items()]

    return SCHEMA.record(
        "SignatureDef",
        inputs=maps(signature.inputs),
        outputs=maps(signature.outputs),
        signature_key=signature.key,
        subgraph_index=signature.graph,
    )


def _quantization(quantization: Quantization | None) -> Record | None:
    if quantization is None:
        return None
    details = None
    if (blocks := quantization.blockwise) is not None:
        fields = {
            "scales": blocks.scales,
            "zero_points": blocks.zero_points,
            "block_size": blocks.block_size,
        }
        if blocks.dimensions:
            details = SCHEMA.record(
                "MultiAxisQuantization", quantized_dimensions=_ints(blocks.dimensions), **fields
            )
        else:
            details = SCHEMA.record("BlockwiseQuantization", **fields)
    elif quantization.custom is not None:
        details = SCHEMA.record("CustomQuantization", custom=quantization.custom)
    scaled = quantization.scale.size > 0
    return SCHEMA.record(
        "QuantizationParameters",
        min=quantization.minimum,
        max=quantization.maximum,
        scale=quantization.scale if scaled else None,
        zero_point=quantization.zero_point if scaled else None,
        details=details,
        quantized_dimension=quantization.axis,
    )

"""`.tflite` bytes -> `Model`, with everything checked.

Weights stay in the file: a constant's `raw` is a view of the mapped bytes. All else is copied out
while it is checked, so that a file that changes later cannot change what was checked. Every index
of the result is in range: tensors of nodes, graphs of control flow and signatures, buffers.

Files are opened by `schema/file.py`.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.errors import ModelError, UnsupportedError
from martlet.graph import (
    MAX_RANK,
    Blockwise,
    Graph,
    Model,
    Node,
    Quantization,
    Signature,
    Tensor,
    fits,
)
from martlet.schema.layout import Decoder, Record
from martlet.schema.tflite import IDENTIFIER, SCHEMA

MAX_FILES_BYTES = 1 << 30
_VIEWS = frozenset({("Buffer", "data"), ("Operator", "custom_options")})
Bytes = bytes | bytearray | memoryview


def read(data: Bytes, source: str = "<model>") -> Model:
    """Decode and check a model. Views of `data` are kept for the weights.

    Raises ModelError for a damaged or contradictory file, UnsupportedError for one of another
    schema version.
    """
    view = memoryview(data).cast("B").toreadonly()
    _check_identity(view, source)
    decoder = Decoder(SCHEMA, view, source, _VIEWS)
    root = decoder.root("Model")
    if root.version != 3:
        raise UnsupportedError(
            "the schema version is not supported",
            where=source,
            expected="3",
            found=str(root.version),
            hint="Convert the model again with a converter from 2018 or later.",
        )
    return _ModelReader(root, view, source).model()


def _check_identity(view: memoryview, source: str) -> None:
    if len(view) < 8:
        raise ModelError(
            "the file is too short to be a model", where=source, found=f"{len(view)} bytes"
        )
    found = bytes(view[4:8])
    if found != IDENTIFIER:
        older = found in (b"TFL2", b"TFL1", b"TFL0")
        kind = UnsupportedError if older else ModelError
        raise kind(
            "the file is not a TensorFlow Lite model of schema version 3",
            where=source,
            expected="the identifier 'TFL3' at byte 4",
            found=repr(found.decode("latin-1")),
            hint="Convert it again." if older else "Is it a .tflite file?",
        )


class _ModelReader:
    def __init__(self, root: Record, view: memoryview, source: str) -> None:
        self.root = root
        self.view = view
        self.source = source
        self.copies: dict[tuple[int, int], np.ndarray] = {}
        self.copied = 0
        self.buffers = [self._buffer(i, b) for i, b in enumerate(root.buffers or [])]
        self.codes = [self._operator_code(i, c) for i, c in enumerate(root.operator_codes or [])]

    def error(self, problem: str, where: str = "", **facts: str) -> ModelError:
        place = f"{self.source}, {where}" if where else self.source
        return ModelError(problem, where=place, **facts)

    def model(self) -> Model:
        root = self.root
        graphs = [self._graph(i, g) for i, g in enumerate(root.subgraphs or [])]
        if not graphs:
            raise self.error("No subgraph in the model", expected="at least one")
        model = Model(
            graphs, description=root.description, version=root.version, source=self.source
        )
        for number, graph in enumerate(graphs):
            self._check_calls(number, graph, len(graphs))
        model.signatures = [self._signature(s, graphs) for s in root.signature_defs or []]
        for entry in root.metadata or []:
            if entry.buffer >= len(self.buffers):
                raise self.error(
                    f"metadata {entry.name!r} names a buffer that does not exist",
                    expected=f"below {len(self.buffers)}",
                    found=str(entry.buffer),
                )
            data = self.buffers[entry.buffer]
            model.metadata[entry.name or ""] = (
                np.zeros(0, np.uint8) if data is None else self._copy(data)
            )
        model.files = read_files(self.view, self.source)
        return model

    def _buffer(self, index: int, buffer: Record) -> np.ndarray | None:
        if buffer.offset > 1:  # 0 and 1 mean that there is none outside
            end = buffer.offset + buffer.size
            if end > len(self.view):
                raise self.error(
                    f"buffer {index} lies outside the file",
                    expected=f"to end by {len(self.view)}",
                    found=str(end),
                )
            return np.frombuffer(self.view, np.uint8, buffer.size, buffer.offset)
        data: np.ndarray | None = buffer.data
        return data if data is not None and data.size else None

    def _copy(self, view: np.ndarray) -> np.ndarray:
        """A copy of some of the file's bytes; the same one where they are referred to again.
        All copies together are no larger than the file."""
        key = (view.ctypes.data, view.size)
        if key not in self.copies:
            self.copied += view.nbytes
            if self.copied > len(self.view):
                raise self.error("metadata and options overlap, and are larger than the file")
            self.copies[key] = view.copy()
        return self.copies[key]

    def _operator_code(self, index: int, code: Record) -> tuple[str, bool, int]:
        """(operator name, whether it is a custom one, version)"""
        values = SCHEMA.enums["BuiltinOperator"].values
        number = code.builtin_code
        number = values[number] if isinstance(number, str) else number
        number = max(number, code.deprecated_builtin_code)
        name = SCHEMA.enums["BuiltinOperator"].names.get(number)
        if name is None:
            raise UnsupportedError(
                f"operator code {index} is not in the schema",
                where=self.source,
                expected=f"a builtin operator, 0 to {max(values.values())}",
                found=str(number),
                hint="The model was made for a newer runtime, or is damaged.",
            )
        if name == "CUSTOM":
            if not code.custom_code:
                raise self.error(f"operator code {index} is custom but has no name")
            return code.custom_code, True, code.version
        return name, False, code.version

    def _graph(self, number: int, record: Record) -> Graph:
        where = f"subgraph {number}"
        graph = Graph(record.name or "")
        for i, tensor in enumerate(record.tensors or []):
            graph.tensors.append(self._tensor(tensor, f"{where}, tensor {i} {tensor.name!r}"))
        count = len(graph.tensors)
        for i, tensor in enumerate(graph.tensors):
            self._check_blockwise(graph, tensor, f"{where}, tensor {i} {tensor.name!r}")
        graph.inputs = self._indices(record.inputs, count, f"{where}, its inputs", optional=True)
        graph.outputs = self._indices(
            record.outputs, count, f"{where}, its outputs", optional=False
        )
        for i, operator in enumerate(record.operators or []):
            graph.nodes.append(self._node(operator, count, f"{where}, node {i}"))
        return graph

    def _indices(self, values: Any, count: int, where: str, optional: bool) -> list[int]:
        indices = [] if values is None else values.tolist()
        for index in indices:
            if not (0 <= index < count or (optional and index == -1)):
                raise self.error(
                    "a tensor index is out of range",
                    where,
                    expected=f"0 to {count - 1}" + (" or -1 (left out)" if optional else ""),
                    found=str(index),
                )
        return indices

    def _tensor(self, record: Record, where: str) -> Tensor:
        if not isinstance(record.type, str):
            raise UnsupportedError(
                "the element type is not in the schema",
                where=f"{self.source}, {where}",
                found=str(record.type),
            )
        if record.external_buffer:
            raise UnsupportedError(
                "the tensor's data lie in another file, which is not supported",
                where=f"{self.source}, {where}",
                hint="Convert the model with its weights inside.",
            )
        shape = self._shape(record.shape, where)
        signature = None
        if record.shape_signature is not None and record.shape_signature.size:
            signature = tuple(record.shape_signature.tolist())
            if len(signature) != len(shape):
                # Some converters leave a signature of another rank; it says nothing usable.
                signature = None
        if record.buffer >= len(self.buffers) and record.buffer != 0:
            raise self.error(
                "the tensor names a buffer that does not exist",
                where,
                expected=f"below {len(self.buffers)}",
                found=str(record.buffer),
            )
        tensor = Tensor(
            name=record.name or "",
            shape=shape,
            dtype=DType[record.type],
            quantization=self._quantization(record.quantization, shape, where),
            raw=self.buffers[record.buffer] if record.buffer < len(self.buffers) else None,
            signature=signature,
            is_variable=record.is_variable,
            has_rank=record.has_rank or bool(shape),
            sparsity=record.sparsity,
            variant_tensors=record.variant_tensors,
        )
        if tensor.raw is not None and tensor.size == 0 and tensor.dtype is not DType.STRING:
            tensor.raw = None if tensor.raw.size else tensor.raw
        if tensor.is_variable and tensor.is_constant:
            raise self.error("the tensor is a variable, yet has constant data", where)
        return tensor

    def _shape(self, values: Any, where: str) -> tuple[int, ...]:
        shape = () if values is None else tuple(values.tolist())
        if len(shape) > MAX_RANK:
            raise self.error(
                "too many dimensions", where, expected=f"at most {MAX_RANK}", found=str(len(shape))
            )
        if any(n < 0 for n in shape):
            raise self.error("a size is negative", where, found=str(list(shape)))
        if not fits(shape):
            raise self.error("the shape has too many elements", where, found=str(list(shape)))
        return shape

    def _quantization(
        self, record: Record | None, shape: tuple[int, ...], where: str
    ) -> Quantization | None:
        if record is None:
            return None

        def array(values: Any, dtype: type) -> np.ndarray:
            return np.zeros(0, dtype) if values is None else values.astype(dtype)

        result = Quantization(
            scale=array(record.scale, np.float32),
            zero_point=array(record.zero_point, np.int64),
            axis=record.quantized_dimension,
            minimum=record.min,
            maximum=record.max,
        )
        details = record.details
        if details is not None:
            if details.table == "BlockwiseQuantization":
                result.blockwise = Blockwise(
                    details.scales, details.zero_points, details.block_size
                )
            elif details.table == "MultiAxisQuantization":
                dims = details.quantized_dimensions
                result.blockwise = Blockwise(
                    details.scales,
                    details.zero_points,
                    details.block_size,
                    () if dims is None else tuple(dims.tolist()),
                )
            else:
                result.custom = details.custom
        if result.zero_point.size not in (0, 1, result.scale.size):
            raise self.error(
                "scales and zero points differ in number",
                where,
                expected=str(result.scale.size),
                found=str(result.zero_point.size),
            )
        if result.zero_point.size != result.scale.size:
            zero = int(result.zero_point[0]) if result.zero_point.size else 0
            result.zero_point = np.full(result.scale.size, zero, np.int64)
        return result

    def _check_blockwise(self, graph: Graph, tensor: Tensor, where: str) -> None:
        blockwise = tensor.quantization.blockwise if tensor.quantization else None
        if blockwise is None:
            return
        count = len(graph.tensors)
        self._indices(np.array([blockwise.scales]), count, f"{where}, its scales", optional=False)
        self._indices(
            np.array([blockwise.zero_points]), count, f"{where}, its zero points", optional=True
        )

    def _node(self, record: Record, count: int, where: str) -> Node:
        if record.opcode_index >= len(self.codes):
            raise self.error(
                "the node names an operator code that does not exist",
                where,
                expected=f"below {len(self.codes)}",
                found=str(record.opcode_index),
            )
        name, custom, version = self.codes[record.opcode_index]
        where = f"{where} ({name})"
        options = record.builtin_options_2 or record.builtin_options
        custom_options = record.custom_options
        if record.large_custom_options_offset > 1:
            start, size = record.large_custom_options_offset, record.large_custom_options_size
            if start + size > len(self.view):
                raise self.error("its options lie outside the file", where)
            custom_options = np.frombuffer(self.view, np.uint8, size, start)
        mutating = record.mutating_variable_inputs
        return Node(
            op=name,
            inputs=self._indices(record.inputs, count, f"{where}, its inputs", optional=True),
            outputs=self._indices(record.outputs, count, f"{where}, its outputs", optional=True),
            options=options.fields() if options else {},
            options_type=options.table if options else "",
            version=version,
            custom=custom,
            custom_options=None if custom_options is None else self._copy(custom_options),
            intermediates=self._indices(
                record.intermediates, count, f"{where}, its intermediates", optional=True
            ),
            mutating_inputs=None if mutating is None else mutating.tolist(),
        )

    def _check_calls(self, number: int, graph: Graph, count: int) -> None:
        for i, node in enumerate(graph.nodes):
            for target in node.calls():
                if not 0 <= target < count:
                    raise self.error(
                        "its options name a subgraph that does not exist",
                        f"subgraph {number}, node {i} ({node.op})",
                        expected=f"0 to {count - 1}",
                        found=str(target),
                    )

    def _signature(self, record: Record, graphs: list[Graph]) -> Signature:
        key = record.signature_key or ""
        where = f"signature {key!r}"
        if record.subgraph_index >= len(graphs):
            raise self.error(
                "it names a subgraph that does not exist",
                where,
                expected=f"below {len(graphs)}",
                found=str(record.subgraph_index),
            )
        graph = graphs[record.subgraph_index]
        result = Signature(key, {}, {}, record.subgraph_index)
        for side, maps in ((result.inputs, record.inputs), (result.outputs, record.outputs)):
            for entry in maps or []:
                if entry.tensor_index >= len(graph.tensors):
                    raise self.error(
                        f"{entry.name!r} names a tensor that does not exist",
                        where,
                        expected=f"below {len(graph.tensors)}",
                        found=str(entry.tensor_index),
                    )
                side[entry.name or ""] = entry.tensor_index
        return result


def read_files(view: memoryview, source: str) -> dict[str, bytes]:
    """The associated files: a ZIP archive whose directory ends the file. {} where there is none.

    Raises ModelError where the archive is damaged or would expand past `MAX_FILES_BYTES`.
    """
    tail = bytes(view[-(65536 + 22) :])
    if b"PK\x05\x06" not in tail:
        return {}
    import zipfile  # most models have no files, and it is slow to import

    try:
        with zipfile.ZipFile(_ViewFile(view)) as archive:
            total = sum(info.file_size for info in archive.infolist())
            if total > MAX_FILES_BYTES:
                raise ModelError(
                    "the associated files are too large",
                    where=source,
                    expected=f"at most {MAX_FILES_BYTES} bytes",
                    found=str(total),
                )
            return {info.filename: archive.read(info) for info in archive.infolist()}
    except ModelError:
        raise
    except Exception as error:  # zipfile raises many kinds for damaged archives
        raise ModelError(
            f"the archive of associated files is damaged: {error}", where=source
        ) from error


class _ViewFile(io.RawIOBase):
    """A read-only file over a memoryview, so that the archive is not copied."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, len(self._view))[whence]
        if base + offset < 0:
            raise OSError("seek before the start")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        end = len(self._view) if size is None or size < 0 else self._position + size
        data = bytes(self._view[self._position : end])
        self._position += len(data)
        return data

"""The one representation of a model: `Model`, `Graph`, `Node`, `Tensor`, `Quantization`.

A `Model` is what one `.tflite` file says: its graphs (the first is the main one, control flow
calls the others by number), signatures and metadata. A `Graph` is a list of tensors, and a list
of nodes in the order in which they run, which name tensors by their index. Operators and options
have the names of the `.tflite` schema. Readers, passes, the quantiser and the planner take and
give these; nothing here knows of files or kernels.

    graph = Graph()
    x = graph.input("x", (1, 4))
    graph.output(graph.add("RELU", [x]))
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from martlet.constants import encode
from martlet.dtypes import DType
from martlet.records import dataclass, field

ABSENT = -1  # index of an optional input that is not given
MAX_RANK = 32  # NumPy's own limit is 64; TensorFlow Lite's kernels stop at 8


def fits(shape: Sequence[int]) -> bool:
    """Whether an array can have this shape. NumPy bounds the other sizes of empty arrays, too."""
    return len(shape) <= MAX_RANK and math.prod(n or 1 for n in shape) < 1 << 58


@dataclass
class Blockwise:
    """Scales (and zero points) that another tensor holds, one for each block of elements.

    `scales` and `zero_points` are tensor indices (-1: zero points are 0). `dimensions` are the
    quantised dimensions; empty for the older form, whose blocks run along the last dimension.
    """

    scales: int
    zero_points: int
    block_size: int
    dimensions: tuple[int, ...] = ()


@dataclass
class Quantization:
    """real = scale * (stored - zero_point), for the whole tensor or for each slice of `axis`.

    scale: float32 of shape (1,) or (size of axis,); zero_point: int64 likewise.
    `minimum` and `maximum` are the ranges recorded for a later quantisation.
    """

    scale: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    zero_point: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    axis: int = 0
    minimum: np.ndarray | None = None
    maximum: np.ndarray | None = None
    blockwise: Blockwise | None = None
    custom: np.ndarray | None = None

    @classmethod
    def of(cls, scale: Any, zero_point: Any = 0, axis: int = 0) -> Quantization:
        """From numbers or lists; one zero point serves all scales."""
        scales = np.atleast_1d(np.asarray(scale, np.float32))
        zeros = np.broadcast_to(np.atleast_1d(np.asarray(zero_point, np.int64)), scales.shape)
        return cls(scales, zeros.copy(), axis)

    @property
    def per_channel(self) -> bool:
        return self.scale.size > 1

    def __bool__(self) -> bool:
        return self.scale.size > 0 or self.blockwise is not None

    def __str__(self) -> str:
        if self.blockwise:
            return f"blocks of {self.blockwise.block_size}, scales in #{self.blockwise.scales}"
        if self.per_channel:
            low, high = float(self.scale.min()), float(self.scale.max())
            return f"{self.scale.size} scales {low:.4g}…{high:.4g} along axis {self.axis}"
        if self.scale.size:
            zero = int(self.zero_point[0]) if self.zero_point.size else 0
            offset = f"(q − {zero})" if zero > 0 else f"(q + {-zero})" if zero else "q"
            return f"{float(self.scale[0]):.6g} × {offset}"
        return "none"


@dataclass
class Tensor:
    """A value of the graph: shape, element type, and its bytes if it is constant.

    shape: the sizes, in elements. `signature` is the shape with -1 where the size may change
    (None: as `shape`). `raw`: the bytes of a constant as the file has them (uint8, 1-D; 4-bit
    elements packed two to a byte, strings in the format's own layout), or None.
    """

    name: str = ""
    shape: tuple[int, ...] = ()
    dtype: DType = DType.FLOAT32
    quantization: Quantization | None = None
    raw: np.ndarray | None = None
    signature: tuple[int, ...] | None = None
    is_variable: bool = False
    has_rank: bool = True
    sparsity: Any = None
    variant_tensors: Any = None

    @property
    def is_constant(self) -> bool:
        return self.raw is not None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory when held one element to `dtype.numpy`, strings by reference; of types
        that Martlet does not compute with, bytes in a file."""
        if not self.dtype.supported:
            return -(-self.size * self.dtype.bits // 8)
        return self.size * self.dtype.numpy.itemsize

    def __str__(self) -> str:
        shape = "×".join(map(str, self.signature or self.shape)) or "scalar"
        text = f"{self.name!r} {self.dtype.name.lower()} {shape}"
        if self.quantization:
            text += f" [{self.quantization}]"
        if self.is_constant:
            text += " constant"
        return text + (" variable" if self.is_variable else "")


@dataclass
class Node:
    """One operation: `op` is a builtin's name in the schema, or a custom operator's name.

    inputs, outputs, intermediates: tensor indices (ABSENT for an optional input left out).
    options: the fields of `options_type`, a table of the schema; missing ones have the schema's
    defaults. custom_options: the bytes that a custom operator interprets for itself.
    """

    op: str
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    options_type: str = ""
    version: int = 1
    custom: bool = False
    custom_options: np.ndarray | None = None
    intermediates: list[int] = field(default_factory=list)
    mutating_inputs: list[bool] | None = None

    def calls(self) -> list[int]:
        """The numbers of the graphs that its options name."""
        found: list[int] = []
        for name, value in self.options.items():
            if name.endswith(("subgraph_index", "subgraph_indices")):
                found += [] if value is None else np.atleast_1d(value).tolist()
        return found

    def __str__(self) -> str:
        ins = ", ".join(f"#{i}" if i >= 0 else "–" for i in self.inputs)
        outs = ", ".join(f"#{i}" for i in self.outputs)
        shown = ", ".join(f"{k}={v}" for k, v in self.options.items())
        return f"{outs} = {self.op}({ins})" + (f" {{{shown}}}" if shown else "")


@dataclass
class Graph:
    """Tensors, the nodes that compute them in order, and which go in and come out."""

    name: str = "main"
    tensors: list[Tensor] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def tensor(self, tensor: Tensor) -> int:
        """Add a tensor; returns its index."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def input(
        self,
        name: str,
        shape: Sequence[int],
        dtype: DType = DType.FLOAT32,
        quantization: Quantization | None = None,
    ) -> int:
        """Add an input tensor; returns its index. A size of -1 may change (planned as 1)."""
        fixed = tuple(1 if n == -1 else int(n) for n in shape)
        signature = tuple(map(int, shape)) if -1 in shape else None
        index = self.tensor(Tensor(name, fixed, dtype, quantization, signature=signature))
        self.inputs.append(index)
        return index

    def constant(
        self,
        value: Any,
        name: str = "",
        dtype: DType | None = None,
        quantization: Quantization | None = None,
    ) -> int:
        """Add a constant; returns its index. Strings go in as arrays or lists of `bytes`."""
        array = np.asarray(value)
        dtype = dtype or DType.of(array)
        tensor = Tensor(name or f"constant_{len(self.tensors)}", array.shape, dtype, quantization)
        tensor.raw = encode(array, dtype)
        return self.tensor(tensor)

    def add(
        self,
        op: str,
        inputs: Sequence[int],
        options: Mapping[str, Any] | None = None,
        *,
        outputs: Iterable[Tensor] | None = None,
        **fields: Any,
    ) -> int:
        """Add a node; returns the index of its first output.

        `outputs` describes the outputs; by default there is one, with the type of the first
        input (its shape is found when the graph is planned).
        """
        if outputs is None:
            like = self.tensors[inputs[0]]
            name = f"{op.lower()}_{len(self.nodes)}"
            outputs = [Tensor(name, like.shape, like.dtype, like.quantization)]
        indices = [self.tensor(t) for t in outputs]
        self.nodes.append(Node(op, list(inputs), indices, dict(options or {}), **fields))
        return indices[0] if indices else ABSENT

    def output(self, *indices: int) -> None:
        """Declare outputs."""
        self.outputs.extend(indices)

    def __str__(self) -> str:
        def of(i: int) -> str:
            return "absent" if i == ABSENT else f"#{i} {self.tensors[i]}"

        lines = [f"graph {self.name!r}"]
        lines += [f"  in   {of(i)}" for i in self.inputs]
        for number, node in enumerate(self.nodes):
            lines.append(f"  {number:4d} {node}")
            lines += [f"         {of(i)}" for i in node.outputs]
        lines += [f"  out  {of(i)}" for i in self.outputs]
        return "\n".join(lines)


@dataclass
class Signature:
    """Names for the inputs and outputs of one graph: name -> tensor index, in file order."""

    key: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    graph: int = 0


@dataclass
class Model:
    """All that one `.tflite` file says.

    graphs: the first is the main one. metadata: named blobs (`TFLITE_METADATA` holds labels and
    normalisation). files: the associated files, packed behind the model as a ZIP.
    source: the file's name, for messages.
    """

    graphs: list[Graph] = field(default_factory=list)
    signatures: list[Signature] = field(default_factory=list)
    metadata: dict[str, np.ndarray] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    description: str | None = None
    version: int = 3
    source: str = "<model>"

    @property
    def main(self) -> Graph:
        return self.graphs[0]

    def __str__(self) -> str:
        return f"model {self.source}\n" + "\n".join(map(str, self.graphs))

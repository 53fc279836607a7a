"""Small models for the tests of the interpreter, as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.graph import Graph, Model, Quantization, Signature, Tensor
from martlet.schema.writer import write


def to_bytes(*graphs: Graph, signatures: Sequence[Signature] = ()) -> bytes:
    return bytes(write(Model(list(graphs), list(signatures))))


def doubling(shape: Sequence[int] = (1, 4), dtype: DType = DType.FLOAT32, **options: Any) -> bytes:
    """x -> hidden = x + x -> y = max(hidden, x)"""
    graph = Graph()
    x = graph.input("x", shape, dtype, **options)
    hidden = graph.add("ADD", [x, x], options_type="AddOptions")
    graph.tensors[hidden].name = "hidden"
    y = graph.add("MAXIMUM", [hidden, x], options_type="MaximumMinimumOptions")
    graph.tensors[y].name = "y"
    graph.output(y)
    return to_bytes(graph)


def reshaping(dtype: DType = DType.FLOAT32) -> bytes:
    """(x, shape) -> x in that shape, which is known only when the model runs."""
    graph = Graph()
    x = graph.input("x", (2, 2), dtype)
    shape = graph.input("shape", (2,), DType.INT32)
    y = graph.add("RESHAPE", [x, shape], options_type="ReshapeOptions")
    graph.tensors[y].name = "y"
    graph.output(y)
    return to_bytes(graph)


def quantized() -> bytes:
    """An int8 ADD with a scale for all, and weights with a scale a channel."""
    graph = Graph()
    x = graph.input("x", (1, 2), DType.INT8, Quantization.of(0.5, -3))
    weights = graph.constant(
        [[1, 2], [3, 4]], "w", DType.INT8, Quantization.of([0.25, 0.125], 0, axis=0)
    )
    y = graph.add(
        "FULLY_CONNECTED",
        [x, weights],
        options_type="FullyConnectedOptions",
        outputs=[Tensor("y", (1, 2), DType.INT8, Quantization.of(1.0, 7))],
    )
    graph.output(y)
    return to_bytes(graph)


def signatures() -> bytes:
    """Two graphs: `sum(b, a)` (in that order) gives total and difference; `twice(x)` doubles."""
    first = Graph("first")
    b, a = first.input("b:0", (2,)), first.input("a:0", (2,))
    total = first.add("ADD", [a, b], options_type="AddOptions")
    difference = first.add("SUB", [a, b], options_type="SubOptions")
    first.output(total, difference)
    second = Graph("second")
    x = second.input("x:0", (-1,))
    doubled = second.add("ADD", [x, x], options_type="AddOptions")
    second.output(doubled)
    return to_bytes(
        first,
        second,
        signatures=[
            Signature("sum", {"b": b, "a": a}, {"total": total, "difference": difference}, 0),
            Signature("twice", {"x": x}, {"y": doubled}, 1),
        ],
    )


def counter() -> bytes:
    """A resource variable that starts at zero and grows by the input; gives its value."""

    def handle(graph: Graph) -> int:
        options = {"container": "", "shared_name": "count"}
        out = [Tensor("handle", (), DType.RESOURCE)]
        return graph.add("VAR_HANDLE", [], options, options_type="VarHandleOptions", outputs=out)

    def assign(graph: Graph, value: int) -> None:
        inputs = [handle(graph), value]
        graph.add("ASSIGN_VARIABLE", inputs, options_type="AssignVariableOptions", outputs=[])

    start = Graph("start")
    assign(start, start.constant(np.float32(0)))
    graph = Graph("main")
    x = graph.input("x", ())
    graph.add(
        "CALL_ONCE", [], {"init_subgraph_index": 1}, options_type="CallOnceOptions", outputs=[]
    )
    out = [Tensor("old", (), DType.FLOAT32)]
    old = graph.add(
        "READ_VARIABLE", [handle(graph)], options_type="ReadVariableOptions", outputs=out
    )
    new = graph.add("ADD", [old, x], options_type="AddOptions")
    assign(graph, new)
    graph.output(new)
    return to_bytes(graph, start)


def custom(name: str = "Mine", options: bytes = b"", dtype: DType = DType.FLOAT32) -> bytes:
    """One custom operator, from x of shape (3,) to y."""
    graph = Graph()
    x = graph.input("x", (3,))
    graph.output(
        graph.add(
            name,
            [x],
            custom=True,
            custom_options=np.frombuffer(options, np.uint8),
            outputs=[Tensor("y", (1,), dtype)],
        )
    )
    return to_bytes(graph)

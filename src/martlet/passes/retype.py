"""Give results the type that their operator computes, whatever the file declares.

Rule: the output of an operator in `_LIKE_INPUT` has the type of its first input; that of a
comparison is BOOL. TensorFlow Lite overwrites the declared type in just these operators, and some
published files rely on it (an ADD of int8 tensors whose result is declared FLOAT32).
"""

from __future__ import annotations

from dataclasses import replace

from martlet.dtypes import DType
from martlet.graph import ABSENT, Graph, Model

_LIKE_INPUT = frozenset(
    {"ADD", "SUB", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "FLOOR_DIV", "FLOOR_MOD",
     "POW"}
)  # fmt: skip
_BOOLEAN = frozenset({"EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"})


def retype(model: Model) -> Model:
    """The model with such types corrected; the same object where there is nothing to correct."""
    graphs = [_retype(graph) for graph in model.graphs]
    if all(new is old for new, old in zip(graphs, model.graphs, strict=True)):
        return model
    return replace(model, graphs=graphs)


def _retype(graph: Graph) -> Graph:
    tensors = list(graph.tensors)
    for node in graph.nodes:
        if node.custom or not node.inputs or not node.outputs or ABSENT in node.outputs:
            continue
        if node.op in _BOOLEAN:
            dtype = DType.BOOL
        elif node.op in _LIKE_INPUT and node.inputs[0] != ABSENT:
            dtype = tensors[node.inputs[0]].dtype
        else:
            continue
        output = tensors[node.outputs[0]]
        if output.dtype is not dtype:
            tensors[node.outputs[0]] = replace(output, dtype=dtype)
    changed = any(new is not old for new, old in zip(tensors, graph.tensors, strict=True))
    return replace(graph, tensors=tensors) if changed else graph

"""Give results the type that their operator computes, whatever the file declares.

Rule: TensorFlow Lite overwrites the declared type of the output in just the operators of the
tables: by that of an input, by a type of the operator's own, or by one of its options. Some
published files rely on it (an ADD of int8 tensors whose result is declared FLOAT32).
"""

from __future__ import annotations

from martlet.dtypes import DType
from martlet.graph import ABSENT, Graph, Model, Node, Tensor
from martlet.records import replace

_LIKE_INPUT = dict.fromkeys(
    ("ADD", "ADD_N", "BITWISE_XOR", "CEIL", "DENSIFY", "DIV", "DYNAMIC_UPDATE_SLICE", "EXP",
     "EXPAND_DIMS", "FAKE_QUANT", "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "GATHER", "GATHER_ND",
     "MATRIX_DIAG", "MATRIX_SET_DIAG", "MAXIMUM", "MINIMUM", "NEG", "POW", "PRELU", "RANGE",
     "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RIGHT_SHIFT", "ROUND", "SQUARED_DIFFERENCE",
     "SUB", "ZEROS_LIKE"), 0,
) | {
    "FILL": 1, "SCATTER_ND": 1, "SELECT": 1, "SELECT_V2": 1, "ONE_HOT": 2, "SPARSE_TO_DENSE": 2,
}  # fmt: skip
_OWN = dict.fromkeys(
    ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"), DType.BOOL
) | {
    "BUCKETIZE": DType.INT32, "DEQUANTIZE": DType.FLOAT32, "LOGICAL_AND": DType.BOOL,
    "LOGICAL_OR": DType.BOOL, "RANK": DType.INT32, "RFFT2D": DType.COMPLEX64,
    "WHERE": DType.INT64,
}  # fmt: skip
_OPTION = {"ARG_MAX": "output_type", "ARG_MIN": "output_type", "SHAPE": "out_type"}


def retype(model: Model) -> Model:
    """The model with such types corrected; the same object where there is nothing to correct."""
    graphs = [_retype(graph) for graph in model.graphs]
    if all(new is old for new, old in zip(graphs, model.graphs, strict=True)):
        return model
    return replace(model, graphs=graphs)


def _retype(graph: Graph) -> Graph:
    tensors = list(graph.tensors)
    for node in graph.nodes:
        if node.custom or not node.outputs or node.outputs[0] == ABSENT:
            continue
        dtype = _computed(node, tensors)
        output = tensors[node.outputs[0]]
        if dtype is not None and output.dtype is not dtype:
            tensors[node.outputs[0]] = replace(output, dtype=dtype)
    changed = any(new is not old for new, old in zip(tensors, graph.tensors, strict=True))
    return replace(graph, tensors=tensors) if changed else graph


def _computed(node: Node, tensors: list[Tensor]) -> DType | None:
    """The type by which the operator overwrites its output's; None if it does not."""
    if node.op in _OWN:
        return _OWN[node.op]
    if node.op in _OPTION:
        return DType.__members__.get(str(node.options.get(_OPTION[node.op])))
    i = _LIKE_INPUT.get(node.op, len(node.inputs))
    if i >= len(node.inputs) or node.inputs[i] == ABSENT:
        return None
    return tensors[node.inputs[i]].dtype

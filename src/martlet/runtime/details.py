"""What `get_tensor_details` and its kin say of tensors and nodes, under TensorFlow Lite's keys.

In: the graph as the file declares it, and the present shape of a tensor. Out: the dictionaries
that programs written for `tf.lite.Interpreter` read, with the same types of values.

Two kernels of TensorFlow Lite leave marks in the details when they are planned, which are given
here, too: DENSIFY names its output, and WHILE strikes out what it passes on and nobody reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.graph import ABSENT, Graph, Model, Node, Quantization, Tensor

Details = dict[str, Any]

_FORMATS = {"DENSE": 0, "SPARSE_CSR": 1}
# Types that stand for others in the details: strings for want of an array type of their own
# length, handles because they are opaque, narrow types because NumPy has none.
_SHOWN = {
    DType.STRING: np.bytes_,
    DType.RESOURCE: np.object_,
    DType.VARIANT: np.object_,
    DType.BFLOAT16: np.void,
    DType.FLOAT8_E4M3FN: np.int8,
    DType.FLOAT8_E5M2: np.int8,
}


def tensor_details(
    graph: Graph,
    index: int,
    shape: tuple[int, ...],
    planned: bool = False,
    compress_zero_points: bool = False,
) -> Details:
    """The details of one tensor that now has this shape. `planned`: the graph was allocated."""
    tensor = graph.tensors[index]
    scale, zero_point = _whole_tensor(tensor.quantization)
    dense = planned and any(n.op == "DENSIFY" and index in n.outputs for n in graph.nodes)
    return {
        "name": "Densify_output" if dense else tensor.name,
        "index": index,
        "shape": _ints(shape),
        "shape_signature": _ints(shape_signature(tensor, shape)),
        "dtype": numpy_type(tensor.dtype),
        "quantization": (scale, zero_point),
        "quantization_parameters": _parameters(graph, tensor.quantization, compress_zero_points),
        "sparsity_parameters": _sparsity(tensor),
    }


def op_details(model: Model, graph: Graph, number: int, planned: bool = False) -> Details:
    """The details of one node. `planned`: the graph was allocated."""
    node = graph.nodes[number]
    outputs = node.outputs
    if planned and node.op == "WHILE":
        outputs = _outputs_of_loop(model, graph, node)

    def types(indices: list[int]) -> list[type]:
        return [numpy_type(graph.tensors[i].dtype) for i in indices if i != ABSENT]

    return {
        "index": number,
        "op_name": node.op,
        "inputs": _ints(node.inputs),
        "outputs": _ints(outputs),
        "operand_types": types(node.inputs),
        "result_types": types(outputs),
    }


def _outputs_of_loop(model: Model, graph: Graph, node: Node) -> list[int]:
    """The outputs of a WHILE; ABSENT for those that the body never changes and nobody uses."""
    body = model.graphs[node.options.get("body_subgraph_index", 0)]
    used = {i for other in graph.nodes for i in other.inputs} | set(graph.outputs)
    references = {DType.STRING, DType.RESOURCE, DType.VARIANT}

    def passed_on(position: int, output: int) -> bool:
        same = body.inputs[position : position + 1] == body.outputs[position : position + 1]
        return same and output not in used and graph.tensors[output].dtype not in references

    return [ABSENT if passed_on(k, i) else i for k, i in enumerate(node.outputs)]


def numpy_type(dtype: DType) -> type:
    """The NumPy scalar type that the details name for an element type."""
    shown = _SHOWN.get(dtype)
    return shown or dtype.numpy.type


def shape_signature(tensor: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with -1 where a size may change; the present shape if the file marks none."""
    return shape if tensor.signature is None or tensor.is_constant else tensor.signature


def _ints(values: Any) -> np.ndarray:
    return np.array([] if values is None else values, np.int64).astype(np.int32)


def _whole_tensor(quantization: Quantization | None) -> tuple[float, int]:
    """(scale, zero point) of a tensor that has one of each; (0.0, 0) for all others."""
    if quantization is None or quantization.blockwise or quantization.scale.size != 1:
        return 0.0, 0
    return float(quantization.scale[0]), int(quantization.zero_point.astype(np.int32)[0])


def _parameters(graph: Graph, quantization: Quantization | None, compress: bool) -> Details:
    scales: np.ndarray = np.zeros(0, np.float32)
    zero_points, axis, block = np.zeros(0, np.int32), 0, 0
    blockwise = quantization.blockwise if quantization else None
    if blockwise is not None and quantization is not None:
        if not blockwise.dimensions:
            scales = _stored(graph, blockwise.scales, np.float16)
            zero_points = _stored(graph, blockwise.zero_points, np.int32)
            axis, block = quantization.axis, blockwise.block_size
    elif quantization is not None and quantization.scale.size:
        scales = quantization.scale.copy()
        zero_points = quantization.zero_point.astype(np.int32)
        axis = quantization.axis
        if compress and (zero_points == zero_points[0]).all():
            zero_points = zero_points[:1]
    return {
        "scales": scales,
        "zero_points": zero_points,
        "quantized_dimension": axis,
        "block_size": block,
    }


def _stored(graph: Graph, index: int, dtype: type) -> np.ndarray:
    """The bytes of a constant as an array of this type, whatever its own is."""
    raw = graph.tensors[index].raw if index != ABSENT else None
    if raw is None:
        return np.zeros(0, dtype)
    size = np.dtype(dtype).itemsize
    return raw[: raw.size // size * size].copy().view(dtype)


def _sparsity(tensor: Tensor) -> Details:
    sparsity = tensor.sparsity
    if sparsity is None or not tensor.is_constant:
        return {}
    result: Details = {"traversal_order": _ints(sparsity.traversal_order)}
    if sparsity.block_map is not None:
        result["block_map"] = _ints(sparsity.block_map)
    result["dim_metadata"] = [_level(level) for level in sparsity.dim_metadata or []]
    return result


def _level(level: Any) -> Details:
    kind = _FORMATS.get(level.format, level.format)
    if kind == 0:
        return {"format": 0, "dense_size": int(level.dense_size)}
    return {
        "format": kind,
        "array_segments": _ints(getattr(level.array_segments, "values", None)),
        "array_indices": _ints(getattr(level.array_indices, "values", None)),
    }

"""Graphs are easy to build by hand and worth printing."""

from __future__ import annotations

import numpy as np
import pytest

from martlet.dtypes import DType
from martlet.graph import ABSENT, Graph, Model, Node, Quantization, Tensor


def test_three_lines_make_a_graph() -> None:
    graph = Graph()
    x = graph.input("x", (1, 4))
    graph.output(graph.add("RELU", [x]))

    assert [n.op for n in graph.nodes] == ["RELU"]
    assert graph.tensors[graph.outputs[0]].shape == (1, 4)


def test_a_graph_prints_its_tensors_and_nodes() -> None:
    graph = Graph("tiny")
    x = graph.input("image", (-1, 4), DType.INT8, Quantization.of(0.5, 3))
    w = graph.constant(np.ones(4, np.int8), "w", None, Quantization.of([1.0, 2.0]))
    graph.output(graph.add("MUL", [x, w], {"fused_activation_function": "RELU"}))
    text = str(Model([graph], source="tiny.tflite"))
    for part in ("tiny.tflite", "'image' int8 -1×4", "0.5 × (q − 3)", "MUL(#0, #1)", "RELU"):
        assert part in text
    assert "2 scales 1…2 along axis 0" in str(graph.tensors[w])


def test_a_type_without_counterpart_is_refused() -> None:
    with pytest.raises(TypeError, match="longdouble|float128"):
        Graph().constant(np.zeros(1, np.longdouble))


def test_every_type_has_a_size() -> None:
    sizes = {dtype: Tensor("x", (3, 5), dtype).nbytes for dtype in DType}
    assert sizes[DType.FLOAT32] == 60
    assert sizes[DType.INT4] == 15  # a byte each in memory
    assert sizes[DType.BFLOAT16] == 30
    assert sizes[DType.FLOAT8_E4M3FN] == 15
    assert sizes[DType.VARIANT] == 0


def test_one_zero_point_serves_all_scales() -> None:
    assert Quantization.of([1, 2, 3], 5).zero_point.tolist() == [5, 5, 5]
    assert Quantization.of([1, 2]).per_channel
    assert not Quantization()


def test_what_is_absent_is_called_so():
    graph = Graph()
    graph.inputs, graph.outputs = [ABSENT], [graph.add("NEG", [graph.input("x", (1,))])]
    graph.nodes.append(Node("SPLIT", [0], [ABSENT]))
    assert str(graph).splitlines()[1] == "  in   absent"
    assert str(Graph(inputs=[ABSENT])).endswith("in   absent")

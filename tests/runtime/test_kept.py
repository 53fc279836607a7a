"""What can be asked for of tensors that files declare strangely."""

from __future__ import annotations

import numpy as np
import pytest

from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Graph, Model, Tensor
from martlet.ops.operator import Spec
from martlet.runtime.session import Session
from martlet.runtime.tensors import GraphTensors
from martlet.schema.tflite import SCHEMA


def test_sparse_constants_of_types_that_are_not_supported_are_refused() -> None:
    graph = Graph()
    graph.output(graph.add("NEG", [graph.input("x", (1,))]))
    strange = Tensor("strange", (4,), DType.BFLOAT16, raw=np.zeros(8, np.uint8))
    strange.sparsity = SCHEMA.record("SparsityParameters")
    i = graph.tensor(strange)
    tensors = GraphTensors(Session(Model([graph])), 0)
    with pytest.raises(ModelError, match="constants of type BFLOAT16 are not supported"):
        tensors.get(i)


def test_arguments_that_nobody_reads_may_be_of_any_type() -> None:
    main, condition, body = Graph(), Graph(), Graph()
    for graph in (condition, body):
        number = graph.input("number", (1,), DType.INT32)
        unused = graph.input("unused", (1,), DType.UINT8 if graph is condition else DType.STRING)
        one = graph.constant(np.ones(1, np.int32))
        if graph is condition:
            limit = graph.constant(np.full(1, 3, np.int32))
            graph.output(graph.add("LESS", [number, limit], outputs=[Tensor("", (1,), DType.BOOL)]))
        else:
            graph.output(graph.add("ADD", [number, one]), unused)
    values = [main.input("number", (1,), DType.INT32), main.input("text", (1,), DType.STRING)]
    outputs = [Tensor("number", (1,), DType.INT32), Tensor("text", (1,), DType.STRING)]
    options = {"cond_subgraph_index": 1, "body_subgraph_index": 2}
    first = main.add("WHILE", values, options, outputs=outputs, options_type="WhileOptions")
    main.output(first, first + 1)
    session = Session(Model([main, condition, body]), keep_all=True)
    arrays = [np.zeros(1, np.int32), np.array([b"a word"], object)]
    specs = [session.model.main.tensors[i] for i in values]
    plan = session.plan(0, [Spec(t.dtype, t.shape) for t in specs])
    number, text = session.run(plan, arrays)
    assert number.tolist() == [3]
    assert text.tolist() == [b"a word"]

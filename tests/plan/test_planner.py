"""The planner: shapes before data, folding, what is held, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from build import run_model
from martlet.dtypes import DType
from martlet.errors import LimitError, MartletError, ModelError, UnsupportedError
from martlet.graph import Graph, Model, Tensor
from martlet.ops.operator import Spec
from martlet.plan.planner import Plan, declared_specs, make_plan
from martlet.runtime.session import Session


def plan_of(graph: Graph, *specs: Spec) -> Plan:
    model = Model([graph], source="m")
    return make_plan(model, 0, specs or declared_specs(graph), Session(model), {})


def test_shapes_and_types_are_known_before_any_run() -> None:
    graph = Graph()
    x = graph.input("x", (2, 1))
    graph.output(graph.add("ADD", [x, graph.constant(np.zeros((1, 3), np.float32))]))
    plan = plan_of(graph)
    assert plan.specs[graph.outputs[0]] == Spec(DType.FLOAT32, (2, 3))
    assert plan.steps[0].static


def test_shape_arithmetic_is_folded_away() -> None:
    graph = Graph()
    x = graph.input("x", (2, 6))
    options = {"out_type": "INT32"}
    shape = graph.add("SHAPE", [x], options, outputs=[Tensor("s", (2,), DType.INT32)])
    half = graph.constant(np.array([1, 2], np.int32))
    new = graph.add("FLOOR_DIV", [shape, half])
    double = graph.constant(np.array([2, 1], np.int32))
    graph.output(graph.add("RESHAPE", [x, graph.add("MUL", [new, double])]))
    plan = plan_of(graph)
    assert [s.call.op for s in plan.steps] == ["RESHAPE"]
    assert plan.specs[graph.outputs[0]] == Spec(DType.FLOAT32, (4, 3))


def test_a_shape_that_depends_on_data_stays_open_and_is_found_in_the_run() -> None:
    graph = Graph()
    x = graph.input("x", (6,))
    shape = graph.input("shape", (2,), DType.INT32)
    graph.output(graph.add("RESHAPE", [x, shape]))
    plan = plan_of(graph)
    assert plan.specs[graph.outputs[0]] == Spec(DType.FLOAT32, None)
    arrays = [np.arange(6, dtype=np.float32), np.array([3, -1], np.int32)]
    assert run_model(Model([graph]), arrays)[0].shape == (3, 2)


def test_a_chain_holds_two_values_at_a_time() -> None:
    graph = Graph()
    x = graph.input("x", (1000,))
    for _ in range(5):
        x = graph.add("NEG", [x])
    graph.output(x)
    # The input and the output are always there; two inner values live at once.
    assert plan_of(graph).peak_bytes == 4 * 4000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.nodes[0].inputs.__setitem__(0, 2), "is used before it is computed"),
        (lambda g: g.nodes[0].outputs.__setitem__(0, 0), "is no place for results"),
        (lambda g: g.outputs.append(len(g.tensors) - 1), "is never computed"),
        (lambda g: g.nodes[0].inputs.append(0), "wrong number of inputs; expected 1, found 2"),
        (lambda g: g.nodes[0].outputs.clear(), "wrong number of outputs"),
        (lambda g: setattr(g.tensors[1], "dtype", DType.INT32), "declared with the wrong type"),
        (lambda g: setattr(g.nodes[0], "version", 99), "version 99 of NEG is not supported"),
        (lambda g: setattr(g.nodes[0], "options_type", "AddOptions"), "options of another"),
        (lambda g: setattr(g.nodes[0], "custom", True), "custom operator NEG version 1 is not"),
    ],
)
def test_contradictions_name_the_node(change, message: str) -> None:
    graph = Graph()
    graph.output(graph.add("NEG", [graph.input("x", (2,))]))
    graph.tensors += [Tensor("later", (2,)), Tensor("never", (2,))]
    change(graph)
    with pytest.raises(ModelError, match=message) as caught:
        plan_of(graph)
    assert str(caught.value).startswith("m, subgraph 0")


def test_a_type_that_is_not_computed_with_is_refused_by_name() -> None:
    graph = Graph()
    graph.output(graph.add("NEG", [graph.input("x", (2,), DType.BFLOAT16)]))
    with pytest.raises(UnsupportedError, match="BFLOAT16"):
        plan_of(graph)


def test_more_memory_than_the_limit_is_refused_before_it_is_taken() -> None:
    graph = Graph()
    graph.output(graph.add("NEG", [graph.input("x", (1 << 28,))]))
    model = Model([graph], source="big")
    with pytest.raises(LimitError, match=r"big.*at most 1,000,000 bytes, found 1,073,741,824"):
        Session(model, memory_limit=1e6).plan(0, declared_specs(graph))


def test_every_node_is_looked_at_when_errors_are_collected() -> None:
    graph = Graph()
    x = graph.input("x", (2,))
    a = graph.add("NO_SUCH", [x], custom=True)
    graph.output(graph.add("ALSO_NOT", [a], custom=True))
    model = Model([graph], source="m")
    found: list[MartletError] = []
    make_plan(model, 0, declared_specs(graph), Session(model), {}, on_error=found.append)
    assert ["node 0" in found[0].where, "node 1" in found[1].where] == [True, True]

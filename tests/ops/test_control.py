"""Control flow: branches, loops, initialisation, composites."""

from __future__ import annotations

import numpy as np
import pytest

from build import run_model
from martlet.dtypes import DType
from martlet.errors import LimitError, ModelError
from martlet.graph import Graph, Model, Tensor
from martlet.ops.operator import Spec
from martlet.runtime.session import Session
from oracle import litert


def graph_of(name: str, *inputs: Tensor) -> Graph:
    graph = Graph(name)
    for tensor in inputs:
        graph.inputs.append(graph.tensor(tensor))
    return graph


def number(name: str = "n") -> Tensor:
    return Tensor(name, (1,), DType.INT32)


def counting(limit: int) -> Model:
    """n = input; while n < limit: n = n + 3."""
    main = graph_of("main", number())
    options = {"cond_subgraph_index": 1, "body_subgraph_index": 2}
    main.output(main.add("WHILE", [0], options, options_type="WhileOptions"))
    condition = graph_of("cond", number())
    bound = condition.constant(np.array([limit], np.int32))
    out = [Tensor("less", (1,), DType.BOOL)]
    condition.output(condition.add("LESS", [0, bound], outputs=out))
    body = graph_of("body", number())
    body.output(body.add("ADD", [0, body.constant(np.array([3], np.int32))]))
    return Model([main, condition, body], source="loop")


def branching() -> Model:
    """condition ? x + 10 : x - 10."""
    main = graph_of("main", Tensor("c", (), DType.BOOL), number("x"))
    options = {"then_subgraph_index": 1, "else_subgraph_index": 2}
    main.output(main.add("IF", [0, 1], options, options_type="IfOptions", outputs=[number("y")]))
    graphs = [main]
    for op in ("ADD", "SUB"):
        graph = graph_of(op, number())
        graph.output(graph.add(op, [0, graph.constant(np.array([10], np.int32))]))
        graphs.append(graph)
    return Model(graphs, source="branch")


@pytest.mark.parametrize("start", [0, 7, 20, 100])
def test_a_loop_runs_while_its_condition_holds(start: int) -> None:
    n = [np.array([start], np.int32)]
    (result,) = run_model(counting(20), n)
    assert result.tolist() == litert(counting(20), n)[0].tolist()
    assert result[0] == max(start, start + 3 * -(-(20 - start) // 3))


def test_an_endless_loop_ends_at_the_time_limit() -> None:
    model = counting(20)
    model.graphs[1].nodes[0].op = "NOT_EQUAL"  # 1, 4, 7, … never is 20
    with pytest.raises(LimitError, match="loop: the run took longer.*at most 0.05 s"):
        run_model(model, [np.array([0], np.int32)], time_limit=0.05)


@pytest.mark.parametrize(("condition", "expected"), [(True, 15), (False, -5)])
def test_a_branch_is_taken(condition: bool, expected: int) -> None:
    inputs = [np.array(condition), np.array([5], np.int32)]
    (result,) = run_model(branching(), inputs)
    assert result.tolist() == [expected]
    assert litert(branching(), inputs)[0].tolist() == [expected]


def test_branches_of_different_shapes_give_the_shape_of_the_one_taken() -> None:
    model = branching()
    one = model.graphs[2].constant(np.array([10, 20], np.int32))
    model.graphs[2].nodes[0].inputs[1] = one
    for condition, expected in ((True, [15]), (False, [-5, -15])):
        (result,) = run_model(model, [np.array(condition), np.array([5], np.int32)])
        assert result.tolist() == expected


def test_branches_must_give_the_same_types() -> None:
    model = branching()
    out = [Tensor("f", (1,), DType.FLOAT32)]
    cast = model.graphs[1].add("CAST", [0], outputs=out)
    model.graphs[1].outputs = [cast]
    with pytest.raises(ModelError, match="branches give different types"):
        run_model(model, [np.array(True), np.array([5], np.int32)])


def test_graphs_that_call_each_other_in_a_circle_are_refused() -> None:
    model = counting(20)
    options = {"decomposition_subgraph_index": 2}
    model.graphs[2].add("STABLEHLO_COMPOSITE", [0], options)
    with pytest.raises(ModelError, match=r"call each other in a circle.*found 2 -> 2"):
        run_model(model, [np.array([0], np.int32)])


def test_a_graph_that_calls_the_main_one_by_default_is_refused() -> None:
    main = graph_of("main", number("x"))
    main.output(main.add("STABLEHLO_COMPOSITE", [0], outputs=[number("y")]))
    with pytest.raises(ModelError, match=r"call each other in a circle.*found 0 -> 0"):
        run_model(Model([main]), [np.array([0], np.int32)])


def calling_all(levels: int, wide: int) -> Model:
    """Every graph of a level calls every graph of the next."""
    main = graph_of("main", number())
    graphs = [main]
    last = [main]
    for _ in range(levels):
        level = [graph_of("g", number()) for _ in range(wide)]
        for graph in last:
            for i in range(wide):
                options = {"decomposition_subgraph_index": len(graphs) + i}
                y = graph.add("STABLEHLO_COMPOSITE", [0], options, outputs=[number("y")])
            graph.output(y)
        graphs += level
        last = level
    for graph in last:
        graph.output(graph.add("NEG", [0]))
    return Model(graphs, source="paths")


def test_graphs_are_planned_once_however_many_paths_lead_to_them() -> None:
    model = calling_all(6, 20)  # 20 ** 6 paths
    plan = Session(model).plan(0, [Spec(DType.INT32, (1,))])
    assert plan.specs[plan.graph.outputs[0]] == Spec(DType.INT32, (1,))


def test_graphs_that_call_each_other_in_too_many_ways_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("martlet.runtime.session.PLANS_AT_ONCE", 30)
    with pytest.raises(LimitError, match="paths: subgraphs call each other in too many ways"):
        Session(calling_all(2, 20)).plan(0, [Spec(DType.INT32, (1,))])


def test_the_wrong_number_of_arguments_is_refused() -> None:
    model = counting(20)
    model.graphs[1].inputs.append(0)
    with pytest.raises(ModelError, match="subgraph 1 'cond'.*wrong number of inputs.*2, found 1"):
        run_model(model, [np.array([0], np.int32)])


def initialised_once() -> Model:
    """CALL_ONCE sets a variable to 1; every run adds 1 to it and gives it."""
    main = Graph("main")
    handle = [Tensor("v", (), DType.RESOURCE)]
    main.add(
        "CALL_ONCE", [], {"init_subgraph_index": 1}, options_type="CallOnceOptions", outputs=[]
    )
    v = main.add(
        "VAR_HANDLE", [], {"shared_name": "v"}, options_type="VarHandleOptions", outputs=handle
    )
    old = main.add("READ_VARIABLE", [v], outputs=[number("old")])
    new = main.add("ADD", [old, main.constant(np.array([1], np.int32))])
    main.add("ASSIGN_VARIABLE", [v, new], outputs=[])
    main.output(new)
    init = Graph("init")
    handle = [Tensor("v", (), DType.RESOURCE)]
    v = init.add(
        "VAR_HANDLE", [], {"shared_name": "v"}, options_type="VarHandleOptions", outputs=handle
    )
    init.add("ASSIGN_VARIABLE", [v, init.constant(np.array([1], np.int32))], outputs=[])
    return Model([main, init], source="once")


def test_initialisation_runs_once_and_variables_persist() -> None:
    model = initialised_once()
    session = Session(model)
    results = [session.run(session.plan(0, []), [])[0].tolist() for _ in range(3)]
    assert results == [[2], [3], [4]]
    assert litert(model, [], invokes=3)[0].tolist() == [4]


def test_a_composite_is_its_decomposition() -> None:
    main = graph_of("main", number("x"))
    options = {"name": "my.double", "decomposition_subgraph_index": 1}
    main.output(
        main.add("STABLEHLO_COMPOSITE", [0], options, options_type="StableHLOCompositeOptions")
    )
    double = graph_of("double", number())
    double.output(double.add("ADD", [0, 0]))
    (result,) = run_model(Model([main, double]), [np.array([21], np.int32)])
    assert result.tolist() == [42]


@pytest.mark.parametrize(("index", "expected"), [(0, 15), (1, -5), (7, -5), (-1, -5)])
def test_a_case_out_of_range_takes_the_last_branch(index: int, expected: int) -> None:
    model = branching()
    node = model.main.nodes[0]
    node.op, node.options_type = "STABLEHLO_CASE", "StablehloCaseOptions"
    node.options = {"branch_subgraph_indices": np.array([1, 2], np.int32)}
    model.main.tensors[0] = Tensor("index", (), DType.INT32)
    inputs = [np.array(index, np.int32), np.array([5], np.int32)]
    assert run_model(model, inputs)[0].tolist() == [expected]

"""Subgraphs on kernels: what they hand on stays what it was."""

from __future__ import annotations

import numpy as np
import pytest

from martlet.dtypes import DType
from martlet.graph import Graph, Model, Tensor
from martlet.ops.operator import Spec
from martlet.runtime.session import Session


def number(name: str = "") -> Tensor:
    return Tensor(name, (), DType.INT32)


def run(model: Model, *numbers: int, **session: bool) -> list[int]:
    """The outputs of a second run."""
    running = Session(model, **session)
    plan = running.plan(0, [Spec(DType.INT32, ())] * len(numbers))
    arrays = [np.array(n, np.int32) for n in numbers]
    running.run(plan, arrays)
    return [int(a) for a in running.run(plan, arrays)]


def add(graph: Graph, op: str, *operands: int) -> int:
    outputs = [Tensor("", (), DType.BOOL) if op == "LESS" else number()]
    return graph.add(op, list(operands), {}, outputs=outputs)


def three(name: str) -> tuple[Graph, list[int]]:
    graph = Graph(name)
    return graph, [graph.input(n, (), DType.INT32) for n in "nab"]


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_a_loop_may_move_its_values(turned: bool, reference: bool) -> None:
    """(n, a, b) becomes (n + 1, a + b, a), or (n + 1, b, a) and so on."""
    main, values = three("main")
    options = {"cond_subgraph_index": 1, "body_subgraph_index": 2}
    outputs = [number(n) for n in "xyz"]
    main.add("WHILE", values, options, options_type="WhileOptions", outputs=outputs)
    main.output(*main.nodes[0].outputs)
    condition, (n, _, _) = three("condition")
    condition.output(add(condition, "LESS", n, condition.constant(np.int32(5))))
    body, (n, a, b) = three("body")
    body.output(
        add(body, "ADD", n, body.constant(np.int32(1))), b if turned else add(body, "ADD", a, b), a
    )
    expected = [5, 2, 1] if turned else [5, 13, 8]
    found = run(Model([main, condition, body]), 0, 1, 2 if turned else 1, reference=reference)
    assert found == expected


@pytest.mark.parametrize("reference", [False, True])
def test_a_subgraph_that_is_used_twice_gives_two_results(reference: bool) -> None:
    main = Graph("main")
    x, y = (main.input(n, (), DType.INT32) for n in "xy")
    options = {"decomposition_subgraph_index": 1, "name": "twice"}
    for i in (x, y):
        main.output(
            main.add(
                "STABLEHLO_COMPOSITE", [i], options, options_type="StableHLOCompositeOptions",
                outputs=[number(f"of{i}")],
            )
        )  # fmt: skip
    double = Graph("double")
    v = double.input("v", (), DType.INT32)
    double.output(add(double, "ADD", v, v))
    assert run(Model([main, double]), 3, 5, reference=reference) == [6, 10]


@pytest.mark.parametrize("reference", [False, True])
def test_an_input_that_is_named_twice_has_the_last_value(reference: bool) -> None:
    main, values = three("main")
    options = {"cond_subgraph_index": 1, "body_subgraph_index": 2}
    outputs = [number(n) for n in "xyz"]
    main.add("WHILE", values, options, options_type="WhileOptions", outputs=outputs)
    main.output(*main.nodes[0].outputs)
    condition, (n, _, end) = three("condition")
    condition.inputs = [n, end, end]
    condition.output(add(condition, "LESS", n, end))
    body, (n, a, b) = three("body")
    body.output(add(body, "ADD", n, body.constant(np.int32(1))), add(body, "ADD", a, a), b)
    found = run(Model([main, condition, body]), 0, 1, 4, reference=reference)
    assert found == [4, 16, 4]


@pytest.mark.parametrize("reference", [False, True])
def test_a_subgraph_hands_on_values_in_the_types_of_its_caller(reference: bool) -> None:
    """As where TensorFlow Lite copies types and shapes into a subgraph that is called."""
    main = Graph("main")
    options = {"decomposition_subgraph_index": 1, "name": "same"}
    for dtype in (DType.INT32, DType.FLOAT32):
        x = main.input("x", (2,), dtype)
        main.output(
            main.add(
                "STABLEHLO_COMPOSITE", [x], options, options_type="StableHLOCompositeOptions",
                outputs=[Tensor("y", (2,), dtype)],
            )
        )  # fmt: skip
    same = Graph("same")
    same.output(same.input("v", (2,), DType.FLOAT32))
    session = Session(Model([main, same]), reference=reference)
    plan = session.plan(0, [Spec(DType.INT32, (2,)), Spec(DType.FLOAT32, (2,))])
    values = [np.array([1, 1 << 30], np.int32), np.array([1.5, 2.5], np.float32)]
    for _ in range(3):
        found = session.run(plan, values)
        assert [a.dtype for a in found] == [np.int32, np.float32]
        assert [a.tolist() for a in found] == [[1, 1 << 30], [1.5, 2.5]]

"""Graphs that write a tensor more than once, which no converter makes: nothing shares memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from martlet.dtypes import DType
from martlet.graph import Graph, Model, Node, Tensor
from martlet.ops.operator import Spec
from martlet.plan.fusion import works
from martlet.runtime.image import host_image
from martlet.runtime.session import Session

pytestmark = pytest.mark.skipif(
    host_image() is None, reason="there is no kernel image for this processor"
)
SHAPE = (1, 3, 4, 2)


def both(graph: Graph) -> None:
    """Run a graph on kernels and on NumPy; the outputs must be the same."""
    model = Model([graph], source="m")
    native, plain = Session(model), Session(model, reference=True)
    specs, x = [Spec(DType.FLOAT32, SHAPE)], np.linspace(0.1, 2, 24).reshape(SHAPE)
    values = [x.astype(np.float32)]
    found = native.run(native.plan(0, specs), values)
    for a, b in zip(found, plain.run(plain.plan(0, specs), values), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_two_tensors_that_write_over_each_other() -> None:
    graph = Graph()
    x = graph.input("x", SHAPE)
    a, b = graph.add("NEG", [x]), graph.tensor(Tensor("b", SHAPE))
    for source, target in ((a, b), (b, a), (a, b), (b, a)):
        graph.nodes.append(Node("ABS", [source], [target]))
    graph.output(a, b)
    both(graph)


def test_such_nodes_stay_by_themselves() -> None:
    graph = Graph()
    x = graph.input("x", SHAPE)
    filters = graph.constant(np.ones((2, 1, 1, 2), np.float32))
    y = graph.add("CONV_2D", [x, filters, -1], {"stride_w": 1, "stride_h": 1})
    z = graph.add("RELU", [y])
    graph.output(z)
    session = Session(Model([graph], source="m"))
    assert len(works(session.plan(0, [Spec(DType.FLOAT32, SHAPE)]))) == 1
    graph.nodes.append(Node("ABS", [x], [y]))
    graph.output(y)
    session = Session(Model([graph], source="m"))
    assert len(works(session.plan(0, [Spec(DType.FLOAT32, SHAPE)]))) == 3
    both(graph)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.tuples(st.sampled_from(["NEG", "EXP", "RESHAPE", "ADD"]), *[st.integers(0, 4)] * 3),
        min_size=1, max_size=10,
    )
)  # fmt: skip
def test_any_order_of_writes(nodes: list[tuple[str, int, int, int]]) -> None:
    graph = Graph()
    tensors = [graph.input("x", SHAPE)]
    tensors += [graph.add("NEG", [tensors[0]]) for _ in range(4)]
    shape = graph.constant(np.array(SHAPE, np.int32))
    for op, i, j, target in nodes:
        if target in (0, i) or (op == "ADD" and target == j):
            continue
        second = {"ADD": [tensors[j]], "RESHAPE": [shape]}.get(op, [])
        graph.nodes.append(Node(op, [tensors[i], *second], [tensors[target]]))
    graph.output(*tensors[1:])
    both(graph)


def test_concatenations_of_other_ranks_are_refused_or_computed() -> None:
    graph = Graph()
    x = graph.add("NEG", [graph.input("x", SHAPE)])
    empty = graph.constant(np.zeros((0,), np.float32))
    graph.output(graph.add("CONCATENATION", [x, empty], {"axis": 3}))
    outcomes = []
    for reference in (True, False):
        session = Session(Model([graph], source="m"), reference=reference)
        try:
            plan = session.plan(0, [Spec(DType.FLOAT32, SHAPE)])
            outcomes.append(session.run(plan, [np.ones(SHAPE, np.float32)])[0].tolist())
        except ValueError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]

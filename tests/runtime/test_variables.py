"""Variables: one memory for native steps, NumPy ones, all plans of a graph, and the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from martlet.dtypes import DType
from martlet.graph import Graph, Model, Quantization, Tensor
from martlet.ops.operator import Spec
from martlet.runtime.image import host_image
from martlet.runtime.interpreter import Interpreter
from martlet.runtime.session import Session
from martlet.schema.writer import write

pytestmark = pytest.mark.skipif(
    host_image() is None, reason="there is no kernel image for this processor"
)
UNITS = 3
RNN = {"fused_activation_function": "TANH"}


def add_state(graph: Graph) -> int:
    """A variable for the RNN below."""
    return graph.tensor(Tensor("state", (1, UNITS), is_variable=True))


def add_rnn(graph: Graph, x: int, state: int, seed: int = 0) -> int:
    """An RNN of three units, which has kernels."""
    rng = np.random.default_rng(seed)
    features = graph.tensors[x].shape[-1]
    shapes = (UNITS, features), (UNITS, UNITS), (UNITS,)
    weights = [graph.constant(rng.normal(size=s).astype(np.float32)) for s in shapes]
    op = "RNN" if len(graph.tensors[x].shape) == 2 else "UNIDIRECTIONAL_SEQUENCE_RNN"
    kind = "RNNOptions" if op == "RNN" else "SequenceRNNOptions"
    shape = (*graph.tensors[x].shape[:-1], UNITS)
    return graph.add(op, [x, *weights, state], RNN, options_type=kind, outputs=[Tensor("h", shape)])


def streaming() -> Graph:
    graph = Graph()
    state = add_state(graph)
    graph.output(add_rnn(graph, graph.input("x", (1, 2)), state))
    return graph


def mixed() -> Graph:
    """The variable is read by a kernel, written by NumPy, read and written by kernels again."""
    graph = Graph()
    x, state = graph.input("x", (1, 2)), add_state(graph)
    before = graph.add("NEG", [state])
    int8 = graph.add("RNN", [x, *_hybrid(graph), state], RNN, options_type="RNNOptions",
                     outputs=[Tensor("hybrid", (1, UNITS))])  # fmt: skip
    between = graph.add("NEG", [state])
    after = add_rnn(graph, x, state)
    graph.output(before, int8, between, after, graph.add("NEG", [state]))
    return graph


def _hybrid(graph: Graph) -> list[int]:
    """Weights of 8 bits, for which there are no kernels."""
    rng = np.random.default_rng(1)
    stored = [rng.integers(-9, 9, (UNITS, n)).astype(np.int8) for n in (2, UNITS)]
    q = Quantization.of(0.1)
    weights = [graph.constant(a, f"w{i}", None, q) for i, a in enumerate(stored)]
    return [*weights, graph.constant(np.zeros(UNITS, np.float32))]


def run(graph: Graph, inputs: list[np.ndarray], **session: Any) -> list[list[np.ndarray]]:
    """Outputs of several runs in one session."""
    running = Session(Model([graph]), **session)
    answers = []
    for x in inputs:
        plan = running.plan(0, [Spec(DType.FLOAT32, x.shape)])
        answers.append([a.copy() for a in running.run(plan, [x])])
    return answers


def values(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(5).normal(size=(count, 1, 2)).astype(np.float32))


@pytest.mark.parametrize("make", [streaming, mixed])
@pytest.mark.parametrize("threads", [1, 2])
def test_runs_continue_where_the_last_one_ended(make: Callable[[], Graph], threads: int) -> None:
    graph = make()
    for a, b in zip(
        run(graph, values(4), threads=threads), run(graph, values(4), reference=True), strict=True
    ):
        for mine, numpy in zip(a, b, strict=True):
            np.testing.assert_allclose(mine, numpy, atol=1e-6)


def test_plans_of_several_shapes_continue_one_state() -> None:
    graph = Graph()
    state = add_state(graph)
    graph.output(add_rnn(graph, graph.input("x", (1, -1, 2)), state))
    xs = [np.ones((1, n, 2), np.float32) for n in (2, 3, 2, 1)]
    found, expected = run(graph, xs), run(graph, xs, reference=True)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a[0], b[0], atol=1e-6)


def test_a_variable_that_is_an_input_is_the_caller_s() -> None:
    graph = Graph()
    state = add_state(graph)
    x = graph.input("x", (1, 2))
    graph.inputs.append(state)
    graph.output(add_rnn(graph, x, state), graph.add("NEG", [state]))
    session, given = Session(Model([graph])), np.zeros((1, UNITS), np.float32)
    plan = session.plan(0, [Spec(DType.FLOAT32, s) for s in ((1, 2), (1, UNITS))])
    h, negated = session.run(plan, [values(1)[0], given])
    np.testing.assert_array_equal(given, h)
    np.testing.assert_array_equal(negated, -h)


def test_the_caller_reads_sets_and_resets_a_variable() -> None:
    graph = streaming()
    state = next(i for i, t in enumerate(graph.tensors) if t.is_variable)
    interpreter = Interpreter(model_content=bytes(write(Model([graph]))))
    interpreter.allocate_tensors()
    (x,), (y,) = interpreter.get_input_details(), interpreter.get_output_details()

    def answer() -> np.ndarray:
        interpreter.set_tensor(x["index"], values(1)[0])
        interpreter.invoke()
        h = interpreter.get_tensor(y["index"])
        np.testing.assert_array_equal(interpreter.get_tensor(state), h)
        return h

    first, second = answer(), answer()
    assert not np.array_equal(first, second)
    interpreter.set_tensor(state, first)
    np.testing.assert_array_equal(answer(), second)
    interpreter.reset_all_variables()
    np.testing.assert_array_equal(answer(), first)


def test_a_streaming_model_is_one_call() -> None:
    session = Session(Model([streaming()]))
    plan = session.plan(0, [Spec(DType.FLOAT32, (1, 2))])
    assert session.one_call(plan) is not None


def test_a_variable_may_be_an_output() -> None:
    graph = streaming()
    state = next(i for i, t in enumerate(graph.tensors) if t.is_variable)
    graph.output(state)
    for a in run(graph, values(3)):
        np.testing.assert_array_equal(a[0], a[1])
    interpreter = Interpreter(model_content=bytes(write(Model([graph]))))
    interpreter.allocate_tensors()
    interpreter.invoke()
    outputs = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    np.testing.assert_array_equal(*outputs)

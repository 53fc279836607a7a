"""Indices from data that kernels refuse: the run fails as NumPy's does, and the next one works."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from build import one_node
from martlet import Interpreter
from martlet.dtypes import DType
from martlet.errors import RunError
from martlet.graph import Graph, Model, Tensor
from martlet.ops.operator import Call, Spec
from martlet.runtime.image import host_image
from martlet.runtime.session import Session
from martlet.runtime.status import Status
from martlet.schema.writer import write


def a_call() -> Call:
    model, arrays = one_node("NEG", [np.zeros(3, np.float32)])
    specs = [Spec(model.main.tensors[0].dtype, arrays[0].shape)]
    (step,) = Session(model).plan(0, specs).steps
    return step.call


def test_the_first_rule_that_was_broken_is_raised_with_what_was_found() -> None:
    call = a_call()
    status = Status([(call, "first", "1"), (call, "second", "2"), (call, "third", "3")])
    status.check()
    words = status._words
    words[1] = 1, -7
    words[2] = 1, 9
    with pytest.raises(RunError) as failure:
        status.check()
    assert str(failure.value) == f"{call.place}: second; expected 2, found -7"
    status.check()
    assert words.ctypes.data == status.address


machine_code = pytest.mark.skipif(
    host_image() is None, reason="there is no kernel image for this processor"
)


def failures(
    graph: Graph, inputs: list[np.ndarray], threads: int = 1
) -> tuple[str, str, list[np.ndarray]]:
    """(error on kernels, error of NumPy, what a run with zeros for indices gives after it)."""
    model = Model([graph], source="m")
    specs = [
        Spec(graph.tensors[i].dtype, a.shape) for i, a in zip(graph.inputs, inputs, strict=True)
    ]
    found = []
    for session in (Session(model, threads=threads), Session(model, reference=True)):
        plan = session.plan(0, specs)
        native = session.native(plan)
        if native is not None:
            assert all(segment.step is None for segment in native.segments)
        with pytest.raises(RunError) as failure:
            session.run(plan, inputs)
        found.append(str(failure.value))
        after = session.run(plan, [inputs[0], *(a * 0 for a in inputs[1:])])
    return found[0], found[1], after


def gathering(graph: Graph) -> list[np.ndarray]:
    x, at = graph.input("x", (5, 3)), graph.input("at", (4,), DType.INT32)
    y = graph.add("GATHER", [graph.add("NEG", [x]), at], outputs=[Tensor("y", (4, 3))])
    graph.output(graph.add("ABS", [y]))
    return [np.ones((5, 3), np.float32), np.array([0, 9, 5, 7], np.int32)]


def gathering_elements(graph: Graph) -> list[np.ndarray]:
    x, at = graph.input("x", (5,)), graph.input("at", (1000,), DType.INT64)
    graph.output(graph.add("GATHER", [x, at], outputs=[Tensor("y", (1000,))]))
    return [np.ones(5, np.float32), -np.arange(1000) * (1 << 40)]


def gathering_vectors(graph: Graph) -> list[np.ndarray]:
    x, at = graph.input("x", (5, 3)), graph.input("at", (2, 2), DType.INT32)
    graph.output(graph.add("GATHER_ND", [x, at], outputs=[Tensor("y", (2,))]))
    return [np.ones((5, 3), np.float32), np.array([[0, 3], [-7, 4]], np.int32)]


def scattering(graph: Graph) -> list[np.ndarray]:
    x, at = graph.input("x", (2,)), graph.input("at", (2, 2), DType.INT32)
    shape = graph.constant(np.array([5, 3], np.int32))
    graph.output(graph.add("SCATTER_ND", [at, x, shape], outputs=[Tensor("y", (5, 3))]))
    return [np.ones(2, np.float32), np.array([[0, 3], [1, 4]], np.int32)]


def turning(graph: Graph) -> list[np.ndarray]:
    x, lengths = graph.input("x", (2, 4)), graph.input("lengths", (2,), DType.INT32)
    options = {"seq_dim": 1, "batch_dim": 0}
    graph.output(graph.add("REVERSE_SEQUENCE", [x, lengths], options))
    return [np.ones((2, 4), np.float32), np.array([-2, 5], np.int32)]


def dividing(graph: Graph) -> list[np.ndarray]:
    x, y = graph.input("x", (5,), DType.INT32), graph.input("y", (5,), DType.INT32)
    divisor = graph.add("SUB", [graph.constant(np.ones(1, np.int32)), y])
    graph.output(graph.add("FLOOR_DIV", [x, divisor]))
    return [np.arange(5, dtype=np.int32), np.array([0, 3, 1, -4, 0], np.int32)]


def broadcasting(graph: Graph) -> list[np.ndarray]:
    x, y = graph.input("x", (3,), DType.INT32), graph.input("y", (4,), DType.INT32)
    shape = graph.add("ADD", [y, graph.constant(np.ones(1, np.int32))])
    graph.output(graph.add("BROADCAST_ARGS", [x, shape], outputs=[Tensor("z", (4,), DType.INT32)]))
    return [np.array([2, 3, 1], np.int32), np.array([1, 1, 6, 8], np.int32)]


@machine_code
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "make",
    [
        gathering,
        gathering_elements,
        gathering_vectors,
        scattering,
        turning,
        dividing,
        broadcasting,
    ],
)
def test_wrong_indices_fail_as_in_numpy(
    make: Callable[[Graph], list[np.ndarray]], threads: int
) -> None:
    graph = Graph()
    kernels, numpy, _ = failures(graph, make(graph), threads)
    assert kernels == numpy


@machine_code
def test_a_run_of_one_call_fails_and_the_next_one_works() -> None:
    graph = Graph()
    inputs = gathering(graph)
    interpreter = Interpreter(model_content=bytes(write(Model([graph]))))
    interpreter.allocate_tensors()
    x, at = (detail["index"] for detail in interpreter.get_input_details())
    (y,) = (detail["index"] for detail in interpreter.get_output_details())
    interpreter.set_tensor(x, inputs[0])
    interpreter.set_tensor(at, inputs[1])
    with pytest.raises(RunError, match=r"GATHER.* an index is out of range; expected 0 to 4"):
        interpreter.invoke()
    interpreter.set_tensor(at, np.array([4, 3, 2, 1], np.int32))
    interpreter.invoke()
    np.testing.assert_array_equal(interpreter.get_tensor(y), np.ones((4, 3)))


@machine_code
def test_an_update_lies_where_its_operand_lay() -> None:
    graph = Graph()
    x = graph.add("NEG", [graph.input("x", (64, 8))])
    update, begin = graph.input("update", (1, 8)), graph.input("begin", (2,), DType.INT32)
    y = graph.add("DYNAMIC_UPDATE_SLICE", [x, update, begin])
    graph.output(graph.add("NEG", [y]))
    model = Model([graph], source="m")
    inputs = [np.ones((64, 8), np.float32), np.full((1, 8), 2, np.float32)]
    specs = [Spec(DType.FLOAT32, a.shape) for a in inputs] + [Spec(DType.INT32, (2,))]
    session = Session(model)
    plan = session.plan(0, specs)
    native = session.native(plan)
    assert native is not None
    assert native.layout.root(y) == x
    for row in (0, 63, 7):
        (found,) = session.run(plan, [*inputs, np.array([row, 0], np.int32)])
        expected = inputs[0].copy()
        expected[row] = -2
        np.testing.assert_array_equal(found, expected)

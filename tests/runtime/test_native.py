"""Native plans: kernels and NumPy steps side by side give what NumPy alone gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from martlet.dtypes import DType
from martlet.errors import LimitError
from martlet.graph import Graph, Model, Tensor
from martlet.ops.operator import Spec
from martlet.plan import lowering
from martlet.plan.planner import declared_specs
from martlet.runtime.image import host_image
from martlet.runtime.native import NativePlan
from martlet.runtime.session import Session

pytestmark = pytest.mark.skipif(
    host_image() is None, reason="there is no kernel image for this processor"
)


@pytest.fixture(autouse=True)
def without_cos(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator whose lowering declines whatever it is asked."""
    assert "COS" in lowering.registered()
    monkeypatch.setitem(lowering._LOWER, "COS", lambda _: False)


def both_ways(
    graph: Graph, *inputs: np.ndarray, threads: int = 1
) -> tuple[list[np.ndarray], list[np.ndarray], NativePlan]:
    """(outputs on kernels, outputs of NumPy, the native plan)."""
    model = Model([graph], source="m")
    specs = [
        Spec(graph.tensors[i].dtype, a.shape) for i, a in zip(graph.inputs, inputs, strict=True)
    ]
    native = Session(model, threads=threads)
    plain = Session(model, reference=True)
    plan = native.plan(0, specs)
    laid_out = native.native(plan)
    assert laid_out is not None
    first = [a.copy() for a in native.run(plan, inputs)]
    again = native.run(plan, inputs)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    return first, plain.run(plain.plan(0, specs), inputs), laid_out


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def add_out(graph: Graph, op: str, inputs: list[int], shape: tuple[int, ...]) -> int:
    return graph.add(op, inputs, outputs=[Tensor(op, shape)])


def chain(graph: Graph) -> None:
    x = graph.input("x", (3, 5))
    for op in ("NEG", "ABS", "RELU", "EXP"):
        x = graph.add(op, [x])
    graph.output(x)


def reshaped(graph: Graph) -> None:
    x = graph.add("NEG", [graph.input("x", (3, 5))])
    shape = graph.constant(np.array([5, 3], np.int32))
    y = add_out(graph, "RESHAPE", [x, shape], (5, 3))
    graph.output(graph.add("ABS", [y]), add_out(graph, "RESHAPE", [y, shape], (5, 3)))


def mixed(graph: Graph) -> None:
    # COS has no kernel here: its step runs between two native ones.
    x = graph.add("NEG", [graph.input("x", (3, 5))])
    graph.output(graph.add("ADD", [graph.add("COS", [x]), x]))


def passed_on(graph: Graph) -> None:
    x = graph.input("x", (3, 5))
    graph.output(x, graph.add("NEG", [x]), x)


def branching(graph: Graph) -> None:
    x = graph.input("x", (3, 5))
    parts = [graph.add(op, [x]) for op in ("NEG", "ABS", "RELU", "EXP", "SQUARE")]
    total = parts[0]
    for part in parts[1:]:
        total = graph.add("ADD", [total, part])
    graph.output(total, parts[2])


@pytest.mark.parametrize("make", [chain, reshaped, mixed, passed_on, branching])
@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_give_what_numpy_gives(make: Callable[[Graph], None], threads: int) -> None:
    graph = Graph()
    make(graph)
    native, plain, _ = both_ways(graph, random(3, 5), threads=threads)
    for a, b in zip(native, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_consecutive_kernels_are_one_call() -> None:
    graph = Graph()
    chain(graph)
    assert len(both_ways(graph, random(3, 5))[2].segments) == 1


def test_a_step_without_a_kernel_stands_between_two_calls() -> None:
    graph = Graph()
    mixed(graph)
    segments = both_ways(graph, random(3, 5))[2].segments
    assert [s.step.call.op if s.step else s.count for s in segments] == [1, "COS", 1]


def test_a_shape_that_depends_on_data_leaves_the_rest_native() -> None:
    graph = Graph()
    x = graph.add("NEG", [graph.input("x", (6,))])
    shape = graph.input("shape", (2,), DType.INT32)
    graph.output(graph.add("ABS", [add_out(graph, "RESHAPE", [x, shape], (6,))]))
    native, plain, _ = both_ways(graph, random(6), np.array([2, 3], np.int32))
    np.testing.assert_array_equal(native[0], plain[0])
    assert native[0].shape == (2, 3)


def test_the_arena_is_reused_along_a_chain() -> None:
    graph = Graph()
    x = graph.input("x", (1 << 16,))
    for _ in range(8):
        x = graph.add("NEG", [x])
    graph.output(x)
    arena = both_ways(graph, random(1 << 16))[2].arena_bytes
    assert arena < 4 * (1 << 18)


def test_plans_of_several_shapes_live_side_by_side() -> None:
    graph = Graph()
    x = graph.input("x", (-1, 2))
    graph.output(graph.add("NEG", [x]))
    session = Session(Model([graph]))
    for rows in (1, 4, 2, 4, 1):
        value = random(rows, 2)
        plan = session.plan(0, [Spec(DType.FLOAT32, value.shape)])
        np.testing.assert_array_equal(session.run(plan, [value])[0], -value)
    assert declared_specs(graph)[0].shape == (1, 2)


def test_a_time_limit_is_looked_at_between_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph()
    chain(graph)
    session = Session(Model([graph], source="m"), time_limit=60.0)
    plan = session.plan(0, declared_specs(graph))
    native = session.native(plan)
    assert native is not None
    assert session.one_call(plan) is None
    ran = []

    def late(records: np.ndarray, first: int, count: int) -> None:
        ran.append((first, count))
        session._deadline = 0.0

    monkeypatch.setattr(native.pool, "run", late)
    session.start_clock()
    with pytest.raises(LimitError, match="time_limit="):
        session.run(plan, [random(3, 5)])
    assert ran == [(0, 1)]

"""Outputs that lie where their inputs lay: only where nobody reads those again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from martlet.dtypes import DType
from martlet.graph import Graph, Model, Tensor
from martlet.ops.operator import Spec
from martlet.runtime.image import host_image
from martlet.runtime.native import NativePlan
from martlet.runtime.session import Session

pytestmark = pytest.mark.skipif(
    host_image() is None, reason="there is no kernel image for this processor"
)
SHAPE = (4, 6)
Write = Callable[[Graph, int], list[int]]


def add(graph: Graph, op: str, *inputs: int, shape: tuple[int, ...] = SHAPE) -> int:
    return graph.add(op, list(inputs), outputs=[Tensor(op.lower(), shape)])


def reshape(graph: Graph, x: int, *shape: int) -> int:
    target = graph.constant(np.array(shape, np.int32))
    return add(graph, "RESHAPE", x, target, shape=shape)


def both(write: Write, shape: tuple[int, ...] = SHAPE) -> NativePlan:
    """Run a graph both ways; the outputs must be the same."""
    graph = Graph()
    x = graph.input("x", shape)
    for y in write(graph, x):
        graph.output(y)
    model = Model([graph], source="m")
    native, plain = Session(model), Session(model, reference=True)
    specs = [Spec(DType.FLOAT32, shape)]
    plan = native.plan(0, specs)
    laid_out = native.native(plan)
    assert laid_out is not None
    value = np.random.default_rng(1).uniform(0.5, 1.5, shape).astype(np.float32)
    for _ in range(2):
        found = native.run(plan, [value])
        for a, b in zip(found, plain.run(plain.plan(0, specs), [value]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    return laid_out


def roots(native: NativePlan) -> int:
    """How many places the computed tensors have."""
    plan = native.plan
    return len({native.layout.root(i) for step in plan.steps for i in step.outputs})


def chain(graph: Graph, x: int) -> list[int]:
    for op in ("NEG", "EXP", "ABS", "SQRT"):
        x = add(graph, op, x)
    return [x]


def test_a_chain_stays_in_one_place() -> None:
    assert roots(both(chain)) == 1


def test_what_is_read_again_is_kept() -> None:
    def write(graph: Graph, x: int) -> list[int]:
        a = add(graph, "NEG", x)
        b = add(graph, "EXP", a)
        return [graph.add("ADD", [a, b])]

    assert roots(both(write)) == 2


def test_inputs_and_outputs_of_the_graph_are_kept() -> None:
    def write(graph: Graph, x: int) -> list[int]:
        a = add(graph, "NEG", x)
        return [a, add(graph, "EXP", a), add(graph, "ABS", x)]

    assert roots(both(write)) == 3


def test_both_operands_may_be_one_tensor() -> None:
    def write(graph: Graph, x: int) -> list[int]:
        a = add(graph, "NEG", x)
        return [graph.add("MUL", [a, a])]

    assert roots(both(write)) == 1


def test_an_operand_under_another_name_is_kept() -> None:
    def write(graph: Graph, x: int) -> list[int]:
        a = add(graph, "NEG", reshape(graph, x, 1, 24), shape=(1, 24))
        b = reshape(graph, a, 24, 1)
        c = graph.add("SUB", [a, b])  # (24, 24)
        return [c, graph.add("ADD", [reshape(graph, a, 4, 6), x])]

    both(write)


def test_renamed_tensors_are_followed() -> None:
    def write(graph: Graph, x: int) -> list[int]:
        a = add(graph, "NEG", x)
        b = add(graph, "EXP", reshape(graph, a, 2, 12), shape=(2, 12))
        return [add(graph, "ABS", reshape(graph, b, 4, 6))]

    assert roots(both(write)) == 1


def test_a_renamed_tensor_that_is_read_later_is_kept() -> None:
    def write(graph: Graph, x: int) -> list[int]:
        a = add(graph, "NEG", x)
        b = reshape(graph, a, 2, 12)
        c = add(graph, "EXP", a)
        return [c, add(graph, "ABS", b, shape=(2, 12))]

    assert roots(both(write)) == 2


IMAGE = (1, 12, 12, 24)


def convolve(graph: Graph, x: int, taps: int) -> int:
    channels = IMAGE[-1]
    weights = np.random.default_rng(taps).normal(size=(channels, taps, taps, channels)) / 15
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
    return graph.add(
        "CONV_2D", [x, graph.constant(weights.astype(np.float32))], options,
        options_type="Conv2DOptions", outputs=[Tensor("convolution", IMAGE)],
    )  # fmt: skip


each_window = pytest.mark.parametrize("taps", [1, 3])


@each_window
def test_what_is_added_to_a_convolution_is_overwritten(taps: int) -> None:
    def write(graph: Graph, x: int) -> list[int]:
        a = add(graph, "ABS", x, shape=IMAGE)
        b = convolve(graph, convolve(graph, a, 3), taps)
        c = add(graph, "ADD", b, a, shape=IMAGE)
        return [add(graph, "NEG", convolve(graph, c, 1), shape=IMAGE)]

    laid_out = both(write, IMAGE)
    steps = {step.call.op: step.outputs[0] for step in laid_out.plan.steps}
    root = laid_out.layout.root
    assert root(steps["ADD"]) == root(steps["ABS"])


@each_window
def test_what_is_added_to_a_convolution_and_read_elsewhere_is_kept(taps: int) -> None:
    def again(graph: Graph, x: int) -> list[int]:
        a = add(graph, "ABS", x, shape=IMAGE)
        c = add(graph, "ADD", convolve(graph, convolve(graph, a, 3), taps), a, shape=IMAGE)
        return [add(graph, "SUB", c, a, shape=IMAGE)]

    def by_itself(graph: Graph, x: int) -> list[int]:
        a = add(graph, "ABS", x, shape=IMAGE)
        c = add(graph, "ADD", convolve(graph, a, taps), a, shape=IMAGE)
        return [add(graph, "NEG", convolve(graph, c, 1), shape=IMAGE)]

    for write in (again, by_itself):
        laid_out = both(write, IMAGE)
        steps = {step.call.op: step.outputs[0] for step in laid_out.plan.steps}
        root = laid_out.layout.root
        assert root(steps["ADD"]) != root(steps["ABS"])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_graph_of_elementwise_operators(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    choices = [
        (
            data.draw(st.sampled_from(["NEG", "ABS", "RELU", "ADD", "MUL", "MAXIMUM", "RESHAPE"])),
            data.draw(st.integers(0, i)),
            data.draw(st.integers(0, i)),
        )
        for i in range(count)
    ]
    outputs = data.draw(st.sets(st.integers(1, count), max_size=3)) | {count}

    def write(graph: Graph, x: int) -> list[int]:
        values = [x]
        for op, i, j in choices:
            if op == "RESHAPE":
                values.append(reshape(graph, values[i], *SHAPE))
            elif op in ("NEG", "ABS", "RELU"):
                values.append(add(graph, op, values[i]))
            else:
                values.append(add(graph, op, values[i], values[j]))
        return [values[i] for i in outputs]

    both(write)

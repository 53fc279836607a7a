"""Neighbours that become part of a node, and tensors that lie inside others: same answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from martlet.graph import Graph, Model, Tensor
from martlet.ops.operator import Spec
from martlet.plan.fusion import works
from martlet.runtime.image import host_image
from martlet.runtime.session import Session

CONV = {"padding": "VALID", "stride_w": 1, "stride_h": 1}
POOL = {**CONV, "filter_width": 2, "filter_height": 2}


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def image(graph: Graph, channels: int = 8) -> int:
    return graph.input("x", (1, 9, 11, channels))


def conv(graph: Graph, x: int, channels: int, taps: int = 1, **options: object) -> int:
    filters = graph.constant(weights(channels, taps, taps, graph.tensors[x].shape[-1]))
    bias = graph.constant(weights(channels))
    return graph.add(
        "CONV_2D", [x, filters, bias], {**CONV, "padding": "SAME", **options},
        outputs=[Tensor("conv", (1, 9, 11, channels))],
    )  # fmt: skip


def concat(graph: Graph, *parts: int, axis: int = -1) -> int:
    shape = list(graph.tensors[parts[0]].shape)
    shape[axis] = sum(graph.tensors[part].shape[axis] for part in parts)
    outputs = [Tensor("concat", tuple(shape))]
    return graph.add("CONCATENATION", list(parts), {"axis": axis}, outputs=outputs)


def padded(graph: Graph, x: int) -> int:
    edges = np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32)
    return graph.add("PAD", [x, graph.constant(edges)])


def residual(graph: Graph) -> None:
    x = image(graph)
    y = graph.add("ADD", [conv(graph, x, 8, 3), x], {"fused_activation_function": "RELU"})
    z = conv(graph, y, 8)
    graph.output(graph.add("RELU6", [graph.add("ADD", [y, z])]))


def residuals_on_both_sides(graph: Graph) -> None:
    x = image(graph)
    graph.output(graph.add("ADD", [conv(graph, x, 16), conv(graph, x, 16, 3)]))


def residual_that_broadcasts(graph: Graph) -> None:
    x = image(graph)
    row = graph.add("MAX_POOL_2D", [x], {**POOL, "filter_width": 11, "filter_height": 9})
    graph.output(graph.add("ADD", [conv(graph, x, 8), row]))


def twice_the_same(graph: Graph) -> None:
    y = conv(graph, image(graph), 8)
    graph.output(graph.add("ADD", [y, y]))


def two_readers(graph: Graph) -> None:
    y = conv(graph, image(graph), 8)
    graph.output(graph.add("RELU", [y]), graph.add("NEG", [y]))


def an_output_between(graph: Graph) -> None:
    y = conv(graph, image(graph), 8)
    graph.output(y, graph.add("RELU", [y]))


def pads(graph: Graph) -> None:
    x = padded(graph, image(graph))
    y = conv(graph, x, 8, 3, padding="VALID", stride_h=2, stride_w=2)
    depthwise = graph.constant(weights(1, 3, 3, 8))
    options = {**CONV, "depth_multiplier": 1}
    y = graph.add("DEPTHWISE_CONV_2D", [padded(graph, y), depthwise], options)
    graph.output(graph.add("MAX_POOL_2D", [padded(graph, y)], POOL))


def a_pad_for_two(graph: Graph) -> None:
    x = padded(graph, image(graph))
    graph.output(conv(graph, x, 8, 3), conv(graph, x, 4, 3))


def batch_norm(graph: Graph) -> None:
    x = graph.add("MUL", [image(graph), graph.constant(weights(8))])
    y = graph.add("ADD", [x, graph.constant(weights(8))], {"fused_activation_function": "RELU"})
    graph.output(conv(graph, y, 8))


def concatenation(graph: Graph) -> None:
    x = image(graph)
    pool = graph.add("AVERAGE_POOL_2D", [x], {**POOL, "padding": "SAME"})
    y = concat(graph, conv(graph, x, 5), conv(graph, x, 16, 3), x, pool)
    graph.output(conv(graph, y, 3))


def dense_block(graph: Graph) -> None:
    x = conv(graph, image(graph), 6)
    for _ in range(3):
        y = graph.add("MUL", [x, graph.constant(weights(graph.tensors[x].shape[-1]))])
        x = concat(graph, x, conv(graph, graph.add("RELU", [y]), 4, 3))
    graph.output(graph.add("LOGISTIC", [x]))


def concatenation_of_the_same(graph: Graph) -> None:
    y = conv(graph, image(graph), 8)
    graph.output(concat(graph, y, y))


def concatenated_twice(graph: Graph) -> None:
    x = image(graph)
    y, z = conv(graph, x, 8), conv(graph, x, 4)
    graph.output(concat(graph, y, z), concat(graph, z, y))


def boxes(graph: Graph) -> None:
    x = image(graph)
    parts = []
    for channels in (4, 8):
        y, rows = conv(graph, x, channels), 9 * 11 * channels // 4
        shape = graph.constant(np.array([1, rows, 4], np.int32))
        outputs = [Tensor("rows", (1, rows, 4))]
        parts.append(graph.add("RESHAPE", [y, shape], outputs=outputs))
    graph.output(graph.add("LOGISTIC", [concat(graph, *parts, axis=1)]))


def concatenated_rows(graph: Graph) -> None:
    x = image(graph)
    y = concat(graph, conv(graph, x, 8), conv(graph, x, 8, 3), axis=2)
    graph.output(concat(graph, y, graph.add("NEG", [y]), axis=1))


def split(graph: Graph) -> None:
    y = conv(graph, image(graph), 12)
    axis = graph.constant(np.array(3, np.int32))
    thirds = [Tensor(f"third{i}", (1, 9, 11, 4)) for i in range(3)]
    first = graph.add("SPLIT", [axis, y], {"num_splits": 3}, outputs=thirds)
    total = graph.add("MUL", [first, graph.add("TANH", [first + 1])])
    graph.output(concat(graph, total, graph.add("NEG", [first + 2])))


def products(graph: Graph) -> None:
    x = graph.input("x", (2, 9, 16))

    def times(x: int, *shape: int) -> int:
        outputs = [Tensor("product", (2, 9, shape[-1]))]
        y = graph.constant(weights(*shape))
        return graph.add("BATCH_MATMUL", [x, y], outputs=outputs)

    y = graph.add("ADD", [times(x, 2, 16, 5), graph.constant(weights(5))])
    y = graph.add("RELU", [times(y, 5, 16)])
    y = graph.add("ADD", [x, times(y, 16, 16)], {"fused_activation_function": "RELU6"})
    y = graph.add("RELU", [graph.add("ADD", [y, times(y, 2, 16, 16)])])
    y = graph.add("ADD", [times(y, 16, 7), graph.constant(weights(1, 1, 1))])
    graph.output(graph.add("ADD", [times(y, 7, 8), graph.constant(weights(9, 8))]))


def few_rows(graph: Graph) -> None:
    x, y = graph.input("x", (3, 1, 8)), graph.input("y", (3, 8, 9))
    product = graph.add("BATCH_MATMUL", [x, y], outputs=[Tensor("product", (3, 1, 9))])
    row = graph.constant(weights(9))
    graph.output(graph.add("ADD", [product, row], {"fused_activation_function": "RELU"}))


def concatenated_products(graph: Graph) -> None:
    x, y = graph.input("x", (2, 9, 16)), graph.input("y", (2, 16, 16))

    def times(z: int) -> int:
        return graph.add("BATCH_MATMUL", [z, y], outputs=[Tensor("product", (2, 9, 16))])

    y_of_x = times(x)
    graph.output(concat(graph, graph.add("ADD", [y_of_x, times(graph.add("NEG", [x]))]), y_of_x))


GRAPHS = [
    residual, residuals_on_both_sides, residual_that_broadcasts, twice_the_same, two_readers,
    an_output_between, pads, a_pad_for_two, batch_norm, concatenation, dense_block,
    concatenation_of_the_same, concatenated_twice, boxes, concatenated_rows, split, products,
    few_rows, concatenated_products,
]  # fmt: skip


def session_of(make: Callable[[Graph], None], **options: bool) -> tuple[Session, list[Spec]]:
    graph = Graph()
    make(graph)
    tensors = [graph.tensors[i] for i in graph.inputs]
    return Session(Model([graph]), **options), [Spec(t.dtype, t.shape) for t in tensors]


@pytest.mark.skipif(host_image() is None, reason="there is no kernel image for this processor")
@pytest.mark.parametrize("make", GRAPHS)
def test_answers_are_those_of_the_nodes_one_by_one(make: Callable[[Graph], None]) -> None:
    fast, specs = session_of(make)
    plain, _ = session_of(make, reference=True)
    values = [weights(*(spec.shape or ())) for spec in specs]
    expected = plain.run(plain.plan(0, specs), values)
    plan = fast.plan(0, specs)
    for _ in range(2):
        for a, b in zip(fast.run(plan, values), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(np.abs(b).max()))


WORKS = {
    "residual": ["CONV_2D ADD", "CONV_2D ADD RELU6"],
    "residuals_on_both_sides": ["CONV_2D", "CONV_2D ADD"],
    "residual_that_broadcasts": ["MAX_POOL_2D", "CONV_2D", "ADD"],
    "twice_the_same": ["CONV_2D", "ADD"],
    "two_readers": ["CONV_2D", "RELU", "NEG"],
    "an_output_between": ["CONV_2D", "RELU"],
    "pads": ["PAD CONV_2D", "PAD DEPTHWISE_CONV_2D", "PAD", "MAX_POOL_2D"],
    "a_pad_for_two": ["PAD", "CONV_2D", "CONV_2D"],
    "batch_norm": ["MUL ADD", "CONV_2D"],
    "products": [
        "BATCH_MATMUL ADD",
        "BATCH_MATMUL RELU",
        "BATCH_MATMUL ADD",
        "BATCH_MATMUL ADD RELU",
        "BATCH_MATMUL ADD",
        "BATCH_MATMUL ADD",  # of more than one row, so that it has no kernel
    ],
}


@pytest.mark.parametrize("name", WORKS)
def test_which_neighbours_become_part_of_a_node(name: str) -> None:
    session, specs = session_of(next(make for make in GRAPHS if make.__name__ == name))
    found = works(session.plan(0, specs))
    texts = [" ".join(step.call.op for step in work.steps) for work in found]
    assert sorted(texts) == sorted(WORKS[name])


COPIES = {
    "concatenation": 1,  # of the input
    "dense_block": 0,
    "concatenation_of_the_same": 2,
    "concatenated_twice": 2,
    "boxes": 0,
    "concatenated_rows": 2,  # along the width; along the height nothing
    "split": 0,
}


@pytest.mark.skipif(host_image() is None, reason="there is no kernel image for this processor")
@pytest.mark.parametrize("name", COPIES)
def test_how_much_is_copied(name: str) -> None:
    session, specs = session_of(next(make for make in GRAPHS if make.__name__ == name))
    native = session.native(session.plan(0, specs))
    assert native is not None
    assert all(segment.step is None for segment in native.segments)
    assert sum(step.kernel.startswith("copy") for step in native.steps) == COPIES[name]

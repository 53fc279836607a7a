"""Float16 weights behind DEQUANTIZE: as if they were float32, and never held as such."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from build import Value, const, one_node, run_model
from lstm_models import float_cell, norms
from martlet.dtypes import DType
from martlet.graph import ABSENT, Graph, Model, Tensor
from martlet.ops.operator import constant_value
from martlet.plan.planner import declared_specs
from martlet.runtime.session import Session
from recurrent_models import floats, state
from recurrent_models import model as recurrent_model

SAME = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
VALID2 = {"padding": "VALID", "stride_h": 2, "stride_w": 2}
DEEP = {"padding": "VALID", "stride_d": 1, "stride_h": 1, "stride_w": 1}
# Operator, shapes of image and weights, options.
CASES: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("CONV_2D", (1, 5, 5, 7), (9, 1, 1, 7), SAME),
    ("CONV_2D", (1, 24, 24, 128), (256, 1, 1, 128), SAME),
    ("CONV_2D", (1, 20, 20, 32), (40, 3, 3, 32), SAME),
    ("CONV_2D", (1, 12, 9, 16), (16, 1, 7, 16), SAME),
    ("CONV_2D", (1, 23, 23, 3), (13, 3, 3, 3), VALID2),
    ("CONV_2D", (1, 9, 9, 4), (6, 3, 2, 4), VALID2),
    ("CONV_2D", (1, 6, 6, 8), (6, 2, 2, 4), SAME),
    ("DEPTHWISE_CONV_2D", (1, 14, 14, 24), (1, 3, 3, 24), {**SAME, "depth_multiplier": 1}),
    ("DEPTHWISE_CONV_2D", (1, 9, 9, 6), (1, 4, 2, 6), {**SAME, "depth_multiplier": 1}),
    ("FULLY_CONNECTED", (1, 37), (21, 37), {}),
    ("FULLY_CONNECTED", (40, 64), (70, 64), {}),
    ("BATCH_MATMUL", (2, 7, 12), (2, 12, 19), {}),
    ("BATCH_MATMUL", (2, 1, 12), (2, 19, 12), {"adj_y": True}),
    ("CONV_3D", (1, 4, 5, 5, 6), (2, 3, 3, 6, 10), DEEP),
]


def model_of(
    op: str, image: Sequence[int], weights: np.ndarray, bias: int | None, options: Any, narrow: bool
) -> Model:
    """The operator with weights of these values, in float16 or in float32."""
    graph = Graph()
    inputs = [graph.input("x", tuple(image))]
    constants = [weights, *([weights.ravel()[:bias]] if bias else [])]
    for number, array in enumerate(constants):
        stored = graph.constant(array if narrow else array.astype(np.float32), f"w{number}")
        if narrow:
            wide = Tensor(f"d{number}", array.shape, DType.FLOAT32)
            stored = graph.add("DEQUANTIZE", [stored], outputs=[wide])
        inputs.append(stored)
    graph.output(graph.add(op, inputs, options))
    return Model([graph], source="test")


@pytest.mark.parametrize(("op", "image", "shape", "options"), CASES)
@pytest.mark.parametrize("reference", [True, False])
def test_results_are_those_of_float32(
    op: str, image: tuple[int, ...], shape: tuple[int, ...], options: Any, reference: bool
) -> None:
    random = np.random.default_rng(7)
    weights = (random.normal(size=shape) / 16).astype(np.float16)
    x = random.normal(size=image).astype(np.float32)
    bias = {"CONV_2D": shape[0], "DEPTHWISE_CONV_2D": shape[-1], "CONV_3D": shape[-1]}.get(op)
    wide, narrow = (model_of(op, image, weights, bias, options, n) for n in (False, True))
    (expected,) = run_model(wide, [x], reference=reference)
    running = Session(narrow, reference=reference)
    plan = running.plan(0, declared_specs(narrow.main))
    np.testing.assert_array_equal(running.run(plan, [x])[0], expected)
    assert plan.held_bytes == 0
    assert all(value.dtype == np.float16 for value in plan.values.values())
    native = running.native(plan)
    if native is not None:
        assert [segment.step for segment in native.segments] == [None]


def narrowed(model: Model) -> Model:
    """Constants of a model's node are stored in float16."""
    graph, node = model.main, model.main.nodes[-1]
    for n, i in enumerate(node.inputs):
        if i != ABSENT and graph.tensors[i].is_constant and graph.tensors[i].dtype is DType.FLOAT32:
            value = constant_value(graph.tensors[i], "test")
            stored = graph.constant(value.astype(np.float16), f"w{n}")
            node.inputs[n] = graph.add(
                "DEQUANTIZE", [stored], outputs=[Tensor(f"d{n}", value.shape)]
            )
    graph.nodes.sort(key=lambda other: other is node)
    return model


def transposed(op: str, weights: np.ndarray) -> tuple[Model, list[np.ndarray]]:
    """Weights (output channels, height, width, depth), for 3-D over two slices."""
    rng = np.random.default_rng(2)
    bias, outputs = const(floats(rng, (5,))), [Tensor("y", dtype=DType.FLOAT32)]
    image = Value(floats(rng, (1, 4, 4, 4)))
    options = {"padding": "SAME", "stride_h": 2, "stride_w": 2}
    if op == "TRANSPOSE_CONV":
        shape = const(np.array([1, 8, 8, 5], np.int32))
        return one_node(op, [shape, const(weights), image, bias], options, outputs)
    if op == "CONV_3D_TRANSPOSE":
        volume = Value(floats(rng, (1, 3, 4, 4, 4)))
        filters = np.stack([weights, -weights]).transpose(0, 2, 3, 1, 4).copy()
        inputs = [const(np.array([1, 6, 8, 8, 5], np.int32)), const(filters), volume, bias]
        return one_node(op, inputs, {**options, "stride_d": 2}, outputs)
    raw = np.frombuffer(np.array([1, 2, 2], "<i4").tobytes(), np.uint8)
    inputs = [image, const(weights), bias]
    return one_node(op, inputs, None, outputs, custom=True, custom_options=raw)


@pytest.mark.parametrize(
    "op", ["TRANSPOSE_CONV", "CONV_3D_TRANSPOSE", "Convolution2DTransposeBias"]
)
def test_transposed_convolutions_read_them(op: str) -> None:
    weights = np.random.default_rng(1).normal(size=(5, 3, 3, 4)).astype(np.float16)
    model, arrays = transposed(op, weights.astype(np.float32))
    running = Session(narrowed(model))
    plan = running.plan(0, declared_specs(model.main))
    assert plan.held_bytes == 0
    (found,) = running.run(plan, arrays)
    (expected,) = run_model(model, arrays, reference=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    native = running.native(plan)
    if native is not None:
        assert [segment.step for segment in native.segments] == [None]


def recurrent(name: str) -> tuple[Model, list[np.ndarray]]:
    rng = np.random.default_rng(3)
    x, tanh = Value(floats(rng, (2, 3, 5))), {"fused_activation_function": "TANH"}
    if name == "LSTM":
        states = [state((2, 4)), state((2, 7))]
        cell = float_cell(rng, 5, 7, 4, peephole=True, projection=True, bias=True)
        inputs = [x, *cell, *states, *norms(rng, 7, False)]
        return recurrent_model("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, tanh)
    if name == "SVDF":
        inputs = [Value(floats(rng, (2, 5))), *(const(floats(rng, s)) for s in ((6, 5), (6, 4), 3))]
        return recurrent_model("SVDF", [*inputs, state((2, 24))], {"rank": 2})
    if name == "GRU":
        inputs = [Value(floats(rng, (3, 2, 5))), Value(floats(rng, (2, 4)))]
        inputs += [const(floats(rng, s)) for s in ((8, 9), 8, (4, 9), 4)]
        outputs = [DType.FLOAT32] * 2
        return recurrent_model("UNIDIRECTIONAL_SEQUENCE_GRU", inputs, None, outputs, custom=True)
    inputs = [x, *(const(floats(rng, s)) for s in ((6, 5), (6, 6), 6)), state((2, 6))]
    return recurrent_model("UNIDIRECTIONAL_SEQUENCE_RNN", inputs, tanh)


@pytest.mark.parametrize("name", ["RNN", "SVDF", "LSTM", "GRU"])
def test_cells_read_them(name: str) -> None:
    built, arrays = recurrent(name)
    model, answers = narrowed(built), []
    for reference in (True, False):
        running = Session(model, reference=reference)
        plan = running.plan(0, declared_specs(model.main))
        assert plan.held_bytes == 0
        known = [plan.values[i] for i in model.main.nodes[-1].inputs if i in plan.values]
        assert all(value.dtype == np.float16 for value in known)
        answers.append([y.copy() for _ in range(2) for y in running.run(plan, arrays)])
        native = running.native(plan)
        if native is not None:
            assert [segment.step for segment in native.segments] == [None]
    for expected, found in zip(*answers, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["GATHER", "GATHER in batches", "EMBEDDING_LOOKUP"])
@pytest.mark.parametrize("inner", [(1,), (7,), (4, 8)])
def test_rows_of_tables_are_widened(op: str, inner: tuple[int, ...]) -> None:
    outer = (2, 3) if op == "GATHER in batches" else ()
    table = np.random.default_rng(4).normal(size=(*outer, 9, *inner)).astype(np.float32)
    ids = np.array([3, 0, 8, 8, 1], np.int32)
    inputs: list[Any] = [const(table), Value(ids)]
    options = {"axis": 2, "batch_dims": 1} if outer else {}
    if outer:
        inputs[1] = Value(np.stack([ids, ids[::-1]]))
    elif op == "EMBEDDING_LOOKUP":
        inputs.reverse()
    outputs = [Tensor("y", dtype=DType.FLOAT32)]
    model, arrays = one_node(op.split()[0], inputs, options, outputs)
    for reference in (True, False):
        running = Session(narrowed(model), reference=reference)
        plan = running.plan(0, declared_specs(model.main))
        assert plan.held_bytes == 0
        (found,) = running.run(plan, arrays)
        wide = table.astype(np.float16).astype(np.float32)
        halves = [wide[0][:, ids], wide[1][:, ids[::-1]]] if outer else []
        expected = np.stack(halves) if outer else wide[ids]
        np.testing.assert_array_equal(found, expected)
        native = running.native(plan)
        if native is not None:
            assert [segment.step for segment in native.segments] == [None]


def test_what_others_read_is_expanded_once() -> None:
    graph = Graph()
    half = graph.constant(np.ones((3, 3), np.float16))
    wide = graph.add("DEQUANTIZE", [half], outputs=[Tensor("d", (3, 3))])
    x = graph.input("x", (3, 3))
    dense = graph.add("FULLY_CONNECTED", [x, wide])
    graph.output(graph.add("ADD", [dense, wide]), wide)
    model = Model([graph], source="test")
    plan = Session(model).plan(0, declared_specs(graph))
    assert plan.values[wide].dtype == np.float32
    assert plan.held_bytes == 36
    for array in run_model(model, [np.ones((3, 3), np.float32)], reference=False):
        assert array.dtype == np.float32


def test_tensors_that_are_kept_are_float32() -> None:
    model = model_of("FULLY_CONNECTED", (1, 4), np.ones((2, 4), np.float16), None, {}, narrow=True)
    running = Session(model, keep_all=True)
    running.run(running.plan(0, declared_specs(model.main)), [np.ones((1, 4), np.float32)])
    assert running.kept is not None
    assert running.kept[0][model.main.nodes[0].outputs[0]].dtype == np.float32

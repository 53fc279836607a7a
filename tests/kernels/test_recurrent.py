"""RNN cells and SVDF on kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import Value, const
from martlet.dtypes import DType
from martlet.graph import Model
from martlet.kernels.targets import Target
from martlet.runtime.interpreter import Interpreter
from martlet.schema.writer import write
from native import targets
from recurrent_models import floats, model, state
from recurrent_node import check, is_lowered

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
activations = pytest.mark.parametrize(
    "activation", ["TANH", "NONE", "RELU", "RELU6", "RELU_N1_TO_1"]
)
Built = tuple[Model, list[np.ndarray]]


def cell(rng: np.random.Generator, features: int, units: int, batch: int) -> list[Value]:
    return [
        const(floats(rng, (units, features))), const(floats(rng, (units, units))),
        const(floats(rng, (units,))), state((batch, units)),
    ]  # fmt: skip


def rnn(
    shape: tuple[int, ...], units: int, activation: str = "TANH", time_major: bool = False
) -> Built:
    rng = np.random.default_rng(units)
    options: dict[str, Any] = {"fused_activation_function": activation}
    batch = shape[0]
    if len(shape) == 3:
        options["time_major"] = time_major
        batch = shape[1] if time_major else batch
    op = "RNN" if len(shape) == 2 else "UNIDIRECTIONAL_SEQUENCE_RNN"
    return model(op, [Value(floats(rng, shape)), *cell(rng, shape[-1], units, batch)], options)


def svdf(
    batch: int, size: int, units: int, rank: int, memory: int, activation: str = "NONE",
    bias: bool = True,
) -> Built:  # fmt: skip
    rng = np.random.default_rng(units)
    inputs = [
        Value(floats(rng, (batch, size))), const(floats(rng, (units * rank, size))),
        const(floats(rng, (units * rank, memory))), const(floats(rng, (units,))) if bias else None,
        state((batch, units * rank * memory)),
    ]  # fmt: skip
    return model("SVDF", inputs, {"rank": rank, "fused_activation_function": activation})


def twice(target: Target, built: Built, split: int | None = None) -> None:
    """Two runs from the states that the first left."""
    node, arrays = built
    check(target, node, [arrays, [a[::-1].copy() for a in arrays]], split)


@each
@activations
def test_one_moment(target: Target, activation: str) -> None:
    for batch in (1, 3):
        twice(target, rnn((batch, 5), 7, activation))


@each
@pytest.mark.parametrize("time_major", [False, True])
def test_sequences(target: Target, time_major: bool) -> None:
    for shape in ((1, 4, 5), (4, 1, 5), (3, 2, 4)):
        for units in (1, 8, 19):
            twice(target, rnn(shape, units, time_major=time_major))
        twice(target, rnn(shape, 7, "RELU", time_major), split=2)


@each
@activations
@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("time_major", [False, True])
def test_both_directions(target: Target, time_major: bool, merge: bool, activation: str) -> None:
    rng = np.random.default_rng(0)
    batch = 3 if time_major else 2
    inputs = [
        Value(floats(rng, (2, 3, 5))), *cell(rng, 5, 6, batch), *cell(rng, 5, 7, batch),
        None, None, None,
    ]  # fmt: skip
    options = {
        "time_major": time_major, "merge_outputs": merge, "fused_activation_function": activation
    }  # fmt: skip
    outputs = [DType.FLOAT32] * (1 if merge else 2)
    twice(target, model("BIDIRECTIONAL_SEQUENCE_RNN", inputs, options, outputs))


@each
@pytest.mark.parametrize("memory", [1, 2, 8, 9, 17, 40])
def test_svdf(target: Target, memory: int) -> None:
    for batch, size, units, rank in ((1, 5, 4, 1), (2, 3, 3, 2), (1, 1, 1, 5)):
        twice(target, svdf(batch, size, units, rank, memory))
    twice(target, svdf(2, 3, 3, 2, memory, bias=False), split=1)


@each
@activations
def test_activations_of_svdf(target: Target, activation: str) -> None:
    twice(target, svdf(2, 4, 5, 2, 6, activation))


@each
def test_nothing_at_all(target: Target) -> None:
    twice(target, rnn((2, 0, 5), 6))
    twice(target, rnn((0, 3, 5), 6))
    twice(target, svdf(0, 3, 3, 2, 4))


def test_what_is_left_to_numpy() -> None:
    assert not is_lowered(*rnn((2, 3, 5), 6, "SIGN_BIT"))
    assert not is_lowered(*rnn((2, 3, 0), 6))
    assert not is_lowered(*svdf(1, 3, 3, 2, 4, "SIGN_BIT"))
    rng = np.random.default_rng(0)
    x, weights = Value(floats(rng, (1, 5))), Value(floats(rng, (6, 5)))
    assert not is_lowered(*model("RNN", [x, weights, *cell(rng, 5, 6, 1)[1:]]))


def gru(time: int, batch: int, size: int, units: int) -> Built:
    rng = np.random.default_rng(units)
    inputs = [
        Value(floats(rng, (time, batch, size))), Value(floats(rng, (batch, units))),
        const(floats(rng, (2 * units, size + units))), const(floats(rng, (2 * units,))),
        const(floats(rng, (units, size + units))), const(floats(rng, (units,))),
    ]  # fmt: skip
    types = [DType.FLOAT32] * 2
    return model("UNIDIRECTIONAL_SEQUENCE_GRU", inputs, None, types, custom=True)


@each
def test_gated_units(target: Target) -> None:
    for units in (1, 7, 16, 35):
        for time, batch, size in ((1, 1, 3), (4, 1, 5), (3, 5, 9), (0, 2, 3), (2, 0, 3)):
            node, arrays = gru(time, batch, size, units)
            check(target, node, [arrays])
        check(target, *twice_as(gru(3, 4, 5, units)), split=1)


def twice_as(built: Built) -> tuple[Model, list[list[np.ndarray]]]:
    node, arrays = built
    return node, [arrays, [a[::-1].copy() for a in arrays]]


def test_an_operator_of_the_caller_runs_instead_of_kernels() -> None:
    node, arrays = gru(2, 1, 3, 4)
    content = bytes(write(node))
    mine = {"UNIDIRECTIONAL_SEQUENCE_GRU": lambda x, h, *_: (np.ones((2, 1, 4), "f4"), h)}
    answers = []
    for operators in (None, mine):
        interpreter = Interpreter(model_content=content, custom_ops=operators)
        interpreter.allocate_tensors()
        for details, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(details["index"], array)
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    assert not np.allclose(answers[0], 1)
    np.testing.assert_array_equal(answers[1], np.ones((2, 1, 4)))

"""Sequences through LSTM cells, in one direction and in two; what LSTM operators refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import Value, const
from lstm_models import float_cell, norms
from martlet.dtypes import DType
from martlet.errors import ModelError
from recurrent_models import assert_as_litert, floats, martlet, model, state, weights

TANH = {"fused_activation_function": "TANH"}
B, T, F, N = 2, 3, 5, 4


def sequence(time_major: bool) -> tuple[int, int, int]:
    return (T, B, F) if time_major else (B, T, F)


def forward_inputs(x: np.ndarray, rng: np.random.Generator, **cell: Any) -> list[Any]:
    norm = norms(rng, N, cell.get("cifg", False))
    return [Value(x), *float_cell(rng, F, N, N, **cell), state((B, N)), state((B, N)), *norm]


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("cifg", [False, True])
def test_sequences_are_litert_s(time_major: bool, kind: str, cifg: bool) -> None:
    rng = np.random.default_rng(1)
    x = floats(rng, sequence(time_major))
    built, arrays = model(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        forward_inputs(x, rng, kind=kind, cifg=cifg, peephole=True),
        TANH | {"time_major": time_major, "cell_clip": 0.5},
    )
    assert_as_litert(built, [arrays, arrays])


def test_a_sequence_is_as_many_single_steps() -> None:
    rng = np.random.default_rng(2)
    x = floats(rng, (T, B, F))
    inputs = forward_inputs(x, rng)
    whole, arrays = model("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, TANH | {"time_major": True})
    single, _ = model("LSTM", [Value(x[0]), *inputs[1:]], TANH)
    steps = [run[0] for run in martlet(single, [[x[t]] for t in range(T)])]
    np.testing.assert_allclose(martlet(whole, [arrays])[0][0], steps, atol=1e-6)


def test_a_sequence_of_no_moments_leaves_the_states() -> None:
    rng = np.random.default_rng(2)
    x = np.zeros((B, 0, F), np.float32)
    built, arrays = model("UNIDIRECTIONAL_SEQUENCE_LSTM", forward_inputs(x, rng), TANH)
    assert martlet(built, [arrays])[0][0].shape == (B, 0, N)


def two_way_inputs(
    rng: np.random.Generator, time_major: bool, kind: str, auxiliary: str, batch: int = B
) -> list[Any]:
    shape = (T, batch, F) if time_major else (batch, T, F)
    width = 7 if auxiliary == "weighted" else F
    states = [state((batch, N)) for _ in range(4)]
    weighted = auxiliary == "weighted"
    return [
        Value(floats(rng, shape)),
        *float_cell(rng, F, N, N, kind),
        *float_cell(rng, F, N, N, kind),
        *states,
        None if auxiliary == "none" else Value(floats(rng, (*shape[:2], width))),
        *[weights(rng, (N, width), kind) if weighted else None for _ in range(8)],
    ]


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("auxiliary", ["none", "second cell's input", "weighted"])
def test_two_directions_are_litert_s(time_major: bool, kind: str, auxiliary: str) -> None:
    rng = np.random.default_rng(8)
    for merge in (False, True):
        # LiteRT writes beside the states of a merged batch that is not time-major.
        batch = 1 if merge and not time_major else B
        built, arrays = model(
            "BIDIRECTIONAL_SEQUENCE_LSTM",
            two_way_inputs(rng, time_major, kind, auxiliary, batch),
            TANH | {"time_major": time_major, "merge_outputs": merge},
            outputs=[DType.FLOAT32] * (1 if merge else 2),
        )
        assert_as_litert(built, [arrays, arrays])


def test_the_second_direction_reads_the_reversed_sequence() -> None:
    rng = np.random.default_rng(9)
    inputs = two_way_inputs(rng, True, "float32", "none")
    inputs[18:35] = inputs[1:18]
    built, arrays = model("BIDIRECTIONAL_SEQUENCE_LSTM", inputs, TANH, outputs=[DType.FLOAT32] * 2)
    forward, backward = martlet(built, [arrays])[0]
    turned = martlet(built, [[arrays[0][::-1].copy()]])[0]
    np.testing.assert_allclose(backward, turned[0][::-1], atol=1e-6)
    np.testing.assert_allclose(forward, turned[1][::-1], atol=1e-6)


@pytest.mark.parametrize(
    ("position", "replacement", "message"),
    [
        (2, const(np.zeros((N, F + 1), np.float32)), "forget gate weights"),
        (3, const(np.zeros((N, F), np.int32)), "input 3"),
        (4, const(np.zeros((N,), np.float32)), "number of dimensions"),
        (5, None, "input 5 is missing"),
        (8, const(np.zeros((N, 0), np.float32)), "the cell is empty"),
        (9, const(np.zeros(N, np.float32)), "peephole weights must be there for all gates"),
        (12, None, "input 12 is missing"),
        (13, const(np.zeros(N + 1, np.float32)), "forget gate bias"),
        (17, const(np.zeros(N, np.float32)), "projection bias but no projection"),
        (18, const(np.zeros((B, N), np.float32)), "cannot be written"),
        (19, state((B, N + 1)), "cell state, input 19"),
        (20, None, "layer norm weights must be there for all gates"),
    ],
)
def test_what_does_not_fit_is_named(position: int, replacement: Any, message: str) -> None:
    rng = np.random.default_rng(0)
    inputs = forward_inputs(floats(rng, (B, T, F)), rng)
    inputs[position] = replacement
    built, arrays = model("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, TANH)
    with pytest.raises(ModelError, match=message):
        martlet(built, [arrays])


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("fused_activation_function", 77, "the activation is unknown"),
        ("cell_clip", -1.0, "cell_clip must not be negative"),
        ("proj_clip", float("nan"), "proj_clip must not be negative"),
        ("kernel_type", 9, "the kernel is unknown"),
    ],
)
def test_options_that_mean_nothing_are_named(option: str, value: Any, message: str) -> None:
    rng = np.random.default_rng(0)
    inputs = forward_inputs(floats(rng, (B, F)), rng)
    built, arrays = model("LSTM", inputs, TANH | {option: value})
    with pytest.raises(ModelError, match=message):
        martlet(built, [arrays])


def test_the_number_of_inputs_is_that_of_the_kernel() -> None:
    rng = np.random.default_rng(0)
    inputs = forward_inputs(floats(rng, (B, F)), rng)
    built, arrays = model("LSTM", inputs[:21], TANH)
    with pytest.raises(ModelError, match="wrong number of inputs.*20 or 24"):
        martlet(built, [arrays])

"""RNN and its sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import Value, const
from martlet.dtypes import DType
from martlet.errors import ModelError, UnsupportedError
from martlet.ops.recurrent import ACTIVATIONS
from recurrent_models import assert_as_litert, floats, martlet, model, state, weights

TANH = {"fused_activation_function": "TANH"}
B, T, F, N = 2, 4, 5, 6
KINDS = [("float32", False), ("int8", False), ("int8", True), ("uint8", True)]


def cell(rng: np.random.Generator, kind: str, units: int = N) -> list[Value]:
    return [
        weights(rng, (units, F), kind),
        weights(rng, (units, units), kind, 0.3),
        const(floats(rng, (units,))),
        state((B, units)),
    ]


def test_one_step_by_hand() -> None:
    inputs = [
        np.array([[1.0, 2.0]], np.float32),
        const(np.array([[3.0, -1.0]], np.float32)),
        const(np.array([[10.0]], np.float32)),
        const(np.array([0.5], np.float32)),
        state((1, 1)),
    ]
    built, arrays = model("RNN", inputs, {"fused_activation_function": "NONE"})
    first, second = martlet(built, [arrays, arrays])
    assert first[0].tolist() == [[1.5]]
    assert second[0].tolist() == [[16.5]]


@pytest.mark.parametrize(("kind", "asymmetric"), KINDS)
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_steps_are_litert_s(kind: str, asymmetric: bool, activation: str) -> None:
    rng = np.random.default_rng(1)
    inputs = [Value(floats(rng, (B, F))), *cell(rng, kind)]
    options = {"fused_activation_function": activation, "asymmetric_quantize_inputs": asymmetric}
    built, arrays = model("RNN", inputs, options)
    assert_as_litert(built, [arrays, [floats(rng, (B, F))]])


@pytest.mark.parametrize(("kind", "asymmetric"), KINDS)
@pytest.mark.parametrize("time_major", [False, True])
def test_sequences_are_litert_s(kind: str, asymmetric: bool, time_major: bool) -> None:
    rng = np.random.default_rng(2)
    x = floats(rng, (T, B, F) if time_major else (B, T, F))
    options = TANH | {"asymmetric_quantize_inputs": asymmetric, "time_major": time_major}
    built, arrays = model("UNIDIRECTIONAL_SEQUENCE_RNN", [Value(x), *cell(rng, kind)], options)
    assert_as_litert(built, [arrays, arrays])


def two_ways(
    rng: np.random.Generator, kind: str, time_major: bool, width: int | None, weighted: bool
) -> list[Any]:
    shape = (T, B, F) if time_major else (B, T, F)
    auxiliary = None if width is None else Value(floats(rng, (*shape[:2], width)))
    sizes = [(n, width or 0) for n in (N, N + 1)]
    return [
        Value(floats(rng, shape)), *cell(rng, kind), *cell(rng, kind, N + 1), auxiliary,
        *[weights(rng, size, kind) if weighted else None for size in sizes],
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "asymmetric"), [("float32", False), ("int8", True)])
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize(("width", "weighted"), [(None, False), (F, False), (F, True), (8, True)])
def test_two_directions_are_litert_s(
    kind: str, asymmetric: bool, time_major: bool, width: int | None, weighted: bool
) -> None:
    rng = np.random.default_rng(3)
    for merge in (False, True):
        options = TANH | {
            "asymmetric_quantize_inputs": asymmetric,
            "time_major": time_major,
            "merge_outputs": merge,
        }
        inputs = two_ways(rng, kind, time_major, width, weighted)
        outputs = [DType.FLOAT32] * (1 if merge else 2)
        built, arrays = model("BIDIRECTIONAL_SEQUENCE_RNN", inputs, options, outputs)
        assert_as_litert(built, [arrays, arrays])


@pytest.mark.parametrize(
    ("position", "replacement", "message"),
    [
        (0, np.zeros((B, F), np.int32), "input 0"),
        (1, const(np.zeros((N, F + 1), np.float32)), "input weights"),
        (2, const(np.zeros((N, N), np.int8)), "input 2"),
        (3, const(np.zeros(N + 1, np.float32)), "bias"),
        (4, np.zeros((B, N), np.float32), "state, input 4 .* cannot be written"),
    ],
)
def test_what_does_not_fit_is_named(position: int, replacement: Any, message: str) -> None:
    rng = np.random.default_rng(0)
    inputs = [Value(floats(rng, (B, F))), *cell(rng, "float32")]
    inputs[position] = replacement
    built, arrays = model("RNN", inputs, TANH)
    with pytest.raises(ModelError, match=message):
        martlet(built, [arrays])


def test_auxiliary_inputs_and_weights_go_together() -> None:
    rng = np.random.default_rng(0)
    op, options, outputs = (
        "BIDIRECTIONAL_SEQUENCE_RNN", TANH | {"time_major": True}, [DType.FLOAT32] * 2,
    )  # fmt: skip
    inputs = two_ways(rng, "float32", True, F, True)
    for left_out, message in ((9, "no auxiliary input"), (11, "for both directions or for none")):
        some = [None if i == left_out else v for i, v in enumerate(inputs)]
        built, arrays = model(op, some, options, outputs)
        with pytest.raises(ModelError, match=message):
            martlet(built, [arrays])
    built, arrays = model(op, two_ways(rng, "float32", True, F - 1, True), options, outputs)
    with pytest.raises(UnsupportedError, match="narrower than the input"):
        martlet(built, [arrays])

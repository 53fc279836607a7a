"""SVDF: float, hybrid, and int8 with two kinds of state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import Value, const
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Model, Quantization, Tensor
from recurrent_models import assert_as_litert, floats, martlet, model, state, weights

B, F, FILTERS, MEMORY = 2, 5, 6, 4


def test_each_filter_weighs_its_own_past() -> None:
    inputs = [
        np.array([[1.0]], np.float32),
        const(np.array([[1.0], [10.0]], np.float32)),
        const(np.array([[0.5, 1.0], [3.0, 1.0]], np.float32)),
        const(np.array([100.0], np.float32)),
        state((1, 4)),
    ]
    built, _ = model("SVDF", inputs, {"rank": 2, "fused_activation_function": "NONE"})
    runs = [[np.array([[x]], np.float32)] for x in (1.0, 2.0)]
    first, second = martlet(built, runs)
    assert first[0].tolist() == [[111.0]]
    assert second[0].tolist() == [[100 + (2 + 0.5) + (20 + 30)]]


@pytest.mark.parametrize(("kind", "asymmetric"), [("float32", False), ("int8", False),
                                                  ("int8", True), ("uint8", True)])  # fmt: skip
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_floats_are_litert_s(kind: str, asymmetric: bool, rank: int) -> None:
    rng = np.random.default_rng(1)
    for activation, biased in (("RELU", True), ("NONE", False), ("TANH", True)):
        inputs = [
            Value(floats(rng, (B, F))),
            weights(rng, (FILTERS, F), kind),
            weights(rng, (FILTERS, MEMORY), kind),
            const(floats(rng, (FILTERS // rank,))) if biased else None,
            state((B, FILTERS * MEMORY)),
        ]
        options = {
            "rank": rank,
            "fused_activation_function": activation,
            "asymmetric_quantize_inputs": asymmetric,
        }
        built, _ = model("SVDF", inputs, options)
        assert_as_litert(built, [[floats(rng, (B, F))] for _ in range(6)])


def integer(
    rng: np.random.Generator, stored: Any, memory: int, rank: int, zero: int = 0, **changes: Any
) -> tuple[Model, list[list[np.ndarray]]]:
    """An int8 SVDF with time weights and state of the type `stored`."""
    runs = [[rng.integers(-128, 128, (B, F)).astype(np.int8)] for _ in range(2 * memory)]
    top = np.iinfo(stored).max
    time_scale, state_scale = (1e-5, 2e-3) if stored == np.int16 else (4e-3, 0.3)
    inputs = [
        Value(runs[0][0], quantization=Quantization.of(0.02, 7)),
        const(rng.integers(-127, 128, (FILTERS, F)).astype(np.int8), q=Quantization.of(0.01)),
        const(
            rng.integers(-top, top, (FILTERS, memory)).astype(stored),
            q=Quantization.of(time_scale),
        ),
        const(rng.integers(-20, 20, FILTERS // rank).astype(np.int32) * 50,
              q=Quantization.of(time_scale * state_scale)),
        state((B, FILTERS * memory), stored, Quantization.of(state_scale, zero)),
    ]  # fmt: skip
    options = {"rank": rank, "fused_activation_function": "RELU"} | changes
    output = Tensor("output", dtype=DType.INT8, quantization=Quantization.of(0.05, -128))
    return model("SVDF", inputs, options, [output])[0], runs


@pytest.mark.parametrize("memory", [1, 4, 19])
@pytest.mark.parametrize("rank", [1, 2])
def test_int8_with_a_16_bit_state_is_litert_s_to_the_bit(memory: int, rank: int) -> None:
    built, runs = integer(np.random.default_rng(2), np.int16, memory, rank)
    assert_as_litert(built, runs)


def test_an_int8_state_starts_at_its_zero_point() -> None:
    built, runs = integer(np.random.default_rng(3), np.int8, 3, 1, zero=20)
    without, _ = integer(np.random.default_rng(3), np.int8, 3, 1)
    for a, b in zip(martlet(built, runs), martlet(without, runs), strict=True):
        np.testing.assert_array_equal(a[0], b[0])  # nothing saturates here


def refused(message: str, position: int, replacement: Any, **options: Any) -> None:
    rng = np.random.default_rng(0)
    inputs: list[Any] = [
        Value(floats(rng, (B, F))), weights(rng, (FILTERS, F), "float32"),
        weights(rng, (FILTERS, MEMORY), "float32"), None, state((B, FILTERS * MEMORY)),
    ]  # fmt: skip
    inputs[position] = replacement
    built, arrays = model("SVDF", inputs, {"rank": 1} | options)
    with pytest.raises(ModelError, match=message):
        martlet(built, [arrays])


def test_what_does_not_fit_is_named() -> None:
    x = Value(np.zeros((B, F), np.float32))
    refused("feature weights", 1, const(np.zeros((FILTERS, F + 1), np.float32)))
    refused("time weights", 2, const(np.zeros((FILTERS + 1, MEMORY), np.float32)))
    refused("no memory", 2, const(np.zeros((FILTERS, 0), np.float32)))
    refused("bias", 3, const(np.zeros(FILTERS + 1, np.float32)))
    refused("expected 48 elements, found 40", 4, state((B, 20)))
    refused("rank does not divide the filters", 0, x, rank=4)
    refused("rank does not divide the filters", 0, x, rank=0)
    refused("the activation is unknown", 0, x, fused_activation_function=99)


def test_int8_has_one_activation() -> None:
    built, runs = integer(np.random.default_rng(0), np.int16, 2, 1,
                          fused_activation_function="TANH")  # fmt: skip
    with pytest.raises(ModelError, match="one activation.*RELU.*TANH"):
        martlet(built, runs)

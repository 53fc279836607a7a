"""The BASIC kernel of LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import Value, const
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Quantization, Tensor
from recurrent_models import assert_as_litert, floats, martlet, model, state

BASIC = {"kernel_type": "BASIC", "fused_activation_function": "TANH"}
B, F, N = 3, 5, 4
ACTIVATION, STATE = Quantization.of(1 / 128, 128), Quantization.of(2.0**-11)


def float_inputs(rng: np.random.Generator) -> list[Any]:
    return [
        floats(rng, (B, F)), floats(rng, (B, N)), const(floats(rng, (4 * N, F + N))),
        const(floats(rng, (4 * N,))), floats(rng, (B, N)),
    ]  # fmt: skip


def test_floats_are_litert_s() -> None:
    built, arrays = model("LSTM", float_inputs(np.random.default_rng(1)), BASIC,
                          [DType.FLOAT32] * 4)  # fmt: skip
    assert_as_litert(built, [arrays])


@pytest.mark.parametrize("units", [4, 7, 24])
def test_quantised_values_are_litert_s_to_the_bit(units: int) -> None:
    rng = np.random.default_rng(units)

    def stored(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, shape).astype(np.uint8)

    before = rng.integers(-(1 << 15), 1 << 15, (B, units)).astype(np.int16)
    inputs = [
        Value(stored(B, F), quantization=ACTIVATION),
        Value(stored(B, units), quantization=ACTIVATION),
        const(stored(4 * units, F + units), q=Quantization.of(0.013, 121)),
        const(
            rng.integers(-3000, 3000, 4 * units).astype(np.int32), q=Quantization.of(0.013 / 128)
        ),
        Value(before, quantization=STATE),
    ]
    outputs = [
        Tensor("output", dtype=DType.UINT8, quantization=ACTIVATION),
        Tensor("state", dtype=DType.INT16, quantization=STATE),
        Tensor("joined", dtype=DType.UINT8, quantization=ACTIVATION),
        Tensor("gates", dtype=DType.INT16, quantization=Quantization.of(2.0**-12)),
    ]
    built, arrays = model("LSTM", inputs, BASIC, outputs)
    assert_as_litert(built, [arrays])


def test_variable_states_are_overwritten() -> None:
    rng = np.random.default_rng(2)
    inputs = float_inputs(rng)
    inputs[1], inputs[4] = state((B, N)), state((B, N))
    built, arrays = model("LSTM", inputs, BASIC, [DType.FLOAT32] * 4)
    first, second = martlet(built, [arrays, arrays])
    np.testing.assert_array_equal(second[2], np.concatenate([arrays[0], first[0]], axis=1))


@pytest.mark.parametrize(
    ("position", "replacement", "message"),
    [
        (0, np.zeros((B, F), np.int16), "type that LSTM does not take"),
        (1, np.zeros((B + 1, N), np.float32), "previous output"),
        (2, const(np.zeros((4 * N, F), np.float32)), "weights"),
        (4, np.zeros((B, N), np.int16), "input 4"),
    ],
)
def test_what_does_not_fit_is_named(position: int, replacement: Any, message: str) -> None:
    inputs = float_inputs(np.random.default_rng(0))
    inputs[position] = replacement
    built, arrays = model("LSTM", inputs, BASIC, [DType.FLOAT32] * 4)
    with pytest.raises(ModelError, match=message):
        martlet(built, arrays and [arrays])

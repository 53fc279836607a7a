"""The custom operator UNIDIRECTIONAL_SEQUENCE_GRU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import const
from martlet.dtypes import DType
from martlet.errors import ModelError
from recurrent_models import floats, martlet, model

T, B, F, N = 3, 2, 5, 4
OUTPUTS = [DType.FLOAT32] * 2


def inputs(rng: np.random.Generator) -> list[Any]:
    return [
        floats(rng, (T, B, F)), floats(rng, (B, N)),
        const(floats(rng, (2 * N, F + N))), const(floats(rng, (2 * N,))),
        const(floats(rng, (N, F + N))), const(floats(rng, (N,))),
    ]  # fmt: skip


def run(items: list[Any]) -> list[np.ndarray]:
    built, arrays = model("UNIDIRECTIONAL_SEQUENCE_GRU", items, None, OUTPUTS, custom=True)
    return martlet(built, [arrays])[0]


def test_gates_mix_the_state_and_a_candidate() -> None:
    items = inputs(np.random.default_rng(1))
    x, h, gates, gate_bias, weights, bias = (getattr(v, "array", v) for v in items)
    for t in range(T):
        both = 1 / (1 + np.exp(-(np.concatenate([x[t], h], 1) @ gates.T + gate_bias)))
        reset, update = both[:, :N], both[:, N:]
        candidate = np.tanh(np.concatenate([x[t], reset * h], 1) @ weights.T + bias)
        h = update * h + (1 - update) * candidate
        np.testing.assert_allclose(run(items)[0][t], h, atol=1e-6)
    np.testing.assert_allclose(run(items)[1], h, atol=1e-6)


def test_an_open_update_gate_keeps_the_state() -> None:
    items = inputs(np.random.default_rng(2))
    items[3] = const(np.full(2 * N, 100, np.float32))
    out, after = run(items)
    np.testing.assert_allclose(out, np.broadcast_to(items[1], out.shape), atol=1e-6)
    np.testing.assert_allclose(after, items[1], atol=1e-6)


def test_no_moments_give_back_the_state() -> None:
    items = inputs(np.random.default_rng(3))
    items[0] = items[0][:0]
    out, after = run(items)
    assert out.shape == (0, B, N)
    np.testing.assert_array_equal(after, items[1])


@pytest.mark.parametrize(
    ("position", "replacement", "message"),
    [
        (0, np.zeros((T, B), np.float32), "number of dimensions"),
        (1, np.zeros((B + 1, N), np.float32), "state"),
        (2, const(np.zeros((2 * N, F), np.float32)), "gate weights"),
        (4, const(np.zeros((N, F + N), np.int8)), "input 4"),
    ],
)
def test_what_does_not_fit_is_named(position: int, replacement: Any, message: str) -> None:
    items = inputs(np.random.default_rng(0))
    items[position] = replacement
    with pytest.raises(ModelError, match=message):
        run(items)

"""Inputs of LSTM cells for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from build import Value, const
from martlet.graph import Quantization
from recurrent_models import floats, state, weights

PEEPHOLE_GATES = (0, 1, 3)


def float_cell(
    rng: np.random.Generator,
    features: int,
    cells: int,
    outputs: int,
    kind: str = "float32",
    cifg: bool = False,
    peephole: bool = False,
    projection: bool = False,
    bias: bool = False,
    diagonal: bool = False,
) -> list[Value | None]:
    """The 17 inputs from the input weights to the projection bias."""
    gates = [not (cifg and g == 0) for g in range(4)]

    def some(wanted: Sequence[bool], shape: Sequence[int], kind: str) -> list[Value | None]:
        return [weights(rng, shape, kind) if w else None for w in wanted]

    recurrent = (
        some(gates, (cells,), "float32") if diagonal else some(gates, (cells, outputs), kind)
    )
    return [
        *some(gates, (cells, features), kind),
        *recurrent,
        *some([peephole and gates[g] for g in PEEPHOLE_GATES], (cells,), kind),
        *some(gates, (cells,), "float32"),
        *some([projection], (outputs, cells), kind),
        *some([projection and bias], (outputs,), "float32"),
    ]


def norms(rng: np.random.Generator, cells: int, cifg: bool) -> list[Value | None]:
    """Four layer norm weights."""
    return [None if cifg and g == 0 else const(floats(rng, (cells,))) for g in range(4)]


def integer_inputs(
    rng: np.random.Generator,
    x: np.ndarray,
    batch: int,
    cells: int,
    outputs: int,
    state_q: Quantization,
    cifg: bool = False,
    peephole: bool = False,
    norm: bool = False,
    projection: bool = False,
    bias: bool = True,
    cell_bits: int = 4,
) -> list[Any]:
    """All 24 inputs of an int8 cell."""
    gates = [not (cifg and g == 0) for g in range(4)]

    def stored(shape: Sequence[int], dtype: Any, scale: float) -> Value:
        top = np.iinfo(dtype).max
        q = Quantization.of(float(scale * rng.uniform(0.5, 1.5)))
        return const(rng.integers(-top, top, shape).astype(dtype), q=q)

    def biases(shape: Sequence[int], top: int) -> Value:
        return const(rng.integers(-top, top, shape).astype(np.int32), q=Quantization.of(1e-4))

    features = x.shape[-1]
    top = 2_000_000 if norm else 3000
    peepholes = [peephole and gates[g] for g in PEEPHOLE_GATES]
    return [
        Value(x, quantization=Quantization.of(0.02, 5)),
        *[stored((cells, features), np.int8, 0.01) if g else None for g in gates],
        *[stored((cells, outputs), np.int8, 0.01) if g else None for g in gates],
        *[stored((cells,), np.int16, 2.0**-15) if p else None for p in peepholes],
        *[biases((cells,), top) if g else None for g in gates],
        stored((outputs, cells), np.int8, 0.01) if projection else None,
        biases((outputs,), 3000) if projection and bias else None,
        state((batch, outputs), np.int8, state_q),
        state((batch, cells), np.int16, Quantization.of(2.0 ** (cell_bits - 15))),
        *[stored((cells,), np.int16, 2.0**-14) if norm and g else None for g in gates],
    ]

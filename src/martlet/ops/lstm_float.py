"""The LSTM cell in float32, with float32 weights or (hybrid) with 8-bit ones.

A gate is activation(W x + A aux + R h + p * c + b); with layer norm
activation(normalise(W x + A aux + R h + p * c) * w + b). Then

    c = clip(f * c + i * g)
    h = o * activation(c), projected, + bias, clipped

W x + A aux does not depend on the state and is computed for the whole sequence at once; hybrid
weights multiply rows that are quantised one by one, so that the result is the same.

LSTM has a kernel of its own for sparse hybrid weights, which in LiteRT takes no zero points off
and reads R h with the scale of x; so do they here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from martlet.dtypes import DType
from martlet.ops.lstm_cell import CELL, FORGET, INPUT, OUTPUT, Cell, Form
from martlet.ops.operator import Call
from martlet.ops.recurrent import Activation, Matrix, activation, logistic, matrix, steps
from martlet.records import dataclass

Values = Sequence["np.ndarray | None"]


@dataclass
class _Gate:
    """A gate for one sequence. `given`: what does not depend on the state, for every moment."""

    given: np.ndarray
    recurrent: np.ndarray | Matrix
    peephole: np.ndarray | None
    norm: np.ndarray | None
    bias: np.ndarray
    activation: Activation

    def at(self, t: int, prepared: object, h: np.ndarray, c: np.ndarray) -> np.ndarray:
        if isinstance(self.recurrent, np.ndarray):
            total = self.given[t] + h * self.recurrent
        else:
            total = self.given[t] + self.recurrent.product(prepared)
        if self.peephole is not None:
            total += self.peephole * c
        if self.norm is not None:
            total = _normalise(total) * self.norm + self.bias
        return self.activation(total)


def _normalise(x: np.ndarray) -> np.ndarray:
    """Each row with mean 0 and variance 1."""
    centred = x - x.mean(axis=1, keepdims=True)
    variance = np.square(centred).mean(axis=1, keepdims=True)
    result: np.ndarray = centred / np.sqrt(variance + np.float32(1e-8))
    return result


def run_float(
    call: Call,
    cell: Cell,
    values: Values,
    x: np.ndarray,
    auxiliary: np.ndarray | None = None,
    reverse: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs [time, batch, outputs] for x [time, batch, features], and the last two states."""
    layout = cell.layout
    time = len(x)
    call.session.reserve(8 * time * cell.batch * cell.cells * len(cell.gates), call.place)
    gates = {g: _gate(call, cell, values, g, x, auxiliary) for g in cell.gates}
    shared = next(
        (g.recurrent for g in gates.values() if not isinstance(g.recurrent, np.ndarray)), None
    )
    sparse = _is_sparse(call, cell)
    projection = projection_bias = None
    if cell.projection:
        projection = matrix(call, layout.projection, _given(values, layout.projection), sparse)
        projection_bias = _optional(values, layout.projection_bias)
    act = activation(call)
    without = call.option("fused_activation_function") == "NONE"
    cell_clip, output_clip = (np.float32(call.option(k)) for k in ("cell_clip", "proj_clip"))
    h = _given(values, layout.output_state).reshape(cell.batch, cell.outputs)
    c = _given(values, layout.cell_state).reshape(cell.batch, cell.cells)
    out = np.empty((time, cell.batch, cell.outputs), np.float32)
    for t in steps(call, out, reverse):
        prepared = None
        if shared is not None:
            prepared = shared.prepare(h)
            if sparse and x[t].any():
                prepared = prepared._replace(scale=shared.prepare(x[t]).scale)
        forget = gates[FORGET].at(t, prepared, h, c)
        update = np.float32(1) - forget if cell.cifg else gates[INPUT].at(t, prepared, h, c)
        proposal = gates[CELL].at(t, prepared, h, c)
        c = forget * c + update * proposal
        if cell_clip > 0:
            c = np.clip(c, -cell_clip, cell_clip)
        opening = gates[OUTPUT].at(t, prepared, h, c)
        # Without an activation LiteRT finds the cell gate, not the cell, in its buffer.
        h = opening * (proposal if without else act(c))
        if projection is not None:
            h = projection.product(projection.prepare(h))
            if projection_bias is not None:
                h = h + projection_bias
            if output_clip > 0:
                h = np.clip(h, -output_clip, output_clip)
        out[t] = h
    return out, h, c


def _gate(
    call: Call, cell: Cell, values: Values, g: int, x: np.ndarray, auxiliary: np.ndarray | None
) -> _Gate:
    layout = cell.layout
    sparse = _is_sparse(call, cell)
    bias = _given(values, layout.bias(g))
    given = np.zeros((x.shape[0], x.shape[1], cell.cells), np.float32)
    if not cell.norm:
        given += bias
    for sequence, i in ((x, layout.input_weights(g)), (auxiliary, layout.auxiliary_weights(g))):
        if sequence is not None:
            weights = matrix(call, i, _given(values, i), sparse)
            rows = sequence.reshape(-1, sequence.shape[-1])
            given += weights.product(weights.prepare(rows)).reshape(given.shape)
    i = layout.recurrent_weights(g)
    recurrent = _given(values, i)
    peephole = _optional(values, layout.peephole(g)) if g != CELL else None
    if peephole is not None and call.dtype(layout.peephole(g)) is not DType.FLOAT32:
        scale = np.float32(call.scale(layout.peephole(g)))
        peephole = peephole.view(np.int8).astype(np.float32) * scale
    return _Gate(
        given,
        recurrent if recurrent.ndim == 1 else matrix(call, i, recurrent, sparse),
        peephole,
        _optional(values, layout.norm(g)) if cell.norm else None,
        bias,
        activation(call) if g == CELL else logistic,
    )


def _is_sparse(call: Call, cell: Cell) -> bool:
    weights = call.input(cell.layout.input_weights(OUTPUT))
    return call.op == "LSTM" and cell.form is Form.HYBRID and weights.sparsity is not None


def _given(values: Values, i: int) -> np.ndarray:
    value = values[i]
    assert value is not None  # checked by `check_cell`
    return value


def _optional(values: Values, i: int) -> np.ndarray | None:
    return values[i] if 0 <= i < len(values) else None

"""UNIDIRECTIONAL_SEQUENCE_GRU, a custom operator of TensorFlow Lite, in float32.

Inputs: x [time, batch, i], the state before [batch, n], gate weights [2n, i + n] and bias [2n],
candidate weights [n, i + n] and bias [n]. Outputs: [time, batch, n], and the state after.

    r, u = logistic(G [x, h] + g)        reset and update gate
    c = tanh(C [x, h * r] + b)
    h = (1 - u) * c + u * h
"""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call, Spec, register
from martlet.ops.recurrent import check_input, logistic, steps


def _infer(call: Call) -> list[Spec]:
    for i in range(6):
        call.check_dtype(i, DType.FLOAT32)
    time, batch, size = call.check_rank(0, 3)
    units = call.check_rank(1, 2)[1]
    for i, what, shape in (
        (1, "state", (batch, units)),
        (2, "gate weights", (2 * units, size + units)),
        (3, "gate bias", (2 * units,)),
        (4, "candidate weights", (units, size + units)),
        (5, "candidate bias", (units,)),
    ):
        check_input(call, i, what, shape, DType.FLOAT32)
    return [Spec(DType.FLOAT32, (time, batch, units)), Spec(DType.FLOAT32, (batch, units))]


def _evaluate(
    call: Call,
    x: np.ndarray,
    state: np.ndarray,
    gate_weights: np.ndarray,
    gate_bias: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
) -> list[np.ndarray]:
    units = state.shape[1]
    h = state.copy()
    out = np.empty((*x.shape[:2], units), np.float32)
    for t in steps(call, out):
        gates = logistic(np.concatenate([x[t], h], axis=1) @ gate_weights.T + gate_bias)
        reset, update = gates[:, :units], gates[:, units:]
        joined = np.concatenate([x[t], h * reset], axis=1)
        candidate = np.tanh(joined @ weights.T + bias)
        h = (np.float32(1) - update) * candidate + update * h
        out[t] = h
    return [out, h]


register(
    "UNIDIRECTIONAL_SEQUENCE_GRU", infer=_infer, evaluate=_evaluate, inputs=6, outputs=2,
    custom=True,
)  # fmt: skip

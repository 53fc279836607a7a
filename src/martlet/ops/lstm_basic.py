"""The BASIC kernel of LSTM: one step, five inputs, one weight matrix for all gates.

Inputs: x [batch, i], previous output [batch, n], weights [4n, i + n], bias [4n], previous state
[batch, n]. Outputs: output and state [batch, n], and the kernel's working arrays: x joined with
the previous output, and the gates before activation [batch, 4n], in the order input, cell,
forget, output. Previous output and state are overwritten where they are variable tensors.

Float, or quantised: uint8 with scale 1/128 and zero point 128 throughout, gates in int16 with 3
integer bits, state in int16 with 4. There the sums are rescaled by 4096 * the bias' scale,
rounded twice, the second time half up; products of gates and state keep 15 fractional bits,
rounded half up.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.fixed_point import (
    doubling_high_multiply,
    quantize_multiplier,
    rounding_shift_right,
    wrap_int32,
)
from martlet.ops.gate_tables import logistic_table, look_up, multiply, tanh_table
from martlet.ops.operator import Call, Spec
from martlet.ops.recurrent import check_input, logistic, store

X, PREVIOUS, WEIGHTS, BIAS, STATE = range(5)
# Types of x and outputs, of weights, bias, state and gates.
TYPES = {
    DType.FLOAT32: (DType.FLOAT32, DType.FLOAT32, DType.FLOAT32, DType.FLOAT32),
    DType.UINT8: (DType.UINT8, DType.INT32, DType.INT16, DType.INT16),
}


def infer_basic(call: Call) -> list[Spec]:
    call.check(
        call.inputs == 5 and call.outputs == 4,
        "the BASIC kernel of LSTM has other inputs and outputs",
        "5 inputs, 4 outputs",
        f"{call.inputs}, {call.outputs}",
    )
    dtype = call.check_dtype(X, *TYPES)
    weights, bias, state, gates = TYPES[dtype]
    batch, features = call.check_rank(X, 2)
    cells = call.check_rank(PREVIOUS, 2)[1]
    joined = features + cells
    check_input(call, PREVIOUS, "previous output", (batch, cells), dtype)
    check_input(call, WEIGHTS, "weights", (4 * cells, joined), weights)
    check_input(call, BIAS, "bias", (4 * cells,), bias)
    check_input(call, STATE, "previous state", (batch, cells), state)
    if dtype is DType.UINT8:
        call.zero_point(WEIGHTS)
        call.scale(WEIGHTS)
        call.scale(BIAS)
        scale = call.output_scale(1)
        call.check(
            abs(math.log2(scale) + 11) < 1e-3, "the state has the wrong scale", "2^-11", str(scale)
        )
    return [
        Spec(dtype, (batch, cells)),
        Spec(state, (batch, cells)),
        Spec(dtype, (batch, joined)),
        Spec(gates, (batch, 4 * cells)),
    ]


def run_basic(
    call: Call,
    x: np.ndarray,
    previous: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    state: np.ndarray,
) -> list[np.ndarray]:
    joined = np.concatenate([x, previous], axis=1)
    step = _float if call.dtype(X) is DType.FLOAT32 else _quantised
    output, new_state, gates = step(call, joined, weights, bias, state)
    for i, old, new in ((PREVIOUS, previous, output), (STATE, state, new_state)):
        if call.input(i).is_variable and not call.input(i).is_constant:
            store(old, new)
    return [output, new_state, joined, gates]


def _float(
    call: Call, joined: np.ndarray, weights: np.ndarray, bias: np.ndarray, state: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    gates = joined @ weights.T + bias
    update, proposal, forget, opening = np.split(gates, 4, axis=1)
    new = logistic(update) * np.tanh(proposal) + logistic(forget) * state
    return logistic(opening) * np.tanh(new), new, gates


def _quantised(
    call: Call, joined: np.ndarray, weights: np.ndarray, bias: np.ndarray, state: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    centred = weights.astype(np.float64) - call.zero_point(WEIGHTS)
    products = (joined.astype(np.float64) - 128) @ centred.T
    sums = wrap_int32(products.astype(np.int64) + bias)
    multiplier = quantize_multiplier(float(np.float32(4096) * np.float32(call.scale(BIAS))))
    gates = _saturate(_rescale(sums, *multiplier))
    update, proposal, forget, opening = np.split(gates, 4, axis=1)
    added = multiply(look_up(logistic_table(3), update), look_up(tanh_table(3), proposal))
    kept = multiply(look_up(logistic_table(3), forget), state)
    new = _saturate(rounding_shift_right(added, 4) + kept)
    squashed = look_up(tanh_table(3), _saturate(new << 1))
    output = rounding_shift_right(multiply(look_up(logistic_table(3), opening), squashed), 8)
    stored = (np.clip(output, -128, 127) + 128).astype(np.uint8)
    return stored, new.astype(np.int16), gates.astype(np.int16)


def _rescale(x: np.ndarray, mantissa: int, exponent: int) -> np.ndarray:
    """Rounded after the multiplication and after the shift, there half up."""
    product = doubling_high_multiply(wrap_int32(x << max(exponent, 0)), mantissa)
    right = max(-exponent, 0)
    return (product + ((1 << right) >> 1)) >> right


def _saturate(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.clip(x, -(1 << 15), (1 << 15) - 1)
    return result

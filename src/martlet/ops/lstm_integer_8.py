"""The LSTM cell on int8 inputs and weights, with products stored in int8; bit-exact with LiteRT.

Twelve intermediate tensors lend their scales: for each gate the sum, W x and R h. Both products
are rescaled to int8 and then to the scale of the int16 sum; layer norm and activations are
float32, cut off to 15 fractional bits. It is a CIFG cell with layer norm and projection, whatever
other weights are given; peepholes play no part.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from martlet.ops.fixed_point import multiply_wide, rounding_shift_right, saturate
from martlet.ops.gate_tables import look_up
from martlet.ops.lstm_cell import CELL, FORGET, OUTPUT, Cell
from martlet.ops.lstm_integer import (
    Multiplier,
    Sequences,
    Values,
    accumulate,
    columns,
    given_value,
    intermediate,
    next_cell,
    quantized_clip,
    to_int16,
    wrap_int16,
)
from martlet.ops.operator import Call
from martlet.ops.recurrent import steps
from martlet.records import dataclass


@dataclass
class _Gate8:
    given: np.ndarray
    weights: np.ndarray
    to_product: Multiplier
    product_zero: int
    to_sum: Multiplier
    sum_zero: int
    norm: np.ndarray
    norm_scale: np.float32
    bias: np.ndarray
    table: np.ndarray

    def at(self, t: int, h: np.ndarray, zero: int) -> np.ndarray:
        products = self.to_product(accumulate(h, self.weights, zero)) + self.product_zero
        stored = np.clip(products, -128, 127) - self.sum_zero
        total = to_int16(self.given[t] + self.to_sum(stored))
        return look_up(self.table, self._normalise(total.astype(np.float32)))

    def _normalise(self, x: np.ndarray) -> np.ndarray:
        n = np.float32(x.shape[1])
        # Sums run from left to right in float32.
        mean = (np.add.accumulate(x, axis=1, dtype=np.float32)[:, -1] / n)[:, None]
        squares = np.add.accumulate(x * x, axis=1, dtype=np.float32)[:, -1:]
        variance = squares / n - mean * mean
        inverse = np.float32(1) / np.sqrt(np.where(variance == 0, np.float32(1e-8), variance))
        scaled = (x - mean) * inverse * self.norm * self.norm_scale
        shift = self.bias * (np.float32(2.0**-10) * self.norm_scale)
        real = ((scaled + shift) * np.float32(4096)).astype(np.float64)
        real = np.nan_to_num(np.trunc(real + np.copysign(0.5, real)), nan=-32768.0)
        return to_int16(real).astype(np.int64)


@cache
def _float_table(function: str) -> np.ndarray:
    """Results for the int16 arguments; they have 3 integer bits, those of `tanh of c` none."""
    v = np.arange(-(1 << 15), 1 << 15).astype(np.float32)
    if function == "logistic":
        e = np.exp(-(v * np.float32(2.0**-12)).astype(np.float64)).astype(np.float32)
        real = np.float32(1) / (np.float32(1) + e)
    else:
        exponent = -12 if function == "tanh" else -15
        wide = (v * np.float32(2.0**exponent)).astype(np.float64)
        real = np.tanh(wide).astype(np.float32)
    return np.asarray(np.minimum(np.trunc(real * np.float32(32768)), 32767)).astype(np.int16)


def run_8(call: Call, cell: Cell, values: Values, x: np.ndarray) -> Sequences:
    """Outputs [time, batch, outputs] for x [time, batch, features], and the last two states."""
    layout = cell.layout
    time = len(x)
    call.session.reserve(24 * time * cell.batch * cell.cells, call.place)
    zero = call.zero_point(layout.output_state)
    gates = {g: _gate_8(call, cell, values, g, x) for g in (FORGET, CELL, OUTPUT)}
    clip = call.option("cell_clip")
    cell_clip = quantized_clip(clip, call.scale(layout.cell_state), 32767) if clip < 1 else 0
    output_clip = quantized_clip(call.option("proj_clip"), call.output_scale(), 127)
    to_output = Multiplier.of(
        np.float32(
            float(call.scale(layout.projection)) * 2.0**-15 / call.scale(layout.output_state)
        )
    )
    weights = columns(given_value(values, layout.projection))
    bias = given_value(values, layout.projection_bias).astype(np.int64)
    h = given_value(values, layout.output_state).reshape(cell.batch, cell.outputs)
    c = given_value(values, layout.cell_state).reshape(cell.batch, cell.cells).astype(np.int64)
    out = np.empty((time, cell.batch, cell.outputs), np.int8)
    for t in steps(call, out):
        forget, proposal = gates[FORGET].at(t, h, zero), gates[CELL].at(t, h, zero)
        c = next_cell(c, forget, 32767 - forget, proposal, 0, cell_clip)
        opening = gates[OUTPUT].at(t, h, zero)
        hidden = rounding_shift_right(opening * look_up(_float_table("tanh of c"), c), 15)
        sums = (wrap_int16(hidden).astype(np.float64) @ weights).astype(np.int64) + bias
        h = saturate(multiply_wide(sums, *to_output) + zero, np.int8)
        if output_clip > 0:
            h = np.clip(h, -output_clip, output_clip).astype(np.int8)
        out[t] = h
    return out, h, c


def _gate_8(call: Call, cell: Cell, values: Values, g: int, x: np.ndarray) -> _Gate8:
    layout = cell.layout
    total, given, state = (intermediate(call, 3 * g + k) for k in range(3))
    i, r, n = layout.input_weights(g), layout.recurrent_weights(g), layout.norm(g)
    to_given = Multiplier.of(np.float32(call.scale(i)) * np.float32(call.scale(0)) / given[0])
    from_state = Multiplier.of(
        np.float32(call.scale(r)) * np.float32(call.scale(layout.output_state)) / state[0]
    )
    to_sum, state_zero = Multiplier.of(state[0] / total[0]), state[1]
    if g == OUTPUT:
        # LiteRT's indices are off here: the mantissa is another gate's exponent.
        other = intermediate(call, 5)[0] / intermediate(call, 3)[0]
        to_sum = Multiplier(Multiplier.of(other).exponent, to_sum.exponent)
        state_zero = intermediate(call, 7)[1]
    products = (
        to_given(accumulate(x, columns(given_value(values, i)), call.zero_point(0))) + given[1]
    )
    stored = np.clip(products, -128, 127) - given[1]
    norm = Multiplier.of(call.scale(n))
    return _Gate8(
        Multiplier.of(given[0] / total[0])(stored),
        columns(given_value(values, r)),
        from_state,
        state_zero,
        to_sum,
        state_zero,
        given_value(values, n).astype(np.float32),
        np.float32(norm.mantissa * 2.0 ** (norm.exponent - 31)),
        given_value(values, layout.bias(g)).astype(np.float32),
        _float_table("tanh" if g == CELL else "logistic"),
    )

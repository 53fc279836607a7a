"""The LSTM cell on int8 inputs and weights, with gates summed in int16; bit-exact with LiteRT.

Five intermediate tensors lend their scales: what the four gates are before activation, and the
hidden state. (`lstm_integer_8` has the form with twelve; what both need is here.)

1. W (x - zx) + b and R (h - zh) are int32; each is rescaled (rounded twice) to the gate's scale,
   2^-12 without layer norm, and added to an int16 sum that saturates; likewise p * c.
2. Layer norm works on integers: mean and variance with 10 more bits, an inverse square root.
3. Gates are looked up (`gate_tables`). c = f * c / 2^15 + i * g / 2^(30 + log2 of c's scale),
   each rounded half away from zero, the sum saturated; then clipped.
4. o * tanh(c) is rescaled to int8: the output, or what the projection multiplies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from martlet.graph import Quantization
from martlet.ops.fixed_point import (
    multiply_twice,
    quantize_multiplier,
    rounding_shift_right,
    saturate,
    wrap_int32,
)
from martlet.ops.fixed_point_functions import inverse_sqrt
from martlet.ops.gate_tables import logistic_table, look_up, tanh_table
from martlet.ops.lstm_cell import CELL, FORGET, GATES, INPUT, OUTPUT, Cell, Form
from martlet.ops.operator import Call
from martlet.ops.recurrent import steps
from martlet.records import NamedTuple, dataclass

Values = Sequence["np.ndarray | None"]
Sequences = tuple[np.ndarray, np.ndarray, np.ndarray]
GATE_BITS = 3  # integer bits of a gate before its activation
HIDDEN = 4  # the intermediate that holds the hidden state


class Multiplier(NamedTuple):
    """A rescaling, as mantissa and exponent."""

    mantissa: int
    exponent: int

    @classmethod
    def of(cls, real: float | np.floating) -> Multiplier:
        return cls(*quantize_multiplier(float(real)))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return wrap_int32(multiply_twice(x, self.mantissa, self.exponent))


def check_integer(call: Call, cell: Cell) -> None:
    """Raise unless all scales that `run_16` or `run_8` needs are there and usable."""
    layout = cell.layout
    for i in (0, layout.output_state, layout.cell_state):
        call.scale(i)
    for i in (0, layout.output_state):
        _check_zero_point(call, call.quantization(i), f"input {i}")
    call.output_scale()
    if cell.form is Form.INTEGER_16:
        bits = _cell_bits(call, cell)
        call.check(
            0 <= bits <= 6,
            "the scale of the cell state is not one that the kernel has",
            "2^-15 to 2^-9",
            str(call.scale(layout.cell_state)),
        )
        for k in (*(range(4) if cell.norm else ()), HIDDEN):
            intermediate(call, k)
    else:
        call.check(cell.norm, "the 8-bit form of LSTM needs layer norm", "layer norm", "none")
        call.check(
            cell.projection and call.has(layout.projection_bias),
            "the 8-bit form of LSTM needs a projection with a bias",
        )
        call.check(
            call.scale(layout.cell_state) == 2.0**-15,
            "the cell state has the wrong scale",
            "2^-15",
            str(call.scale(layout.cell_state)),
        )
        for k in range(12):
            intermediate(call, k)
    if cell.norm:
        for g in cell.gates:
            exponent = Multiplier.of(call.scale(layout.norm(g))).exponent
            call.check(
                exponent <= 18,
                f"the layer norm weights of the {GATES[g]} gate have too large a scale",
                "less than 2^18",
                str(call.scale(layout.norm(g))),
            )


def _check_zero_point(call: Call, quantization: Quantization, what: str) -> None:
    zero = int(quantization.zero_point[0])
    call.check(-128 <= zero <= 127, f"{what} has an unusable zero point", "-128 to 127", str(zero))


def _cell_bits(call: Call, cell: Cell) -> int:
    """Integer bits of the cell state; -1 where its scale is no power of two."""
    exponent = math.log2(call.scale(cell.layout.cell_state))
    return 15 + round(exponent) if abs(exponent - round(exponent)) < 1e-3 else -1


def intermediate(call: Call, k: int) -> tuple[np.float32, int]:
    """Scale and zero point of an intermediate tensor."""
    index = call.node.intermediates[k]
    tensor = call.graph.tensors[index] if 0 <= index < len(call.graph.tensors) else None
    quantization = tensor.quantization if tensor else None
    if quantization is None or quantization.scale.size != 1:
        call.fail(f"intermediate {k} has no quantisation", "a scale and a zero point", "none")
    scale = np.float32(quantization.scale[0])
    call.check(
        bool(np.isfinite(scale) and scale > 0),
        f"intermediate {k} has an unusable scale",
        "a positive number",
        str(scale),
    )
    _check_zero_point(call, quantization, f"intermediate {k}")
    return scale, int(quantization.zero_point[0])


def quantized_clip(limit: float, scale: float, highest: int) -> int:
    """A clipping option in steps of the stored value; 0: none."""
    if not limit > 0:
        return 0
    return int(min(np.float32(limit) / np.float32(scale), np.float32(highest)))


def columns(weights: np.ndarray) -> np.ndarray:
    """Weights [outputs, inputs] as `accumulate` takes them."""
    return np.ascontiguousarray(weights.T, np.float64)


def accumulate(
    x: np.ndarray, weights: np.ndarray, zero: int, bias: np.ndarray | int = 0
) -> np.ndarray:
    """(x - zero) times columns, + bias, as int32 sums; exact in float64."""
    product = (x.astype(np.float64) - zero) @ weights
    return wrap_int32(product.astype(np.int64) + bias)


def to_int16(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(x, -(1 << 15), (1 << 15) - 1))


def wrap_int16(x: np.ndarray) -> np.ndarray:
    return np.asarray(((x + (1 << 15)) & 0xFFFF) - (1 << 15))


@dataclass
class _Gate16:
    given: np.ndarray  # int16 sums of the input's part, for every moment
    weights: np.ndarray
    rescale: Multiplier
    peephole: tuple[np.ndarray, Multiplier] | None
    norm: _Norm16 | None
    table: np.ndarray

    def at(self, t: int, h: np.ndarray, zero: int, c: np.ndarray) -> np.ndarray:
        total = to_int16(self.given[t] + self.rescale(accumulate(h, self.weights, zero)))
        if self.peephole is not None:
            weights, rescale = self.peephole
            total = to_int16(total + rescale(weights * c))
        if self.norm is not None:
            total = self.norm(total)
        return look_up(self.table, total)


@dataclass
class _Norm16:
    weights: np.ndarray
    bias: np.ndarray
    rescale: Multiplier
    guard: int  # stands for a variance that is less than 1

    def __call__(self, x: np.ndarray) -> np.ndarray:
        n = x.shape[1]
        mean = _divide(x.sum(axis=1) * 1024, n)
        spread = (wrap_int32(x * x)).sum(axis=1) * ((1 << 20) // n) - mean * mean
        variance = wrap_int32(_divide(spread, 1 << 20))
        inverse, exponent = inverse_sqrt(np.where(variance < 1, self.guard, variance))
        centred = wrap_int32(1024 * x - mean[:, None])
        normal = multiply_twice(centred, inverse[:, None], exponent[:, None])
        weighted = wrap_int32(normal * self.weights + self.bias)
        rounded = _divide(weighted + np.where(weighted > 0, 512, -512), 1024)
        return to_int16(self.rescale(rounded))


def _divide(a: np.ndarray, b: int) -> np.ndarray:
    """Division that truncates, as in C."""
    result: np.ndarray = np.sign(a) * (np.abs(a) // b)
    return result


def run_16(call: Call, cell: Cell, values: Values, x: np.ndarray) -> Sequences:
    """Outputs [time, batch, outputs] for x [time, batch, features], and the last two states."""
    layout = cell.layout
    time = len(x)
    call.session.reserve(16 * time * cell.batch * cell.cells * len(cell.gates), call.place)
    zero = call.zero_point(layout.output_state)
    gates = {g: _gate_16(call, cell, values, g, x) for g in cell.gates}
    hidden_scale, hidden_zero = intermediate(call, HIDDEN)
    to_hidden = Multiplier.of(np.float32(2.0**-15 / float(hidden_scale) * 2.0**-15))
    bits = _cell_bits(call, cell)
    cell_clip = quantized_clip(call.option("cell_clip"), call.scale(layout.cell_state), 32767)
    output_clip = quantized_clip(call.option("proj_clip"), call.output_scale(), 127)
    h = given_value(values, layout.output_state).reshape(cell.batch, cell.outputs)
    c = given_value(values, layout.cell_state).reshape(cell.batch, cell.cells).astype(np.int64)
    weights = bias = None
    if cell.projection:
        weights = columns(given_value(values, layout.projection))
        bias = values[layout.projection_bias]
        to_output = Multiplier.of(
            np.float32(call.scale(layout.projection))
            * hidden_scale
            / np.float32(call.scale(layout.output_state))
        )
    out = np.empty((time, cell.batch, cell.outputs), np.int8)
    for t in steps(call, out):
        forget = gates[FORGET].at(t, h, zero, c)
        update = 32767 - forget if cell.cifg else gates[INPUT].at(t, h, zero, c)
        proposal = gates[CELL].at(t, h, zero, c)
        c = next_cell(c, forget, update, proposal, bits, cell_clip)
        opening = gates[OUTPUT].at(t, h, zero, c)
        hidden = to_hidden(opening * look_up(tanh_table(bits), c))
        if weights is None:
            h = saturate(hidden + hidden_zero, np.int8)
        else:
            # The hidden zero point is taken off here and comes back with the sums.
            hidden = np.clip(hidden - hidden_zero, -128, 127)
            sums = accumulate(hidden, weights, -hidden_zero, 0 if bias is None else bias)
            h = saturate(to_output(sums) + zero, np.int8)
            if output_clip > 0:
                h = np.clip(h, -output_clip, output_clip).astype(np.int8)
        out[t] = h
    return out, h, c


def next_cell(
    c: np.ndarray,
    forget: np.ndarray,
    update: np.ndarray,
    proposal: np.ndarray,
    bits: int,
    clip: int,
) -> np.ndarray:
    kept = wrap_int16(rounding_shift_right(forget * c, 15))
    added = wrap_int16(rounding_shift_right(update * proposal, 15 + bits))
    c = to_int16(kept + added)
    return np.asarray(np.clip(c, -clip, clip)) if clip > 0 else c


def _gate_16(call: Call, cell: Cell, values: Values, g: int, x: np.ndarray) -> _Gate16:
    layout = cell.layout
    bias = given_value(values, layout.bias(g)).astype(np.int64)
    norm = None
    gate_scale = np.float32(2.0**-12)
    if cell.norm:
        gate_scale, _ = intermediate(call, g)
        scale = np.float32(call.scale(layout.norm(g)))
        base = Multiplier.of(scale)
        norm = _Norm16(
            given_value(values, layout.norm(g)).astype(np.int64),
            bias,
            Multiplier(base.mantissa, base.exponent + 12),
            max(1, int(np.float32(10000) * scale)),
        )
    i, r, p = layout.input_weights(g), layout.recurrent_weights(g), layout.peephole(g)
    to_gate = Multiplier.of(np.float32(call.scale(i)) * np.float32(call.scale(0)) / gate_scale)
    from_state = Multiplier.of(
        np.float32(call.scale(r)) * np.float32(call.scale(layout.output_state)) / gate_scale
    )
    own_bias = 0 if cell.norm else bias
    sums = accumulate(x, columns(given_value(values, i)), call.zero_point(0), own_bias)
    peephole = None
    if cell.peephole and g != CELL:
        cell_scale = 2.0 ** (_cell_bits(call, cell) - 15)
        real = np.float32(cell_scale * float(call.scale(p)) / float(gate_scale))
        peephole = (_peephole_16(call, cell, given_value(values, p)), Multiplier.of(real))
    table = tanh_table(GATE_BITS) if g == CELL else logistic_table(GATE_BITS)
    weights = columns(given_value(values, r))
    return _Gate16(to_int16(to_gate(sums)), weights, from_state, peephole, norm, table)


def _peephole_16(call: Call, cell: Cell, weights: np.ndarray) -> np.ndarray:
    """The weight of every element of the cell state, [batch, cells].

    LiteRT takes the rows for as long as the output: with a projection to m < n outputs, the first
    m weights meet the first batch * m elements, of the whole batch where it is stepped at once.
    """
    together = call.op == "LSTM" or bool(call.option("time_major"))
    rows = cell.batch if together else 1
    m = min(cell.outputs, cell.cells)
    spread = np.zeros(rows * cell.cells, np.int64)
    spread[: rows * m] = np.tile(weights[:m], rows)
    return np.broadcast_to(spread.reshape(rows, cell.cells), (cell.batch, cell.cells))


def given_value(values: Values, i: int) -> np.ndarray:
    value = values[i]
    assert value is not None  # checked by `check_cell`
    return value

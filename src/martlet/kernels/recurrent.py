"""Cells of recurrent layers in float32: what is left of a moment once the products are made.

    lstm_f32, lstm_clamp_f32, lstm_norm_f32   units: rows, the sequences of a batch
    gru_gates_f32, gru_f32                    likewise
    svdf_f32                                  units: outputs of all rows

The cells of an LSTM read the sums of their gates, W x + R h (+ b), a row of all gates after
another, and write the output h and the cells' state, which may lie where they read it:

    c = clip(f * c + i * g)        h = o * activation(c)

with f, i, o = logistic(sums + peephole * c), where o looks at the new c, and g = activation(sums).
The activation is tanh, or a clamp. `lstm_norm_f32` normalises the sums of each gate first, which
it overwrites, and then multiplies and adds weights and biases.

The cell of a GRU reads rows of the sums of its reset and update gate, and overwrites the sums of
the candidate, which has seen h * logistic(reset), by the new state:

    h = (1 - u) * tanh(candidate) + u * h        u = logistic(update)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from martlet.kernels.elementwise import clamp
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import Builder, Pointer, Value, arguments
from martlet.kernels.math import logistic, tanh
from martlet.kernels.rows import pieces
from martlet.kernels.targets import Target

_CELL = (
    # gates: rows of `pitch` sums, those of each gate from its `at` on. peephole: weights of input,
    # forget and output gate, read if `looks`; something as long if not.
    "gates: *float", "peephole: *float", "c: *float", "new_c: *float", "h: *float", "cells: i64",
    "pitch: i64", "h_pitch: i64", "at_input: i64", "at_forget: i64", "at_proposal: i64",
    "at_output: i64", "looks: i64",
    # coupled: the input gate is 1 - forget gate, and `at_input` is `at_forget`.
    "coupled: i64", "clip: float",
)  # fmt: skip
CELL = arguments(*_CELL)
CLAMPED_CELL = arguments(*_CELL, "low: float", "high: float")
# Weights and biases in the order of the gates' sums.
NORMED_CELL = arguments(*_CELL, "weights: *float", "biases: *float")
GRU_GATES = arguments("gates: *float", "h: *float", "kept: *float", "cells: i64")
GRU = arguments("gates: *float", "h: *float", "y: *float", "cells: i64")
SVDF = arguments(
    # latest: rows of filters. state: for each of them its last `memory` values, oldest first.
    "latest: *float", "state: *float", "time: *float", "bias: *float", "y: *float",
    "units: i64", "rank: i64", "memory: i64", "low: float", "high: float",
)  # fmt: skip
EPSILON = 1e-8  # added to a variance

Activation = Callable[[Builder, Value], Value]


def _lstm(k: Builder, *values: Any) -> None:
    *fields, first, last = values
    _cells(k, fields, first, last, tanh)


def _lstm_clamp(k: Builder, *values: Any) -> None:
    *fields, low, high, first, last = values
    _cells(k, fields, first, last, lambda k, x: clamp(k, x, low, high))


def _lstm_norm(k: Builder, *values: Any) -> None:
    *fields, weights, biases, first, last = values
    _cells(k, fields, first, last, tanh, (weights, biases))


def _cells(
    k: Builder, fields: list[Any], first: Value, last: Value, activation: Activation,
    norm: tuple[Pointer, Pointer] | None = None,
) -> None:  # fmt: skip
    (
        gates, peephole, c, new_c, h, cells, pitch, h_pitch, at_input, at_forget, at_proposal,
        at_output, looks, coupled, clip,
    ) = fields  # fmt: skip
    sees, cifg = looks.differs(0), coupled.differs(0)
    ways = [peephole + cells * i for i in range(3)]

    def total(sums: Pointer, way: Pointer, state: Value, i: Value, mask: Value | None) -> Value:
        """The sum of a gate that looks at the state."""
        weighted = k.load(way, i, mask) * state
        # Not 0 * state, which is not a number where the state is infinite.
        return k.load(sums, i, mask) + k.select(sees, weighted, 0.0)

    def normalise(row: Pointer, at: Value, way: Pointer | None = None, c: Any = None) -> None:
        """The sums of a gate of a row; those that look at the state have a way to do so."""
        assert norm is not None
        if way is not None:
            for i, mask in k.vectors(0, cells):
                k.store(row + at, i, total(row + at, way, k.load(c, i, mask), i, mask), mask)
        _normalise(k, row + at, cells, *(p + at for p in norm))

    def gate(sums: Pointer, way: Pointer, state: Value, i: Value, mask: Value | None) -> Value:
        return logistic(k, k.load(sums, i, mask) if norm else total(sums, way, state, i, mask))

    for row in k.range(first, last):
        here = gates + row * pitch
        old, new, out = c + row * cells, new_c + row * cells, h + row * h_pitch
        if norm:
            with k.when(cifg ^ 1):
                normalise(here, at_input, ways[0], old)
            normalise(here, at_forget, ways[1], old)
            normalise(here, at_proposal)
        for i, mask in k.vectors(0, cells):
            state = k.load(old, i, mask)
            forget = gate(here + at_forget, ways[1], state, i, mask)
            update = gate(here + at_input, ways[0], state, i, mask)
            update = k.select(cifg, 1 - forget, update)
            proposal = activation(k, k.load(here + at_proposal, i, mask))
            kept = clamp(k, forget * state + update * proposal, -clip, clip)
            k.store(new, i, kept, mask)
            if not norm:
                opening = gate(here + at_output, ways[2], kept, i, mask)
                k.store(out, i, opening * activation(k, kept), mask)
        if norm:
            normalise(here, at_output, ways[2], new)
            for i, mask in k.vectors(0, cells):
                kept = k.load(new, i, mask)
                opening = gate(here + at_output, ways[2], kept, i, mask)
                k.store(out, i, opening * activation(k, kept), mask)


def _normalise(k: Builder, x: Pointer, count: Value, weights: Pointer, biases: Pointer) -> None:
    """Give a row the mean 0 and the variance 1, then multiply and add, in place."""
    total, squares = (k.variable(k.zeros()) for _ in range(2))
    total.value = squares.value = k.zeros()
    for i, mask in k.vectors(0, count):
        total.value = total.value + k.load(x, i, mask)
    elements = count.to(total.type.of(0))
    mean = k.broadcast(k.sum_of_lanes(total.value) / elements)
    for i, mask in k.vectors(0, count):
        away = k.load(x, i, mask) - mean
        if mask is not None:
            away = k.select(mask, away, 0.0)
        squares.value = k.fma(away, away, squares.value)
    spread = k.square_root(k.sum_of_lanes(squares.value) / elements + EPSILON)
    for i, mask in k.vectors(0, count):
        away = (k.load(x, i, mask) - mean) / k.broadcast(spread)
        k.store(x, i, away * k.load(weights, i, mask) + k.load(biases, i, mask), mask)


def _gru_gates(
    k: Builder, gates: Pointer, h: Pointer, kept: Pointer, cells: Value, first: Value, last: Value
) -> None:
    """kept = h * logistic(reset), for the sums of the candidate."""
    for row in k.range(first, last):
        reset, old, new = gates + row * cells * 2, h + row * cells, kept + row * cells
        for i, mask in k.vectors(0, cells):
            k.store(new, i, k.load(old, i, mask) * logistic(k, k.load(reset, i, mask)), mask)


def _gru(
    k: Builder, gates: Pointer, h: Pointer, y: Pointer, cells: Value, first: Value, last: Value
) -> None:
    for row in k.range(first, last):
        update, old, new = gates + (row * 2 + 1) * cells, h + row * cells, y + row * cells
        for i, mask in k.vectors(0, cells):
            u = logistic(k, k.load(update, i, mask))
            candidate = tanh(k, k.load(new, i, mask))
            k.store(new, i, (1 - u) * candidate + u * k.load(old, i, mask), mask)


def _svdf(
    k: Builder, latest: Pointer, state: Pointer, time: Pointer, bias: Pointer, y: Pointer,
    units: Value, rank: Value, memory: Value, low: Value, high: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """Shift the state by one, weigh it over time, add up the filters of a unit."""
    total, weighed = k.variable(k.constant(0, low.type)), k.variable(k.zeros())
    for unit in k.range(first, last):
        total.value = k.scalar(bias, unit % units)
        for i in k.range(0, rank):
            filter_ = unit * rank + i
            past, weights = state + filter_ * memory, time + (unit % units * rank + i) * memory
            weighed.value = k.zeros()
            for at, lanes in pieces(k, k.constant(0, memory.type), memory - 1):
                moved = k.load(past, at + 1, lanes=lanes)
                k.store(past, at, moved)
                product = moved * k.load(weights, at, lanes=lanes)
                if lanes == k.lanes:
                    weighed.value = weighed.value + product
                else:
                    total.value = total.value + k.sum_of_lanes(product)
            newest = k.scalar(latest, filter_)
            k.store(past, memory - 1, newest)
            newest = newest * k.scalar(weights, memory - 1)
            total.value = total.value + (k.sum_of_lanes(weighed.value) + newest)
        k.store(y, unit, clamp(k, total.value, low, high))


def kernels(target: Target) -> list[Kernel]:
    """The cells; the same for every target."""
    return [
        Kernel("lstm_f32", _lstm, CELL),
        Kernel("lstm_clamp_f32", _lstm_clamp, CLAMPED_CELL),
        Kernel("lstm_norm_f32", _lstm_norm, NORMED_CELL),
        Kernel("gru_gates_f32", _gru_gates, GRU_GATES),
        Kernel("gru_f32", _gru, GRU),
        Kernel("svdf_f32", _svdf, SVDF),
    ]

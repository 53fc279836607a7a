"""RNN, UNIDIRECTIONAL_SEQUENCE_RNN and BIDIRECTIONAL_SEQUENCE_RNN, in float32.

h = activation(W x + A aux + R h + b), the output of every moment and the state of the next.
Weights are float32 or (hybrid) 8 bits, with the rows that they meet quantised when they come.

A cell's inputs are W [n, i], R [n, n], b [n] and the state [batch, n]. RNN takes one step; the
others run over [batch, time, i], or [time, batch, i] if `time_major`. The bidirectional one has
two cells, the second of which goes backwards; their outputs are two tensors, or one, joined along
the features, if `merge_outputs`. Its auxiliary input is read beside the input where auxiliary
weights are given, and instead of it by the second cell where not. LiteRT departs from this in
three ways, and so does this file (`_sequences`, `_evaluate_two`).
"""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call, Spec, register
from martlet.ops.recurrent import (
    activation,
    check_input,
    check_matrix,
    check_state,
    matrix,
    steps,
    store,
    time_first,
)
from martlet.records import dataclass

FIRST = 1  # of a cell's four inputs: W, R, b, state
BACKWARD = 5
AUXILIARY, FORWARD_AUXILIARY, BACKWARD_AUXILIARY = 9, 10, 11
WEIGHTS = (DType.FLOAT32, DType.INT8, DType.UINT8)


@dataclass(frozen=True)
class Cell:
    """A cell by the position of its first input, and of its auxiliary weights."""

    first: int
    units: int
    auxiliary: int | None = None


def _check_cell(
    call: Call, first: int, batch: int, size: int, auxiliary: int | None = None
) -> Cell:
    weights = call.check_dtype(first, *WEIGHTS)
    units = call.check_rank(first, 2)[0]
    check_matrix(call, first, "input weights", (units, size), weights)
    check_matrix(call, first + 1, "recurrent weights", (units, units), weights)
    check_input(call, first + 2, "bias", (units,), DType.FLOAT32)
    check_state(call, first + 3, "state", batch * units, DType.FLOAT32)
    return Cell(first, units, auxiliary)


def _run(
    call: Call,
    cell: Cell,
    values: tuple[np.ndarray | None, ...],
    x: np.ndarray,
    auxiliary: np.ndarray | None = None,
    reverse: bool = False,
    times: int = 1,
) -> np.ndarray:
    """Outputs [time, batch, units] for x [time, batch, features]; the state moves on.

    times: how often the sequence is run through, each time from the state that is left.
    """
    input_weights, recurrent_weights, bias, state = (
        v for v in values[cell.first : cell.first + 4] if v is not None
    )
    time, batch = x.shape[:2]
    call.session.reserve(12 * time * batch * cell.units, call.place)
    given = np.zeros((time, batch, cell.units), np.float32) + bias
    pairs = [(x, cell.first, input_weights)]
    if auxiliary is not None and cell.auxiliary is not None:
        auxiliary_weights = values[cell.auxiliary]
        assert auxiliary_weights is not None
        pairs.append((auxiliary, cell.auxiliary, auxiliary_weights))
    for sequence, i, weights in pairs:
        dense = matrix(call, i, weights)
        rows = sequence.reshape(-1, sequence.shape[-1])
        given += dense.product(dense.prepare(rows)).reshape(given.shape)
    recurrent = matrix(call, cell.first + 1, recurrent_weights)
    act = activation(call)
    h = state.reshape(batch, cell.units)
    out = np.empty_like(given)
    for _ in range(times):
        for t in steps(call, out, reverse):
            h = act(given[t] + recurrent.product(recurrent.prepare(h)))
            out[t] = h
    store(state, h)
    return np.asarray(out)


# One direction ---------------------------------------------------------------------------------


def one_cell(call: Call) -> Cell:
    call.check_dtype(0, DType.FLOAT32)
    activation(call)
    if call.op == "RNN":
        batch, size = call.check_rank(0, 2)
    else:
        shape = call.check_rank(0, 3)
        batch, size = shape[1 if call.option("time_major") else 0], shape[2]
    return _check_cell(call, FIRST, batch, size)


def _infer(call: Call) -> list[Spec]:
    return [Spec(DType.FLOAT32, (*call.shape(0)[:-1], one_cell(call).units))]


def _evaluate(call: Call, *values: np.ndarray | None) -> np.ndarray:
    x = values[0]
    assert x is not None
    cell = one_cell(call)
    if call.op == "RNN":
        return np.asarray(_run(call, cell, values, x[None])[0])
    time_major = bool(call.option("time_major"))
    return time_first(_run(call, cell, values, time_first(x, time_major)), time_major)


# Two directions --------------------------------------------------------------------------------


def two_cells(call: Call) -> tuple[Cell, Cell]:
    call.check_dtype(0, DType.FLOAT32)
    activation(call)
    shape = call.check_rank(0, 3)
    time_major = bool(call.option("time_major"))
    batch, size = shape[1 if time_major else 0], shape[2]
    weighted = call.has(FORWARD_AUXILIARY)
    call.check(
        call.has(BACKWARD_AUXILIARY) == weighted,
        "auxiliary weights must be there for both directions or for none",
    )
    cells = (
        _check_cell(call, FIRST, batch, size, FORWARD_AUXILIARY if weighted else None),
        _check_cell(call, BACKWARD, batch, size, BACKWARD_AUXILIARY if weighted else None),
    )
    call.check_dtype(BACKWARD, call.dtype(FIRST))
    if call.has(AUXILIARY):
        width = call.check_rank(AUXILIARY, 3)[2] if weighted else size
        check_input(call, AUXILIARY, "auxiliary input", (*shape[:2], width), DType.FLOAT32)
        for cell in cells if weighted else ():
            assert cell.auxiliary is not None
            shape_needed = (cell.units, width)
            check_matrix(call, cell.auxiliary, "auxiliary weights", shape_needed, call.dtype(FIRST))
        if width < size and _strides_of_input(call):
            call.unsupported(
                "an auxiliary input narrower than the input, where LiteRT reads past its end",
                hint="Give both the same number of features.",
            )
    else:
        call.check(not weighted, "there are auxiliary weights but no auxiliary input")
    return cells


def _strides_of_input(call: Call) -> bool:
    """Whether LiteRT goes through the auxiliary input in strides of the input's features."""
    return bool(call.option("time_major")) or call.dtype(FIRST) is not DType.FLOAT32


def _infer_two(call: Call) -> list[Spec]:
    forward, backward = two_cells(call)
    outer = call.shape(0)[:2]
    if call.option("merge_outputs"):
        return [Spec(DType.FLOAT32, (*outer, forward.units + backward.units))]
    return [Spec(DType.FLOAT32, (*outer, cell.units)) for cell in (forward, backward)]


def _sequences(call: Call, x: np.ndarray, extra: np.ndarray | None) -> list[np.ndarray | None]:
    """What the two cells read, and the auxiliary input, as [time, batch, features].

    As in LiteRT, the second cell reads the auxiliary input instead of the input only if
    `time_major`; and rows of a wider auxiliary input are taken where rows of the input would lie.
    """
    time_major = bool(call.option("time_major"))
    forward = backward = time_first(x, time_major)
    if extra is None:
        return [forward, backward, None]
    if not call.has(FORWARD_AUXILIARY):
        return [forward, time_first(extra, True) if time_major else backward, None]
    if _strides_of_input(call) and extra.shape != x.shape:
        size, width = x.shape[2], extra.shape[2]
        block = extra.shape[1] if time_major else 1  # rows that are read together
        starts = np.arange(extra.shape[0] * extra.shape[1] // max(block, 1)) * size * block
        positions = starts[:, None] + np.arange(block * width)
        extra = extra.ravel()[positions].reshape(extra.shape)
    return [forward, backward, time_first(extra, time_major)]


def _evaluate_two(call: Call, *values: np.ndarray | None) -> list[np.ndarray]:
    x = values[0]
    assert x is not None
    extra = values[AUXILIARY] if len(values) > AUXILIARY else None
    time_major = bool(call.option("time_major"))
    forward_x, backward_x, auxiliary = _sequences(call, x, extra)
    # LiteRT's hybrid kernel runs through a time-major sequence once for each of its moments.
    hybrid = call.dtype(FIRST) is not DType.FLOAT32
    times = len(x) if hybrid and time_major and x.size else 1
    outputs = []
    for cell, own_x, reverse in zip(
        two_cells(call), (forward_x, backward_x), (False, True), strict=True
    ):
        assert own_x is not None
        out = _run(call, cell, values, own_x, auxiliary, reverse, times)
        outputs.append(time_first(out, time_major))
    return [np.concatenate(outputs, axis=2)] if call.option("merge_outputs") else outputs


register(
    "RNN", infer=_infer, evaluate=_evaluate, inputs=5, options="RNNOptions", versions=3,
    pure=False,
)  # fmt: skip
register(
    "UNIDIRECTIONAL_SEQUENCE_RNN", infer=_infer, evaluate=_evaluate, inputs=5,
    options="SequenceRNNOptions", versions=3, pure=False,
)  # fmt: skip
register(
    "BIDIRECTIONAL_SEQUENCE_RNN", infer=_infer_two, evaluate=_evaluate_two, inputs=12,
    outputs=(1, 2), options="BidirectionalSequenceRNNOptions", versions=3,
    optional=(AUXILIARY, FORWARD_AUXILIARY, BACKWARD_AUXILIARY), pure=False,
)  # fmt: skip

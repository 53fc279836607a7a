"""LSTM, UNIDIRECTIONAL_SEQUENCE_LSTM and BIDIRECTIONAL_SEQUENCE_LSTM.

LSTM takes one step; the others run over [batch, time, features], or [time, batch, features] if
`time_major`, from the states that the last run left. The bidirectional one has two cells, the
second of which goes backwards; their outputs are two tensors, or one, joined along the features,
if `merge_outputs`. Its auxiliary input is read beside the input where auxiliary weights are
given, and instead of it by the second cell where not.

`lstm_cell` says what a cell's inputs are; `lstm_float`, `lstm_integer`, `lstm_integer_8` and
`lstm_basic` what it computes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from martlet.dtypes import DType
from martlet.ops.lstm_basic import infer_basic, run_basic
from martlet.ops.lstm_cell import INPUT, OUTPUT, Cell, Form, Layout, check_cell, find_form
from martlet.ops.lstm_float import run_float
from martlet.ops.lstm_integer import check_integer, run_16
from martlet.ops.lstm_integer_8 import run_8
from martlet.ops.operator import Call, Shape, Spec, register
from martlet.ops.recurrent import activation, check_input, store, time_first

FORWARD = Layout(first=1, states=35, norms=None, auxiliary=40)
BACKWARD = Layout(first=18, states=37, norms=None, auxiliary=44)
AUXILIARY = 39


# One direction ---------------------------------------------------------------------------------


def full_cell(call: Call) -> Cell:
    """The cell of LSTM (full kernel) or UNIDIRECTIONAL_SEQUENCE_LSTM; all checks."""
    call.check(
        call.inputs in (20, 24),
        f"{call.op} has the wrong number of inputs",
        "20 or 24 (BASIC kernel of LSTM: 5)",
        str(call.inputs),
    )
    call.check(call.outputs == 1, f"{call.op} has the wrong number of outputs", "1",
               str(call.outputs))  # fmt: skip
    sequence = call.op != "LSTM"
    shape = call.check_rank(0, 3 if sequence else 2)
    batch = shape[1] if sequence and call.option("time_major") else shape[0]
    layout = Layout()
    form = find_form(call, layout.input_weights(OUTPUT))
    cell = check_cell(call, layout, form, batch, shape[-1], diagonal=sequence)
    if form.is_integer:
        check_integer(call, cell)
    else:
        activation(call)
    return cell


def _infer(call: Call) -> list[Spec]:
    if call.op == "LSTM":
        kernel = call.option("kernel_type")
        call.check(kernel in ("FULL", "BASIC"), "the kernel is unknown", "FULL or BASIC",
                   str(kernel))  # fmt: skip
        if kernel == "BASIC":
            return infer_basic(call)
    cell = full_cell(call)
    return [Spec(call.dtype(0), (*call.shape(0)[:-1], cell.outputs))]


def _evaluate(call: Call, *values: np.ndarray | None) -> np.ndarray | Sequence[np.ndarray]:
    if call.op == "LSTM" and call.option("kernel_type") == "BASIC":
        return run_basic(call, *(v for v in values if v is not None))
    cell = full_cell(call)
    x = values[0]
    assert x is not None
    sequence = call.op != "LSTM"
    time_major = bool(call.option("time_major")) if sequence else True
    x = time_first(x if sequence else x[None], time_major)
    if cell.form is Form.INTEGER_16:
        out, h, c = run_16(call, cell, values, x)
    elif cell.form is Form.INTEGER_8:
        out, h, c = run_8(call, cell, values, x)
    else:
        out, h, c = run_float(call, cell, values, x)
    _store_states(cell, values, h, c)
    return time_first(out, time_major) if sequence else out[0]


def _store_states(
    cell: Cell, values: Sequence[np.ndarray | None], h: np.ndarray, c: np.ndarray
) -> None:
    for i, value in ((cell.layout.output_state, h), (cell.layout.cell_state, c)):
        state = values[i]
        assert state is not None
        store(state, value)


# Two directions --------------------------------------------------------------------------------


def two_cells(call: Call) -> tuple[Cell, Cell]:
    shape = call.check_rank(0, 3)
    call.check_dtype(0, DType.FLOAT32)
    activation(call)
    form = find_form(call, FORWARD.input_weights(OUTPUT))
    call.check_dtype(BACKWARD.input_weights(OUTPUT), call.dtype(FORWARD.input_weights(OUTPUT)))
    batch = shape[1] if call.option("time_major") else shape[0]
    forward, backward = (
        check_cell(call, layout, form, batch, shape[2]) for layout in (FORWARD, BACKWARD)
    )
    _check_auxiliary(call, shape, (forward, backward))
    return forward, backward


def _check_auxiliary(call: Call, shape: Shape, cells: tuple[Cell, Cell]) -> None:
    weighted = has_auxiliary_weights(call)
    for cell in cells:
        for g in range(4):
            i = cell.layout.auxiliary_weights(g)
            wanted = weighted and g in cell.gates
            call.check(
                call.has(i) == wanted,
                "auxiliary weights must be there for all gates or for none",
                "some" if wanted else "none",
                f"{'none' if wanted else 'some'}, input {i}",
            )
    if call.has(AUXILIARY):
        width = call.check_rank(AUXILIARY, 3)[2] if weighted else shape[2]
        check_input(call, AUXILIARY, "auxiliary input", (*shape[:2], width), DType.FLOAT32)
        for cell in cells if weighted else ():
            for g in cell.gates:
                i = cell.layout.auxiliary_weights(g)
                kind = call.dtype(cell.layout.input_weights(OUTPUT))
                check_input(call, i, "auxiliary weights", (cell.cells, width), kind)
                if kind is not DType.FLOAT32:
                    call.scale(i)
    else:
        call.check(not weighted, "there are auxiliary weights but no auxiliary input")


def has_auxiliary_weights(call: Call) -> bool:
    return call.has(FORWARD.auxiliary_weights(OUTPUT))


def _infer_two(call: Call) -> list[Spec]:
    merge = bool(call.option("merge_outputs"))
    forward, backward = two_cells(call)
    outer = call.shape(0)[:2]
    if merge:
        return [Spec(DType.FLOAT32, (*outer, forward.outputs + backward.outputs))]
    return [Spec(DType.FLOAT32, (*outer, cell.outputs)) for cell in (forward, backward)]


def _evaluate_two(call: Call, *values: np.ndarray | None) -> list[np.ndarray]:
    time_major = bool(call.option("time_major"))
    x, extra = values[0], values[AUXILIARY]
    assert x is not None
    forward_x = backward_x = time_first(x, time_major)
    auxiliary = None if extra is None else time_first(extra, time_major)
    if auxiliary is not None and not has_auxiliary_weights(call):
        backward_x, auxiliary = auxiliary, None
    outputs = []
    for cell, own_x, reverse in zip(
        two_cells(call), (forward_x, backward_x), (False, True), strict=True
    ):
        out, h, c = run_float(call, cell, values, own_x, auxiliary, reverse)
        _store_states(cell, values, h, c)
        outputs.append(time_first(out, time_major))
    return [np.concatenate(outputs, axis=2)] if call.option("merge_outputs") else outputs


def _optional(layout: Layout) -> set[int]:
    """Inputs of a cell that may be left out."""
    gates = range(4)
    found = {layout.input_weights(INPUT), layout.recurrent_weights(INPUT), layout.bias(INPUT)}
    found |= {layout.projection, layout.projection_bias}
    for positions in (layout.peephole, layout.norm, layout.auxiliary_weights):
        found |= {positions(g) for g in gates}
    return found - {-1}


register(
    "LSTM", infer=_infer, evaluate=_evaluate, inputs=(5, 24), outputs=(1, 4),
    options="LSTMOptions", versions=4, optional=_optional(Layout()), pure=False,
)  # fmt: skip
register(
    "UNIDIRECTIONAL_SEQUENCE_LSTM", infer=_infer, evaluate=_evaluate, inputs=(20, 24),
    options="UnidirectionalSequenceLSTMOptions", versions=4, optional=_optional(Layout()),
    pure=False,
)  # fmt: skip
register(
    "BIDIRECTIONAL_SEQUENCE_LSTM", infer=_infer_two, evaluate=_evaluate_two, inputs=48,
    outputs=(1, 2), options="BidirectionalSequenceLSTMOptions", versions=3,
    optional=_optional(FORWARD) | _optional(BACKWARD) | {AUXILIARY}, pure=False,
)  # fmt: skip

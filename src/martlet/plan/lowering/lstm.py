"""LSTM, UNIDIRECTIONAL_SEQUENCE_LSTM and BIDIRECTIONAL_SEQUENCE_LSTM in float32.

A row of sums holds those of all gates, one gate after another, so that the products of a moment
are one, with the weights of the gates joined. `kernels/recurrent.py` makes states and outputs of
the sums; a projection is one more product.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from martlet.dtypes import DType
from martlet.graph import ABSENT
from martlet.ops.lstm import (
    AUXILIARY,
    full_cell,
    has_auxiliary_weights,
    two_cells,
)
from martlet.ops.lstm_basic import BIAS, PREVIOUS, STATE, WEIGHTS, X
from martlet.ops.lstm_cell import CELL, FORGET, INPUT, OUTPUT, PEEPHOLES, Cell, Form
from martlet.plan.lowering import Lowering, Ref, lowers
from martlet.plan.lowering.recurrent import (
    INTERVALS,
    MOST_MOMENTS,
    NO_CLAMP,
    Moments,
    Product,
    Rows,
    Sequence,
    are_kept,
    constants,
    copy,
    sequence_of,
    two_outputs,
)

BASIC_GATES = (INPUT, CELL, FORGET, OUTPUT)
"""In the order of the BASIC kernel's weights."""


@lowers("LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM")
def lstm(lowering: Lowering) -> bool:
    call = lowering.call
    if call.op == "LSTM" and call.option("kernel_type") == "BASIC":
        return _basic(lowering)
    cell = full_cell(call)
    sequence = sequence_of(lowering)
    out = sequence.moments(lowering.output(), cell.outputs)
    return _direction(lowering, cell, sequence, out, 0)


@lowers("BIDIRECTIONAL_SEQUENCE_LSTM")
def bidirectional_lstm(lowering: Lowering) -> bool:
    call, sequence = lowering.call, sequence_of(lowering)
    cells = two_cells(call)
    states = [i for cell in cells for i in (cell.layout.output_state, cell.layout.cell_state)]
    if not are_kept(lowering, *states):
        return False
    outs = two_outputs(lowering, sequence, [cell.outputs for cell in cells])
    beside = call.has(AUXILIARY) and has_auxiliary_weights(call)
    instead = call.has(AUXILIARY) and not beside
    return _direction(lowering, cells[0], sequence, outs[0], 0, beside) and _direction(
        lowering, cells[1], sequence, outs[1], AUXILIARY if instead else 0, beside, reverse=True
    )


class _Gates:
    """The kernel that makes states and outputs of sums, in steps.

    gates: in the order of the sums in a row. peephole: weights of input, forget and output gate.
    rest: the kernel's own arguments.
    """

    def __init__(
        self, lowering: Lowering, kernel: str, gates: tuple[int, ...], cells: int,
        rest: list[Ref | float], peephole: Ref | None = None, clip: float = math.inf,
    ) -> None:  # fmt: skip
        self.lowering = lowering
        self.kernel = kernel
        self.cells = cells
        self.width = len(gates) * cells  # of a row
        self.peephole = peephole
        at = {g: n * cells for n, g in enumerate(gates)}
        self.places = [at.get(g, at[FORGET]) for g in (INPUT, FORGET, CELL, OUTPUT)]
        self.numbers = [int(peephole is not None), int(INPUT not in at), clip, *rest]

    def step(self, sums: Rows, c: Ref, new_c: Ref, h: Rows, batch: int) -> None:
        """Make a moment's state `new_c` and its outputs h."""
        self.lowering.step(
            self.kernel, sums.place, self.peephole or sums.place, c, new_c, h.place, self.cells,
            sums.pitch, h.pitch, *self.places, *self.numbers, units=batch,
        )  # fmt: skip


def _direction(
    lowering: Lowering, cell: Cell, sequence: Sequence, out: Moments, x: int,
    beside: bool = False, reverse: bool = False,
) -> bool:  # fmt: skip
    """One cell over a sequence, input x; over the auxiliary input, too, if `beside`."""
    if not _can(lowering, cell, sequence, beside):
        return False
    if sequence.rows == 0:
        return True
    call, layout, batch = lowering.call, cell.layout, sequence.batch
    gates = _gates(lowering, cell)
    nbytes = 4 * sequence.rows * gates.width
    call.session.reserve(nbytes, call.place)
    sums = sequence.moments(lowering.scratch(nbytes), gates.width)
    biases = None if cell.norm else _joined(lowering, cell, layout.bias)
    given = Product(lowering, _each(lowering, cell, layout.input_weights), sequence.rows, biases)
    given.step(Rows(lowering.input(x), given.depth), sums.whole)
    if beside:
        more = Product(lowering, _each(lowering, cell, layout.auxiliary_weights), sequence.rows)
        more.step(Rows(lowering.input(AUXILIARY), more.depth), sums.whole, added=sums.whole)
    moving = Product(lowering, _each(lowering, cell, layout.recurrent_weights), batch)
    projection = hidden = None
    if cell.projection:
        projection = _projection(lowering, cell, batch)
        hidden = Rows(lowering.scratch(4 * batch * cell.cells), cell.cells)
    limit = float(call.option("proj_clip"))
    clip = (-limit, limit) if limit > 0 else NO_CLAMP
    c = lowering.input(layout.cell_state)
    kept = last = Rows(lowering.input(layout.output_state), cell.outputs)
    for t in sequence.order(reverse):
        moving.step(last, sums.at(t), added=sums.at(t))
        last = out.at(t)
        gates.step(sums.at(t), c, c, hidden or last, batch)
        if projection is not None and hidden is not None:
            projection.step(hidden, last, clip)
    copy(lowering, last, kept, batch, cell.outputs)
    return True


def _can(lowering: Lowering, cell: Cell, sequence: Sequence, beside: bool) -> bool:
    """Whether there are kernels for all that a cell does."""
    call, layout = lowering.call, cell.layout
    name = str(call.option("fused_activation_function"))
    # Without an activation LiteRT makes the outputs of the cell gate, not of the cell.
    if cell.form is not Form.FLOAT or name not in INTERVALS or name == "NONE":
        return False
    if cell.norm and name != "TANH":
        return False
    places = [layout.input_weights, layout.recurrent_weights, layout.bias]
    places += [layout.auxiliary_weights] * beside + [layout.norm] * cell.norm
    used = [place(g) for g in cell.gates for place in places]
    used += [layout.peephole(g) for g in PEEPHOLES if cell.peephole and g in cell.gates]
    used += [layout.projection] * cell.projection
    used += [layout.projection_bias] * call.has(layout.projection_bias)
    return (
        constants(lowering, *used) is not None
        and all(call.rank(layout.recurrent_weights(g)) == 2 for g in cell.gates)
        and call.shape(layout.input_weights(OUTPUT))[1] > 0
        and are_kept(lowering, layout.output_state, layout.cell_state)
        and sequence.time <= MOST_MOMENTS
    )


def _each(lowering: Lowering, cell: Cell, place: Callable[[int], int]) -> list[np.ndarray]:
    """The weights or biases of each gate."""
    return [_value(lowering, place(g)) for g in cell.gates]


def _joined(lowering: Lowering, cell: Cell, place: Callable[[int], int]) -> np.ndarray:
    """Those of all gates, one after another, in float32."""
    return np.concatenate(_each(lowering, cell, place), dtype=np.float32)


def _value(lowering: Lowering, i: int) -> np.ndarray:
    value = lowering.call.stored(i)
    assert value is not None
    return value


def _gates(lowering: Lowering, cell: Cell) -> _Gates:
    """The cell's kernel and its constants."""
    call, layout = lowering.call, cell.layout
    name = str(call.option("fused_activation_function"))
    kernel = "lstm_f32"
    rest: list[Ref | float] = []
    if cell.norm:
        kernel = "lstm_norm_f32"
        rest = [lowering.data(_joined(lowering, cell, p)) for p in (layout.norm, layout.bias)]
    elif name != "TANH":
        kernel, rest = "lstm_clamp_f32", [*INTERVALS[name]]
    peephole = None
    if cell.peephole:
        none = np.zeros(cell.cells, np.float32)
        ways = [
            _value(lowering, layout.peephole(g)) if g in cell.gates else none for g in PEEPHOLES
        ]
        peephole = lowering.data(np.concatenate(ways, dtype=np.float32))
    clip = float(call.option("cell_clip"))
    return _Gates(lowering, kernel, cell.gates, cell.cells, rest, peephole, clip or math.inf)


def _projection(lowering: Lowering, cell: Cell, batch: int) -> Product:
    layout = cell.layout
    bias = lowering.call.value(layout.projection_bias)
    return Product(lowering, [_value(lowering, layout.projection)], batch, bias)


# The BASIC kernel -------------------------------------------------------------------------------


def _basic(lowering: Lowering) -> bool:
    """One step: x and the output before, joined, times all weights."""
    call, node = lowering.call, lowering.call.node
    weights = constants(lowering, WEIGHTS, BIAS)
    variable = [i for i in (PREVIOUS, STATE) if call.input(i).is_variable]
    if call.dtype(X) is not DType.FLOAT32 or weights is None or ABSENT in node.outputs:
        return False
    if not are_kept(lowering, *variable) or 0 in call.shape(WEIGHTS):
        return False
    (batch, features), cells = call.shape(X), call.shape(PREVIOUS)[1]
    if batch == 0:
        return True
    width = features + cells
    output, state, joined, sums = (lowering.output(i) for i in range(4))
    before = Rows(lowering.input(PREVIOUS), cells)
    copy(lowering, Rows(lowering.input(X), features), Rows(joined, width), batch, features)
    copy(lowering, before, Rows(joined.at(4 * features), width), batch, cells)
    Product(lowering, weights[:1], batch, weights[1]).step(
        Rows(joined, width), Rows(sums, 4 * cells)
    )
    gates = _Gates(lowering, "lstm_f32", BASIC_GATES, cells, [])
    h = Rows(output, cells)
    gates.step(Rows(sums, 4 * cells), lowering.input(STATE), state, h, batch)
    for i, new in ((PREVIOUS, output), (STATE, state)):
        if i in variable:
            copy(lowering, Rows(new, cells), Rows(lowering.input(i), cells), batch, cells)
    return True

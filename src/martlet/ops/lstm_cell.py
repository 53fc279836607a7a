"""The inputs of an LSTM cell: where an operator lists them, what they must be.

LSTM, UNIDIRECTIONAL_SEQUENCE_LSTM and each direction of BIDIRECTIONAL_SEQUENCE_LSTM have the same
cell with its tensors at different positions (`Layout`). Its parts, per gate (input, forget,
cell, output), n cells, m outputs:

    input weights [n, inputs]     recurrent weights [n, m], or [n]: a diagonal matrix
    peephole weights [n]          optional; not for the cell gate
    bias [n]                      layer norm weights [n], optional
    projection [m, n], bias [m]   optional; without it m = n
    states                        output [batch, m], cell [batch, n]

Without input gate weights the input gate is 1 - forget gate (CIFG). `check_cell` finds the sizes
and the arithmetic (`Form`) and raises for all that does not fit.
"""

from __future__ import annotations

import enum

from martlet.dtypes import DType
from martlet.ops.operator import Call
from martlet.ops.recurrent import check_input, check_matrix, check_state
from martlet.records import dataclass

GATES = ("input", "forget", "cell", "output")
INPUT, FORGET, CELL, OUTPUT = range(4)
PEEPHOLES = {INPUT: 0, FORGET: 1, OUTPUT: 2}


class Form(enum.Enum):
    """The arithmetic of a cell: the types of its input and of its weights."""

    FLOAT = "float32"
    HYBRID = "float32 input, 8-bit weights"
    INTEGER_16 = "int8, gates summed in int16"
    INTEGER_8 = "int8, products stored in int8"

    @property
    def is_integer(self) -> bool:
        return self in (Form.INTEGER_16, Form.INTEGER_8)


@dataclass(frozen=True)
class Layout:
    """Positions of a cell's inputs: of the first of four input weights, whence the other weights
    follow; of the two states; of the first of four layer norm and auxiliary weights."""

    first: int = 1
    states: int = 18
    norms: int | None = 20
    auxiliary: int | None = None

    def input_weights(self, gate: int) -> int:
        return self.first + gate

    def recurrent_weights(self, gate: int) -> int:
        return self.first + 4 + gate

    def peephole(self, gate: int) -> int:
        """-1 for the cell gate, which has none."""
        return self.first + 8 + PEEPHOLES[gate] if gate in PEEPHOLES else -1

    def bias(self, gate: int) -> int:
        return self.first + 11 + gate

    @property
    def projection(self) -> int:
        return self.first + 15

    @property
    def projection_bias(self) -> int:
        return self.first + 16

    def norm(self, gate: int) -> int:
        return -1 if self.norms is None else self.norms + gate

    def auxiliary_weights(self, gate: int) -> int:
        return -1 if self.auxiliary is None else self.auxiliary + gate

    @property
    def output_state(self) -> int:
        return self.states

    @property
    def cell_state(self) -> int:
        return self.states + 1


@dataclass(frozen=True)
class Cell:
    """What `check_cell` found."""

    layout: Layout
    form: Form
    batch: int
    cells: int
    outputs: int
    gates: tuple[int, ...]
    peephole: bool
    norm: bool
    projection: bool

    @property
    def cifg(self) -> bool:
        return INPUT not in self.gates


def find_form(call: Call, weights: int) -> Form:
    """The arithmetic, from the types of input 0 and of the weights at a position."""
    call.check_dtype(0, DType.FLOAT32, DType.INT8)
    if call.dtype(0) is DType.INT8:
        call.check_dtype(weights, DType.INT8)
        count = len(call.node.intermediates)
        call.check(
            count == 5 or (count == 12 and call.op == "LSTM"),
            f"{call.op} in int8 needs the scales of its intermediate results",
            "5 intermediates (LSTM: 5 or 12)",
            str(count),
        )
        return Form.INTEGER_16 if count == 5 else Form.INTEGER_8
    call.check_dtype(weights, DType.FLOAT32, DType.INT8, DType.UINT8)
    return Form.FLOAT if call.dtype(weights) is DType.FLOAT32 else Form.HYBRID


def check_cell(
    call: Call, layout: Layout, form: Form, batch: int, features: int, diagonal: bool = False
) -> Cell:
    """Check everything at a layout's positions; `diagonal`: recurrent weights may be vectors."""
    for clip in ("cell_clip", "proj_clip"):
        limit = call.option(clip)
        call.check(limit >= 0, f"{clip} must not be negative", "0 (none) or more", str(limit))
    weights = call.dtype(layout.input_weights(OUTPUT))
    cells = call.check_rank(layout.input_weights(OUTPUT), 2)[0]
    recurrent = call.check_rank(layout.recurrent_weights(OUTPUT), 1 if diagonal else 2, 2)
    outputs = recurrent[-1]
    call.check(cells > 0 and outputs > 0, "the cell is empty", "1 or more", f"{cells}, {outputs}")
    cifg = not call.has(layout.input_weights(INPUT))
    gates = tuple(g for g in range(4) if not (cifg and g == INPUT))
    if cifg:
        _absent(call, layout.recurrent_weights(INPUT), "recurrent weights")
        _absent(call, layout.bias(INPUT), "a bias")
    bias = DType.INT32 if form.is_integer else DType.FLOAT32
    for gate in gates:
        name = GATES[gate]
        check_matrix(
            call, layout.input_weights(gate), f"{name} gate weights", (cells, features), weights
        )
        _check_recurrent(call, layout, gate, (cells, outputs), weights, diagonal)
        check_input(call, layout.bias(gate), f"{name} gate bias", (cells,), bias)
    peephole = call.has(layout.peephole(OUTPUT))
    norm = layout.norms is not None and call.has(layout.norm(FORGET))
    for gate in range(4):
        if gate in PEEPHOLES:
            wanted = peephole and gate in gates
            _all_or_none(call, layout.peephole(gate), wanted, "peephole", GATES[gate])
            if wanted:
                kind = DType.INT16 if form.is_integer else weights
                what = f"{GATES[gate]} gate peephole"
                check_matrix(call, layout.peephole(gate), what, (cells,), kind)
        wanted = norm and gate in gates
        if layout.norms is not None:
            _all_or_none(call, layout.norm(gate), wanted, "layer norm", GATES[gate])
        if wanted:
            kind = DType.INT16 if form.is_integer else DType.FLOAT32
            check_matrix(call, layout.norm(gate), f"{GATES[gate]} gate norm", (cells,), kind)
    projection = call.has(layout.projection)
    if projection:
        check_matrix(call, layout.projection, "projection", (outputs, cells), weights)
        if call.has(layout.projection_bias):
            check_input(call, layout.projection_bias, "projection bias", (outputs,), bias)
    else:
        call.check(
            not call.has(layout.projection_bias), "there is a projection bias but no projection"
        )
        call.check(
            outputs == cells, "outputs differ from cells", f"{cells}, without a projection",
            str(outputs),
        )  # fmt: skip
    state, memory = (DType.INT8, DType.INT16) if form.is_integer else (DType.FLOAT32, DType.FLOAT32)
    check_state(call, layout.output_state, "output state", batch * outputs, state)
    check_state(call, layout.cell_state, "cell state", batch * cells, memory)
    return Cell(layout, form, batch, cells, outputs, gates, peephole, norm, projection)


def _check_recurrent(
    call: Call, layout: Layout, gate: int, shape: tuple[int, int], weights: DType, diagonal: bool
) -> None:
    i = layout.recurrent_weights(gate)
    what = f"{GATES[gate]} gate recurrent weights"
    if diagonal and call.rank(i) == 1:
        call.check(
            call.dtype(0) is DType.FLOAT32 and shape[0] == shape[1],
            f"{what} are a diagonal matrix",
            "a float32 input, and as many outputs as cells",
            f"{call.dtype(0).name}, {shape[1]} outputs, {shape[0]} cells",
        )
        check_input(call, i, what, shape[:1], DType.FLOAT32)
    else:
        check_matrix(call, i, what, shape, weights)


def _absent(call: Call, i: int, what: str) -> None:
    call.check(
        not call.has(i), f"the input gate has {what} (input {i}) but no input weights", "none"
    )


def _all_or_none(call: Call, i: int, wanted: bool, what: str, gate: str) -> None:
    if call.has(i) != wanted:
        call.fail(
            f"{what} weights must be there for all gates or for none",
            f"{'some' if wanted else 'none'} for the {gate} gate, input {i}",
            "none" if wanted else "some",
        )

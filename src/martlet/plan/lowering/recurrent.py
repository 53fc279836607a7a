"""RNN, UNIDIRECTIONAL_SEQUENCE_RNN, BIDIRECTIONAL_SEQUENCE_RNN and SVDF in float32.

What does not depend on the state is one product for the whole sequence. Then each moment is a
few steps of its own: a product of the state with the recurrent weights, which adds to what is
there already, and what the cell makes of it. The state of the moment before is read where it was
written, in the output; the last one is copied to the variable that keeps it.

The cells of LSTMs are in `plan/lowering/lstm.py`; both use the products and rows of this file.
"""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np

from martlet.dtypes import DType
from martlet.ops.rnn import AUXILIARY, Cell, one_cell, two_cells
from martlet.ops.svdf import BIAS, FEATURES, STATE, TIME, X
from martlet.plan.blocking import blocking, padded
from martlet.plan.lowering import Lowering, Ref, lowers
from martlet.plan.lowering.elementwise import CLAMPS
from martlet.plan.lowering.packing import Part, packed_parts
from martlet.plan.lowering.rowwise import LEAST_ELEMENTS
from martlet.plan.lowering.strides import CACHE_LINE, grain, row_arguments
from martlet.records import NamedTuple

MOST_MOMENTS = 4096
"""In a sequence; each is two or three steps."""
Interval = tuple[float, float]
NO_CLAMP: Interval = (-math.inf, math.inf)
INTERVALS: dict[str, Interval] = {"NONE": NO_CLAMP, "TANH": NO_CLAMP, **CLAMPS}
"""Of the activations for which there are kernels; tanh is a step of its own."""


class Rows(NamedTuple):
    """Rows of float32: where the first begins, and elements from one to the next."""

    place: Ref
    pitch: int


class Moments(NamedTuple):
    """The rows of a sequence, [time, batch, width] or [batch, time, width].

    moment, pitch: elements from one moment to the next, and from row to row of a moment. whole:
    all rows as they lie in memory.
    """

    whole: Rows
    moment: int
    pitch: int

    def at(self, t: int) -> Rows:
        return Rows(self.whole.place.at(4 * t * self.moment), self.pitch)


class Sequence(NamedTuple):
    """The sizes of what a node runs over."""

    time: int
    batch: int
    time_major: bool

    @property
    def rows(self) -> int:
        return self.time * self.batch

    def moments(self, place: Ref, width: int) -> Moments:
        """A tensor of rows of that width."""
        if self.time_major:
            return Moments(Rows(place, width), self.batch * width, width)
        return Moments(Rows(place, width), width, self.time * width)

    def order(self, reverse: bool) -> range:
        """The moments in the order in which they are computed."""
        return range(self.time)[:: -1 if reverse else 1]


def sequence_of(lowering: Lowering) -> Sequence:
    """Of input 0: [batch, features] is one moment."""
    call = lowering.call
    if call.rank(0) == 2:
        return Sequence(1, call.shape(0)[0], True)
    time_major = bool(call.option("time_major"))
    time, batch = call.shape(0)[:2] if time_major else call.shape(0)[1::-1]
    return Sequence(time, batch, time_major)


class Product:
    """rows · weights^T + bias as steps, with weights (columns, depth) that are packed once.

    weights: one matrix, or several whose columns are joined.
    """

    def __init__(
        self, lowering: Lowering, weights: list[np.ndarray], rows: int,
        bias: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.lowering = lowering
        self.rows = rows
        self.columns, self.depth = sum(len(w) for w in weights), weights[0].shape[1]
        costs, threads = lowering.costs, lowering.threads
        self.plan = blocking(rows, self.columns, self.depth, costs, threads)
        begins = accumulate(map(len, weights), initial=0)
        parts = [Part(part, column) for part, column in zip(weights, begins, strict=False)]
        packed = packed_parts(lowering, parts, self.columns, self.depth, self.plan.tile)
        self.weights = packed.place
        self.bias = lowering.data(padded(bias, self.columns, self.plan.width))
        self.offsets = lowering.data(np.zeros(4, np.int64))

    def step(
        self, x: Rows, y: Rows, interval: Interval = NO_CLAMP, added: Rows | None = None
    ) -> None:
        """Compute y from x, plus other rows, which may be y itself; clamped."""
        rest = added or y
        self.lowering.step(
            f"gemm_f32_{self.plan.tile.name}", x.place, self.weights, self.bias, y.place,
            rest.place, self.offsets, self.rows, self.depth, self.columns, x.pitch, y.pitch,
            rest.pitch, int(added is not None), self.plan.block, self.plan.group, *interval,
            units=self.plan.units, grain=1,
        )  # fmt: skip


def copy(lowering: Lowering, x: Rows, y: Rows, rows: int, width: int) -> None:
    """Copy rows."""
    strides = (4 * x.pitch, 1), (4 * y.pitch, 1)
    units = 4 * rows * width
    lowering.step(
        "copy_rows", x.place, y.place, *row_arguments((rows, 4 * width), *strides),
        units=units, grain=grain(lowering, units, 4 * LEAST_ELEMENTS, CACHE_LINE),
    )  # fmt: skip


def tanh(lowering: Lowering, x: Rows, rows: int, width: int) -> None:
    """Replace rows by their tanh."""
    strides = (x.pitch, 1)
    lowering.step(
        "tanh_f32", x.place, x.place, *row_arguments((rows, width), strides, strides),
        units=rows * width, grain=grain(lowering, rows * width, LEAST_ELEMENTS, CACHE_LINE),
    )  # fmt: skip


def are_kept(lowering: Lowering, *states: int) -> bool:
    """Whether these inputs are different variables that the session keeps."""
    graph, node = lowering.call.graph, lowering.call.node
    tensors = [node.inputs[i] for i in states]
    return len(set(tensors)) == len(tensors) and not set(tensors) & set(graph.inputs)


def constants(lowering: Lowering, *inputs: int) -> list[np.ndarray] | None:
    """The values of inputs that are constants of float32, stored in that or in float16, if all
    are."""
    call = lowering.call
    values = [call.stored(i) for i in inputs if call.dtype(i) is DType.FLOAT32]
    known = [value for value in values if value is not None]
    return known if len(known) == len(inputs) else None


# RNN --------------------------------------------------------------------------------------------


@lowers("RNN", "UNIDIRECTIONAL_SEQUENCE_RNN")
def rnn(lowering: Lowering) -> bool:
    cell = one_cell(lowering.call)
    sequence = sequence_of(lowering)
    out = sequence.moments(lowering.output(), cell.units)
    return _cell(lowering, cell, sequence, out, reverse=False)


@lowers("BIDIRECTIONAL_SEQUENCE_RNN")
def bidirectional_rnn(lowering: Lowering) -> bool:
    """Without an auxiliary input, for which LiteRT has rules of its own."""
    call, sequence = lowering.call, sequence_of(lowering)
    cells = two_cells(call)
    states = [cell.first + 3 for cell in cells]
    if call.has(AUXILIARY) or not are_kept(lowering, *states):
        return False
    outs = two_outputs(lowering, sequence, [cell.units for cell in cells])
    return all(
        _cell(lowering, cell, sequence, out, reverse)
        for cell, out, reverse in zip(cells, outs, (False, True), strict=True)
    )


def two_outputs(lowering: Lowering, sequence: Sequence, widths: list[int]) -> list[Moments]:
    """Where two directions write: two outputs, or the halves of one."""
    if not lowering.call.option("merge_outputs"):
        pairs = enumerate(widths)
        return [sequence.moments(lowering.output(i), width) for i, width in pairs]
    first = sequence.moments(lowering.output(), sum(widths))
    place = first.whole.place.at(4 * widths[0])
    return [first, first._replace(whole=Rows(place, first.whole.pitch))]


def _cell(lowering: Lowering, cell: Cell, sequence: Sequence, out: Moments, reverse: bool) -> bool:
    """The sums are made where the outputs go."""
    call, state = lowering.call, cell.first + 3
    known = constants(lowering, *range(cell.first, cell.first + 3))
    name = str(call.option("fused_activation_function"))
    if known is None or name not in INTERVALS or not are_kept(lowering, state):
        return False
    weights, recurrent, bias = known
    if weights.size == 0 or sequence.time > MOST_MOMENTS:
        return False
    if sequence.rows == 0:
        return True
    given = Product(lowering, [weights], sequence.rows, bias)
    given.step(Rows(lowering.input(0), given.depth), out.whole)
    moving = Product(lowering, [recurrent], sequence.batch)
    kept = Rows(lowering.input(state), cell.units)
    last = kept
    for t in sequence.order(reverse):
        moving.step(last, out.at(t), INTERVALS[name], added=out.at(t))
        last = out.at(t)
        if name == "TANH":
            tanh(lowering, last, sequence.batch, cell.units)
    copy(lowering, last, kept, sequence.batch, cell.units)
    return True


# SVDF -------------------------------------------------------------------------------------------


@lowers("SVDF")
def svdf(lowering: Lowering) -> bool:
    """The features of x, then a step that moves the state on and weighs it."""
    call = lowering.call
    known = constants(lowering, FEATURES, TIME, *([BIAS] if call.has(BIAS) else []))
    name = str(call.option("fused_activation_function"))
    if known is None or name not in INTERVALS or not are_kept(lowering, STATE):
        return False
    features, *others = known
    time, *biases = (array.astype(np.float32) for array in others)
    (batch, size), rank = call.shape(X), int(call.option("rank"))
    filters, memory = time.shape
    units = filters // rank
    if features.size == 0:
        return False
    if batch == 0:
        return True
    latest, y = Rows(lowering.scratch(4 * batch * filters), filters), lowering.output()
    Product(lowering, [features], batch).step(Rows(lowering.input(X), size), latest)
    bias = biases[0] if biases else np.zeros(units, np.float32)
    lowering.step(
        "svdf_f32", latest.place, lowering.input(STATE), lowering.data(time), lowering.data(bias),
        y, units, rank, memory, *INTERVALS[name], units=batch * units,
    )  # fmt: skip
    if name == "TANH":
        tanh(lowering, Rows(y, units), batch, units)
    return True

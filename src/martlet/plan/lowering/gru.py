"""UNIDIRECTIONAL_SEQUENCE_GRU, a custom operator, in float32.

What x adds to the gates and to the candidate is one product each for the whole sequence; then
each moment is a product of the state for the gates, another for the candidate, and what
`kernels/recurrent.py` makes of the sums. Those of the candidate are made where the output goes.
"""

from __future__ import annotations

from martlet.plan.lowering import Lowering, custom, lowers
from martlet.plan.lowering.recurrent import (
    MOST_MOMENTS,
    Product,
    Rows,
    Sequence,
    constants,
    copy,
)


@lowers(custom("UNIDIRECTIONAL_SEQUENCE_GRU"))
def gru(lowering: Lowering) -> bool:
    call = lowering.call
    time, batch, size = call.shape(0)
    cells, known = call.shape(1)[1], constants(lowering, *range(2, 6))
    if known is None or cells == 0 or size == 0 or time > MOST_MOMENTS:
        return False
    gate_weights, gate_bias, weights, bias = known
    sequence = Sequence(time, batch, time_major=True)
    if batch == 0:
        return True
    state, last = Rows(lowering.input(1), cells), Rows(lowering.output(1), cells)
    if time == 0:
        copy(lowering, state, last, batch, cells)
        return True
    x, out = Rows(lowering.input(0), size), sequence.moments(lowering.output(), cells)
    gates = sequence.moments(lowering.scratch(8 * sequence.rows * cells), 2 * cells)
    kept = Rows(lowering.scratch(4 * batch * cells), cells)
    Product(lowering, [gate_weights[:, :size]], sequence.rows, gate_bias).step(x, gates.whole)
    Product(lowering, [weights[:, :size]], sequence.rows, bias).step(x, out.whole)
    of_gates = Product(lowering, [gate_weights[:, size:]], batch)
    of_candidate = Product(lowering, [weights[:, size:]], batch)
    for t in range(time):
        sums, y = gates.at(t), out.at(t)
        of_gates.step(state, sums, added=sums)
        lowering.step(
            "gru_gates_f32", sums.place, state.place, kept.place, cells, units=batch, grain=1
        )
        of_candidate.step(kept, y, added=y)
        lowering.step("gru_f32", sums.place, state.place, y.place, cells, units=batch, grain=1)
        state = y
    copy(lowering, state, last, batch, cells)
    return True

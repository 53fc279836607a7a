"""BUCKETIZE with few boundaries, and BROADCAST_ARGS (`kernels/buckets.py`)."""

from __future__ import annotations

from martlet.ops.selecting import boundaries
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.elementwise import SUFFIXES
from martlet.plan.lowering.indexing import INDICES
from martlet.plan.lowering.movement import LEAST_BYTES
from martlet.plan.lowering.strides import CACHE_LINE, grain

MOST_BOUNDARIES = 256
"""More are searched faster than they are all looked at."""


@lowers("BUCKETIZE")
def bucketize(lowering: Lowering) -> bool:
    dtype, table = lowering.call.dtype(0), boundaries(lowering.call)
    if dtype not in SUFFIXES or table.size > MOST_BOUNDARIES:
        return False
    units = lowering.size(0)
    least = LEAST_BYTES // (4 * (table.size + 1)) + 1
    lowering.step(
        f"bucketize_{SUFFIXES[dtype]}", lowering.input(0), lowering.output(),
        lowering.data(table), table.size,
        units=units, grain=grain(lowering, units, least, CACHE_LINE // 4),
    )  # fmt: skip
    return True


@lowers("BROADCAST_ARGS")
def broadcast_args(lowering: Lowering) -> bool:
    status = lowering.status("the shapes do not broadcast", "1 or the size of the other")
    lowering.step(
        f"broadcast_args_{INDICES[lowering.call.dtype(0)]}", lowering.input(0), lowering.input(1),
        lowering.output(), status, lowering.size(0), lowering.size(1), units=1,
    )  # fmt: skip
    return True

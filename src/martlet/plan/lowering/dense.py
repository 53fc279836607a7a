"""FULLY_CONNECTED in float32 with constant weights: a matrix product (`kernels/gemm.py`)."""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.activation_range import INTERVALS
from martlet.plan.blocking import blocking, pack, padded
from martlet.plan.lowering import Lowering, lowers

LARGEST = float(np.finfo(np.float32).max)


@lowers("FULLY_CONNECTED")
def fully_connected(lowering: Lowering) -> bool:
    """Rows of x times weights (units, depth), plus bias, clamped."""
    weights = float_constant(lowering, 1)
    interval = clamp_of(lowering)
    if (
        weights is None
        or interval is None
        or not has_constant_bias(lowering, 2)
        or not weights.size
    ):
        return False
    units, depth = weights.shape
    rows = lowering.size(0) // depth
    if rows == 0:
        return True
    plan = blocking(rows, units, depth, lowering.lanes, lowering.threads)
    lowering.step(
        f"gemm_f32_{plan.tile.name}",
        lowering.input(0), lowering.data(pack(weights, plan.tile, lowering.lanes)),
        lowering.data(padded(lowering.call.value(2), units, plan.width)), lowering.output(),
        rows, depth, units, depth, units, plan.block, plan.group, *interval,
        units=plan.units, grain=1,
    )  # fmt: skip
    return True


def float_constant(lowering: Lowering, i: int) -> np.ndarray | None:
    """Input i if it is a float32 constant and the data, input 0, is float32 and no constant."""
    call = lowering.call
    if call.dtype(0) is not DType.FLOAT32 or call.dtype(i) is not DType.FLOAT32:
        return None
    return call.value(i) if call.value(0) is None else None


def has_constant_bias(lowering: Lowering, i: int) -> bool:
    """Whether the bias, input i, is known, or there is none."""
    return not lowering.call.has(i) or lowering.call.value(i) is not None


def clamp_of(lowering: Lowering) -> tuple[float, float] | None:
    """The interval of the fused activation, or None if it is no interval.

    Its open ends are the largest finite numbers, as in `ops/activation_range.py`.
    """
    name = lowering.activation()
    if name not in INTERVALS:
        return None
    low, high = INTERVALS[name]
    return (
        -LARGEST if low is None else float(low),
        LARGEST if high is None else float(high),
    )

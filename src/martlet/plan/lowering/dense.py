"""FULLY_CONNECTED in float32 with constant weights: a matrix product (`kernels/gemm.py`)."""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.activation_range import INTERVALS
from martlet.plan.blocking import Blocking, blocking, pack, padded
from martlet.plan.lowering import Lowering, Ref, lowers

LARGEST = float(np.finfo(np.float32).max)


@lowers("FULLY_CONNECTED", pitched=True, absorbs=("ADD", "ACTIVATION"))
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
    rows, length = lowering.size(0) // depth, lowering.call.shape(0)[-1]
    if rows == 0:
        return True
    lda = lowering.pitch(0)
    if length != depth:  # the rows of x are cut anew
        if lda != length and lowering.size(0) != length:
            return False
        lda = depth
    plan = blocking(rows, units, depth, lowering.lanes, lowering.threads)
    arguments = product(lowering, weights[None], plan, rows, depth, lda, interval)
    lowering.step(f"gemm_f32_{plan.tile.name}", *arguments, units=plan.units, grain=1)
    return True


def product(
    lowering: Lowering, weights: np.ndarray, plan: Blocking, rows: int, depth: int, lda: int,
    interval: tuple[float, float],
) -> list[Ref | float]:  # fmt: skip
    """The arguments that `gemm_f32` and `conv_f32` share; input 2 is the bias, of all products.

    weights: (products, columns, depth of the whole product); each product has its own `depth`
    elements of the rows of A, and its own columns of C.
    """
    products, columns = weights.shape[:2]
    packed = lowering.packed(
        weights, ("product", plan.tile), lambda: pack(weights, plan.tile, lowering.lanes)
    )
    bias = padded(lowering.call.value(2), columns, plan.width, products)
    steps = [depth, packed[0].size, bias.size // products, columns]
    offsets = np.outer(np.arange(products), steps).astype(np.int64)
    residual, channels = lowering.residual(), products * columns
    output = lowering.output()
    return [
        lowering.input(0), lowering.data(packed), lowering.data(bias), output,
        output if residual is None else residual, lowering.data(offsets),
        rows, depth, columns, lda, lowering.output_pitch(channels),
        lowering.residual_pitch(channels), int(residual is not None), plan.block, plan.group,
        *interval,
    ]  # fmt: skip


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

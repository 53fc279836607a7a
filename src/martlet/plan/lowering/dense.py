"""FULLY_CONNECTED in float32: a matrix product (`kernels/gemm.py`)."""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.activation_range import INTERVALS
from martlet.plan.blocking import Blocking, blocking
from martlet.plan.lowering import Lowering, Ref, lowers
from martlet.plan.lowering.packing import (
    Packed,
    packed_bias,
    packed_weights,
    tiles_for,
    weights_of,
)
from martlet.records import NamedTuple

LARGEST = float(np.finfo(np.float32).max)


@lowers("FULLY_CONNECTED", pitched=True, absorbs=("ADD", "ACTIVATION"))
def fully_connected(lowering: Lowering) -> bool:
    """Rows of x times weights (units, depth), plus bias, clamped."""
    call, interval = lowering.call, clamp_of(lowering)
    if interval is None or not are_float(lowering, 0, 1, 2) or not packable(lowering, 1, 2):
        return False
    units, depth = call.shape(1)
    if not units * depth or not call.shape(0):
        return False
    rows, length = lowering.size(0) // depth, call.shape(0)[-1]
    if rows == 0:
        return True
    lda = lowering.pitch(0)
    if length != depth:  # the rows of x are cut anew
        if lda != length and lowering.size(0) != length:
            return False
        lda = depth
    shape, tiles = (1, units, depth), None
    if call.stored(1) is None:
        tiles = tiles_for(lowering, weights_of(lowering, 1, shape), rows)
    plan = blocking(rows, units, depth, lowering.costs, lowering.threads, tiles=tiles)
    factors = Factors(
        lowering.input(0), packed_weights(lowering, 1, shape, plan.tile),
        packed_bias(lowering, 2, 1, units, plan.tile), lowering.output(),
    )  # fmt: skip
    sizes = Sizes(rows, depth, units, lda, lowering.output_pitch(units))
    arguments = product(lowering, factors, sizes, plan, interval)
    lowering.step(f"gemm_f32_{plan.tile.name}", *arguments, units=plan.units, grain=1)
    return True


class Factors(NamedTuple):
    """C = A · B + bias."""

    a: Ref
    b: Packed
    bias: Packed
    c: Ref


class Sizes(NamedTuple):
    """Of each product. depth: elements of a row of A that lie side by side."""

    rows: int
    depth: int
    columns: int
    lda: int
    ldc: int


def product(
    lowering: Lowering, factors: Factors, sizes: Sizes, plan: Blocking,
    interval: tuple[float, float], groups: int = 1, offsets: np.ndarray | None = None,
    more: bool = False,
) -> list[Ref | float]:  # fmt: skip
    """The arguments that `gemm_f32` and `conv_f32` share.

    groups: products of elements of A that follow one another, to columns of C that do. offsets:
    where products begin that do not: (products, 4) elements of A, B, bias and C. more: the
    products are added to what is in C.
    """
    if offsets is None:
        steps = [sizes.depth, factors.b.step, factors.bias.step, sizes.columns]
        offsets = np.outer(np.arange(groups), steps)
    residual, channels = lowering.residual(), groups * sizes.columns
    ldr = lowering.residual_pitch(channels)
    if more:
        residual, ldr = factors.c, sizes.ldc
    return [
        factors.a, factors.b.place, factors.bias.place, factors.c,
        factors.c if residual is None else residual, lowering.data(offsets.astype(np.int64)),
        sizes.rows, sizes.depth, sizes.columns, sizes.lda, sizes.ldc,
        ldr, int(residual is not None), plan.block, plan.group,
        *interval,
    ]  # fmt: skip


def are_float(lowering: Lowering, *inputs: int) -> bool:
    """Whether those of these inputs that are given are float32."""
    call = lowering.call
    return all(call.dtype(i) is DType.FLOAT32 for i in inputs if call.has(i))


def packable(lowering: Lowering, *inputs: int) -> bool:
    """Whether those of these inputs that are computed are dense, so that a step can pack them."""
    call = lowering.call
    return all(
        lowering.pitch(i) == call.shape(i)[-1]
        for i in inputs
        if call.has(i) and call.stored(i) is None and call.shape(i)
    )


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

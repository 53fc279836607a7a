"""BATCH_MATMUL in float32: a product for each matrix of the output, all in one step.

A matrix product (`kernels/gemm.py`) reads rows of x as they are and y packed. What is computed is
packed, and an x whose dimensions come swapped is turned, by steps of their own before it. For a few
rows that would not pay: they meet y as it is (`kernels/few_rows.py`), and take no neighbours along.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.kernels.forms import FEW_ROWS_VECTORS
from martlet.plan.blocking import UNITS_EACH, blocking, padded
from martlet.plan.lowering import Lowering, Ref, lowers
from martlet.plan.lowering.dense import Factors, Sizes, are_float, clamp_of, product
from martlet.plan.lowering.elementwise import CLAMPS
from martlet.plan.lowering.packing import (
    Matrices,
    Packed,
    copy_matrices,
    packed_constants,
    packed_matrices,
    tiles_for,
)


@lowers("BATCH_MATMUL", pitched=True, absorbs=("ADD", "SHIFT", "ACTIVATION"))
def batch_matmul(lowering: Lowering) -> bool:
    """x (…, rows, depth) times y (…, depth, columns); each may come with the last two swapped."""
    call = lowering.call
    if not are_float(lowering, 0, 1):
        return False
    x_shape, y_shape = call.shape(0), call.shape(1)
    rows, depth = x_shape[-2:] if not call.option("adj_x") else x_shape[:-3:-1]
    columns = y_shape[-2 if call.option("adj_y") else -1]
    batch = np.broadcast_shapes(x_shape[:-2], y_shape[:-2])
    products, y_count = math.prod(batch), math.prod(y_shape[:-2])
    if products * rows * columns == 0:
        return True
    interval, shift = _interval(lowering), _row(lowering, columns)
    if depth == 0 or interval is None or shift is None:
        return False
    if y_count == 1 and not call.option("adj_x"):  # all rows meet the same matrix
        x_shape, y_shape, batch = x_shape[-2:], y_shape[-2:], ()
        rows, products = products * rows, 1
    a, lda = _rows_of_x(lowering, rows, depth)
    b = _matrices_of_y(lowering, y_count, columns, depth)
    ldc = lowering.output_pitch(columns)
    if lowering.residual() and products > 1 and lowering.residual_pitch(columns) != ldc:
        return False  # `offsets` says where both begin
    offsets = np.zeros((products, 4), np.int64)
    offsets[:, 0] = _numbers(x_shape, batch) * (rows * lda)
    offsets[:, 3] = np.arange(products) * (rows * ldc)
    few = rows * products <= lowering.costs.few_rows * y_count
    if few and isinstance(b, Matrices) and b.order == "rows":
        if lowering.fused.joined:
            return False
        offsets[:, 1] = _numbers(y_shape, batch) * b.step
        lowering.step(
            "few_rows_f32", a, b.place, lowering.output(), lowering.data(offsets), rows, depth,
            columns, lda, b.pitch, ldc,
            units=products * math.ceil(columns / (FEW_ROWS_VECTORS * lowering.lanes)), grain=1,
        )  # fmt: skip
        return True
    threads = 1 if products >= UNITS_EACH * lowering.threads else lowering.threads
    tiles = None
    if isinstance(b, Matrices):
        tiles = tiles_for(lowering, b, rows, products / y_count)
    plan = blocking(rows, columns, depth, lowering.costs, threads, tiles=tiles)
    if isinstance(b, Matrices):
        packed = packed_matrices(lowering, b, plan.tile)
    else:
        packed = packed_constants(lowering, b, plan.tile)
    bias = Packed(lowering.data(padded(shift, columns, plan.width)), 0)
    sizes = Sizes(rows, depth, columns, lda, ldc)
    offsets[:, 1] = _numbers(y_shape, batch) * packed.step
    factors = Factors(a, packed, bias, lowering.output())
    arguments = product(lowering, factors, sizes, plan, interval, offsets=offsets)
    lowering.step(
        f"gemm_f32_{plan.tile.name}", *arguments, units=products * plan.units, grain=1
    )  # fmt: skip
    return True


def _interval(lowering: Lowering) -> tuple[float, float] | None:
    """What the outputs are clamped to; None if their activation is no interval."""
    fused = lowering.fused
    if fused.activation is None:
        return -math.inf, math.inf
    if fused.residual is None and fused.shift is None:
        return CLAMPS.get(fused.activation)
    return clamp_of(lowering)  # of an ADD: finite


def _row(lowering: Lowering, columns: int) -> np.ndarray | None:
    """What is added to each row of the outputs; None if it is not the same for all."""
    shift = lowering.fused.shift
    if shift is None:
        return np.zeros(columns, np.float32)
    if math.prod(shift.shape[:-1]) != 1:
        return None
    return np.broadcast_to(shift.ravel(), (columns,))


def _rows_of_x(lowering: Lowering, rows: int, depth: int) -> tuple[Ref, int]:
    """(where the rows of x's first matrix begin, elements from one to the next)."""
    call, pitch = lowering.call, lowering.pitch(0)
    if not call.option("adj_x"):
        return lowering.input(0), pitch
    value = call.value(0)
    if value is not None:
        return lowering.data(value.swapaxes(-1, -2)), depth
    count = lowering.size(0) // (rows * depth)
    turned = lowering.scratch(4 * lowering.size(0))
    size = rows * depth
    copy_matrices(lowering, lowering.input(0), turned, count, depth, rows, pitch, size, turned=True)
    return turned, depth


def _matrices_of_y(
    lowering: Lowering, count: int, columns: int, depth: int
) -> Matrices | np.ndarray:
    """y as it lies in memory, or as (count, columns, depth) if it is known."""
    call, pitch = lowering.call, lowering.pitch(1)
    value, swapped = call.stored(1), bool(call.option("adj_y"))
    if not swapped and columns == pitch == 1:
        swapped, pitch = True, depth  # a single column
    if value is None:
        order = "columns" if swapped else "rows"
        return Matrices(lowering.input(1), count, columns, depth, order, pitch)
    if swapped:
        return value.reshape(count, columns, depth)
    return value.reshape(count, depth, columns).swapaxes(1, 2)


def _numbers(shape: tuple[int, ...], batch: tuple[int, ...]) -> np.ndarray:
    """Which matrix of a stack of this shape each product takes."""
    numbers = np.arange(math.prod(shape[:-2])).reshape(shape[:-2])
    return np.broadcast_to(numbers, batch).ravel()

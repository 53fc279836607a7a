"""Products by Strassen's algorithm (`kernels/strassen.py`), where that takes less time.

Times are in multiply-adds of whole vectors, for the tile in both ways; `strassen_…` of the target's
costs (`plan/costs.py`) are

    direct     panels x tiles of rows x (depth + begin)
    Strassen   7 x pairs of panels x tiles of pairs of rows x (depth / 2 + begin_one)
               + sums x pairs of rows x depth / lanes, once for each group of panels

Seven sums of quarters of the weights take the place of four quarters, so weights need 1.75 times
the memory.

Rounding errors are relative to the largest of what is added up, quarters of A and of B: with
factors of one size they are twice those of the direct product. Where columns of A are large and
the weights for them small, but not so in the other half of the depth, small terms would drown;
`_uneven` finds such weights, and they are left to the direct product.
"""

from __future__ import annotations

import numpy as np

from martlet.kernels.forms import PRODUCTS, strassen_slot, tile_of
from martlet.plan.blocking import padded, shared, tile_time
from martlet.plan.costs import Costs
from martlet.plan.lowering import Lowering

FEWEST_ROWS = 32
FEW_ROWS = 64  # threads divide the columns of such images, of which there must be some
FEWEST_PAIRS = 8
EVEN = 30.0


def strassen(
    lowering: Lowering, weights: np.ndarray, images: int, rows: int, lda: int,
    interval: tuple[float, float],
) -> bool:  # fmt: skip
    """Add the steps of a product of images of `rows` with weights (columns, depth), if it pays."""
    columns, depth = weights.shape
    costs, lanes, threads = lowering.costs, lowering.lanes, lowering.threads
    if not pays(rows, columns, depth, costs) or _uneven(weights):
        return False
    tile, half = tile_of(lanes), depth // 2
    width = tile.width(lanes)
    block, group, units = blocks(images, rows, columns, depth, costs, threads)
    residual, slot = lowering.residual(), strassen_slot(lanes, block, half)
    pairs = -(-columns // (2 * width))
    factors = lowering.pack(
        weights, "pack_strassen", columns, half, width,
        size=pairs * PRODUCTS * half * width, units=pairs,
    )  # fmt: skip
    lowering.step(
        "strassen_f32",
        lowering.input(0), lowering.data(factors),
        lowering.data(padded(lowering.call.value(2), columns, width)), lowering.output(),
        lowering.output() if residual is None else residual, int(residual is not None),
        rows, half, columns, lda, lowering.output_pitch(columns), lowering.residual_pitch(columns),
        block, group, *interval,
        lowering.slots(), threads, lowering.scratch(4 * slot * threads), slot,
        units=units, grain=1,
    )  # fmt: skip
    return True


def pays(rows: int, columns: int, depth: int, costs: Costs) -> bool:
    """Whether an image of so many rows takes less time than directly. Threads do not matter."""
    if depth % 2 or rows < FEWEST_ROWS:
        return False
    tile = tile_of(costs.lanes)
    width = tile.width(costs.lanes)
    pairs = -(-columns // (2 * width))
    if rows < FEW_ROWS and pairs < FEWEST_PAIRS:
        return False
    one = tile_time(tile, rows, costs) * (depth + costs.strassen_begin)
    one += costs.again * tile.vectors * depth
    direct = -(-columns // width) * one
    half = -(-rows // 2)
    products, sums = pairs * _products(half, depth, costs), _sums(half, depth, costs)
    return costs.strassen_gain * (products + sums) < direct


def blocks(
    images: int, rows: int, columns: int, depth: int, costs: Costs, threads: int
) -> tuple[int, int, int]:
    """(pairs of rows in a block, pairs of panels in a group, units)."""
    tile, half = tile_of(costs.lanes), -(-rows // 2)
    pairs = -(-columns // (2 * tile.width(costs.lanes)))
    most = max(tile.rows, costs.strassen_cache_part // (8 * depth))

    block, group = -(-half // (-(-half // most) * tile.rows)) * tile.rows, pairs
    if threads > 1:
        block, group = shared(
            half, pairs, block, group, tile.rows, threads, costs,
            lambda n: _products(n, depth, costs)
            + costs.strassen_far * PRODUCTS * tile.vectors * depth / 2,
            lambda n: _sums(n, depth, costs), any_size=True,
        )  # fmt: skip
    return block, group, images * -(-half // block) * -(-pairs // group)


def _products(rows: int, depth: int, costs: Costs) -> float:
    """Time for a pair of panels and so many pairs of rows."""
    tile, steps = tile_of(costs.lanes), depth // 2 + costs.strassen_begin_one
    return PRODUCTS * steps * (tile_time(tile, rows, costs) + costs.again * tile.vectors)


def _sums(rows: int, depth: int, costs: Costs) -> float:
    """Time for S1 to S4 of so many pairs of rows; others may have written what they read."""
    return costs.strassen_sums * rows * depth / 2 / costs.lanes


def _uneven(weights: np.ndarray) -> bool:
    """Whether weights for one half of the depth are so much larger than for the other.

    If the columns of A are as large as the weights for them are small, errors grow by the root
    mean square of the quotients between halves.
    """
    depth = weights.shape[1]
    squares = np.einsum("ij,ij->j", weights, weights, dtype=np.float32).astype(np.float64)
    first, second = squares[: depth // 2], squares[depth // 2 :]
    used = (first > 0) & (second > 0)
    quotients = first[used] / second[used]
    # Not >: what is not a number is not even.
    return not (quotients.size and (quotients + 1 / quotients).mean() <= 2 * EVEN**2)

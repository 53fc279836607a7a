"""How a matrix product is cut up: tile, blocks of rows, groups of panels; and B packed for it.

In: the sizes of C = A · B (rows, columns, depth), the costs of the target (`costs.py`), the number
of threads.
Out: a `Blocking`, whose numbers are arguments of the kernels in `kernels/gemm.py`.

1. The tile is the one that takes the least time, what it computes for nothing included.
2. A group is as many panels of B as fit in a part of the second-level cache: a tile of A's rows
   meets them one after another, so A comes from the first level.
3. A block is as many rows of A as fit in such a part, so they are still there for the next group.
4. For several threads, units are made smaller, such that all end together, and soon.

The depth is not cut. A panel of B that is larger than the cache comes from the next level, 64
bytes for 12 multiply-adds of a 6x2 tile, which costs nothing measurable (49x512x4608 runs at the
speed of 49x512x512).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from martlet.cache_lines import on_a_line
from martlet.kernels.forms import TILES, Tile
from martlet.plan.costs import Costs
from martlet.records import NamedTuple

UNITS_EACH = 6  # for each of several threads: more are not looked at


class Blocking(NamedTuple):
    """block, group: rows and panels in a unit of work. units: how many there are."""

    tile: Tile
    width: int
    block: int
    group: int
    units: int


def blocking(
    rows: int, columns: int, depth: int, costs: Costs, threads: int, *,
    row_bytes: int | None = None, run: int | None = None, tiles: tuple[Tile, ...] | None = None,
) -> Blocking:  # fmt: skip
    """How to cut a product. rows, columns and depth are positive.

    row_bytes: what a row of A takes in the cache, 4 * depth by default. run: how many elements of
    it lie side by side, by default all.
    """
    run, lanes = run or depth, costs.lanes
    tile = min(
        tiles or TILES[lanes], key=lambda t: product_time(t, rows, columns, depth, run, costs)
    )
    width = tile.width(lanes)
    panels = -(-columns // width)
    group = min(panels, max(1, costs.cache_part // (4 * depth * width)))
    fitting = max(costs.fewest_tiles * tile.rows, costs.cache_part // (row_bytes or 4 * depth))
    block = _even(rows, max(1, round(rows / fitting)), tile.rows)
    if threads > 1 and rows * columns * depth >= 2 * costs.smallest_unit:
        block, group = shared(
            rows, panels, block, group, tile.rows, threads, costs,
            lambda n: product_time(tile, n, width, depth, run, costs)
            + costs.again * depth * tile.vectors,
            lambda n: costs.again_a * depth * n,
        )  # fmt: skip
    return Blocking(tile, width, block, group, -(-rows // block) * -(-panels // group))


def shared(
    rows: int, panels: int, block: int, group: int, tile_rows: int, threads: int, costs: Costs,
    panel: Callable[[int], float], begin: Callable[[int], float], any_size: bool = False,
) -> tuple[int, int]:  # fmt: skip
    """(rows in a block, panels in a group), at most those given, such that threads end soon.

    panel(rows): time for a panel of a unit, begin(rows): for what is once in a unit. The threads
    take equal numbers of units first (`kernels/executor.py`), then one by one what is left.
    Blocks are whole tiles, unless any size will do: it does where the rows of a tile have nothing
    to do with each other.
    """
    blocks, groups = -(-rows // block), -(-panels // group)
    most = max(threads * UNITS_EACH, blocks * groups)
    counts = range(blocks, most // groups + 1)
    sizes = {min(rows, _even(rows, n, tile_rows)) for n in counts}
    if any_size:
        sizes |= {-(-rows // n) for n in counts if n % threads == 0}
    widths = {-(-panels // n) for n in range(groups, min(panels, most // blocks) + 1)}
    best, least = (block, group), math.inf
    for size in sorted(sizes, reverse=True):
        whole, last = divmod(rows, size)
        each, once = panel(size), begin(size)
        all_rows = whole * each + (panel(last) if last else 0)
        all_once = whole * once + (begin(last) if last else 0)
        for width in sorted(widths, reverse=True):
            across = -(-panels // width)
            units = (whole + (last > 0)) * across
            if units > most:
                break
            unit = width * each + once + costs.unit
            total = all_rows * panels + all_once * across + costs.unit * units
            share, left = divmod(units, threads)
            smallest = panel(last) / each * unit if last else unit
            end = share * unit + (0, smallest, unit)[min(left, 2)]
            cost = max(total / threads, end) + costs.late * unit
            if cost < least:
                best, least = (size, width), cost
    return best


def _even(rows: int, blocks: int, tile_rows: int) -> int:
    """The size of so many blocks that are about equal: whole tiles."""
    return max(1, -(-rows // (blocks * tile_rows))) * tile_rows


def product_time(tile: Tile, rows: int, columns: int, depth: int, run: int, costs: Costs) -> float:
    """Time for a product, in multiply-adds of vectors."""
    step = tile_time(tile, rows, costs)
    panels = -(-columns // tile.width(costs.lanes))
    if tile.dots:
        steps = depth / run * (-(-run // costs.lanes) + costs.run)
        return panels * (step * steps + costs.lane_sum * rows * tile.vectors)
    return panels * step * depth


def tile_time(tile: Tile, rows: int, costs: Costs) -> float:
    """Time of one step of the depth for all rows of a panel, in multiply-adds of vectors."""

    def step(count: int) -> float:
        return step_time(tile, count, costs)

    whole, left = divmod(rows, tile.rows)
    shorter = tile.rows - left
    if left in (1, 2) and tile.shorter and rows >= shorter * tile.shorter:
        return (whole + 1 - shorter) * step(tile.rows) + shorter * step(tile.shorter)
    time = whole * step(tile.rows)
    if left:
        time += step(min(n for n in (tile.rows, *tile.fewer) if n >= left))
    return time


def step_time(tile: Tile, rows: int, costs: Costs) -> float:
    """The same for one tile, or for so many rows of it.

    Loads go on beside the multiply-adds, and limit tiles of one vector; those of B come from
    further away.
    """
    loads = costs.load * (rows + tile.vectors)
    return max(rows * tile.vectors, costs.latency, loads) + costs.load_b * tile.vectors


def pack(weights: np.ndarray, tile: Tile, lanes: int) -> np.ndarray:
    """(…, columns, depth) -> the panels of a tile, padded with zeros.

    (…, columns / width, depth, width), or (…, columns / width, width, depth) for dot products.
    """
    *stack, columns, depth = weights.shape
    width = tile.width(lanes)
    whole, left = divmod(columns, width)
    panels = whole + (left > 0)
    shape = (width, depth) if tile.dots else (depth, width)
    packed = aligned(math.prod(stack) * panels * depth * width).reshape(*stack, panels, *shape)
    places = packed if tile.dots else packed.swapaxes(-1, -2)
    split = whole * width
    places[..., :whole, :, :] = weights[..., :split, :].reshape(*stack, whole, width, depth)
    if left:
        places[..., whole, :left, :] = weights[..., split:, :]
    return packed


def padded(bias: np.ndarray | None, columns: int, width: int, products: int = 1) -> np.ndarray:
    """The biases of each product, as long as its panels are wide; zeros without any."""
    result = aligned(products * (-(-columns // width) * width)).reshape(products, -1)
    if bias is not None:
        result[:, :columns] = bias.reshape(products, columns)
    return result.ravel()


def aligned(count: int) -> np.ndarray:
    """float32 zeros that start on a cache line."""
    return on_a_line(np.zeros, 4 * count).view(np.float32)

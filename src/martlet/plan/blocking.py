"""How a matrix product is cut up: tile, blocks of rows, groups of panels; and B packed for it.

In: the sizes of C = A · B (rows, columns, depth), the float32 in a vector, the number of threads.
Out: a `Blocking`, whose numbers are arguments of the kernels in `kernels/gemm.py`.

1. The tile is the one that needs the fewest multiply-adds with what it computes for nothing.
2. A group is as many panels of B as fit in half of the second-level cache: a tile of A's rows
   meets them one after another, so A comes from the first level.
3. A block is as many rows of A as fit in the other half, so they are still there for the next
   group; but there are at least some units for each thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from martlet.kernels.gemm import TILES, Tile
from martlet.plan.arena import ALIGNMENT

HALF_CACHE = 128 << 10
UNITS_EACH = 6  # for a thread, at least, where there is work enough
SMALLEST_UNIT = 1 << 18  # multiply-adds


@dataclass(frozen=True)
class Blocking:
    """block, group: rows and panels in a unit of work. units: how many there are."""

    tile: Tile
    width: int
    block: int
    group: int
    units: int


def blocking(
    rows: int, columns: int, depth: int, lanes: int, threads: int, row_bytes: int | None = None,
    tiles: tuple[Tile, ...] | None = None,
) -> Blocking:  # fmt: skip
    """How to cut a product. row_bytes: what a row of A takes in the cache, 4 * depth by default.

    rows, columns and depth are positive.
    """
    tile = min(tiles or TILES[lanes], key=lambda t: _cost(t, rows, columns, lanes))
    width = tile.vectors * lanes
    panels = -(-columns // width)
    group = min(panels, max(1, HALF_CACHE // (4 * depth * width)))
    block = max(8, HALF_CACHE // (row_bytes or 4 * depth) // tile.rows) * tile.rows
    if threads > 1:
        wanted = min(threads * UNITS_EACH, max(1, rows * columns * depth // SMALLEST_UNIT))
        while -(-rows // block) * -(-panels // group) < wanted and block > tile.rows:
            block = max(block // 2 // tile.rows, 1) * tile.rows
        while -(-rows // block) * -(-panels // group) < wanted and group > 1:
            group = -(-group // 2)
    return Blocking(tile, width, block, group, -(-rows // block) * -(-panels // group))


def _cost(tile: Tile, rows: int, columns: int, lanes: int) -> float:
    """Vector operations for each step of the depth, those for nothing included."""
    whole, left = divmod(rows, tile.rows)
    covered = whole * tile.rows + min((n for n in (tile.rows, *tile.fewer) if n >= left), default=0)
    if not left:
        covered = rows
    panels = -(-columns // (tile.vectors * lanes))
    # A step also loads the tile's vectors of B and elements of A.
    loads = panels * (covered + -(-covered // tile.rows) * tile.vectors)
    return panels * covered * tile.vectors + 0.25 * loads


def pack(weights: np.ndarray, width: int) -> np.ndarray:
    """(columns, depth) -> panels (columns / width, depth, width), padded with zeros."""
    columns, depth = weights.shape
    panels = -(-columns // width)
    packed = aligned(panels * depth * width).reshape(panels, depth, width)
    for i in range(panels):
        part = weights[i * width : (i + 1) * width].T
        packed[i, :, : part.shape[1]] = part
    return packed


def padded(bias: np.ndarray | None, columns: int, width: int) -> np.ndarray:
    """A bias as long as the panels are wide; zeros without one."""
    result = aligned(-(-columns // width) * width)
    if bias is not None:
        result[:columns] = bias.ravel()
    return result


def aligned(count: int) -> np.ndarray:
    """float32 zeros that start on a cache line."""
    memory = np.zeros(4 * count + ALIGNMENT, np.uint8)
    skip = -memory.ctypes.data % ALIGNMENT
    return memory[skip : skip + 4 * count].view(np.float32)

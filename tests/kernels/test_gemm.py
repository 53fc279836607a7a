"""Matrix products of every tile: all remainders, strides, blocks; within their matrices."""

from __future__ import annotations

import numpy as np
import pytest

from martlet.kernels import gemm
from martlet.kernels.forms import TILES, Tile
from martlet.kernels.targets import Target
from martlet.plan.blocking import blocking, pack, padded
from martlet.plan.costs import COSTS
from native import guarded, run_kernel, targets

AVX2 = COSTS["x86-64-avx2"]
CASES = [(target, tile) for target in targets() for tile in TILES[target.lanes]]
KERNELS = {t.name: {k.name: k for k in gemm.kernels(t)} for t in targets()}
INFINITE = (-float("inf"), float("inf"))
each_tile = pytest.mark.parametrize(
    ("target", "tile"), CASES, ids=[f"{target.name}-{tile.name}" for target, tile in CASES]
)


def product(
    target: Target, tile: Tile, a: np.ndarray, weights: np.ndarray, bias: np.ndarray,
    *, block: int = 1 << 20, group: int = 1 << 20, clamp: tuple[float, float] = INFINITE,
    ldc: int | None = None, split: int | None = None, at_end: bool = True,
    residual: np.ndarray | None = None, in_place: bool = False,
) -> np.ndarray:  # fmt: skip
    """a · weightsᵀ + bias + residual by the kernel of a tile, matrices between guard pages."""
    (rows, depth), columns, width = a.shape, len(weights), tile.width(target.lanes)
    kernel = KERNELS[target.name][f"gemm_f32_{tile.name}"]
    ldc = ldc or columns
    c = guarded(np.full(max(rows - 1, 0) * ldc + columns * bool(rows), -77, np.float32), at_end)
    added, ldr = c, ldc
    if residual is not None and in_place:
        for i in range(rows):
            c[i * ldc : i * ldc + columns] = residual[i]
    elif residual is not None:
        added, ldr = guarded(residual, at_end), columns
    panels = (columns + width - 1) // width
    units = -(-rows // block) * -(-panels // group)
    run_kernel(
        kernel, target, guarded(a, at_end), pack(weights, tile, target.lanes),
        padded(bias, columns, width), c, added, np.zeros(4, np.int64),
        rows, depth, columns, depth, ldc, ldr, int(residual is not None), block, group, *clamp,
        units=units, split=split,
    )  # fmt: skip
    return c


def operands(rows: int, columns: int, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Small integers: their sums are exact in any order."""
    random = np.random.default_rng(rows + 100 * columns + 10000 * depth)
    shapes = ((rows, depth), (columns, depth), (columns,))
    a, weights, bias = (random.integers(-8, 9, shape).astype(np.float32) for shape in shapes)
    return a, weights, bias


@each_tile
def test_every_remainder_of_rows_and_columns(target: Target, tile: Tile) -> None:
    width = tile.width(target.lanes)
    edges = {1, width - target.lanes, width - 1, width, width + 1, 2 * width + 3}
    for rows in range(2 * tile.rows + 2):
        for columns in sorted(n for n in edges if n > 0):
            a, weights, bias = operands(rows, columns, 5)
            c = product(target, tile, a, weights, bias)
            np.testing.assert_array_equal(c.reshape(rows, columns), a @ weights.T + bias)


@each_tile
@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4, 7, 64, 1000])
def test_every_depth(target: Target, tile: Tile, depth: int) -> None:
    a, weights, bias = operands(tile.rows + 1, 9, depth)
    c = product(target, tile, a, weights, bias, at_end=False)
    np.testing.assert_array_equal(c.reshape(-1, 9), a @ weights.T + bias)


@each_tile
def test_results_do_not_depend_on_blocks_and_threads(target: Target, tile: Tile) -> None:
    random = np.random.default_rng(0)
    a, weights = (random.standard_normal((n, 37)).astype(np.float32) for n in (45, 83))
    bias = random.standard_normal(83).astype(np.float32)
    whole = product(target, tile, a, weights, bias)
    np.testing.assert_allclose(whole.reshape(45, 83), a @ weights.T + bias, atol=1e-4)
    for block, group, split in ((tile.rows, 1, 1), (2 * tile.rows, 2, 3), (3 * tile.rows, 1, 2)):
        c = product(target, tile, a, weights, bias, block=block, group=group, split=split)
        np.testing.assert_array_equal(c, whole)


@each_tile
def test_rows_of_c_lie_apart_and_nothing_is_written_between(target: Target, tile: Tile) -> None:
    a, weights, bias = operands(7, 11, 4)
    c = product(target, tile, a, weights, bias, ldc=15)
    c = np.append(c, np.full(4, -77, np.float32)).reshape(7, 15)
    np.testing.assert_array_equal(c[:, :11], a @ weights.T + bias)
    assert (c[:, 11:] == -77).all()


@each_tile
def test_sums_are_clamped_and_what_is_no_number_stays(target: Target, tile: Tile) -> None:
    a = np.array([[5], [-5], [0.5], [np.nan]], np.float32)
    c = product(target, tile, a, np.ones((3, 1), np.float32), np.zeros(3), clamp=(-1.0, 2.0))
    np.testing.assert_array_equal(c.reshape(4, 3)[:, 0], np.array([2, -1, 0.5, np.nan], np.float32))


@each_tile
@pytest.mark.parametrize("in_place", [False, True])
def test_a_residual_is_added_before_clamping_even_in_its_own_memory(
    target: Target, tile: Tile, in_place: bool
) -> None:
    width = tile.width(target.lanes)
    for rows in (1, tile.rows, 2 * tile.rows - 1):
        for columns in (1, width, 2 * width + 3):
            a, weights, bias = operands(rows, columns, 3)
            residual = np.random.default_rng(9).integers(-90, 90, (rows, columns))
            c = product(
                target, tile, a, weights, bias, ldc=columns + 5, block=tile.rows, group=1,
                residual=residual.astype(np.float32), in_place=in_place, clamp=(-50.0, 60.0),
            )  # fmt: skip
            c = np.append(c, np.full(5, -77, np.float32)).reshape(rows, columns + 5)
            expected = np.clip(a @ weights.T + bias + residual, -50, 60)
            np.testing.assert_array_equal(c[:, :columns], expected)
            assert (c[:, columns:] == -77).all()


def test_blocks_give_every_thread_work() -> None:
    for sizes in ((3136, 64, 576), (49, 1024, 1024), (12544, 32, 16), (1, 4000, 4000)):
        assert blocking(*sizes, AVX2, threads=4).units >= 8


@pytest.mark.parametrize("sizes", [(49, 160, 960), (196, 96, 576), (784, 192, 32), (196, 64, 384)])
def test_threads_take_equal_shares(sizes: tuple[int, int, int]) -> None:
    rows, columns, _ = sizes
    plan = blocking(*sizes, AVX2, threads=2)
    groups = -(-columns // (plan.width * plan.group))
    units = [
        min(plan.block, rows - start) * min(plan.width * plan.group, columns - column)
        for start in range(0, rows, plan.block)
        for column in range(0, columns, plan.width * plan.group)
    ]
    assert len(units) == plan.units == groups * -(-rows // plan.block)
    half = plan.units // 2
    shares = [sum(units[:half]), sum(units[half : 2 * half])]
    shares[1] += sum(units[2 * half :])
    assert max(shares) < 0.55 * rows * columns


def test_blocks_do_not_grow_for_threads() -> None:
    for sizes in ((12544, 96, 16), (49, 1280, 320), (3136, 24, 144)):
        alone, shared = (blocking(*sizes, AVX2, threads=n) for n in (1, 5))
        assert shared.block <= alone.block
        assert shared.group <= alone.group
    assert blocking(1, 10, 10, AVX2, threads=4).units == 1


def test_few_columns_take_dot_products_and_few_rows_wide_tiles() -> None:
    for costs in COSTS.values():
        assert blocking(4096, 1, 72, costs, 1).tile.dots
        assert not blocking(4096, 64, 72, costs, 1).tile.dots
        assert blocking(1, 1000, 1024, costs, 1).tile.rows == 1
    assert blocking(4096, 24, 144, AVX2, 1).tile.vectors == 3


def test_panels_are_columns_padded_with_zeros() -> None:
    weights = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    packed = pack(weights, Tile(6, 2, ()), 1)
    assert packed.tolist() == [[[1, 3], [2, 4]], [[5, 0], [6, 0]]]
    assert packed.ctypes.data % 64 == 0
    dots = pack(weights, Tile(6, 2, (), dots=True), 8)
    assert dots.tolist() == [[[1, 2], [3, 4]], [[5, 6], [0, 0]]]
    assert padded(np.ones(3, np.float32), 3, 2).tolist() == [1, 1, 1, 0]
    assert padded(None, 3, 2).tolist() == [0, 0, 0, 0]

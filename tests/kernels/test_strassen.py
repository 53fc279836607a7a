"""Products by Strassen's algorithm: all remainders, blocks and threads; chosen where they pay."""

from __future__ import annotations

import numpy as np
import pytest

from build import const, one_node
from lowered_node import HOST, compute, lower
from martlet.kernels.forms import PRODUCTS, strassen_slot, tile_of
from martlet.kernels.slots import SLOT_FLAG
from martlet.kernels.strassen import kernels
from martlet.kernels.targets import Target
from martlet.plan.blocking import padded
from martlet.plan.costs import COSTS
from martlet.plan.lowering.strassen import blocks, pays
from native import guarded, run_kernel, targets
from pitched_node import compute_pitched

on_targets = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
KERNELS = {t.name: kernels(t)[0] for t in targets()}
INFINITE = (-float("inf"), float("inf"))
PLAIN = {"padding": "SAME", "stride_h": 1, "stride_w": 1}


def packed(weights: np.ndarray, width: int) -> np.ndarray:
    """(columns, depth) -> (pairs of panels, 7, depth / 2, width), in the kernel's order."""
    columns, depth = weights.shape
    pairs = -(-columns // (2 * width))
    padded_weights = np.zeros((2 * pairs * width, depth), np.float32)
    padded_weights[:columns] = weights
    quarters = padded_weights.reshape(pairs, 2, width, 2, depth // 2).transpose(1, 3, 0, 4, 2)
    (b11, b21), (b12, b22) = quarters
    t1 = b12 - b11
    t2 = b22 - t1
    return np.stack((b11, b21, t2, t1, b22 - b12, b22, b21 - t2), axis=1)


def product(
    target: Target, a: np.ndarray, weights: np.ndarray, bias: np.ndarray, *, images: int = 1,
    block: int = 1 << 20, group: int = 1 << 20, clamp: tuple[float, float] = INFINITE,
    ldc: int | None = None, split: int | None = None, residual: np.ndarray | None = None,
    in_place: bool = False,
) -> np.ndarray:  # fmt: skip
    """a · weightsᵀ + bias + residual, matrices between guard pages. (images * rows, ldc)."""
    (all_rows, depth), columns = a.shape, len(weights)
    width = tile_of(target.lanes).width(target.lanes)
    rows, half = all_rows // images, depth // 2
    ldc = ldc or columns
    c = guarded(np.full((all_rows - 1) * ldc + columns, -77, np.float32))
    added, ldr = c, ldc
    if residual is not None and in_place:
        for i in range(all_rows):
            c[i * ldc : i * ldc + columns] = residual[i]
    elif residual is not None:
        added, ldr = guarded(residual), columns
    row_pairs, pairs = (rows + 1) // 2, -(-columns // (2 * width))
    block, group = min(block, row_pairs), min(group, pairs)
    slot = strassen_slot(target.lanes, block, half)
    run_kernel(
        KERNELS[target.name], target, guarded(a), guarded(packed(weights, width)),
        padded(bias, columns, width), c, added, int(residual is not None), rows, half, columns,
        depth, ldc, ldr, block, group, *clamp, np.zeros(2 * SLOT_FLAG, np.int64), 2,
        guarded(np.full(2 * slot, np.nan, np.float32)), slot,
        units=images * -(-row_pairs // block) * -(-pairs // group), split=split,
    )  # fmt: skip
    return np.append(c, np.full(ldc - columns, -77, np.float32)).reshape(all_rows, ldc)


@on_targets
@pytest.mark.parametrize("source", ["f32", "f16"])
def test_weights_of_all_sizes_are_packed(source: str, target: Target) -> None:
    width = tile_of(target.lanes).width(target.lanes)
    kernel = next(k for k in kernels(target) if k.name == f"pack_strassen_{source}")
    for half in (1, 3, 4, 16, 19, 37):
        for columns in {1, 5, width, width + 3, width + 4, 2 * width, 3 * width, 4 * width + 6}:
            weights = np.random.default_rng(half).normal(size=(columns, 2 * half))
            stored = weights.astype(np.float16 if source == "f16" else np.float32)
            pairs = -(-columns // (2 * width))
            for split in (None, 1):
                y = guarded(np.full((pairs, PRODUCTS, half, width), np.nan, np.float32))
                run_kernel(
                    kernel, target, guarded(stored), y, columns, half, width, units=pairs,
                    split=split,
                )  # fmt: skip
                np.testing.assert_array_equal(y, packed(stored.astype(np.float32), width))


def operands(rows: int, columns: int, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Small integers: their sums are exact in any order."""
    random = np.random.default_rng(rows + 100 * columns + 10000 * depth)
    shapes = ((rows, depth), (columns, depth), (columns,))
    a, weights, bias = (random.integers(-8, 9, shape).astype(np.float32) for shape in shapes)
    return a, weights, bias


@on_targets
def test_every_remainder_of_rows_and_columns(target: Target) -> None:
    tile = tile_of(target.lanes)
    width = tile.width(target.lanes)
    for rows in range(1, 4 * tile.rows + 2):
        for columns in (1, width - 1, width, width + 1, 2 * width, 3 * width - target.lanes):
            a, weights, bias = operands(rows, columns, 6)
            c = product(target, a, weights, bias)
            np.testing.assert_array_equal(c, a @ weights.T + bias)


@on_targets
@pytest.mark.parametrize("depth", [2, 4, 14, 16, 18, 64, 1000])
def test_every_even_depth(target: Target, depth: int) -> None:
    a, weights, bias = operands(9, 9, depth)
    np.testing.assert_array_equal(product(target, a, weights, bias), a @ weights.T + bias)


@on_targets
def test_results_do_not_depend_on_blocks_and_threads(target: Target) -> None:
    random = np.random.default_rng(0)
    a, weights = (random.standard_normal((n, 38)).astype(np.float32) for n in (90, 183))
    bias = random.standard_normal(183).astype(np.float32)
    whole = product(target, a, weights, bias, images=2)
    np.testing.assert_allclose(whole, a @ weights.T + bias, atol=1e-4)
    for block, group, split in ((6, 1, 1), (5, 2, 3), (18, 1, 2)):
        c = product(target, a, weights, bias, images=2, block=block, group=group, split=split)
        np.testing.assert_array_equal(c, whole)
    for i in range(2):
        rows = slice(45 * i, 45 * (i + 1))
        np.testing.assert_array_equal(product(target, a[rows], weights, bias), whole[rows])


@on_targets
@pytest.mark.parametrize("in_place", [False, True])
def test_a_residual_is_added_before_clamping_and_nothing_is_written_between(
    target: Target, in_place: bool
) -> None:
    width = tile_of(target.lanes).width(target.lanes)
    for rows in (1, 7, 12, 23):
        for columns in (1, width, 2 * width + 3):
            a, weights, bias = operands(rows, columns, 4)
            residual = np.random.default_rng(9).integers(-90, 90, (rows, columns))
            c = product(
                target, a, weights, bias, ldc=columns + 5, block=6, group=1,
                residual=residual.astype(np.float32), in_place=in_place, clamp=(-50.0, 60.0),
            )  # fmt: skip
            expected = np.clip(a @ weights.T + bias + residual, -50, 60)
            np.testing.assert_array_equal(c[:, :columns], expected)
            assert (c[:, columns:] == -77).all()


def layer(
    image: tuple[int, ...], channels: int, scale: float = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    weights = random.standard_normal((channels, 1, 1, image[3])).astype(np.float32)
    weights /= np.float32(np.sqrt(image[3]))  # results of about 1
    weights[..., : image[3] // 2] *= scale
    x = random.standard_normal(image).astype(np.float32)
    return x, weights, random.standard_normal(channels).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("activation", ["NONE", "RELU6"])
def test_layers_mean_what_they_mean_in_numpy(threads: int, activation: str) -> None:
    x, weights, bias = layer((2, 9, 13, 400), 160)
    inputs, options = [x, const(weights), const(bias)], {
        **PLAIN, "fused_activation_function": activation
    }  # fmt: skip
    lowering = lower(*one_node("CONV_2D", inputs, options), threads)
    assert lowering is not None
    assert lowering.steps[-1].kernel == "strassen_f32"
    (result,), (expected,) = compute(HOST, "CONV_2D", inputs, options, threads=threads)
    np.testing.assert_allclose(result, expected, atol=1e-5)


@on_targets
def test_layers_among_others_with_an_activation_behind(target: Target) -> None:
    x, weights, bias = layer((1, 10, 11, 256), 64)
    for split in (None, 1):
        found, expected, _ = compute_pitched(
            target, "CONV_2D", [x, const(weights), const(bias)], PLAIN, wider=(5, 3),
            activation="RELU", split=split,
        )  # fmt: skip
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_uneven_weights_are_left_to_the_direct_product() -> None:
    for scale, kernel in ((1, "strassen"), (8, "strassen"), (1000, "gemm"), (1e-3, "gemm")):
        x, weights, bias = layer((1, 14, 14, 512), 128, scale)
        lowering = lower(*one_node("CONV_2D", [x, const(weights), const(bias)], PLAIN))
        assert lowering is not None
        assert lowering.steps[-1].kernel.startswith(kernel)


def test_what_is_no_number_does_not_leave_its_image() -> None:
    x, weights, bias = layer((2, 9, 13, 400), 160)
    x[0, 0, 0, 0] = np.nan
    (result,), _ = compute(HOST, "CONV_2D", [x, const(weights), const(bias)], PLAIN)
    assert np.isnan(result[0, 0, 0]).all()
    assert np.isfinite(result[1]).all()


def test_large_products_pay() -> None:
    for sizes in ((196, 512, 512), (784, 256, 256), (289, 192, 768), (784, 128, 512)):
        assert all(pays(*sizes, COSTS[name]) for name in ("x86-64-avx2", "aarch64-neon"))
    for sizes in ((12544, 64, 32), (16, 1024, 1024), (196, 384, 64)):
        assert not any(pays(*sizes, costs) for costs in COSTS.values())


def test_blocks_give_every_thread_work() -> None:
    for sizes in ((196, 512, 512), (784, 256, 256), (3136, 64, 256)):
        assert blocks(1, *sizes, COSTS["x86-64-avx2"], threads=4)[2] >= 4

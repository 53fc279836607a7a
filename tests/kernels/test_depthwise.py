"""Depthwise convolution: every form equals the sum over taps, whatever the edges and blocks."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from martlet.kernels.depthwise import kernels
from martlet.kernels.forms import DEPTHWISE_SQUARES, Square
from martlet.kernels.kernel import Kernel
from martlet.kernels.targets import Target
from native import guarded, run_kernel, targets

on_targets = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@cache
def family(target: Target) -> dict[str, Kernel]:
    return {kernel.name: kernel for kernel in kernels(target)}


class Window(NamedTuple):
    taps: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    before: tuple[int, int] = (0, 0)
    after: tuple[int, int] = (0, 0)

    def positions(self, size: tuple[int, int]) -> tuple[int, int]:
        sizes = zip(
            size, self.taps, self.stride, self.dilation, self.before, self.after, strict=True
        )
        h, w = ((n + b + a - (t - 1) * d - 1) // s + 1 for n, t, s, d, b, a in sizes)
        return h, w


def same(
    size: tuple[int, int], taps: int, stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> Window:
    """The window with padding as SAME has it."""
    before, after = [], []
    for n, s, d in zip(size, stride, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + (taps - 1) * d + 1 - n, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return Window((taps, taps), stride, dilation, (before[0], before[1]), (after[0], after[1]))


def expected(
    x: np.ndarray, weights: np.ndarray, bias: np.ndarray, window: Window, low: float, high: float
) -> np.ndarray:
    pads = tuple(zip(window.before, window.after, strict=True))
    padded = np.pad(x.astype(np.float64), ((0, 0), *pads, (0, 0)))
    out_h, out_w = window.positions(x.shape[1:3])
    y = np.zeros((len(x), out_h, out_w, x.shape[3])) + bias
    (sh, sw), (dh, dw) = window.stride, window.dilation
    for i in range(window.taps[0]):
        for j in range(window.taps[1]):
            rows = slice(i * dh, i * dh + (out_h - 1) * sh + 1, sh)
            columns = slice(j * dw, j * dw + (out_w - 1) * sw + 1, sw)
            y += padded[:, rows, columns] * weights[i, j]
    return np.asarray(np.clip(y, low, high))


def packed(weights: np.ndarray, lanes: int) -> np.ndarray:
    """(height, width, channels) -> (vectors, height, width, lanes)."""
    channels = weights.shape[-1]
    starts = [min(i, channels - lanes) for i in range(0, channels, lanes)]
    return np.stack([weights[..., i : i + lanes] for i in starts])


@on_targets
@pytest.mark.parametrize("source", ["f32", "f16"])
def test_weights_of_all_sizes_are_packed(source: str, target: Target) -> None:
    kernel = family(target)[f"pack_depthwise_{source}"]
    for taps in (1, 9):
        for channels in range(target.lanes, 3 * target.lanes + 1):
            weights = np.random.default_rng(channels).normal(size=(taps, channels))
            stored = weights.astype(np.float16 if source == "f16" else np.float32)
            expected = packed(stored.astype(np.float32), target.lanes)
            for split in (None, 1):
                y = guarded(np.full_like(expected, np.nan))
                run_kernel(
                    kernel, target, guarded(stored), y, taps, channels, units=len(y), split=split
                )
                np.testing.assert_array_equal(y, expected)


def compute(
    name: str,
    target: Target,
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    window: Window,
    low: float = -1.5,
    high: float = 6.0,
    blocks: tuple[int, int] | None = None,
    split: int | None = None,
    at_end: bool = True,
) -> np.ndarray:
    kernel = family(target)[name]
    batches, height, width, channels = x.shape
    out_h, out_w = window.positions((height, width))
    y = guarded(np.full((batches, out_h, out_w, channels), np.nan, np.float32), at_end)
    rows = batches * out_h
    block_rows, block_channels = blocks or (rows, channels)
    more: tuple[Any, ...] = ()
    if name == "depthwise_f32":
        more = (*window.taps, *window.stride, *window.dilation)
    else:
        weights = packed(weights, target.lanes)
    run_kernel(
        kernel, target, guarded(x, at_end), guarded(weights, at_end), guarded(bias, at_end), y,
        low, high, height, width, channels, out_h, out_w, width * channels, channels,
        out_w * channels, channels,
        *window.before, rows, block_rows, block_channels, *more,
        units=-(-rows // block_rows) * -(-channels // block_channels), split=split,
    )  # fmt: skip
    return y


def case(size: tuple[int, int], channels: int, taps: tuple[int, int], batches: int = 1) -> Arrays:
    random = np.random.default_rng([*size, channels])
    shapes = (batches, *size, channels), (*taps, channels), (channels,)
    x, weights, bias = (random.standard_normal(s).astype(np.float32) for s in shapes)
    return x, weights, bias


def check(name: str, target: Target, window: Window, arrays: Arrays, **how: Any) -> None:
    y = compute(name, target, *arrays, window, **how)
    np.testing.assert_allclose(y, expected(*arrays, window, -1.5, 6.0), rtol=1e-5, atol=2e-5)


ALL = [*(f"depthwise_f32_{square.name}" for square in DEPTHWISE_SQUARES), "depthwise_f32"]
squares = pytest.mark.parametrize("square", DEPTHWISE_SQUARES, ids=lambda s: s.name)


@on_targets
@squares
@pytest.mark.parametrize("height", [1, 2, 3, 4, 7])
def test_square_windows_with_same_padding(square: Square, height: int, target: Target) -> None:
    taps, stride, tile, _ = square
    for columns in (tile, tile + 1, 2 * tile - 1, 2 * tile, 3 * tile + 2):
        for width in range((columns - 1) * stride + 1, columns * stride + 1):
            arrays = case((height, width), target.lanes + 3, (taps, taps))
            window = same((height, width), taps, (stride, stride))
            check(f"depthwise_f32_{square.name}", target, window, arrays)


@on_targets
@squares
def test_square_windows_with_explicit_padding(square: Square, target: Target) -> None:
    taps, stride, *_ = square
    arrays = case((6, 26), target.lanes, (taps, taps))
    for before in range(taps // 2 + 1):
        for after in range(taps // 2 + 1):
            sides = (before, before), (after, after)
            window = Window((taps, taps), (stride, stride), (1, 1), *sides)
            check(f"depthwise_f32_{square.name}", target, window, arrays)


@on_targets
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("at_end", [True, False])
def test_every_number_of_channels(stride: int, at_end: bool, target: Target) -> None:
    window = same((5, 9), 3, (stride,) * 2)
    for channels in range(1, 2 * target.lanes + 2):
        arrays = case((5, 9), channels, (3, 3))
        check("depthwise_f32", target, window, arrays, at_end=at_end)
        if channels >= target.lanes:
            check(f"depthwise_f32_3x3s{stride}_4", target, window, arrays, at_end=at_end)


WINDOWS = [
    Window((1, 1)),
    Window((3, 3), (3, 3)),
    Window((2, 4), (1, 2), (1, 1), (1, 2), (0, 1)),
    Window((5, 5), (1, 1), (1, 1), (2, 2), (2, 2)),
    Window((5, 5), (2, 2), (1, 1), (1, 2), (2, 2)),
    Window((3, 3), (1, 1), (2, 2), (2, 2), (2, 2)),
    Window((3, 3), (1, 1), (5, 4), (5, 4), (5, 4)),
    Window((1, 7), (1, 1), (1, 1), (0, 3), (0, 3)),
    Window((7, 1), (2, 1), (1, 1), (3, 0), (3, 0)),
    Window((9, 9), (1, 1), (1, 1), (4, 4), (4, 4)),
]


@on_targets
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("size", [(7, 7), (8, 17), (9, 25)])
def test_any_window(window: Window, size: tuple[int, int], target: Target) -> None:
    arrays = case(size, target.lanes + 1, window.taps)
    check("depthwise_f32", target, window, arrays)


@on_targets
def test_windows_that_miss_the_image_give_the_bias(target: Target) -> None:
    window = Window((2, 2), (1, 1), (9, 9), (5, 5), (5, 5))
    arrays = case((1, 2), 3, (2, 2))
    check("depthwise_f32", target, window, arrays)


@on_targets
@pytest.mark.parametrize("name", ALL)
def test_blocks_and_splits_give_the_same_bits(name: str, target: Target) -> None:
    stride = 2 if "s2" in name else 1
    channels = 4 * target.lanes + 5
    taps = 5 if "5x5" in name else 3
    arrays = case((9, 15), channels, (taps, taps), batches=3)
    window = same((9, 15), taps, (stride, stride))
    whole = compute(name, target, *arrays, window)
    for blocks, split in (
        ((1, channels), 1),
        ((2, target.lanes), 3),
        ((4, 2 * target.lanes), 1),
        ((100, target.lanes), None),
    ):
        again = compute(name, target, *arrays, window, blocks=blocks, split=split)
        np.testing.assert_array_equal(again, whole)


@on_targets
@pytest.mark.parametrize("name", ALL)
def test_what_is_no_number_stays_so_under_its_windows_only(name: str, target: Target) -> None:
    stride = 2 if "s2" in name else 1
    taps = 5 if "5x5" in name else 3
    x, weights, bias = case((6, 15), target.lanes, (taps, taps))
    x[0, 0, 0, 0], x[0, 5, 14, 1] = np.nan, np.inf
    window = same((6, 15), taps, (stride, stride))
    with np.errstate(invalid="ignore"):
        wanted = expected(x, weights, bias, window, -1.5, 6.0)
    y = compute(name, target, x, weights, bias, window)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=2e-5)

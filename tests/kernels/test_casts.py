"""Casts among all types that have kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from build import Value, one_node, run_model
from lowered_node import compute, is_lowered
from martlet.dtypes import DType
from martlet.graph import Quantization, Tensor
from martlet.kernels.targets import Target
from native import targets

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
TYPES = [np.float32, np.int8, np.uint8, np.int16, np.int32, np.int64, np.bool_]
EDGES = {
    np.float32: [
        0.0, -0.0, 0.9, -0.9, 1.5, -1.5, 127.5, 128, -128.9, -129, 255.9, 256, 32767.5, -40000.0,
        2147483520, 2147483648, -2147483648, -3e9, 9.2233715e18, 9.223372e18, -9.223372e18, 1e30,
        -1e30, np.inf, -np.inf, np.nan, 1e-40,
    ],
    np.bool_: [True, False],
}  # fmt: skip


def sample(dtype: Any, count: int = 37) -> np.ndarray:
    rng = np.random.default_rng(5)
    if dtype in EDGES:
        return np.resize(np.array(EDGES[dtype], dtype), count)
    info = np.iinfo(dtype)
    edges = np.array([info.min, info.max, 0, 1, 2, info.max // 2, info.max - 1], dtype)
    few = rng.integers(info.min, info.max, count, dtype, endpoint=True)
    few[: edges.size] = edges
    return few


def same(target: Target, op: str, x: np.ndarray, output: DType) -> None:
    for split in (None, 5):
        (found,), (expected,) = compute(target, op, [x], split=split, outputs=[output])
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@each
@pytest.mark.parametrize("result", TYPES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("source", TYPES, ids=lambda t: t.__name__)
def test_every_pair(source: Any, result: Any, target: Target) -> None:
    for x in (sample(source), sample(source, 30).reshape(2, 5, 3), sample(source)[:0]):
        same(target, "CAST", x, DType.of(np.empty(0, result)))


@each
def test_half_floats(target: Target) -> None:
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    same(target, "CAST", x, DType.FLOAT32)
    same(target, "DEQUANTIZE", x, DType.FLOAT32)
    wide = x[np.isfinite(x)].astype(np.float32)
    between = np.concatenate([wide * np.float32(f) for f in (1, 1.0003, 0.9998)])
    edges = np.array([np.nan, np.inf, -np.inf, 65519, 65520, 1e9, 1e-8, 3e-8], np.float32)
    same(target, "CAST", np.concatenate([between, edges]), DType.FLOAT16)


# Scales ---------------------------------------------------------------------------------------

STORED = [np.int8, np.uint8, np.int16]


def quantizations(shape: tuple[int, ...], zero: int = 3) -> Iterator[Quantization]:
    """Of the whole tensor, and of the slices along each of its dimensions."""
    yield Quantization.of(0.037, zero)
    for axis, n in enumerate(shape):
        if n > 1:
            yield Quantization.of(0.01 * np.arange(1, n + 1), np.arange(n) - zero, axis)


@each
@pytest.mark.parametrize("dtype", STORED, ids=lambda t: t.__name__)
@pytest.mark.parametrize("shape", [(), (1,), (37,), (3, 5), (2, 3, 4, 21), (4, 1, 3, 1), (2, 0)])
def test_stored_values_become_floats(shape: tuple[int, ...], dtype: Any, target: Target) -> None:
    x = np.resize(sample(dtype, 400), shape)
    for q in quantizations(shape):
        (found,), (expected,) = compute(
            target, "DEQUANTIZE", [Value(x, quantization=q)], outputs=[DType.FLOAT32], split=5
        )
        np.testing.assert_array_equal(found, expected)


@each
@pytest.mark.parametrize("dtype", STORED, ids=lambda t: t.__name__)
@pytest.mark.parametrize("shape", [(), (1,), (37,), (3, 5), (2, 3, 4, 21), (4, 1, 3, 1), (2, 0)])
def test_floats_become_stored_values(shape: tuple[int, ...], dtype: Any, target: Target) -> None:
    rng = np.random.default_rng(3)
    x = np.asarray(4 * rng.standard_normal(shape), np.float32)
    for q in quantizations(shape):
        check_quantize(target, x, dtype, q)


def check_quantize(target: Target, x: np.ndarray, dtype: Any, q: Quantization) -> None:
    outputs = [Tensor(dtype=DType.of(np.empty(0, dtype)), quantization=q)]
    model, arrays = one_node("QUANTIZE", [x], outputs=outputs)
    (expected,) = run_model(model, arrays, reference=False)
    (found,), _ = compute(target, "QUANTIZE", [x], outputs=outputs, split=5)
    np.testing.assert_array_equal(found, expected)


@each
@pytest.mark.parametrize("dtype", STORED, ids=lambda t: t.__name__)
def test_ties_and_what_does_not_fit(dtype: Any, target: Target) -> None:
    halves = np.arange(-300, 300, dtype=np.float32) / 2
    edges = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2**31, -(2**31), 0.49999997, -0.0])
    x = np.concatenate([halves, edges, halves * 256]).astype(np.float32)
    for zero in (0, -5, 100):
        check_quantize(target, x, dtype, Quantization.of(1.0, zero))
        check_quantize(target, x, dtype, Quantization.of(0.1, zero))


def test_what_is_left_to_numpy() -> None:
    assert not is_lowered("CAST", [sample(np.float32).astype(np.float64)], outputs=[DType.FLOAT32])
    half = sample(np.float32, 11).astype(np.float16)
    assert not is_lowered("CAST", [half], outputs=[DType.INT32])

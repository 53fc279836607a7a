"""Casts among all types that have kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lowered_node import compute, is_lowered
from martlet.dtypes import DType
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


def test_what_is_left_to_numpy() -> None:
    assert not is_lowered("CAST", [sample(np.float32).astype(np.float64)], outputs=[DType.FLOAT32])
    half = sample(np.float32, 11).astype(np.float16)
    assert not is_lowered("CAST", [half], outputs=[DType.INT32])

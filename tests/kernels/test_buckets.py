"""BUCKETIZE and BROADCAST_ARGS on kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lowered_node import compute, is_lowered
from martlet.dtypes import DType
from martlet.kernels.targets import Target
from martlet.plan.lowering.buckets import MOST_BOUNDARIES
from native import targets

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
INT32 = [DType.INT32]


def bucketize(target: Target, x: np.ndarray, boundaries: Any) -> None:
    options = {"boundaries": np.array(boundaries, np.float32)}
    for split in (None, 3):
        (found,), (expected,) = compute(
            target, "BUCKETIZE", [x], options, split=split, outputs=INT32
        )
        np.testing.assert_array_equal(found, expected)


@each
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_numbers_are_counted_into_buckets(dtype: Any, target: Target) -> None:
    for shape in ((), (0, 3), (5,), (3, 37)):
        x = np.random.default_rng(len(shape)).integers(-9, 9, shape).astype(dtype)
        for boundaries in ([], [0.0], [-3.0, -3.0, 0.5, 4.0], np.linspace(-7, 7, 33)):
            bucketize(target, x, boundaries)


@each
def test_what_lies_on_a_boundary_beyond_all_and_is_no_number(target: Target) -> None:
    x = np.array([0.0, -0.0, 1, np.nan, np.inf, -np.inf, 1e-45], np.float32)
    bucketize(target, x, [-np.inf, 0.0, 1.0, np.inf])
    bucketize(target, np.array([1 << 53, (1 << 53) + 1, (1 << 24) + 1], np.int64), [2.0**24])


def test_many_boundaries_and_float64_are_left_to_numpy() -> None:
    options = {"boundaries": np.arange(MOST_BOUNDARIES + 1, dtype=np.float32)}
    assert not is_lowered("BUCKETIZE", [np.ones(3, np.float32)], options, outputs=INT32)
    options = {"boundaries": np.ones(1, np.float32)}
    assert not is_lowered("BUCKETIZE", [np.ones(3)], options, outputs=INT32)


@each
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([2, 3], [2, 3]), ([2, 3], [3]), ([1], [4, 1, 5]), ([7, 1, 5], [1, 6, 1]), ([], [2, 0]),
        ([], []), ([1, 0], [1]),
    ],
)  # fmt: skip
def test_shapes_broadcast(a: list[int], b: list[int], dtype: Any, target: Target) -> None:
    (found,), (expected,) = compute(
        target, "BROADCAST_ARGS", [np.array(a, dtype), np.array(b, dtype)]
    )
    np.testing.assert_array_equal(found, expected)

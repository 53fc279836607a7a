"""Rows joined by the numbers of their segments, on kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import const, one_node, run_model
from lowered_node import compute, is_lowered
from martlet.errors import RunError
from martlet.kernels.segments import JOINS, kernels
from martlet.kernels.targets import Target
from native import guarded, host_targets, run_kernel, targets

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
types = pytest.mark.parametrize("dtype", [np.float32, np.int32])
names = pytest.mark.parametrize("name", JOINS)


def values(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    x = np.random.default_rng(len(shape)).normal(size=shape)
    return x.astype(dtype) if dtype == np.float32 else (x * 2**20).astype(dtype)


def check(target: Target, op: str, inputs: list[Any]) -> None:
    for split in (None, 3):
        (found,), (expected,) = compute(target, op, inputs, split=split)
        np.testing.assert_array_equal(found, expected)


@each
@types
@pytest.mark.parametrize("row", [(), (1,), (7,), (3, 13)])
def test_segment_sum(target: Target, row: tuple[int, ...], dtype: Any) -> None:
    ids = const(np.array([0, 0, 1, 2, 2, 2], np.int32))
    check(target, "SEGMENT_SUM", [values((6, *row), dtype), ids])


@each
@types
@names
@pytest.mark.parametrize("row", [(), (1,), (7,), (3, 13)])
def test_unsorted_segments(target: Target, name: str, row: tuple[int, ...], dtype: Any) -> None:
    ids = np.array([[3, -1, 0], [3, 3, -(1 << 31)]], np.int32)
    x, count = values((2, 3, *row), dtype), const(np.array(5, np.int32))
    check(target, f"UNSORTED_SEGMENT_{name.upper()}", [x, ids, count])
    check(target, f"UNSORTED_SEGMENT_{name.upper()}", [x[:0], ids[:0], count])


@each
@pytest.mark.parametrize("name", ["MAX", "MIN"])
def test_what_is_not_a_number_never_wins(target: Target, name: str) -> None:
    x = np.array([np.nan, 1, np.nan, np.inf, -np.inf, np.nan], np.float32)
    ids = np.array([0, 0, 0, 1, 2, 3], np.int32)
    check(target, f"UNSORTED_SEGMENT_{name}", [x, ids, const(np.array(4, np.int32))])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-2, 4), max_size=9), st.integers(1, 40), st.sampled_from(sorted(JOINS)))
def test_any_segments(ids: list[int], length: int, name: str) -> None:
    inputs = [values((len(ids), length), np.float32), np.array(ids, np.int32)]
    for target in host_targets()[:1]:
        check(target, f"UNSORTED_SEGMENT_{name.upper()}", [*inputs, const(np.array(5, np.int32))])


@each
def test_wrong_segments_are_not_followed_and_the_highest_is_named(target: Target) -> None:
    kernel = next(k for k in kernels(target) if k.name == "segment_sum_i32")
    for at_end in (False, True):
        x, y = guarded(np.arange(8, dtype=np.int32)), guarded(np.zeros(6, np.int32), at_end)
        ids, status = guarded(np.array([0, 3, -1, 9], np.int32)), guarded(np.zeros(2, np.int64))
        run_kernel(kernel, target, x, y, ids, status, 3, 4, 2, units=2, split=1)
        assert y.tolist() == [0, 1, 0, 0, 0, 0]
        assert status.tolist() == [1, 9]


def test_a_run_with_a_wrong_segment_fails_as_in_numpy() -> None:
    x, ids = values((3, 2), np.float32), np.array([0, 7, -5], np.int32)
    model, arrays = one_node("UNSORTED_SEGMENT_SUM", [x, ids, const(np.array(4, np.int32))])
    messages = []
    for reference in (True, False):
        with pytest.raises(RunError) as failure:
            run_model(model, arrays, reference=reference)
        messages.append(str(failure.value))
    assert messages[0] == messages[1]


def test_what_kernels_leave_to_numpy() -> None:
    x, ids = values((3, 0), np.float32), np.zeros(3, np.int32)
    assert not is_lowered("UNSORTED_SEGMENT_SUM", [x, ids, const(np.array(4, np.int32))])
    assert not is_lowered("UNSORTED_SEGMENT_SUM", [x, ids, np.array(4, np.int32)])
    assert not is_lowered("SEGMENT_SUM", [values((3, 2), np.float32), ids])

"""Reductions along any axes, and running sums."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import const
from lowered_node import compute, is_lowered
from martlet.kernels.forms import REDUCED
from martlet.kernels.reductions import REDUCTIONS
from martlet.kernels.targets import Target
from martlet.plan.lowering.reductions import CHUNK
from native import host_targets, targets
from pitched_node import compute_pitched

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
FLOAT_OPS = ("SUM", "MEAN", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN")
SHAPES = [
    ((5,), (0,)),
    ((3, 70), (1,)),
    ((3, 70), (0,)),
    ((19, 3, 41), (0, 1)),
    ((2, 9, 7, 33), (1, 2)),
    ((2, 9, 7, 33), (0, 2)),
    ((2, 9, 7, 33), (0, 3)),
    ((2, 3, 17, 4, 5), (2, 4)),
    ((2, 3, 2, 3, 2, 5), (0, 2, 4)),
    ((2, 3, 2, 3, 2, 5), (1, 3, 5)),
    ((1, 300, 1), (-2,)),
    ((4, 9), (0, 1)),
    ((4, 9), ()),
    ((), ()),
    ((2, 0, 3), (0,)),
]


def sample(dtype: Any, *shape: int) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    if np.dtype(dtype).kind == "f":
        return np.asarray(1 + 0.3 * rng.standard_normal(shape), dtype)
    return rng.integers(-3, 4, shape).astype(dtype)


def check(
    target: Target, op: str, x: np.ndarray, axes: Any, keep: bool = False, split: int | None = None
) -> None:
    listed = const(np.array(axes, np.int32))
    (found,), (expected,) = compute(target, op, [x, listed], {"keep_dims": keep}, split)
    if x.dtype.kind != "f" or op in ("REDUCE_MAX", "REDUCE_MIN"):
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6 if op != "REDUCE_PROD" else 1e-4)


@each
@pytest.mark.parametrize(("shape", "axes"), SHAPES)
@pytest.mark.parametrize("op", FLOAT_OPS)
def test_any_axes(op: str, shape: tuple[int, ...], axes: tuple[int, ...], target: Target) -> None:
    check(target, op, sample(np.float32, *shape), axes)
    check(target, op, sample(np.float32, *shape), axes, keep=True, split=3)


@each
@pytest.mark.parametrize(("shape", "axes"), SHAPES[1:7])
@pytest.mark.parametrize("op", FLOAT_OPS)
def test_integers(op: str, shape: tuple[int, ...], axes: tuple[int, ...], target: Target) -> None:
    for dtype in (np.int32, np.int64):
        check(target, op, sample(dtype, *shape), axes, split=5)


@each
@pytest.mark.parametrize(("shape", "axes"), SHAPES[1:7])
def test_booleans_and_bytes(shape: tuple[int, ...], axes: tuple[int, ...], target: Target) -> None:
    for op in ("REDUCE_ANY", "REDUCE_ALL", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN"):
        for x in (sample(np.int8, *shape) > 2, sample(np.int8, *shape) > -3):
            check(target, op, x, axes)
    for op in ("REDUCE_MAX", "REDUCE_MIN"):
        for dtype in (np.int8, np.uint8, np.int16):
            x = sample(np.int8, *shape).astype(dtype) * dtype(42)  # on both sides of 0 and of 128
            check(target, op, x, axes)
            check(target, op, x, axes, split=5)


@each
@pytest.mark.parametrize("length", [*range(1, 36), 127, 128, 129, 300])
def test_every_remainder(length: int, target: Target) -> None:
    for op in ("SUM", "REDUCE_MIN"):
        check(target, op, sample(np.float32, 3, length), [1], split=2)
        check(target, op, sample(np.float32, 9, length), [0], split=7)
        check(target, op, sample(np.float32, length, 3), [0], split=1)


@each
@pytest.mark.parametrize(("shape", "axes"), SHAPES[1:10])
def test_where_the_work_is_cut_changes_no_bit(
    shape: tuple[int, ...], axes: tuple[int, ...], target: Target
) -> None:
    inputs = [sample(np.float32, *shape), const(np.array(axes, np.int32))]
    for op in ("SUM", "REDUCE_PROD"):
        (whole,), _ = compute(target, op, inputs)
        for split in (1, 3, 16):
            (found,), _ = compute(target, op, inputs, split=split)
            np.testing.assert_array_equal(found, whole)


@each
@pytest.mark.parametrize("op", ["REDUCE_MAX", "REDUCE_MIN"])
def test_extremes_pass_over_what_is_not_a_number(op: str, target: Target) -> None:
    x = sample(np.float32, 7, 37)
    x[:, 5:30:7] = np.nan
    x[2] = np.nan
    x[3] = np.inf
    x[4] = -np.inf
    x[:, 1] = np.nan
    for axes in ([0], [1], [0, 1]):
        check(target, op, x, axes)
    x[0, 0] = np.nan  # where all axes are reduced, the first element decides
    check(target, op, x, [0, 1])
    for number in (np.inf, -np.inf):
        check(target, op, np.full((2, 11), number, np.float32), [0, 1])


@each
@pytest.mark.parametrize("op", ["SUM", "MEAN", "REDUCE_MAX", "REDUCE_ANY"])
def test_long_rows_are_reduced_in_chunks(op: str, target: Target) -> None:
    for shape in ((4 * CHUNK + 5,), (2, 5 * CHUNK), (2, 1, 3, 4 * CHUNK + 1)):
        x = sample(np.float32, *shape)
        x = x > 2 if op == "REDUCE_ANY" else x
        check(target, op, x, [-1])


def test_sums_are_exact_where_terms_cancel() -> None:
    x = sample(np.float32, 40_000)
    x = np.concatenate([x, -x, [np.float32(1e-3)]]).reshape(1, -1, 1)
    for shape in (x.shape, (1, 1, x.size)):
        (found,), _ = compute(
            host_targets()[0], "SUM", [x.reshape(shape), const(np.array([1, 2], np.int32))]
        )
        assert abs(found.item() - 1e-3) < 1e-2


@each
@pytest.mark.parametrize("op", ["SUM", "REDUCE_MAX"])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (3,), (1, 3), (0, 2, 3), (1, 2)])
@pytest.mark.parametrize("keep", [True, False])
def test_rows_among_others(op: str, axes: tuple[int, ...], keep: bool, target: Target) -> None:
    listed = const(np.array(axes, np.int32))
    for channels in (1, 21):
        for wider in [(5, 0), (0, 3), (24, 40)]:
            x = sample(np.float32, 2, 3, 4, channels)
            found, expected, _ = compute_pitched(
                target, op, [x, listed], {"keep_dims": keep}, wider=wider
            )
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_is_left_to_numpy() -> None:
    x = sample(np.float32, 2, 3, 2, 3, 2, 3, 2, 3)
    assert not is_lowered("SUM", [x, const(np.array([1, 3, 5, 7], np.int32))])
    assert not is_lowered("SUM", [x[:0], const(np.array([0], np.int32))])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_like_numpy(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 6), max_size=5))
    axes = [i for i in range(len(shape)) if data.draw(st.booleans())]
    op = data.draw(st.sampled_from(FLOAT_OPS))
    dtype = data.draw(st.sampled_from([np.float32, np.int32]))
    check(host_targets()[0], op, sample(dtype, *shape), axes, data.draw(st.booleans()))


# Running sums ---------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
@pytest.mark.parametrize("shape", [(1,), (9,), (3, 17), (2, 3, 4, 5), (2, 0), (2, 5, 1)])
def test_running_sums(shape: tuple[int, ...], dtype: Any, target: Target) -> None:
    x = sample(dtype, *shape)
    for axis, exclusive, reverse in itertools.product(
        range(-len(shape), len(shape)), (False, True), (False, True)
    ):
        options = {"exclusive": exclusive, "reverse": reverse}
        inputs = [x, const(np.array(axis, np.int32))]
        for split in (None, 3):
            (found,), (expected,) = compute(target, "CUMSUM", inputs, options, split)
            np.testing.assert_array_equal(found, expected)


@each
def test_running_sums_of_rows_among_others(target: Target) -> None:
    x = sample(np.float32, 2, 3, 4, 21)
    for axis, reverse in itertools.product(range(4), (False, True)):
        inputs = [x, const(np.array(axis, np.int32))]
        found, expected, _ = compute_pitched(
            target, "CUMSUM", inputs, {"reverse": reverse}, wider=(5, 3)
        )
        np.testing.assert_array_equal(found, expected)


def test_plans_know_which_reductions_there_are() -> None:
    assert {name: tuple(types) for name, types in REDUCTIONS.items()} == REDUCED

"""Values around and between elements, on kernels; `test_movement.py` has most of PAD."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import const
from lowered_node import compute, is_lowered
from martlet.kernels.targets import Target
from native import host_targets, targets

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
types = pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int16, np.int64, np.complex128])


def values(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(-100, 100, shape).astype(dtype)


def ints(*numbers: Any) -> Any:
    return const(np.array(numbers, np.int32))


def check(target: Target, op: str, inputs: list[Any], options: Any = None) -> None:
    for split in (None, 13):
        (found,), (expected,) = compute(target, op, inputs, options, split)
        np.testing.assert_array_equal(found, expected)


@each
@types
def test_values_that_are_computed_or_long_fill_the_edges(target: Target, dtype: Any) -> None:
    x, edges = values((2, 3, 5), dtype), ints([1, 0], [0, 2], [3, 1])
    for value in (np.array(-77, dtype), np.array([7], dtype)):
        check(target, "PADV2", [x, edges, value])
        check(target, "PADV2", [x, edges, const(value)])
        check(target, "PADV2", [x[:0], edges, value])


@each
def test_edges_of_many_dimensions(target: Target) -> None:
    x = values((2, 1, 2, 2, 3), np.float32)
    check(target, "PAD", [x, ints(*[[1, 2]] * 5)])


@each
@types
@pytest.mark.parametrize("shape", [(4,), (1, 3), (3, 4, 5), (2, 0)])
def test_dilate(target: Target, shape: tuple[int, ...], dtype: Any) -> None:
    for steps in ([1, 2, 3], [3, 1, 1], [2, 2, 2]):
        value = np.array(9, dtype)
        check(target, "DILATE", [values(shape, dtype), ints(*steps[: len(shape)]), value])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 5), st.integers(-4, 4), st.integers(-4, 4), st.integers(0, 3)
        ),
        min_size=1, max_size=4,
    ),
    st.sampled_from([np.float32, np.int8, np.int64]),
)  # fmt: skip
def test_any_padding_between_and_around(sizes: list[tuple[int, ...]], dtype: Any) -> None:
    names = ("edge_padding_low", "edge_padding_high", "interior_padding")
    options = {name: [row[i + 1] for row in sizes] for i, name in enumerate(names)}
    x = values(tuple(row[0] for row in sizes), dtype)
    for target in host_targets()[:1]:
        check(target, "STABLEHLO_PAD", [x, np.array(-3, dtype)], options)


def test_paddings_that_are_computed_are_left_to_numpy() -> None:
    x, edges = values((2, 3), np.float32), np.array([[1, 0], [0, 2]], np.int32)
    assert not is_lowered("PAD", [x, edges])
    assert not is_lowered("DILATE", [x, edges[0] + 1, np.float32(0)])

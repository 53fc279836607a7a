"""Collapsing dimensions: fewer of them, the same walk."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from martlet.plan.lowering.strides import broadcast_strides, collapse, row_arguments

sizes = st.lists(st.integers(1, 4), max_size=5)


def walk(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """Offsets of all elements in order."""
    indices = itertools.product(*map(range, shape))
    return [sum(i * s for i, s in zip(index, strides, strict=True)) for index in indices]


def test_dense_tensors_become_one_dimension() -> None:
    dense = broadcast_strides((2, 3, 4), (2, 3, 4))
    assert dense == (12, 4, 1)
    assert collapse((2, 3, 4), dense, dense) == ((24,), ((1,), (1,)))


def test_a_row_for_all_rows_leaves_two() -> None:
    shape = (2, 3, 4)
    strides = broadcast_strides(shape, shape), broadcast_strides((4,), shape)
    assert collapse(shape, *strides) == ((6, 4), ((4, 1), (0, 1)))


def test_dimensions_of_one_go() -> None:
    assert collapse((1, 5, 1), (99, 2, 77)) == ((5,), ((2,),))
    assert collapse((1, 1), (3, 4)) == ((), ((),))


@given(sizes, st.data())
def test_the_walk_stays_the_same(shape: list[int], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    permuted = np.empty([shape[i] for i in order], np.int8).transpose(np.argsort(order))
    kept = [n if data.draw(st.booleans()) else 1 for n in shape]
    strides = permuted.strides, broadcast_strides(kept, shape)
    fewer, collapsed = collapse(shape, *strides)
    assert len(fewer) <= len(shape)
    assert math.prod(fewer) == math.prod(shape)
    for before, after in zip(strides, collapsed, strict=True):
        assert walk(fewer, after) == walk(tuple(shape), before)


@given(sizes, st.integers(0, 5), st.data())
def test_broadcast_strides_are_those_of_numpy(
    shape: list[int], dropped: int, data: st.DataObject
) -> None:
    small = [n if data.draw(st.booleans()) else 1 for n in shape][dropped:]
    whole = np.broadcast_to(np.empty(small, np.int8), shape)
    for n, found, expected in zip(
        shape, broadcast_strides(small, shape), whole.strides, strict=True
    ):
        assert n == 1 or found == expected


def test_rows_have_three_outer_indices() -> None:
    assert row_arguments((7, 5), (50, 1), (0, 1)) == [5, 1, 7, 0, 0, 50, 0, 0, 0]

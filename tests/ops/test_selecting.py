"""TOPK_V2, UNIQUE, WHERE, BUCKETIZE."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from build import const, run
from martlet.dtypes import DType
from martlet.errors import ModelError
from oracle import agree


def top(x, k, index=DType.INT32):
    k = const(np.array(k, np.int32))
    return agree("TOPK_V2", [x, k], outputs=[DType.of(x), index])


def test_equal_elements_come_in_their_order():
    values, indices = top(np.array([[1, 3, 3, 2], [0, 0, 0, 0]], np.int8), 3)
    assert values.tolist() == [[3, 3, 2], [0, 0, 0]]
    assert indices.tolist() == [[1, 2, 3], [0, 1, 2]]


def test_the_smallest_integers_have_an_order_too():
    x = np.array([-128, 127, 0, -128], np.int8)
    assert top(x, 4)[1].tolist() == [1, 2, 0, 3]
    assert top(np.array([0, 255, 7], np.uint8), 3)[1].tolist() == [1, 2, 0]


def test_nans_come_last():
    x = np.array([np.nan, 1, -np.inf, np.nan, np.inf], np.float32)
    values, indices = run(
        "TOPK_V2", [x, const(np.array(4, np.int32))], outputs=[DType.FLOAT32, DType.INT32]
    )
    assert indices.tolist() == [4, 1, 2, 0]
    assert np.isnan(values[3])


@settings(deadline=None, max_examples=30)
@given(
    hnp.arrays(np.float32, (2, 7), elements=st.sampled_from((-1.0, -0.0, 0.0, 0.5, 2.0))),
    st.integers(0, 7),
)
def test_any_top_k_is_litert_s(x, k):
    top(x, k)


def test_k_is_at_most_a_row():
    with pytest.raises(ModelError, match="k is larger than a row; expected at most 2, found 3"):
        run("TOPK_V2", [np.zeros(2, np.float32), const(np.array(3, np.int32))],
            outputs=[DType.FLOAT32, DType.INT32])  # fmt: skip


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.float32])
def test_distinct_values_come_in_their_order(dtype):
    x = np.array([5, 1, 5, 2, 1, 5], dtype)
    values, indices = agree(
        "UNIQUE", [x], {"idx_out_type": "INT64"}, outputs=[DType.of(x), DType.INT64]
    )
    assert values.tolist() == [5, 1, 2]
    assert indices.tolist() == [0, 1, 0, 2, 1, 0]


def test_unique_of_nothing():
    values, indices = run("UNIQUE", [np.zeros(0, np.int32)], outputs=[DType.INT32, DType.INT32])
    assert values.shape == indices.shape == (0,)


@pytest.mark.parametrize("dtype", [np.bool_, np.float32, np.int64, np.int8, np.uint8, np.uint32])
def test_where_lists_the_places_that_are_not_0(dtype):
    x = np.array([[1, 0], [0, 1], [1, 0]], dtype)
    assert agree("WHERE", [x], outputs=[DType.INT64]).tolist() == [[0, 0], [1, 1], [2, 0]]


def test_where_of_a_scalar_has_no_coordinates():
    assert run("WHERE", [np.array(True)], outputs=[DType.INT64]).shape == (1, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_bucketize_counts_the_boundaries_that_are_not_above(dtype):
    x = np.array([-5, 0, 3, 10, 16777217], dtype)
    boundaries = np.array([0, 3, 10, 16777216, 16777218], np.float32)
    agree("BUCKETIZE", [x], {"boundaries": boundaries}, outputs=[DType.INT32])


def test_boundaries_come_in_order():
    with pytest.raises(ModelError, match="boundaries are not in order"):
        run("BUCKETIZE", [np.zeros(1, np.float32)], {"boundaries": np.array([2, 1], np.float32)},
            outputs=[DType.INT32])  # fmt: skip

"""GATHER, GATHER_ND, STABLEHLO_GATHER."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import const, run
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError
from oracle import agree

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_along_an_axis(axis, dtype):
    indices = np.array([[1, 0], [1, 1]], dtype)
    np.testing.assert_array_equal(
        agree("GATHER", [X, indices], {"axis": axis}), np.take(X, indices, axis)
    )


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_gather_in_batches_is_litert_s(data):
    batch = data.draw(st.integers(0, 2))
    axis = data.draw(st.integers(batch, 2))
    shape = (*X.shape[:batch], *data.draw(st.lists(st.integers(1, 2), min_size=1, max_size=2)))
    numbers = data.draw(st.lists(st.integers(0, X.shape[axis] - 1), min_size=8 * 3, max_size=8 * 3))
    indices = np.resize(np.array(numbers, np.int32), shape)
    agree("GATHER", [X, indices], {"axis": axis, "batch_dims": batch})


def test_gather_of_strings_and_int4():
    strings = np.array([b"a", b"bc", b""], object)
    indices = np.array([2, 1, 1], np.int32)
    assert agree("GATHER", [strings, indices]).tolist() == [b"", b"bc", b"bc"]
    nibbles = const(np.array([-8, 7, 1], np.int8), DType.INT4)
    assert run("GATHER", [nibbles, indices], outputs=[DType.INT4]).tolist() == [1, 7, 7]


def test_gather_of_nothing():
    assert run("GATHER", [X, np.zeros((0, 2), np.int32)], {"axis": 1}).shape == (2, 0, 2, 4)


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_must_be_inside(index):
    with pytest.raises(RunError, match=f"an index is out of range; expected 0 to 2, found {index}"):
        run("GATHER", [X, np.array([index], np.int32)], {"axis": 1})


def test_batches_must_be_equal():
    with pytest.raises(ModelError, match=r"batches.*expected \[2\], found \[3\]"):
        run("GATHER", [X, np.zeros((3, 1), np.int32)], {"axis": 1, "batch_dims": 1})
    with pytest.raises(ModelError, match="batch_dims is out of range; expected 0 to 0, found 1"):
        run("GATHER", [X, np.zeros((2, 1), np.int32)], {"axis": 0, "batch_dims": 1})


# GATHER_ND


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_gather_nd_by_the_front_of_the_shape(depth):
    indices = np.array([[[1, 2, 3]], [[0, 1, 0]]], np.int32)[..., :depth]
    answer = agree("GATHER_ND", [X, indices])
    assert answer.shape == (2, 1, *X.shape[depth:])
    np.testing.assert_array_equal(answer[0, 0], X[tuple(indices[0, 0])])


def test_gather_nd_of_strings():
    strings = np.array([[b"a", b"b"], [b"c", b"d"]], object)
    assert agree("GATHER_ND", [strings, np.array([[1, 0]], np.int32)]).tolist() == [b"c"]


def test_gather_nd_by_no_numbers_repeats_the_whole():
    assert run("GATHER_ND", [X, np.zeros((5, 0), np.int32)]).shape == (5, 2, 3, 4)


def test_gather_nd_checks_each_number():
    with pytest.raises(RunError, match="expected 0 to 2, found 3"):
        run("GATHER_ND", [X, np.array([[0, 3]], np.int32)])
    with pytest.raises(ModelError, match="expected at most 3, found 4"):
        run("GATHER_ND", [X, np.zeros((1, 4), np.int32)])


# STABLEHLO_GATHER


def window(sizes, offsets, collapsed, starts, dim):
    return {
        "slice_sizes": np.array(sizes, np.int64),
        "offset_dims": np.array(offsets, np.int64),
        "collapsed_slice_dims": np.array(collapsed, np.int64),
        "start_index_map": np.array(starts, np.int64),
        "index_vector_dim": dim,
    }


@pytest.mark.parametrize(
    ("indices", "options"),
    [
        (np.array([[0, 1], [1, 0]]), window([1, 2, 4], [1, 2], [0], [0, 1], 1)),
        (np.array([[0, 1], [1, 0]]), window([1, 2, 4], [0, 2], [0], [1, 0], 0)),
        (np.array([[1], [0], [9], [-4]]), window([2, 1, 3], [0, 2], [1], [1], 1)),
        (np.array([[[2, 1, 0]]]), window([2, 3, 1], [1, 2], [2], [0, 1, 2], 2)),
        (np.array([0, 1]), window([1, 1, 4], [0], [0, 1], [0, 1], 0)),
        (np.array([0, 1, 2]), window([1, 1, 1], [], [0, 1, 2], [0, 1, 2], 0)),
    ],
)
def test_windows_are_moved_inside(indices, options):
    batch = indices.ndim - (options["index_vector_dim"] < indices.ndim)
    rank = batch + len(options["offset_dims"])
    assert agree("STABLEHLO_GATHER", [X, indices.astype(np.int32)], options).ndim == rank


def test_an_index_vector_dim_past_the_last_stands_for_single_numbers():
    answer = run("STABLEHLO_GATHER", [X, np.array([1, 9])], window([2, 1, 3], [0, 2], [1], [1], 1))
    np.testing.assert_array_equal(answer, X[:, [1, 2], :3])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (window([3, 1, 1], [1], [1, 2], [0], 1), r"slice_sizes.*at most \[2, 3, 4\]"),
        (window([1, 2, 1], [1], [1, 2], [0], 1), "dimension 1 cannot be collapsed"),
        (window([1, 1, 1], [0, 1], [1, 2], [0], 1), "do not make up the operand"),
        (window([1, 1, 1], [1], [2, 1], [0], 1), "collapsed_slice_dims is wrong"),
        (window([1, 1, 1], [1], [1, 2], [3], 1), "start_index_map is wrong"),
        (window([1, 1, 1], [1], [1, 2], [0], 5), "index_vector_dim is out of range"),
        (window([1, 1, 1], [1], [1, 2], [0, 1], 1), "index vector has the wrong length"),
    ],
)
def test_contradictory_windows_are_refused(options, problem):
    with pytest.raises(ModelError, match=problem):
        run("STABLEHLO_GATHER", [X, np.zeros(2, np.int32)], options)


@pytest.mark.parametrize(
    ("op", "indices"), [("GATHER", np.array(1, np.int32)), ("GATHER_ND", np.array([1], np.int32))]
)
def test_one_string_stays_an_array(op, indices):
    assert run(op, [np.array([b"one", b"two"], object), indices]).tolist() == b"two"

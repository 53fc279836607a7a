"""RaggedRange, RaggedTensorToTensor."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import const, run
from custom_node import flex, flexbuffer
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError

SPLITS, IDS, SIZE = "ROW_SPLITS", "VALUE_ROWIDS", "FIRST_DIM_SIZE"


def ragged_range(starts, limits, deltas, dtype=np.int32):
    inputs = [np.array(x, dtype) for x in (starts, limits, deltas)]
    outputs = [DType.INT64, DType.of(inputs[0])]
    return [x.tolist() for x in run("RaggedRange", inputs, outputs=outputs, custom=True)]


def dense(values, kinds, partitions, shape=-1, default=-1, node=None):
    values = np.array(values)
    inputs = [const(np.array(shape)), values, const(np.array(default, values.dtype))]
    inputs += [const(np.array(p)) for p in partitions]
    node = node or flexbuffer(row_partition_types=kinds)
    return run("RaggedTensorToTensor", inputs, outputs=[DType.of(values)], **node).tolist()


# The examples of TensorFlow's documentation and of TensorFlow Lite Support's tests.


def test_ranges_of_their_own_length():
    splits, values = ragged_range([0, 5, 8], [8, 7, 8], [2, 2, 1])
    assert splits == [0, 4, 5, 5]
    assert values == [0, 2, 4, 6, 5]


def test_ranges_may_fall_and_single_numbers_serve_every_row():
    assert ragged_range([0, 5], 3, [1, -1]) == [[0, 3, 5], [0, 1, 2, 5, 4]]
    assert ragged_range(0, 1, 0.25, np.float32) == [[0, 4], [0, 0.25, 0.5, 0.75]]


def test_a_delta_of_0_is_refused():
    with pytest.raises(RunError, match="delta is 0"):
        ragged_range(0, 1, 0)


def test_an_endless_range_is_refused():
    with pytest.raises(RunError, match="no end"):
        ragged_range(0, np.inf, 1, np.float32)


def test_rows_are_filled_up_to_the_longest():
    assert dense([1, 2, 3, 4], [SPLITS], [[0, 2, 2, 4]]) == [[1, 2], [-1, -1], [3, 4]]


def test_two_partitions_give_three_dimensions():
    result = dense([1, 2, 3], [SPLITS, SPLITS], [[0, 2, 3], [0, 1, 1, 3]])
    assert result == [[[1, -1], [-1, -1]], [[2, 3], [-1, -1]]]


def test_row_ids_need_the_number_of_rows():
    result = dense([1, 2, 3], [SIZE, IDS], [4, [0, 2, 2]])
    assert result == [[1, -1], [-1, -1], [2, 3], [-1, -1]]


def test_a_given_shape_cuts_and_fills():
    assert dense([1, 2, 3], [SPLITS], [[0, 2, 3]], shape=[3, 1]) == [[1], [3], [-1]]
    assert dense([1, 2, 3], [SPLITS], [[0, 2, 3]], shape=[1, -1]) == [[1, 2]]


def test_values_keep_their_inner_dimensions():
    result = dense([[1, 2], [3, 4]], [SPLITS], [[0, 0, 2]], default=0)
    assert result == [[[0, 0], [0, 0]], [[1, 2], [3, 4]]]


def test_tensorflow_own_operator_reads_its_attributes_from_a_node_def():
    node = flex("RaggedTensorToTensor", row_partition_types=[b"ROW_SPLITS"])
    inputs = [const(np.array(-1)), np.array([b"a", b"b"], object), const(np.array(b"", object)),
              const(np.array([0, 1, 2]))]  # fmt: skip
    result = run("FlexRaggedTensorToTensor", inputs, outputs=[DType.STRING], **node)
    assert result.tolist() == [[b"a"], [b"b"]]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-9, 9), max_size=4), max_size=5))
def test_dense_and_ragged_hold_the_same_rows(rows):
    values = np.array([v for row in rows for v in row], np.int32)
    splits = np.cumsum([0, *map(len, rows)])
    result = dense(values, [SPLITS], [splits], default=77)
    assert [[v for v in row if v != 77] for row in result] == rows


@pytest.mark.parametrize(
    ("kinds", "partitions", "error", "problem"),
    [
        ([IDS], [[0]], ModelError, "wrong order"),
        (["OTHER"], [[0]], ModelError, "unknown types"),
        ([SPLITS, SPLITS], [[0, 1]], ModelError, "differ in number"),
        ([SPLITS], [[0, 2, 1]], RunError, "do not rise"),
        ([SPLITS], [[0, 5]], RunError, "differ in number"),
        ([SIZE, IDS], [1, [3]], RunError, "row ids"),
    ],
)
def test_partitions_are_checked(kinds, partitions, error, problem):
    with pytest.raises(error, match=problem):
        dense([1], kinds, partitions)

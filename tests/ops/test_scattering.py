"""SCATTER_ND, SPARSE_TO_DENSE, segments, STABLEHLO_SCATTER, DENSIFY."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import Value, const, run, run_model
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError, UnsupportedError
from oracle import agree, litert
from region_models import scatter_model


def ints(values, dtype=np.int32):
    return const(np.array(values, dtype))


# SCATTER_ND, SPARSE_TO_DENSE


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int8, np.uint8, np.int64, np.bool_])
def test_updates_that_meet_add_up(dtype):
    indices = np.array([[1], [3], [1]], np.int32)
    updates = np.array([[100, 1], [2, 2], [100, 0]]).astype(dtype)
    output = [DType.of(updates)]
    answer = agree("SCATTER_ND", [indices, updates, ints([4, 2])], outputs=output)
    assert answer[1, 0] == np.add.reduce(updates[[0, 2], 0], dtype=dtype)


def test_scatter_of_single_elements():
    indices = np.array([[0, 1], [1, 0]], np.int32)
    inputs = [indices, np.array([5, 6], np.int32), np.array([2, 2], np.int32)]
    assert agree("SCATTER_ND", inputs, outputs=[DType.INT32]).tolist() == [[0, 5], [6, 0]]


def test_scatter_checks_places_and_shapes():
    with pytest.raises(RunError, match="expected 0 to 1, found 2"):
        run("SCATTER_ND", [np.array([[2]], np.int32), np.ones(1, np.float32), ints([2])],
            outputs=[DType.FLOAT32])  # fmt: skip
    with pytest.raises(ModelError, match=r"updates do not fit.*\[1, 3\], found \[1, 2\]"):
        run("SCATTER_ND", [np.array([[0]], np.int32), np.ones((1, 2), np.float32), ints([2, 3])],
            outputs=[DType.FLOAT32])  # fmt: skip


@pytest.mark.parametrize(
    ("indices", "shape", "values"),
    [
        (3, [5], [1.5]),
        ([1, 3], [5], [1.5, 2.5]),
        ([1, 3], [5], 4.5),
        ([[0, 1], [1, 2]], [2, 3], [1.5, 2.5]),
    ],
)
def test_sparse_to_dense(indices, shape, values):
    inputs = [
        np.array(indices, np.int32), ints(shape), np.array(values, np.float32),
        const(np.array(-1, np.float32)),
    ]  # fmt: skip
    agree("SPARSE_TO_DENSE", inputs, outputs=[DType.FLOAT32])


def test_sparse_to_dense_wants_a_value_an_index():
    values = np.zeros(3, np.float32)
    with pytest.raises(ModelError, match=r"not one value an index; expected 2, found \[3\]"):
        run("SPARSE_TO_DENSE", [np.array([0, 1]), ints([5]), values, np.zeros((), np.float32)],
            outputs=[DType.FLOAT32])  # fmt: skip


# Segments


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_segment_sum(dtype):
    x = np.array([[1, 2], [3, 4], [5, 6]], dtype)
    # LiteRT's reference resolver lacks it.
    answer = agree("SEGMENT_SUM", [x, ints([0, 0, 1])], reference=False)
    assert answer.tolist() == [[4, 6], [5, 6]]
    answer = agree("SEGMENT_SUM", [x, np.array([0, 1, 1], np.int32)], reference=False)
    assert answer.tolist() == [[1, 2], [8, 10]]


@pytest.mark.parametrize("ids", [[1, 1, 2], [0, 2, 2], [0, 1, 0]])
def test_segments_come_in_order(ids):
    with pytest.raises(RunError, match="not in order"):
        run("SEGMENT_SUM", [np.ones(3, np.float32), ints(ids)])


OPERATORS = ["UNSORTED_SEGMENT_SUM", "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_MAX",
             "UNSORTED_SEGMENT_MIN"]  # fmt: skip


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_unsorted_segments_drop_negative_numbers(op, dtype):
    x = np.array([[3, -2], [5, 1], [-4, 7], [9, 9]], dtype)
    answer = agree(op, [x, ints([2, 0, 2, -1]), ints(4)])
    assert answer.shape == (4, 2)
    assert answer[0].tolist() == [5, 1]


@pytest.mark.parametrize("op", OPERATORS)
def test_segment_numbers_of_more_dimensions(op):
    x = np.arange(12, dtype=np.int32).reshape(2, 3, 2)
    agree(op, [x, ints([[0, 1, 0], [1, 1, 2]]), ints([3])])


def test_integer_products_wrap():
    x = np.array([1 << 30, 8, 3], np.int32)
    agree("UNSORTED_SEGMENT_PROD", [x, ints([0, 0, 0]), ints(1)])


def test_an_unsorted_segment_must_exist():
    with pytest.raises(
        RunError, match="unsorted segment is out of range; expected 0 to 1, found 2"
    ):
        run("UNSORTED_SEGMENT_SUM", [np.ones(1, np.float32), ints([2]), ints(2)])


# STABLEHLO_SCATTER


ROWS = {
    "update_window_dims": [1],
    "inserted_window_dims": [0],
    "scatter_dims_to_operand_dims": [0],
    "index_vector_dim": 1,
}


@pytest.mark.parametrize(
    "combine",
    [None, "STABLEHLO_ADD", "STABLEHLO_MULTIPLY", "STABLEHLO_MAXIMUM", "STABLEHLO_MINIMUM"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_rows_meet_in_the_order_of_the_updates(combine, dtype):
    x = np.arange(6).reshape(3, 2).astype(dtype)
    indices = np.array([[2], [0], [2], [5], [-1]], np.int32)
    updates = (np.arange(10).reshape(5, 2) * 11 - 40).astype(dtype)
    model, arrays = scatter_model(x, indices, updates, combine, **ROWS)
    np.testing.assert_array_equal(run_model(model, arrays)[0], litert(model, arrays)[0])


@pytest.mark.parametrize(
    ("indices", "updates", "options"),
    [
        ((2, 2), (2, 3), {"update_window_dims": [1], "inserted_window_dims": [0],
                          "scatter_dims_to_operand_dims": [0, 1], "index_vector_dim": 1}),
        ((2, 2), (3, 2), {"update_window_dims": [0], "inserted_window_dims": [0],
                          "scatter_dims_to_operand_dims": [1, 0], "index_vector_dim": 0}),
        ((2,), (2, 2), {"update_window_dims": [0, 1], "inserted_window_dims": [],
                        "scatter_dims_to_operand_dims": [0, 1], "index_vector_dim": 0}),
    ],
)  # fmt: skip
def test_windows_that_reach_outside_lose_those_elements(indices, updates, options):
    x = np.zeros((3, 4), np.int32)
    places = (np.arange(np.prod(indices)) % 3).reshape(indices).astype(np.int64)
    values = np.arange(1, np.prod(updates) + 1, dtype=np.int32).reshape(updates)
    model, arrays = scatter_model(x, places, values, "STABLEHLO_ADD", **options)
    np.testing.assert_array_equal(run_model(model, arrays)[0], litert(model, arrays)[0])


def test_other_computations_are_unsupported():
    x, indices = np.ones((3, 2), np.float32), np.zeros((1, 1), np.int32)
    model, arrays = scatter_model(x, indices, x[:1], "SUB", **ROWS)
    with pytest.raises(UnsupportedError, match="computation SUB is not supported"):
        run_model(model, arrays)


def test_updates_must_fit_the_indices():
    x = np.ones((3, 2), np.float32)
    model, arrays = scatter_model(x, np.zeros((2, 1), np.int32), x[:1], None, **ROWS)
    with pytest.raises(
        ModelError, match=r"updates do not fit the indices; expected \[2\], found \[1\]"
    ):
        run_model(model, arrays)


def test_densify_gives_what_is_dense_already():
    assert run("DENSIFY", [Value(np.array([1, 0, 2], np.int8), constant=True)]).tolist() == [
        1,
        0,
        2,
    ]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-1, 3), min_size=6, max_size=6))
def test_float_sums_round_in_the_order_of_the_input(ids):
    x = np.float32([1e8, 1.5, -1e8, 0.3, 7.7, 1e-3])
    agree("UNSORTED_SEGMENT_SUM", [x, ints(ids), ints(4)])

"""SLICE, STRIDED_SLICE, DYNAMIC_UPDATE_SLICE, SPLIT, SPLIT_V, UNPACK."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import const, run
from martlet.dtypes import DType
from martlet.errors import MartletError, ModelError, RunError
from oracle import agree

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def ints(*values, dtype=np.int32):
    return const(np.array(values, dtype))


# SLICE


def test_slice_takes_a_piece_and_minus_one_goes_to_the_end():
    answer = agree("SLICE", [X, ints(1, 0, 2), ints(1, 2, -1)])
    assert answer.tolist() == [[[14, 15], [18, 19]]]


@pytest.mark.parametrize(
    "x",
    [
        np.array([[b"a", b"bc"], [b"", b"d"]], object),
        np.array([[1, 2], [3, 4]], np.int64),
        np.array([[True, False], [False, True]]),
    ],
)
def test_slice_of_every_kind_of_element(x):
    assert agree("SLICE", [x, ints(0, 1), ints(2, 1)]).tolist() == x[:, 1:].tolist()


def test_slice_with_bounds_that_are_computed():
    begin, size = np.array([0, 1, 0], np.int64), np.array([2, 1, 4], np.int64)
    np.testing.assert_array_equal(agree("SLICE", [X, begin, size]), X[:, 1:2])


@pytest.mark.parametrize(("begin", "size"), [(0, 5), (-1, 1), (5, -1), (1, 4), (0, -2)])
def test_slice_stays_inside(begin, size):
    with pytest.raises(ModelError, match="leaves dimension 0; expected a piece of 0 to 4"):
        run("SLICE", [X[0, 0], ints(begin), ints(size)])


# STRIDED_SLICE


def strided(x, begin, end, strides, **options):
    return agree("STRIDED_SLICE", [x, ints(*begin), ints(*end), ints(*strides)], options)


def test_masks_leave_bounds_open():
    answer = strided(X, (1, 1, 3), (2, 2, 0), (1, 1, -2), begin_mask=0b010, end_mask=0b101)
    np.testing.assert_array_equal(answer, X[1:, :2, 3::-2])


def test_new_axis_ellipsis_and_shrink():
    masks = {"new_axis_mask": 0b001, "ellipsis_mask": 0b010, "shrink_axis_mask": 0b100}
    answer = strided(X, (0, 0, 1), (0, 0, 2), (1, 1, 1), **masks)
    np.testing.assert_array_equal(answer, X[None, ..., 1])


def test_trailing_dimensions_stay_whole():
    np.testing.assert_array_equal(strided(X, (-1,), (0,), (1,), shrink_axis_mask=1), X[-1])


def test_offset_counts_the_end_from_the_begin():
    begin = np.array([1, 0, 2], np.int32)
    answer = agree("STRIDED_SLICE", [X, begin, ints(1, 3, 2), ints(1, 2, 1)], {"offset": True})
    np.testing.assert_array_equal(answer, X[1:2, 0:3:2, 2:4])


def test_offset_stays_inside():
    begin = np.array([1, 0, 3], np.int32)
    with pytest.raises(RunError, match="leaves its dimension of 4"):
        run("STRIDED_SLICE", [X, begin, ints(1, 3, 2), ints(1, 2, 1)], {"offset": True})


def test_a_stride_of_0_is_refused():
    with pytest.raises(ModelError, match="stride of entry 1 is 0"):
        run("STRIDED_SLICE", [X, ints(0, 0), ints(1, 1), ints(1, 0)])


def test_an_entry_that_shrinks_must_be_inside():
    with pytest.raises(RunError, match="entry 0 is out of range; expected -2 to 1, found 2"):
        run("STRIDED_SLICE", [X, ints(2), ints(3), ints(1)], {"shrink_axis_mask": 1})


def test_more_entries_than_dimensions_are_refused():
    with pytest.raises(ModelError, match="more entries than dimensions; expected 1, found 2"):
        run("STRIDED_SLICE", [X[0, 0], ints(0, 0), ints(1, 1), ints(1, 1)])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_bounds_and_masks_are_litert_s(data):
    number = st.integers(-6, 6)
    begin, end = (data.draw(st.tuples(number, number, number)) for _ in range(2))
    step = st.sampled_from((-3, -2, -1, 1, 2))
    strides = data.draw(st.tuples(step, step, step))
    masks = {k: data.draw(st.integers(0, 7)) for k in ("begin_mask", "end_mask")}
    strided(X, begin, end, strides, **masks)


def test_an_ellipsis_may_stand_for_nothing():
    bounds = [ints(0, 0, 1, 1), ints(0, 2, 2, 3), ints(1, 1, 1, 1)]
    answer = run("STRIDED_SLICE", [X, *bounds], {"ellipsis_mask": 1})
    np.testing.assert_array_equal(answer, X[..., 0:2, 1:2, 1:3])


# DYNAMIC_UPDATE_SLICE


@pytest.mark.parametrize("start", [(0, 0), (1, 2), (9, -3)])
def test_an_update_is_moved_inside(start):
    x, update = np.zeros((3, 4), np.int32), np.array([[1, 2]], np.int32)
    answer = agree("DYNAMIC_UPDATE_SLICE", [x, update, np.array(start, np.int64)])
    row, column = min(max(start[0], 0), 2), min(max(start[1], 0), 2)
    assert answer[row, column : column + 2].tolist() == [1, 2]
    assert answer.sum() == 3


def test_an_update_must_not_be_larger():
    with pytest.raises(ModelError, match=r"at most \[1, 2\], found \[2, 2\]"):
        run("DYNAMIC_UPDATE_SLICE", [np.zeros((1, 2)), np.zeros((2, 2)), ints(0, 0)])


# SPLIT, SPLIT_V, UNPACK


def test_split_makes_equal_pieces():
    a, b = agree("SPLIT", [ints(-1), X], {"num_splits": 2}, outputs=[DType.FLOAT32] * 2)
    np.testing.assert_array_equal(a, X[..., :2])
    np.testing.assert_array_equal(b, X[..., 2:])


def test_split_along_an_axis_that_is_computed():
    axis = np.array(1, np.int32)
    pieces = agree("SPLIT", [axis, X], {"num_splits": 3}, outputs=[DType.FLOAT32] * 3)
    np.testing.assert_array_equal(np.concatenate(pieces, 1), X)


def test_split_says_what_is_uneven():
    with pytest.raises(ModelError, match="not equal; expected a multiple of 2, found 3"):
        run("SPLIT", [ints(1), X], {"num_splits": 2}, outputs=[DType.FLOAT32] * 2)


def test_split_v_works_out_one_size():
    options, outputs = {"num_splits": 3}, [DType.FLOAT32] * 3
    pieces = agree(
        "SPLIT_V", [X, ints(1, -1, 0), const(np.array(2, np.int32))], options, outputs=outputs
    )
    assert [p.shape[2] for p in pieces] == [1, 3, 0]


@pytest.mark.parametrize("sizes", [(1, 2), (5, -1), (-1, -1), (-2, 6)])
def test_split_v_says_what_does_not_add_up(sizes):
    with pytest.raises(ModelError, match="expected a sum of 4"):
        run(
            "SPLIT_V", [X, ints(*sizes), const(np.array(2, np.int32))], {"num_splits": 2},
            outputs=[DType.FLOAT32] * 2,
        )  # fmt: skip


def test_unpack_takes_a_dimension_apart():
    pieces = agree("UNPACK", [X], {"num": 3, "axis": -2}, outputs=[DType.FLOAT32] * 3)
    np.testing.assert_array_equal(np.stack(pieces, 1), X)


def test_unpack_needs_an_output_for_each():
    with pytest.raises(MartletError, match="num 2, size 3"):
        run("UNPACK", [X], {"num": 2, "axis": 1}, outputs=[DType.FLOAT32] * 2)

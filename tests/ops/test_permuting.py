"""TRANSPOSE, REVERSE_V2, REVERSE_SEQUENCE, space and depth and batch, diagonals, Roll."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import Value, const, run
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError
from martlet.graph import Quantization, Tensor
from oracle import agree

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def ints(values, dtype=np.int32):
    return const(np.array(values, dtype))


def test_transpose_with_axes_from_the_end():
    answer = agree("TRANSPOSE", [X, ints([-1, 0, 1])])
    np.testing.assert_array_equal(answer, X.transpose(2, 0, 1))


def test_transpose_of_a_scalar():
    assert run("TRANSPOSE", [np.array(3.0, np.float32), ints([])]).tolist() == 3


def test_a_permutation_has_every_dimension_once():
    with pytest.raises(ModelError, match="a dimension comes twice"):
        run("TRANSPOSE", [X, ints([0, 1, 1])])


def test_a_permutation_that_is_computed_is_checked():
    with pytest.raises(ModelError, match="out of range; expected -3 to 2, found 7"):
        run("TRANSPOSE", [X, np.array([0, 1, 7], np.int32)])


def test_reverse_along_axes():
    np.testing.assert_array_equal(agree("REVERSE_V2", [X, ints([1, 2])]), X[:, ::-1, ::-1])
    with pytest.raises(ModelError, match="an axis comes twice"):
        run("REVERSE_V2", [X, ints([0, -3])])


@pytest.mark.parametrize(("seq", "batch"), [(1, 0), (0, 1), (2, 0), (0, 2)])
def test_reverse_sequence_turns_the_front_of_each(seq, batch):
    lengths = np.array([0, 2, 1, 2][: X.shape[batch]], np.int64)
    options = {"seq_dim": seq, "batch_dim": batch}
    agree("REVERSE_SEQUENCE", [X, lengths], options)


@pytest.mark.parametrize("length", [-1, -(2**31)])
def test_reverse_sequence_leaves_a_sequence_of_negative_length(length):
    np.testing.assert_array_equal(
        run("REVERSE_SEQUENCE", [X, np.array([length, 1], np.int32)], {"seq_dim": 1}), X
    )


def test_reverse_sequence_checks_the_lengths():
    with pytest.raises(RunError, match="a length is out of range; expected at most 3, found 4"):
        run("REVERSE_SEQUENCE", [X, np.array([4, 0], np.int32)], {"seq_dim": 1})


@pytest.mark.parametrize(("shift", "axis"), [(1, 0), ([1, -2], [1, 2]), ([3, 4], [2, 2]), (-9, -1)])
def test_roll_turns_around(shift, axis):
    dtype = np.int64
    answer = run("Roll", [X, ints(shift, dtype), ints(axis, dtype)], custom=True)
    np.testing.assert_array_equal(answer, np.roll(X, shift, axis))


def test_roll_wants_an_axis_for_each_shift():
    with pytest.raises(ModelError, match="differ in number; expected 1, found 2"):
        run("Roll", [X, ints([1, 2]), ints([0])], custom=True)


# Space, depth and batch


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))
def test_depth_to_space_undoes_space_to_depth(block, height, width, depth):
    x = np.arange(height * width * block * block * depth, dtype=np.float32)
    x = x.reshape(1, height * block, width * block, depth)
    deep = agree("SPACE_TO_DEPTH", [x], {"block_size": block})
    back = agree("DEPTH_TO_SPACE", [deep], {"block_size": block})
    np.testing.assert_array_equal(back, x)


def test_space_to_depth_keeps_the_places_of_a_block_together():
    x = np.array([[1, 2], [3, 4]], np.int32).reshape(1, 2, 2, 1)
    assert run("SPACE_TO_DEPTH", [x], {"block_size": 2}).tolist() == [[[[1, 2, 3, 4]]]]


@pytest.mark.parametrize(
    ("op", "problem"),
    [("SPACE_TO_DEPTH", "height and width do not come apart"), ("DEPTH_TO_SPACE", "the depth")],
)
def test_blocks_must_fit(op, problem):
    with pytest.raises(ModelError, match=problem):
        run(op, [np.zeros((1, 3, 4, 2), np.float32)], {"block_size": 2})
    with pytest.raises(ModelError, match="block_size is not positive"):
        run(op, [np.zeros((1, 3, 4, 2), np.float32)], {"block_size": 0})


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_batch_to_space_undoes_space_to_batch(data):
    spatial = data.draw(st.integers(1, 2))
    blocks = data.draw(st.lists(st.integers(1, 3), min_size=spatial, max_size=spatial))
    shape, edges = [2], []
    for block in blocks:
        size = data.draw(st.integers(1, 4))
        before = data.draw(st.integers(0, 2))
        shape.append(size)
        edges.append([before, -(size + before) % block])
    x = np.arange(np.prod(shape) * 2, dtype=np.float32).reshape(*shape, 2)
    packed = agree("SPACE_TO_BATCH_ND", [x, ints(blocks), ints(edges)])
    np.testing.assert_array_equal(
        agree("BATCH_TO_SPACE_ND", [packed, ints(blocks), ints(edges)]), x
    )


def test_space_to_batch_pads_with_the_zero_point():
    q = Quantization.of(0.5, -3)
    x = Value(np.ones((1, 1, 1, 1), np.int8), None, q)
    answer = agree(
        "SPACE_TO_BATCH_ND", [x, ints([1, 2]), ints([[0, 0], [1, 0]])],
        outputs=[Tensor("out", dtype=DType.INT8, quantization=q)],
    )  # fmt: skip
    assert answer.ravel().tolist() == [-3, 1]


@pytest.mark.parametrize(
    ("op", "blocks", "edges", "problem"),
    [
        ("SPACE_TO_BATCH_ND", [0, 1], [[0, 0], [0, 0]], "a block is not positive"),
        ("SPACE_TO_BATCH_ND", [2, 1], [[0, 0], [0, 0]], r"multiples of \[2, 1\], found \[3, 4\]"),
        ("SPACE_TO_BATCH_ND", [1, 1], [[0, -1], [0, 0]], "padding or crop is negative"),
        ("BATCH_TO_SPACE_ND", [2, 2], [[0, 0], [0, 0]], "a multiple of 4, found 2"),
        ("BATCH_TO_SPACE_ND", [2, 1], [[3, 4], [0, 0]], "crops are larger"),
    ],
)
def test_blocks_and_edges_are_checked(op, blocks, edges, problem):
    with pytest.raises(ModelError, match=problem):
        run(op, [np.zeros((2, 3, 4, 1), np.float32), ints(blocks), ints(edges)])


# Diagonals


def test_matrix_diag():
    assert agree("MATRIX_DIAG", [np.array([[1, 2], [3, 4]], np.int32)]).tolist() == [
        [[1, 0], [0, 2]],
        [[3, 0], [0, 4]],
    ]


@pytest.mark.parametrize("shape", [(2, 3), (3, 2)])
def test_matrix_set_diag(shape):
    x = np.zeros(shape, np.int32)
    answer = agree("MATRIX_SET_DIAG", [x, np.array([8, 9], np.int32)])
    assert answer[0, 0] == 8
    assert answer[1, 1] == 9
    assert answer.sum() == 17


def test_a_diagonal_must_fit():
    with pytest.raises(ModelError, match=r"the diagonal does not fit; expected \[2\], found \[3\]"):
        run("MATRIX_SET_DIAG", [np.zeros((2, 3)), np.zeros(3)])

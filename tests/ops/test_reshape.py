"""RESHAPE, SQUEEZE, EXPAND_DIMS, SHAPE, RANK."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import const, one_node, run, run_model
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.ops.operator import Spec
from martlet.runtime.session import Session
from oracle import litert

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def ints(*values):
    return const(np.array(values, np.int32))


def test_reshape_works_out_one_size():
    assert run("RESHAPE", [X, ints(3, -1)]).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_reshape_takes_the_option_where_there_is_no_shape_vector():
    assert run("RESHAPE", [X], {"new_shape": np.array([6])}).shape == (6,)
    scalar = const(np.array(6, np.int32))
    assert run("RESHAPE", [X, scalar], {"new_shape": np.array([1, 6])}).shape == (1, 6)


def test_reshape_to_the_option_0_is_a_scalar():
    assert run("RESHAPE", [X[:1, :1]], {"new_shape": np.array([0])}).shape == ()


@pytest.mark.parametrize(
    ("shape", "target", "result"),
    [((0, 4), [0, -1], (0, 4)), ((0, 4), [2, -1], (2, 0)), ((4, 0), [-1, 0], (4, 0))],
)
def test_reshape_of_empty_tensors_is_litert_s(shape, target, result):
    model, arrays = one_node("RESHAPE", [np.zeros(shape, np.float32), ints(*target)])
    assert run_model(model, arrays)[0].shape == result == litert(model, arrays)[0].shape


@pytest.mark.parametrize("target", [[4], [-1, -1], [-2, -3], [4, -1], [-1, 0]])
def test_reshape_says_what_does_not_fit(target):
    with pytest.raises(ModelError, match=r"does not fit.*6 elements of shape \[2, 3\]"):
        run("RESHAPE", [X, ints(*target)])


def test_reshape_to_a_shape_that_is_computed():
    assert run("RESHAPE", [X, np.array([6, 1], np.int32)]).shape == (6, 1)


def test_reshape_of_strings():
    assert run("RESHAPE", [np.array([b"a", b"bc"]), ints(2, 1)]).tolist() == [[b"a"], [b"bc"]]


def test_squeeze_drops_all_ones_or_those_it_names():
    x = X.reshape(1, 2, 1, 3, 1)
    assert run("SQUEEZE", [x]).shape == (2, 3)
    assert run("SQUEEZE", [x], {"squeeze_dims": np.array([0, -1])}).shape == (2, 1, 3)


def test_squeeze_refuses_a_size_that_is_not_1():
    with pytest.raises(ModelError, match="dimension 1 cannot be squeezed; expected 1, found 3"):
        run("SQUEEZE", [X], {"squeeze_dims": np.array([1])})


@given(st.lists(st.integers(1, 3), max_size=4), st.data())
def test_squeeze_undoes_expand_dims(shape, data):
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    x = np.ones(shape, np.float32)
    wide = run("EXPAND_DIMS", [x, ints(axis)])
    assert wide.shape == np.expand_dims(x, axis).shape
    assert run("SQUEEZE", [wide], {"squeeze_dims": np.array([axis])}).shape == x.shape


def test_expand_dims_checks_the_axis():
    with pytest.raises(ModelError, match="axis is out of range; expected -3 to 2, found 3"):
        run("EXPAND_DIMS", [X, ints(3)])


@pytest.mark.parametrize("dtype", [DType.INT32, DType.INT64])
def test_shape_is_known_when_planning(dtype):
    model, arrays = one_node("SHAPE", [X], {"out_type": dtype.name}, [dtype])
    (answer,) = run_model(model, arrays)
    assert answer.tolist() == [2, 3]
    assert answer.dtype == dtype.numpy
    assert Session(model).plan(0, [Spec(DType.FLOAT32, (2, 3))]).steps == []


def test_shape_refuses_other_types():
    with pytest.raises(
        ModelError, match="out_type is wrong; expected INT32 or INT64, found FLOAT32"
    ):
        run("SHAPE", [X])


@pytest.mark.parametrize("shape", [(), (2,), (1, 2, 3)])
def test_rank_counts_the_dimensions(shape):
    assert run("RANK", [np.zeros(shape, np.float32)], outputs=[DType.INT32]).tolist() == len(shape)

"""CONCATENATION, PACK, TILE, BROADCAST_TO, BROADCAST_ARGS, FILL, ZEROS_LIKE, RANGE, ONE_HOT."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import Value, const, run
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError
from martlet.graph import Quantization, Tensor
from oracle import agree

A, B = np.arange(6, dtype=np.int32).reshape(2, 3), np.full((2, 1), 7, np.int32)


def scalar(value, dtype=np.int32):
    return const(np.array(value, dtype))


def ints(*values):
    return const(np.array(values, np.int32))


# CONCATENATION


@pytest.mark.parametrize("axis", [1, -1])
def test_concatenation_along_an_axis(axis):
    assert agree("CONCATENATION", [A, B], {"axis": axis}).tolist() == [[0, 1, 2, 7], [3, 4, 5, 7]]


def test_constant_scalars_make_a_vector():
    assert agree("CONCATENATION", [scalar(3), scalar(5)], {"axis": 0}).tolist() == [3, 5]


def test_concatenation_of_empty_tensors():
    assert agree("CONCATENATION", [A, A[:, :0]], {"axis": 1}).tolist() == A.tolist()


def test_shapes_must_fit_but_for_the_axis():
    with pytest.raises(ModelError, match=r"input 1 does not fit.*\[2, 3\] but for dimension 0"):
        run("CONCATENATION", [A, B], {"axis": 0})


def test_a_fused_activation_is_refused():
    with pytest.raises(ModelError, match="fused activation is not possible; expected NONE"):
        run("CONCATENATION", [A, A], {"fused_activation_function": "RELU"})


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(1e-3, 10), st.integers(0, 255)), min_size=3, max_size=3))
def test_uint8_is_rescaled_as_litert_does(quantizations):
    first, second, out = (Quantization.of(*q) for q in quantizations)
    x = np.arange(256, dtype=np.uint8)
    output = Tensor("out", dtype=DType.UINT8, quantization=out)
    agree("CONCATENATION", [Value(x, None, first), Value(x, None, second)], outputs=[output])


def test_int8_must_have_the_scale_of_the_output():
    x = Value(np.zeros(3, np.int8), None, Quantization.of(0.5))
    output = Tensor("out", dtype=DType.INT8, quantization=Quantization.of(0.25))
    with pytest.raises(ModelError, match=r"scale \[0.25\].*scale \[0.5\]"):
        run("CONCATENATION", [x, x], outputs=[output])


def test_int4_is_concatenated():
    x = const(np.array([1, -8, 7], np.int8), DType.INT4)
    y = const(np.array([-1], np.int8), DType.INT4)
    assert run("CONCATENATION", [x, y], outputs=[DType.INT4]).tolist() == [1, -8, 7, -1]


# PACK, TILE, BROADCAST_…


@pytest.mark.parametrize("axis", [0, 1, -1, -3])
def test_pack_makes_a_dimension(axis):
    answer = agree("PACK", [A, A + 6], {"values_count": 2, "axis": axis})
    np.testing.assert_array_equal(answer, np.stack([A, A + 6], axis))


def test_pack_wants_equal_shapes():
    with pytest.raises(ModelError, match=r"input 1 has another shape; expected \[2, 3\]"):
        run("PACK", [A, B], {"values_count": 2})


def test_tile_repeats():
    np.testing.assert_array_equal(agree("TILE", [A, ints(2, 2)]), np.tile(A, (2, 2)))
    strings = np.array([b"a", b"bc"], object)
    assert agree("TILE", [strings, ints(2)]).tolist() == [b"a", b"bc"] * 2
    assert agree("TILE", [A, ints(0, 1)]).shape == (0, 3)


def test_tile_refuses_negative_multiples():
    with pytest.raises(ModelError, match="multiple is negative"):
        run("TILE", [A, ints(1, -1)])


def test_broadcast_to_a_shape():
    shape = const(np.array([2, 2, 3], np.int64))
    np.testing.assert_array_equal(
        agree("BROADCAST_TO", [B, shape], version=2), np.full((2, 2, 3), 7)
    )


@pytest.mark.parametrize("shape", [(2, 4), (3,), (-1, 3)])
def test_broadcast_to_says_what_does_not_fit(shape):
    with pytest.raises(ModelError, match=r"does not broadcast.*found \[2, 3\]"):
        run("BROADCAST_TO", [A, ints(*shape)])


def test_broadcast_args_is_numpy_s_rule():
    assert agree("BROADCAST_ARGS", [ints(3, 1), ints(2, 1, 5)]).tolist() == [2, 3, 5]
    assert agree("BROADCAST_ARGS", [ints(1), ints(0)]).tolist() == [0]


def test_broadcast_args_refuses_what_does_not_fit():
    with pytest.raises(RunError, match="do not broadcast.*found 3"):
        run("BROADCAST_ARGS", [np.array([2], np.int32), np.array([3], np.int32)])


# New values


@pytest.mark.parametrize("value", [np.float32(1.5), np.int64(-3), True])
def test_fill(value):
    answer = agree(
        "FILL", [ints(2, 2), const(np.array(value))], outputs=[DType.of(np.array(value))]
    )
    assert answer.tolist() == [[value, value]] * 2


def test_fill_with_a_string():
    value = const(np.array(b"hi", object))
    assert agree("FILL", [ints(2), value], outputs=[DType.STRING]).tolist() == [b"hi", b"hi"]


def test_zeros_like():
    assert agree("ZEROS_LIKE", [A]).tolist() == [[0, 0, 0]] * 2


@pytest.mark.parametrize(
    ("start", "limit", "delta", "dtype"),
    [
        (0, 10, 3, np.int32),
        (5, -5, -2, np.int64),
        (0, 1, 0.1, np.float32),
        (3, -2, -0.3, np.float32),
        (-7, 1000, 0.7, np.float32),
    ],
)
def test_range_is_litert_s_to_the_bit(start, limit, delta, dtype):
    values = [scalar(v, dtype) for v in (start, limit, delta)]
    agree("RANGE", values)


def test_range_can_be_empty():
    assert run("RANGE", [scalar(4), scalar(4), scalar(1)]).tolist() == []


@pytest.mark.parametrize("delta", [0, -1])
def test_range_must_reach_its_limit(delta):
    with pytest.raises(ModelError, match="never reaches its limit"):
        run("RANGE", [scalar(0), scalar(3), scalar(delta)])


def test_range_of_ends_that_are_computed():
    ends = [np.array(v, np.int32) for v in (1, 7, 2)]
    assert agree("RANGE", ends).tolist() == [1, 3, 5]


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis):
    indices = np.array([[0, 2], [-1, 3]], np.int32)
    inputs = [indices, scalar(3), scalar(5.0, np.float32), scalar(-1.0, np.float32)]
    answer = agree("ONE_HOT", inputs, {"axis": axis}, outputs=[DType.FLOAT32])
    assert (answer == 5).sum() == 2


def test_one_hot_depth_must_not_be_negative():
    with pytest.raises(ModelError, match="depth is negative; found -1"):
        run("ONE_HOT", [ints(0), scalar(-1), scalar(1), scalar(0)], outputs=[DType.INT32])

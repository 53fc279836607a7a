"""PAD, PADV2, MIRROR_PAD, DILATE, STABLEHLO_PAD."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import Value, const, run
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Quantization, Tensor
from oracle import agree

X = np.arange(1, 7, dtype=np.int32).reshape(2, 3)


def paddings(*pairs, dtype=np.int32):
    return const(np.array(pairs, dtype))


def test_pad_with_zeros():
    assert agree("PAD", [X, paddings((0, 1), (2, 0))]).tolist() == [
        [0, 0, 1, 2, 3],
        [0, 0, 4, 5, 6],
        [0, 0, 0, 0, 0],
    ]


def test_pad_with_a_value():
    value = const(np.array([9], np.int32))
    assert agree("PADV2", [X[:1], paddings((0, 0), (1, 1), dtype=np.int64), value]).tolist() == [
        [9, 1, 2, 3, 9]
    ]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_quantised_zero_is_the_zero_point(dtype):
    q = Quantization.of(0.5, 7)
    output = Tensor("out", dtype=DType.of(np.zeros(1, dtype)), quantization=q)
    answer = agree("PAD", [Value(np.ones(2, dtype), None, q), paddings((1, 0))], outputs=[output])
    assert answer.tolist() == [7, 1, 1]


def test_paddings_that_are_computed():
    assert agree("PAD", [X[0], np.array([[1, 0]], np.int32)]).tolist() == [0, 1, 2, 3]


def test_negative_paddings_are_refused():
    with pytest.raises(ModelError, match="a padding is negative"):
        run("PAD", [X, paddings((0, -1), (0, 0))])


def test_paddings_must_be_two_a_dimension():
    with pytest.raises(ModelError, match=r"wrong shape; expected \[2, 2\], found \[1, 2\]"):
        run("PAD", [X, paddings((0, 1))])


# MIRROR_PAD


def test_reflect_does_not_repeat_the_edge():
    answer = agree("MIRROR_PAD", [X[0], paddings((2, 1))], {"mode": "REFLECT"})
    assert answer.tolist() == [3, 2, 1, 2, 3, 2]


def test_symmetric_repeats_the_edge():
    answer = agree("MIRROR_PAD", [X[0], paddings((2, 3))], {"mode": "SYMMETRIC"})
    assert answer.tolist() == [2, 1, 1, 2, 3, 3, 2, 1]


def test_a_dimension_too_short_to_mirror_is_refused():
    with pytest.raises(ModelError, match="dimension 0 is too short.*at most 2, found"):
        run("MIRROR_PAD", [X[0], paddings((3, 0))], {"mode": "REFLECT"})


def test_an_unknown_mode_is_refused():
    with pytest.raises(ModelError, match="mode is unknown; expected REFLECT or SYMMETRIC, found 5"):
        run("MIRROR_PAD", [X[0], paddings((0, 0))], {"mode": 5})


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=2))
def test_mirrors_are_numpy_s(pairs):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    for mode in ("REFLECT", "SYMMETRIC"):
        answer = run("MIRROR_PAD", [x, paddings(*pairs)], {"mode": mode})
        np.testing.assert_array_equal(answer, np.pad(x, pairs, mode.lower()))


# DILATE, STABLEHLO_PAD


def test_dilate_puts_values_between():
    value = const(np.array(-1, np.int32))
    assert agree("DILATE", [X[:, :2], const(np.array([2, 3], np.int32)), value]).tolist() == [
        [1, -1, -1, 2],
        [-1, -1, -1, -1],
        [4, -1, -1, 5],
    ]


def test_dilations_must_be_positive():
    with pytest.raises(ModelError, match="a dilation is not positive"):
        run("DILATE", [X[0], const(np.array([0], np.int32)), const(np.array(0, np.int32))])


def stablehlo(low, high, interior):
    names = ("edge_padding_low", "edge_padding_high", "interior_padding")
    return {k: np.array(v, np.int64) for k, v in zip(names, (low, high, interior), strict=True)}


@pytest.mark.parametrize(
    ("low", "high", "interior", "result"),
    [
        (1, 2, 0, [9, 1, 2, 3, 9, 9]),
        (0, 0, 1, [1, 9, 2, 9, 3]),
        (-1, 0, 1, [9, 2, 9, 3]),
        (-2, -1, 1, [2, 9]),
        (-1, 1, 3, [9, 9, 9, 2, 9, 9, 9, 3, 9]),
    ],
)
def test_stablehlo_pad_adds_between_and_cuts(low, high, interior, result):
    inputs = [X[0], const(np.array(9, np.int32))]
    assert agree("STABLEHLO_PAD", inputs, stablehlo([low], [high], [interior])).tolist() == result


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_stablehlo_pad_is_litert_s(data):
    edge, gap = st.integers(-3, 2), st.integers(0, 2)
    low, high, interior = (data.draw(st.tuples(n, n)) for n in (edge, edge, gap))
    sizes = [
        2 + i + a + b for i, a, b in zip((interior[0], 2 * interior[1] + 1), low, high, strict=True)
    ]
    if min(sizes) > 0:
        agree("STABLEHLO_PAD", [X, const(np.array(9, np.int32))], stablehlo(low, high, interior))


def test_stablehlo_pad_checks_its_options():
    with pytest.raises(
        ModelError, match="edge_padding_low has the wrong length; expected 1, found 2"
    ):
        run("STABLEHLO_PAD", [X[0], const(np.array(0, np.int32))], stablehlo([0, 0], [0], [0]))

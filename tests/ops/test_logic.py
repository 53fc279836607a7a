"""LOGICAL_*, BITWISE_XOR, RIGHT_SHIFT, SELECT, SELECT_V2, BITCAST, element-wise STABLEHLO_*."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from build import one_node, run, run_model
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Tensor
from oracle import litert

RNG = np.random.default_rng(7)
T, F = True, False


def bools(*values: bool) -> np.ndarray:
    return np.array(values, np.bool_)


def ints(dtype: Any, size: int = 40) -> np.ndarray:
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, size, dtype, endpoint=True)


def test_truth_tables() -> None:
    x, y = bools(F, F, T, T), bools(F, T, F, T)
    assert run("LOGICAL_AND", [x, y]).tolist() == [F, F, F, T]
    assert run("LOGICAL_OR", [x, y]).tolist() == [F, T, T, T]
    assert run("LOGICAL_NOT", [x]).tolist() == [T, T, F, F]
    assert run("LOGICAL_OR", [x.reshape(4, 1), y]).shape == (4, 4)


@pytest.mark.parametrize("op", ["LOGICAL_AND", "LOGICAL_OR"])
def test_logic_takes_booleans_alone(op: str) -> None:
    with pytest.raises(ModelError, match="expected BOOL, found INT32"):
        run(op, [np.array([1], np.int32)] * 2)


@given(hnp.arrays(np.int16, (5,)), hnp.arrays(np.int16, (5,)))
@settings(max_examples=25)
def test_exclusive_or_undoes_itself(x: np.ndarray, y: np.ndarray) -> None:
    assert run("BITWISE_XOR", [run("BITWISE_XOR", [x, y]), y]).tolist() == x.tolist()


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint8, np.uint16, np.uint32])
def test_right_shift_keeps_signs_and_bounds_its_counts(dtype: Any) -> None:
    x, y = ints(dtype), ints(dtype)
    y[:30] = np.arange(30) % (8 * x.itemsize)
    model, arrays = one_node("RIGHT_SHIFT", [x, y])
    assert np.array_equal(run_model(model, arrays)[0], litert(model, arrays)[0])
    if x.dtype.kind == "i":
        assert run("RIGHT_SHIFT", [dtype(-8), dtype(-3)]) == -8
        assert run("RIGHT_SHIFT", [dtype(-8), dtype(100)]) == -1


def test_left_shift_drops_what_passes_the_last_bit() -> None:
    x = np.array([1, -1, 96, 1, 1], np.int8)
    places = np.array([3, 1, 2, 8, -1], np.int8)
    result = run("STABLEHLO_SHIFT_LEFT", [x, places], options_type="StablehloShiftLeftOptions")
    assert result.tolist() == [8, -2, -128, 0, 0]


# Choice


@pytest.mark.parametrize("op", ["SELECT", "SELECT_V2"])
def test_select_chooses_element_by_element(op: str) -> None:
    x, y = np.array([1, 2, 3]), np.array([7, 8, 9])
    assert run(op, [bools(T, F, T), x, y], outputs=[DType.INT64]).tolist() == [1, 8, 3]


def test_select_chooses_rows_or_everything() -> None:
    x, y = np.ones((2, 3), np.int8), np.zeros((2, 3), np.int8)
    rows = run("SELECT", [bools(F, T), x, y], outputs=[DType.INT8])
    assert rows.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert run("SELECT", [np.array(True), x, y], outputs=[DType.INT8]).tolist() == x.tolist()
    with pytest.raises(ModelError, match=r"condition does not fit.*found \[3\]"):
        run("SELECT", [bools(F, T, T), x, y], outputs=[DType.INT8])
    with pytest.raises(ModelError, match="tensors of one shape"):
        run("SELECT", [bools(F, T), x, y[:1]], outputs=[DType.INT8])


def test_select_v2_broadcasts_all_three() -> None:
    condition, x, y = bools(T, F).reshape(2, 1), np.arange(3.0), np.array(9.0)
    result = run("SELECT_V2", [condition, x, y], outputs=[DType.FLOAT64])
    assert result.tolist() == [[0, 1, 2], [9, 9, 9]]


@pytest.mark.parametrize("op", ["SELECT", "SELECT_V2"])
def test_single_elements_take_the_shape_that_the_file_declares(op: str) -> None:
    inputs = [np.array(True), np.ones((1, 1), np.float32), np.zeros(1, np.float32)]
    output = Tensor(shape=(1, 1, 1), dtype=DType.FLOAT32)
    assert run(op, inputs, outputs=[output]).tolist() == [[[1]]]


@pytest.mark.parametrize("dtype", [np.bool_, np.float16, np.int64, np.complex64, object])
def test_choices_can_have_any_type(dtype: Any) -> None:
    x, y = (np.array(v, dtype) for v in ([b"a", b"b"], [b"", b"c"])) if dtype is object else (
        np.array([1, 1], dtype), np.array([0, 0], dtype))  # fmt: skip
    result = run("SELECT", [bools(T, F), x, y], outputs=[DType.of(x)])
    assert result.tolist() == [x[0], y[1]]


# BITCAST


def test_bitcast_keeps_the_bytes() -> None:
    x = np.array([1.0, -2.0], np.float32)
    assert run("BITCAST", [x], outputs=[DType.INT32]).tolist() == [0x3F800000, -0x40000000]
    assert run("BITCAST", [x], outputs=[DType.UINT16]).tolist() == [[0, 0x3F80], [0, 0xC000]]
    assert run("BITCAST", [np.array([[0, 2]], np.uint8)], outputs=[DType.BOOL]).tolist() == [[F, T]]


@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)),
       st.sampled_from([DType.INT8, DType.UINT16, DType.FLOAT32, DType.INT64]))  # fmt: skip
@settings(max_examples=40)
def test_bitcast_back_and_forth_changes_nothing(x: np.ndarray, dtype: DType) -> None:
    back = run("BITCAST", [run("BITCAST", [x], outputs=[dtype])], outputs=[DType.INT64])
    np.testing.assert_array_equal(back, x, strict=True)


def test_bitcast_refuses_what_does_not_make_up_an_element() -> None:
    with pytest.raises(ModelError, match="does not make up one INT32; expected 4"):
        run("BITCAST", [np.zeros((4, 3), np.int8)], outputs=[DType.INT32])
    with pytest.raises(ModelError, match="does not make up one INT32"):
        run("BITCAST", [np.int8(3)], outputs=[DType.INT32])
    with pytest.raises(ModelError, match="no bits to reinterpret.*STRING"):
        run("BITCAST", [np.zeros(4, np.int8)], outputs=[DType.STRING])


# STABLEHLO_


@pytest.mark.parametrize(
    "op", ["STABLEHLO_ADD", "STABLEHLO_MULTIPLY", "STABLEHLO_MAXIMUM", "STABLEHLO_MINIMUM"]
)
@pytest.mark.parametrize(
    "dtype", [np.bool_, np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64, np.float32]
)
def test_stablehlo_arithmetic_is_litert_s(op: str, dtype: Any) -> None:
    if dtype == np.float32:
        x = np.array([1, np.nan, np.inf, 0], dtype)
        y = np.array([np.nan, 1, -np.inf, 3e38], dtype)
    elif dtype == np.bool_:
        x, y = bools(F, F, T, T), bools(F, T, F, T)
    else:
        x, y = ints(dtype), ints(dtype)
    model, arrays = one_node(op, [x, y])
    np.testing.assert_array_equal(run_model(model, arrays)[0], litert(model, arrays)[0])


def test_stablehlo_and_is_bitwise() -> None:
    x, y = np.array([12, -1], np.int32), np.array([10, 7], np.int32)
    assert run("STABLEHLO_AND", [x, y]).tolist() == [8, 7]
    with pytest.raises(ModelError, match="found FLOAT32"):
        run("STABLEHLO_AND", [np.ones(1, np.float32)] * 2)


def test_stablehlo_operators_do_not_broadcast() -> None:
    with pytest.raises(ModelError, match=r"one shape; expected \[2\], found \[1\]"):
        run("STABLEHLO_ADD", [np.ones(2, np.float32), np.ones(1, np.float32)])

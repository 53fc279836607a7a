"""SOFTMAX and LOG_SOFTMAX."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from build import run
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Tensor
from quantized import every_value, output, quantized, same_as_litert

INT8, UINT8, INT16 = DType.INT8, DType.UINT8, DType.INT16


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_row_becomes_shares_of_one(dtype: type) -> None:
    x = np.log(np.array([[1, 2, 5], [4, 4, 2]])).astype(dtype)
    result = run("SOFTMAX", [x], {"beta": 1.0})
    assert result.dtype == dtype
    np.testing.assert_allclose(result, [[0.125, 0.25, 0.625], [0.4, 0.4, 0.2]], rtol=2e-3)
    result = run("LOG_SOFTMAX", [x])
    np.testing.assert_allclose(np.exp(result), [[0.125, 0.25, 0.625], [0.4, 0.4, 0.2]], rtol=3e-3)


def test_beta_multiplies_the_exponents() -> None:
    x = np.log(np.float32([1, 2]))
    np.testing.assert_allclose(run("SOFTMAX", [x], {"beta": 2.0}), [0.2, 0.8], rtol=1e-6)


@given(arrays(np.float32, (3, 7), elements=st.floats(-1e4, 1e4, width=32)))
def test_shares_sum_to_one_whatever_the_magnitude(x: np.ndarray) -> None:
    result = run("SOFTMAX", [x], {"beta": 1.0})
    np.testing.assert_allclose(result.sum(-1), 1, rtol=1e-5)


def test_infinities_and_nan() -> None:
    # Where the greatest is infinite, nothing has a share.
    x = np.float32([[-np.inf, 0], [np.inf, 0], [np.nan, 0]])
    result = run("SOFTMAX", [x], {"beta": 1.0})
    np.testing.assert_array_equal(result, [[0, 1], [np.nan, np.nan], [np.nan, np.nan]])


def test_empty_tensors_stay_empty() -> None:
    for shape in ((0,), (0, 3), (2, 0)):
        assert run("SOFTMAX", [np.zeros(shape, np.float32)], {"beta": 1.0}).shape == shape
        x = quantized(np.zeros(shape), INT8, 0.1)
        assert run("SOFTMAX", [x], {"beta": 1.0}, outputs=[output(INT8, 1 / 256, -128)]).size == 0


RESULTS = {
    (INT8, INT8): output(INT8, 1 / 256, -128),
    (UINT8, UINT8): output(UINT8, 1 / 256, 0),
    (INT8, INT16): output(INT16, 1 / 65536, -32768),
    (UINT8, INT16): output(INT16, 1 / 65536, -32768),
    (INT16, INT16): output(INT16, 1 / 32768, 0),
}


def rows(dtype: DType, width: int) -> np.ndarray:
    rng = np.random.default_rng(width)
    info = np.iinfo(dtype.numpy)
    return rng.integers(info.min, info.max + 1, (9, width)).astype(dtype.numpy)


@pytest.mark.parametrize("types", RESULTS, ids=str)
@pytest.mark.parametrize("width", [1, 2, 31, 300])
@pytest.mark.parametrize("beta", [1.0, 0.37])
@pytest.mark.parametrize("scale", [0.011, 0.3])
def test_quantised_rows_are_the_reference_kernels(
    types: tuple[DType, DType], width: int, beta: float, scale: float
) -> None:
    dtype = types[0]
    x = quantized(rows(dtype, width), dtype, scale / (128 if dtype is INT16 else 1))
    result = Tensor(dtype=types[1], quantization=RESULTS[types].quantization)
    same_as_litert("SOFTMAX", [x], result, {"beta": float(np.float32(beta))}, "SoftmaxOptions")


@pytest.mark.parametrize(("dtype", "most"), [(INT8, 127), (UINT8, 255)])
@pytest.mark.parametrize("scale", [0.01, 0.1, 1.3])
def test_quantised_logarithms_are_the_reference_kernels(
    dtype: DType, most: int, scale: float
) -> None:
    for x in (rows(dtype, 40), every_value(dtype), rows(dtype, 2)):
        same_as_litert("LOG_SOFTMAX", [quantized(x, dtype, scale)], output(dtype, 1 / 16, most))


def test_a_thousand_equal_classes_have_next_to_nothing_each() -> None:
    x = quantized(np.zeros(1000), INT8, 0.1)
    result = run("SOFTMAX", [x], {"beta": 1.0}, outputs=[output(INT8, 1 / 256, -128)])
    assert set(result.tolist()) == {-128}


@pytest.mark.parametrize(
    ("op", "inputs", "options", "result", "message"),
    [
        ("SOFTMAX", np.float32(1), {"beta": 1.0}, None, "number of dimensions"),
        ("SOFTMAX", np.int32([1]), {"beta": 1.0}, None, "SOFTMAX does not take"),
        ("LOG_SOFTMAX", quantized([1], INT16, 0.1), {}, None, "LOG_SOFTMAX does not take"),
        ("SOFTMAX", quantized([1], INT8, 0.1), {"beta": math.nan}, None, "beta must not be neg"),
        ("SOFTMAX", quantized([1], INT8, 0.1), {"beta": -1.0}, None, "beta must not be negative"),
        ("SOFTMAX", quantized([1], INT8, 0.1), {"beta": 0.0}, None, "times beta, is too small"),
        ("SOFTMAX", quantized([1], INT8, 0.1), {"beta": 1.0}, None, "fixed scale and zero point"),
        ("SOFTMAX", quantized([1], INT16, 0.1, 1), {"beta": 1.0}, None, "has a zero point"),
        (
            "SOFTMAX",
            quantized([1], INT8, 0.1),
            {"beta": 1.0},
            output(UINT8, 1 / 256, -128),
            "wrong type",
        ),
    ],
)
def test_contradictions_are_named(
    op: str, inputs: Any, options: dict[str, Any], result: Any, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        run(op, [inputs], options, outputs=result and [result])

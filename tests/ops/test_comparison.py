"""EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import Value, one_node, run, run_model
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Quantization
from oracle import litert

RESULTS = {  # of 1 and 2, 2 and 2, 3 and 2
    "EQUAL": [False, True, False],
    "NOT_EQUAL": [True, False, True],
    "LESS": [True, False, False],
    "LESS_EQUAL": [True, True, False],
    "GREATER": [False, False, True],
    "GREATER_EQUAL": [False, True, True],
}
OPTIONS = {op: op.title().replace("_", "") + "Options" for op in RESULTS}
RNG = np.random.default_rng(6)
BOOL = [DType.BOOL]


def compare(op: str, x: Any, y: Any) -> np.ndarray:
    result: np.ndarray = run(op, [x, y], outputs=BOOL)
    return result


@pytest.mark.parametrize("op", RESULTS)
@pytest.mark.parametrize(
    "dtype",
    [np.float16, np.float32, np.int8, np.uint8, np.int16, np.int32, np.int64],
)
def test_numbers(op: str, dtype: Any) -> None:
    assert compare(op, np.array([1, 2, 3], dtype), np.array([2], dtype)).tolist() == RESULTS[op]


@pytest.mark.parametrize("op", RESULTS)
def test_nan_is_only_unequal(op: str) -> None:
    x = np.array([np.nan, 1, np.nan], np.float32)
    y = np.array([1, np.nan, np.nan], np.float32)
    assert compare(op, x, y).tolist() == [op == "NOT_EQUAL"] * 3


def test_strings_compare_for_equality_alone() -> None:
    x, y = np.array([b"a", b"bc", b""], object), np.array([b"bc"], object)
    assert compare("EQUAL", x, y).tolist() == [False, True, False]
    assert compare("NOT_EQUAL", x, y).tolist() == [True, False, True]
    with pytest.raises(ModelError, match="LESS does not take.*found STRING"):
        compare("LESS", x, y)


def test_booleans_compare_for_equality_alone() -> None:
    x = np.array([True, False])
    assert compare("EQUAL", x, ~x).tolist() == [False, False]
    with pytest.raises(ModelError, match="GREATER does not take.*found BOOL"):
        compare("GREATER", x, x)


def test_quantised_values_compare_as_reals() -> None:
    x = Value(np.array([13, 23], np.int8), quantization=Quantization.of(0.1, 3))
    y = Value(np.array([50, 110], np.int8), quantization=Quantization.of(0.02, 0))
    assert compare("EQUAL", x, y).tolist() == [True, False]  # 1 = 1, 2 < 2.2
    assert compare("LESS", x, y).tolist() == [False, True]


def test_differences_below_the_fraction_bits_vanish() -> None:
    x, y = (Value(np.array([n], np.int8), quantization=Quantization.of(0.001)) for n in (1, 2))
    z = Value(np.array([9], np.int8), quantization=Quantization.of(0.001))
    assert compare("LESS", x, z).tolist() == [True]
    assert compare("EQUAL", x, y).tolist() == [False]  # 0.256 rounds to 0, 0.512 to 1


@pytest.mark.parametrize("op", RESULTS)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
@pytest.mark.parametrize("scales", [(0.05, 0.02), (0.001, 0.0012), (1.5, 0.2), (3, 70)])
def test_quantised_comparisons_are_litert_s(op: str, dtype: Any, scales: Any) -> None:
    info = np.iinfo(dtype)
    zeros = (0, 0) if dtype == np.int16 else (3, 17)
    inputs = [
        Value(RNG.integers(info.min, info.max, 2000, dtype, endpoint=True),
              quantization=Quantization.of(s, z))
        for s, z in zip(scales, zeros, strict=True)
    ]  # fmt: skip
    model, arrays = one_node(op, inputs, outputs=BOOL, options_type=OPTIONS[op])
    assert np.array_equal(run_model(model, arrays)[0], litert(model, arrays)[0])


def test_a_scale_of_1_compares_numbers() -> None:
    """Where TensorFlow Lite stops the process."""
    x = Value(np.array([1, 2, 3], np.int8), quantization=Quantization.of(1.0))
    y = Value(np.array([2], np.int8), quantization=Quantization.of(1.0))
    for op, result in RESULTS.items():
        assert compare(op, x, y).tolist() == result


def test_a_scale_on_one_side_alone_is_refused() -> None:
    x = Value(np.array([1], np.int8), quantization=Quantization.of(0.1))
    with pytest.raises(ModelError, match="input 1 'in1' has no quantisation"):
        compare("EQUAL", x, np.array([1], np.int8))


def test_inputs_broadcast() -> None:
    x, y = np.zeros((2, 1), np.int32), np.zeros(3, np.int32)
    assert compare("EQUAL", x, y).shape == (2, 3)
    assert compare("EQUAL", np.zeros((0, 2), np.int32), np.zeros(2, np.int32)).shape == (0, 2)
    assert compare("EQUAL", np.array(1), np.array(1)).shape == ()

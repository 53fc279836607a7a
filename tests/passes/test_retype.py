"""Results get the type that their operator computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import one_node, run_model
from martlet.dtypes import DType
from martlet.graph import Quantization, Tensor
from martlet.passes.retype import retype


def test_a_sum_has_the_type_of_its_input() -> None:
    x = np.array([1, 2], np.int32)
    model, inputs = one_node("ADD", [x, x], outputs=[Tensor("y", (2,), DType.FLOAT32)])
    corrected = retype(model)
    assert corrected.main.tensors[2].dtype is DType.INT32
    assert model.main.tensors[2].dtype is DType.FLOAT32
    assert run_model(model, inputs)[0].tolist() == [2, 4]


def test_a_comparison_is_boolean() -> None:
    x = np.array([1.0], np.float32)
    model, inputs = one_node("LESS", [x, x + 1], outputs=[Tensor("y", (1,), DType.FLOAT32)])
    assert run_model(model, inputs)[0].tolist() == [True]


@pytest.mark.parametrize(
    ("op", "inputs", "options", "declared", "dtype"),
    [
        ("NEG", [np.int16([1])], None, DType.FLOAT32, DType.INT16),
        ("FILL", [np.int32([2]), np.int64(7)], None, DType.INT32, DType.INT64),
        ("RANK", [np.float32([1])], None, DType.FLOAT32, DType.INT32),
        ("SHAPE", [np.float32([1])], {"out_type": "INT64"}, DType.INT32, DType.INT64),
    ],
)
def test_types_come_from_an_input_the_operator_or_an_option(
    op: str, inputs: list[Any], options: Any, declared: DType, dtype: DType
) -> None:
    model, arrays = one_node(op, inputs, options, outputs=[Tensor("y", (), declared)])
    assert run_model(model, arrays)[0].dtype == dtype.numpy


def test_quantisation_stays() -> None:
    x = np.array([1, 2], np.int8)
    output = Tensor("y", (2,), DType.FLOAT32, Quantization.of(0.5, 3))
    model, _ = one_node("ADD", [x, x], outputs=[output])
    assert str(retype(model).main.tensors[2].quantization) == "0.5 × (q − 3)"


def test_a_model_without_such_types_is_the_same_object() -> None:
    x = np.array([1, 2], np.int32)
    model, _ = one_node("MUL", [x, x])
    assert retype(model) is model

"""Results get the type that their operator computes."""

from __future__ import annotations

import numpy as np

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


def test_quantisation_stays() -> None:
    x = np.array([1, 2], np.int8)
    output = Tensor("y", (2,), DType.FLOAT32, Quantization.of(0.5, 3))
    model, _ = one_node("ADD", [x, x], outputs=[output])
    assert str(retype(model).main.tensors[2].quantization) == "0.5 × (q − 3)"


def test_a_model_without_such_types_is_the_same_object() -> None:
    x = np.array([1, 2], np.int32)
    model, _ = one_node("MUL", [x, x])
    assert retype(model) is model

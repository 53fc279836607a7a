"""Fused activations as intervals of reals and of stored numbers."""

from __future__ import annotations

import numpy as np
import pytest

from build import Value, one_node
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Graph, Quantization, Tensor
from martlet.ops.activation_range import apply, fused_activation, integer_range
from martlet.ops.operator import Call, Operator, Spec
from martlet.runtime.session import Session


def call(
    dtype: DType = DType.INT8, scale: float = 0.1, zero: int = 0, activation: str = "NONE"
) -> Call:
    output = Tensor(dtype=dtype, quantization=Quantization.of(scale, zero))
    options = {"fused_activation_function": activation}
    model, _ = one_node("ADD", [Value(np.zeros(1, np.float32))], options, [output])
    operator = Operator(
        "ADD", lambda _: [Spec(dtype, (1,))], lambda _: np.zeros(1), "AddOptions", 1, (1, 1),
        (1, 1), frozenset(), True, False,
    )  # fmt: skip
    graph: Graph = model.main
    return Call(graph.nodes[0], graph, "here", Session(model), operator)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NONE", [-9, -0.5, 0.5, 9]),
        ("RELU", [0, 0, 0.5, 9]),
        ("RELU6", [0, 0, 0.5, 6]),
        ("RELU_N1_TO_1", [-1, -0.5, 0.5, 1]),
    ],
)
def test_floats_are_clamped_to_the_interval(name: str, expected: list[float]) -> None:
    assert apply(np.array([-9, -0.5, 0.5, 9], np.float32), name).tolist() == expected


def test_open_ends_are_the_largest_floats_and_nan_stays() -> None:
    largest = np.finfo(np.float32).max
    result = apply(np.array([np.inf, -np.inf, np.nan], np.float32), "NONE")
    np.testing.assert_array_equal(result, [largest, -largest, np.nan])


def test_integers_that_mean_themselves_are_clamped_within_their_type() -> None:
    x = np.array([-7, 0, 7], np.int32)
    assert apply(x, "RELU_N1_TO_1").tolist() == [-1, 0, 1]
    assert apply(x, "NONE") is x
    assert apply(np.array([0, 7], np.uint32), "RELU_N1_TO_1").tolist() == [0, 1]


@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "name", "expected"),
    [
        (DType.INT8, 0.1, 5, "NONE", (-128, 127)),
        (DType.INT8, 0.1, 5, "RELU", (5, 127)),
        (DType.INT8, 0.1, 5, "RELU6", (5, 65)),
        (DType.INT8, 0.1, 5, "RELU_N1_TO_1", (-5, 15)),
        (DType.INT8, 0.001, 5, "RELU6", (5, 127)),
        (DType.UINT8, 4.0, 10, "RELU6", (10, 12)),  # 1.5 rounds away from zero
        (DType.INT16, 0.4, 0, "RELU_N1_TO_1", (-3, 3)),  # 2.5 rounds away from zero
    ],
)
def test_stored_ends_of_the_interval(
    dtype: DType, scale: float, zero: int, name: str, expected: tuple[int, int]
) -> None:
    assert integer_range(call(dtype, scale, zero), name) == expected


def test_a_range_without_values_is_refused() -> None:
    with pytest.raises(ModelError, match="no value of output 0 lies in the range of RELU"):
        integer_range(call(zero=300), "RELU")
    with pytest.raises(ModelError, match="scale too small"):
        integer_range(call(scale=1e-30), "RELU6")
    with pytest.raises(ModelError, match="cannot be clamped as a quantised value"):
        integer_range(call(DType.INT32), "RELU")


@pytest.mark.parametrize("name", ["TANH", "SIGN_BIT", 77])
def test_other_activations_are_refused_by_name(name: str) -> None:
    with pytest.raises(ModelError, match=f"cannot have the fused activation {name}"):
        fused_activation(call(activation=name))
    assert fused_activation(call(activation="RELU6")) == "RELU6"

"""CONV_3D and CONV_3D_TRANSPOSE."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import Value, const, one_node, run_model
from martlet.errors import ModelError
from martlet.graph import Model
from oracle import litert

STRIDE_1 = {"padding": "VALID", "stride_d": 1, "stride_h": 1, "stride_w": 1}


def f32(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def model_of(op: str, inputs: list[Any], options: dict[str, Any]) -> tuple[Model, list[np.ndarray]]:
    model, arrays = one_node(op, inputs, options, options_type="Conv3DOptions")
    output = model.main.tensors[model.main.outputs[0]]
    like = model.main.tensors[model.main.nodes[0].inputs[1]]
    output.dtype = like.dtype
    return model, arrays


def run(op: str, inputs: list[Any], options: dict[str, Any]) -> np.ndarray:
    return run_model(*model_of(op, inputs, options))[0]


def test_a_volume_is_summed_under_each_window() -> None:
    volume = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2, 1)
    weights = const(2.0 ** np.arange(8, dtype=np.float32).reshape(2, 2, 2, 1, 1))
    assert run("CONV_3D", [volume, weights], STRIDE_1).ravel().tolist() == [
        sum(n * 2**n for n in range(8))
    ]


def test_the_transpose_spreads_the_window() -> None:
    shape = const(np.array([1, 1, 1, 5, 1], np.int32))
    volume = np.array([1, 2], np.float32).reshape(1, 1, 1, 2, 1)
    weights = const(np.array([1, 10, 100], np.float32).reshape(1, 1, 3, 1, 1))
    options = {**STRIDE_1, "stride_w": 2}
    result = run("CONV_3D_TRANSPOSE", [shape, weights, volume], options)
    assert result.ravel().tolist() == [1, 10, 102, 20, 200]


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_numbers_are_those_of_litert(padding: str, bias: bool) -> None:
    options = {
        "padding": padding, "stride_d": 1, "stride_h": 2, "stride_w": 1,
        "dilation_d_factor": 2, "dilation_h_factor": 1, "dilation_w_factor": 1,
        "fused_activation_function": "RELU6",
    }  # fmt: skip
    volume, weights = f32(2, 4, 6, 5, 3), f32(2, 3, 2, 3, 4, seed=1)
    last = [const(f32(4, seed=2))] if bias else []
    model, arrays = model_of("CONV_3D", [volume, const(weights), *last], options)
    forward = run_model(model, arrays)[0]
    np.testing.assert_allclose(forward, litert(model, arrays)[0], atol=1e-4)
    back = [const(f32(3, seed=3))] if bias else []
    shape = Value(np.array(volume.shape, np.int32))
    inputs = [shape, const(weights), f32(*forward.shape), *back]
    model, arrays = model_of("CONV_3D_TRANSPOSE", inputs, options)
    ours = run_model(model, arrays)[0]
    assert ours.shape == volume.shape
    np.testing.assert_allclose(ours, litert(model, arrays)[0], atol=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    volume, weights = f32(1, 2, 2, 2, 3), const(f32(1, 1, 1, 3, 4))
    for problem, inputs in (
        ("channels of the input do not fit", [volume, const(f32(1, 1, 1, 4, 4))]),
        ("wrong number of dimensions", [f32(2, 2, 2, 3), weights]),
        ("bias does not fit", [volume, weights, const(f32(3))]),
        ("does not take", [volume.astype(np.int8), weights]),
        ("no size of 0", [f32(1, 2, 0, 2, 3), weights]),
    ):
        with pytest.raises(ModelError, match=problem):
            run("CONV_3D", inputs, STRIDE_1)
    with pytest.raises(ModelError, match="stride_d must be positive"):
        run("CONV_3D", [volume, weights], {**STRIDE_1, "stride_d": 0})


@pytest.mark.parametrize("shape", [[1, 2, 2, 2], [1, 3, 2, 2, 3], [2, 2, 2, 2, 3], [1, 2, 2, 2, 4]])
def test_an_output_shape_that_cannot_be_is_refused(shape: list[int]) -> None:
    inputs = [Value(np.array(shape, np.int32)), const(f32(1, 1, 1, 3, 4)), f32(1, 2, 2, 2, 4)]
    with pytest.raises(ModelError, match="output shape has|does not fit"):
        run("CONV_3D_TRANSPOSE", inputs, STRIDE_1)

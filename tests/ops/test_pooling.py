"""Pooling of images and volumes."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers

from build import Value, one_node, run_model
from martlet.errors import ModelError
from martlet.graph import Model, Quantization, Tensor
from oracle import litert

RNG = np.random.default_rng(7)
LOWEST = float(np.finfo(np.float32).min)


def model_of(op: str, x: Any, window: tuple[int, int, int, int], padding: Any = "VALID",
             activation: str = "NONE") -> tuple[Model, list[np.ndarray]]:  # fmt: skip
    """window: height, width, stride along height and width."""
    value = x if isinstance(x, Value) else Value(x)
    names = ("filter_height", "filter_width", "stride_h", "stride_w")
    options = dict(zip(names, window, strict=True))
    options |= {"padding": padding, "fused_activation_function": activation}
    output = Tensor(dtype=value.dtype, quantization=value.quantization)
    return one_node(op, [value], options, [output], options_type="Pool2DOptions", version=1)


def run(op: str, x: Any, *args: Any) -> np.ndarray:
    return run_model(*model_of(op, x, *args))[0]


def volumes(op: str, x: Any, **changes: Any) -> np.ndarray:
    said = {
        "ksize": [1, 2, 2, 2, 1], "strides": [1, 2, 2, 2, 1], "padding": "VALID",
        "data_format": "NDHWC", **changes,
    }  # fmt: skip
    custom = np.frombuffer(bytes(flexbuffers.Dumps(said)), np.uint8)
    return run_model(*one_node(op, [x], custom=True, custom_options=custom))[0]


def image(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)[None, :, :, None]


def test_windows_are_averaged_or_their_maximum_taken() -> None:
    x = image([1, 2, 3, 4], [5, 6, 7, 12])
    assert run("AVERAGE_POOL_2D", x, (2, 2, 2, 2)).ravel().tolist() == [3.5, 6.5]
    assert run("MAX_POOL_2D", x, (2, 2, 2, 2)).ravel().tolist() == [6, 12]
    assert run("L2_POOL_2D", image([3, 4]), (1, 2, 1, 1)).ravel() == pytest.approx(12.5**0.5)


def test_what_lies_outside_the_image_is_not_counted() -> None:
    x = image([2, 4, 6])
    assert run("AVERAGE_POOL_2D", x, (3, 3, 1, 1), "SAME").ravel().tolist() == [3, 4, 5]
    assert run("MAX_POOL_2D", -x, (3, 3, 1, 1), "SAME").ravel().tolist() == [-2, -2, -4]


@pytest.mark.parametrize(
    ("values", "average"), [([1, 2], 2), ([-1, -2], -2), ([1, 1, 2], 1), ([-1, -2, -2], -2)]
)
def test_averages_of_integers_round_half_away_from_zero(values: list[int], average: int) -> None:
    x = np.array(values, np.int8).reshape(1, 1, -1, 1)
    assert run("AVERAGE_POOL_2D", x, (1, len(values), 1, 1)).ravel().tolist() == [average]


def test_maxima_pass_over_nans_and_are_finite() -> None:
    x = image([np.nan, 1, np.nan, np.nan, -np.inf, -np.inf])
    assert run("MAX_POOL_2D", x, (1, 2, 1, 2)).ravel().tolist() == [1, LOWEST, LOWEST]


def test_an_immense_window_costs_no_more_than_the_image() -> None:
    most = (1 << 31) - 1
    x = image([1, 2], [3, 6])
    assert run("AVERAGE_POOL_2D", x, (most,) * 4, "SAME").ravel().tolist() == [3]


@pytest.mark.parametrize("op", ["AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"])
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8, np.int16])
def test_results_equal_litert(op: str, dtype: type) -> None:
    if dtype is np.float32:
        x = Value(RNG.normal(size=(2, 7, 9, 3)).astype(np.float32))
    elif op == "L2_POOL_2D":
        return
    else:
        info = np.iinfo(dtype)
        stored = RNG.integers(info.min, info.max + 1, (2, 7, 9, 3)).astype(dtype)
        x = Value(stored, quantization=Quantization.of(5 / info.max, 0 if dtype is np.int16 else 9))
    windows = [(2, 2, 2, 2), (3, 5, 2, 4), (7, 9, 1, 1), (1, 1, 3, 2), (5, 4, 8, 9)]
    for window, padding, activation in product(windows, ("SAME", "VALID"), ("NONE", "RELU6")):
        model, arrays = model_of(op, x, window, padding, activation)
        found, expected = run_model(model, arrays)[0], litert(model, arrays)[0]
        tolerance = 1e-5 if dtype is np.float32 else 0
        np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("window", "padding", "problem"),
    [
        ((0, 1, 1, 1), "SAME", "window is empty"),
        ((1, 1, 0, 1), "SAME", "stride_h must be positive"),
        ((1, 1, 1, -1), "SAME", "stride_w must be positive"),
        ((1, 1, 1, 1), 7, "unknown padding; expected SAME or VALID, found 7"),
        ((9, 1, 1, 1), "VALID", "longer than the image along axis h"),
    ],
)
def test_impossible_windows_are_refused(window: Any, padding: Any, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        run("MAX_POOL_2D", image([1, 2]), window, padding)


def test_types_and_ranks_that_have_no_pooling_are_refused() -> None:
    with pytest.raises(ModelError, match="FLOAT32 or UINT8"):
        run("MAX_POOL_2D", np.ones((1, 1, 1, 1), np.int32), (1, 1, 1, 1))
    with pytest.raises(ModelError, match="expected FLOAT32, found INT8"):
        run("L2_POOL_2D", np.ones((1, 1, 1, 1), np.int8), (1, 1, 1, 1))
    with pytest.raises(ModelError, match="number of dimensions; expected 4, found 3"):
        run("MAX_POOL_2D", np.ones((1, 1, 1), np.float32), (1, 1, 1, 1))


def test_volumes_are_pooled_along_three_axes() -> None:
    x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2, 1)
    assert volumes("AveragePool3D", x).ravel().tolist() == [3.5]
    assert volumes("MaxPool3D", x).ravel().tolist() == [7]
    assert volumes("AveragePool3D", x.astype(np.int8)).ravel().tolist() == [4]
    same = volumes("MaxPool3D", x, padding="SAME", strides=[1] * 5)
    assert same.ravel().tolist() == [7] * 8


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ksize": [1, 2, 2, 1]}, "ksize must be 5 positive sizes"),
        ({"ksize": [2, 2, 2, 2, 1]}, "ksize must be 5 positive sizes"),
        ({"strides": [1, 0, 1, 1, 1]}, "strides must be 5 positive sizes"),
        ({"strides": "1"}, "strides must be 5 positive sizes"),
        ({"padding": 3}, "unknown padding"),
        ({"data_format": "NCDHW"}, "unknown data_format; expected NDHWC, found NCDHW"),
    ],
)
def test_options_of_volumes_are_checked(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        volumes("MaxPool3D", np.ones((1, 2, 2, 2, 1), np.float32), **changes)


def test_missing_options_of_volumes_are_an_error() -> None:
    with pytest.raises(ModelError):
        run_model(*one_node("MaxPool3D", [np.ones((1, 1, 1, 1, 1), np.float32)], custom=True))

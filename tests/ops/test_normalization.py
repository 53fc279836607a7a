"""Normalisation along the last dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import Value, one_node, run_model
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Model, Quantization, Tensor
from oracle import litert

RNG = np.random.default_rng(8)


def l2_model(
    x: Any, output: Tensor | None = None, activation: str = "NONE"
) -> tuple[Model, list[np.ndarray]]:
    return one_node(
        "L2_NORMALIZATION", [x], {"fused_activation_function": activation},
        [output or Tensor(dtype=DType.FLOAT32)], options_type="L2NormOptions",
    )  # fmt: skip


def lrn_model(x: np.ndarray, radius: int, bias: float = 1, alpha: float = 1,
              beta: float = 1) -> tuple[Model, list[np.ndarray]]:  # fmt: skip
    options = {"radius": radius, "bias": bias, "alpha": alpha, "beta": beta}
    return one_node(
        "LOCAL_RESPONSE_NORMALIZATION", [x], options,
        options_type="LocalResponseNormalizationOptions",
    )  # fmt: skip


# L2_NORMALIZATION -----------------------------------------------------------------------------


def test_vectors_are_divided_by_their_length() -> None:
    x = np.array([[3, 4], [0, 0], [1e-9, 0]], np.float32)
    (found,) = run_model(*l2_model(x))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0], [1e-3, 0]], rtol=1e-6)


def test_empty_vectors_stay_empty() -> None:
    assert run_model(*l2_model(np.zeros((2, 0), np.float32)))[0].shape == (2, 0)


@pytest.mark.parametrize(("dtype", "zero"), [(DType.INT8, 0), (DType.UINT8, 128)])
@pytest.mark.parametrize("offset", [-128, -5, 0, 127])
@pytest.mark.parametrize("size", [1, 2, 16, 200])
def test_integers_equal_litert(dtype: DType, zero: int, offset: int, size: int) -> None:
    x = RNG.integers(-128, 128, (200, size))
    x[:50] = np.clip(offset + RNG.integers(-2, 3, (50, size)), -128, 127)
    value = Value((x + zero).astype(dtype.numpy), quantization=Quantization.of(0.1, offset + zero))
    output = Tensor(dtype=dtype, quantization=Quantization.of(1 / 128, zero))
    model, arrays = l2_model(value, output)
    np.testing.assert_array_equal(run_model(model, arrays)[0], litert(model, arrays)[0])


@pytest.mark.parametrize(("scale", "zero"), [(1 / 127, 0), (1 / 128, 1)])
def test_integers_have_a_fixed_output_scale(scale: float, zero: int) -> None:
    x = Value(np.ones((1, 2), np.int8), quantization=Quantization.of(1.0))
    output = Tensor(dtype=DType.INT8, quantization=Quantization.of(scale, zero))
    with pytest.raises(ModelError, match="expected scale 1/128, zero point 0"):
        run_model(*l2_model(x, output))


def test_scalars_and_activations_are_refused() -> None:
    with pytest.raises(ModelError, match="a scalar has no length"):
        run_model(*l2_model(np.float32(1)))
    with pytest.raises(ModelError, match="expected NONE, found RELU"):
        run_model(*l2_model(np.ones(2, np.float32), activation="RELU"))


# LOCAL_RESPONSE_NORMALIZATION -----------------------------------------------------------------


def test_the_squares_of_neighbouring_channels_damp_each_other() -> None:
    x = np.array([1, 2, 3], np.float32).reshape(1, 1, 1, 3)
    (default,) = run_model(*lrn_model(x, 1), reference=False)
    np.testing.assert_allclose(default.ravel(), [1 / 6, 2 / 15, 3 / 14], rtol=1e-6)
    (reference,) = run_model(*lrn_model(x, 1), reference=True)  # without the last neighbour
    np.testing.assert_allclose(reference.ravel(), [1 / 2, 2 / 6, 3 / 14], rtol=1e-6)


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("radius", [0, 1, 4, 20])
def test_floats_equal_litert(radius: int, reference: bool) -> None:
    x = RNG.normal(size=(1, 2, 3, 9)).astype(np.float32)
    model, arrays = lrn_model(x, radius, 0.9, 0.5, 0.75)
    (found,) = run_model(model, arrays, reference=reference)
    np.testing.assert_allclose(found, litert(model, arrays, reference)[0], atol=1e-5)


def test_where_there_is_no_power_the_reference_answers() -> None:
    x = np.array([1, 2, 3], np.float32).reshape(1, 1, 1, 3)
    model, arrays = lrn_model(x, 0, 1, -0.5, 0.5)
    (default,) = run_model(model, arrays, reference=False)
    # Bases with all neighbours: 0.5, -1, -3.5; the reference kernel has none of them.
    np.testing.assert_allclose(default.ravel(), [0.5**-0.5, 2, 3], rtol=1e-6)


@pytest.mark.parametrize("radius", [-(1 << 31), -1, (1 << 31) - 1])
def test_any_radius_has_a_meaning(radius: int) -> None:
    x = np.ones((1, 1, 1, 3), np.float32)
    expected = 1 if radius < 0 else 1 / 4
    found = run_model(*lrn_model(x, radius), reference=False)[0]
    np.testing.assert_allclose(found, np.full(x.shape, expected), rtol=1e-6)


def test_images_have_four_dimensions() -> None:
    with pytest.raises(ModelError, match="number of dimensions; expected 4, found 1"):
        run_model(*lrn_model(np.ones(3, np.float32), 1))

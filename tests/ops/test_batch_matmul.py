"""BATCH_MATMUL of floats, integers and both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import Value, const, one_node, run_model
from martlet.dtypes import DType
from martlet.errors import LimitError, ModelError
from martlet.graph import Model, Quantization, Tensor
from oracle import litert

Q = Quantization.of
RNG = np.random.default_rng(6)


def model_of(
    x: Any, y: Any, options: dict[str, Any] | None = None, output: Tensor | None = None
) -> tuple[Model, list[np.ndarray]]:
    return one_node(
        "BATCH_MATMUL", [x, y], options, [output or Tensor(dtype=DType.FLOAT32)],
        options_type="BatchMatMulOptions", version=4,
    )  # fmt: skip


def run(*args: Any) -> np.ndarray:
    return run_model(*model_of(*args))[0]


def f32(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def i8(*shape: int) -> np.ndarray:
    return RNG.integers(-128, 128, shape).astype(np.int8)


def i16(*shape: int) -> np.ndarray:
    return RNG.integers(-32768, 32768, shape).astype(np.int16)


def test_matrices_of_two_stacks_are_multiplied() -> None:
    x = np.array([[[1, 2]], [[3, 4]]], np.float32)
    y = np.array([[[1], [10]], [[100], [1000]]], np.float32)
    assert run(x, y).tolist() == [[[21]], [[4300]]]


@pytest.mark.parametrize("adj_x", [False, True])
@pytest.mark.parametrize("adj_y", [False, True])
def test_matrices_may_come_transposed(adj_x: bool, adj_y: bool) -> None:
    x, y = f32(2, 3, 4), f32(2, 4, 5)
    given = [x.swapaxes(1, 2) if adj_x else x, y.swapaxes(1, 2) if adj_y else y]
    options = {"adj_x": adj_x, "adj_y": adj_y}
    np.testing.assert_allclose(run(*given, options), x @ y, rtol=1e-5)


def test_leading_dimensions_broadcast() -> None:
    assert run(f32(2, 1, 3, 4), f32(6, 4, 5)).shape == (2, 6, 3, 5)
    assert run(f32(3, 4), f32(1, 2, 1, 4, 5)).shape == (1, 2, 1, 3, 5)


def test_empty_stacks_and_no_depth() -> None:
    assert run(f32(0, 3, 4), f32(4, 5)).shape == (0, 3, 5)
    assert run(f32(1, 3, 0), f32(0, 2)).tolist() == [[[0, 0]] * 3]


@pytest.mark.parametrize(
    ("x", "y", "output"),
    [
        (Value(i8(2, 3, 40), None, Q(0.1, 3)), Value(i8(1, 40, 5), None, Q(0.02, -7)),
         Tensor(dtype=DType.INT8, quantization=Q(0.7, 5))),
        (Value(i8(2, 3, 40), None, Q(0.1, 3)), Value(i8(40, 5), None, Q(0.02, -7)),
         Tensor(dtype=DType.INT32)),
        (Value(i16(2, 3, 40), None, Q(0.001)), Value(i16(40, 5), None, Q(0.002)),
         Tensor(dtype=DType.INT16, quantization=Q(0.7))),
        (Value(i16(2, 3, 40), None, Q(0.001)), Value(i8(40, 5), None, Q(0.02)),
         Tensor(dtype=DType.INT16, quantization=Q(0.07))),
    ],
)  # fmt: skip
def test_integers_equal_litert(x: Value, y: Value, output: Tensor) -> None:
    model, arrays = model_of(x, y, {}, output)
    np.testing.assert_array_equal(run_model(model, arrays)[0], litert(model, arrays)[0])


def test_a_scale_per_channel_counts_as_none_as_in_litert() -> None:
    x, y = Value(i16(3, 4), None, Q(0.1)), const(i8(4, 5), q=Q(np.arange(1, 6) / 5, 0, 1))
    model, arrays = model_of(x, y, {}, Tensor(dtype=DType.INT16, quantization=Q(0.1)))
    assert not litert(model, arrays)[0].any()
    assert not run_model(model, arrays)[0].any()


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize(
    ("x", "y", "options"),
    [
        (f32(2, 3, 4), const(i8(4, 5), q=Q(0.1)), {}),
        (f32(2, 3, 4), const(i8(2, 4, 5), q=Q(0.1)), {}),
        (f32(2, 4, 3), const(i8(2, 4, 5), q=Q(0.1)), {"adj_x": True}),
        (f32(2, 3, 4), const(i8(4, 5), q=Q(np.arange(1, 6) / 50, 0, 1)), {}),
        (f32(3, 4), const(i8(5, 4), q=Q(np.arange(1, 6) / 50)), {"adj_y": True}),
    ],
)
def test_floats_with_int8_equal_litert(
    x: np.ndarray, y: Value, options: dict[str, Any], asymmetric: bool
) -> None:
    model, arrays = model_of(x, y, {**options, "asymmetric_quantize_inputs": asymmetric})
    found, expected = run_model(model, arrays)[0], litert(model, arrays)[0]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_every_row_of_every_matrix_has_its_own_scale() -> None:
    # The reference kernel mixes the scales up where two leading dimensions exceed 1.
    x = np.zeros((2, 2, 1, 2), np.float32)
    x[..., 0] = np.array([[[127], [254]], [[1270], [1]]])
    y = const(np.array([[100], [0]], np.int8), q=Q(0.01))
    assert run(x, y).ravel().round(2).tolist() == [127, 254, 1270, 1]


@pytest.mark.parametrize(
    ("x", "y", "problem"),
    [
        (f32(2, 3), f32(4, 5), "depths of the matrices differ"),
        (f32(2, 3, 4), f32(3, 4, 5), "leading dimensions do not broadcast"),
        (f32(4), f32(4, 5), "number of dimensions; expected 2 to 5"),
        (f32(3, 4), const(i8(4, 5)), "no quantisation"),
        (f32(3, 4), const(i8(4, 5), q=Q([1.0] * 4)), "5 along axis 1, found 4 along axis 0"),
        (i8(3, 4), f32(4, 5), "expected INT8, found FLOAT32"),
        (i16(3, 4), i8(4, 5), "expected INT16, found FLOAT32"),
    ],
)
def test_what_does_not_fit_is_refused(x: Any, y: Any, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        run(x, y)


def test_sums_beyond_the_memory_limit_are_refused() -> None:
    model, arrays = model_of(i8(64, 1), i8(1, 64), {}, Tensor(dtype=DType.INT32))
    with pytest.raises(LimitError):
        run_model(model, arrays, memory_limit=60_000)

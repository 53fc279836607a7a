"""Activation functions as operators."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from build import run
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Tensor
from quantized import every_value, output, quantized, same_as_litert

INT8, UINT8, INT16 = DType.INT8, DType.UINT8, DType.INT16
X = np.float32([-8, -1, -0.25, 0, 0.5, 2, 9])


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("RELU", [0, 0, 0, 0, 0.5, 2, 9]),
        ("RELU6", [0, 0, 0, 0, 0.5, 2, 6]),
        ("RELU_N1_TO_1", [-1, -1, -0.25, 0, 0.5, 1, 1]),
        ("RELU_0_TO_1", [0, 0, 0, 0, 0.5, 1, 1]),
        ("HARD_SWISH", [0, -1 / 3, -0.25 * 2.75 / 6, 0, 0.5 * 3.5 / 6, 5 / 3, 9]),
        ("ELU", [math.expm1(-8), math.expm1(-1), math.expm1(-0.25), 0, 0.5, 2, 9]),
        ("LOGISTIC", [1 / (1 + math.exp(-x)) for x in X.tolist()]),
        ("TANH", [math.tanh(x) for x in X.tolist()]),
        ("GELU", [x / 2 * math.erfc(-x / math.sqrt(2)) for x in X.tolist()]),
    ],
)
def test_floats(op: str, expected: list[float]) -> None:
    np.testing.assert_allclose(run(op, [X]), expected, rtol=1e-6, atol=1e-7)
    half = run(op, [X.astype(np.float16)])
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, expected, rtol=1e-3, atol=1e-3)


def test_the_approximate_gelu_uses_tanh() -> None:
    expected = 0.5 * 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (2 + 0.044715 * 8)))
    assert run("GELU", [np.float32([2])], {"approximate": True})[0] == pytest.approx(expected)


def test_slopes_below_zero() -> None:
    assert run("LEAKY_RELU", [np.float32([-4, 4])], {"alpha": 0.5}).tolist() == [-2, 4]
    # Not the greater of the two: a slope above one makes negatives smaller still.
    assert run("LEAKY_RELU", [np.float32([-4, 4])], {"alpha": 2.0}).tolist() == [-8, 4]
    x = np.float32([[-1, -2], [3, -4]])
    assert run("PRELU", [x, np.float32([0.5, 0.25])]).tolist() == [[-0.5, -0.5], [3, -1]]


@pytest.mark.parametrize("op", ["RELU", "RELU6", "RELU_N1_TO_1", "HARD_SWISH", "TANH", "ELU"])
def test_nan_stays(op: str) -> None:
    assert np.isnan(run(op, [np.float32([np.nan])])[0])


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1, 2, 3, 4, 5)])
def test_any_shape_goes(shape: tuple[int, ...]) -> None:
    assert run("GELU", [np.ones(shape, np.float16)]).shape == shape
    for op in ("RELU", "HARD_SWISH", "TANH"):
        assert run(op, [quantized(np.ones(shape), INT8, 0.1)]).shape == shape


SCALES = [(0.05, 3, 0.04, -7), (0.013, -100, 0.02, 90), (0.2, 0, 0.2, 0)]


@pytest.mark.parametrize("dtype", [INT8, UINT8, INT16])
@pytest.mark.parametrize(("scale", "zero", "out_scale", "out_zero"), SCALES)
@pytest.mark.parametrize(
    ("op", "options", "options_type"),
    [
        ("RELU", None, ""),
        ("RELU6", None, ""),
        ("RELU_N1_TO_1", None, ""),
        ("RELU_0_TO_1", None, ""),
        ("LEAKY_RELU", {"alpha": 0.125}, "LeakyReluOptions"),
        ("LEAKY_RELU", {"alpha": -1.5}, "LeakyReluOptions"),
        ("HARD_SWISH", None, ""),
        ("GELU", {"approximate": False}, "GeluOptions"),
        ("GELU", {"approximate": True}, "GeluOptions"),
        ("TANH", None, ""),
    ],
)
def test_quantised_functions_are_the_reference_kernels(
    op: str,
    options: dict[str, Any] | None,
    options_type: str,
    dtype: DType,
    scale: float,
    zero: int,
    out_scale: float,
    out_zero: int,
) -> None:
    if dtype is INT16:
        if op in ("RELU_N1_TO_1", "RELU_0_TO_1", "HARD_SWISH"):
            return  # which LiteRT does not have
        scale, zero, out_scale, out_zero = scale / 128, 0, out_scale / 128, 0
        if op == "TANH":
            out_scale = 2.0**-15
    elif dtype is UINT8:
        zero, out_zero = zero + 128, out_zero + 128
    x = every_value(dtype, 5 if dtype is INT16 else 1)
    result = output(dtype, out_scale, out_zero)
    same_as_litert(op, [quantized(x, dtype, scale, zero)], result, options, options_type)


@pytest.mark.parametrize(("scale", "out_scale"), [(4e-5, 0.05), (1e-7, 1.0), (1e-9, 100.0)])
def test_hard_swish_of_tiny_values_is_the_reference_kernel_s(
    scale: float, out_scale: float
) -> None:
    x = quantized(every_value(INT8), INT8, scale, 20)
    same_as_litert("HARD_SWISH", [x], output(INT8, out_scale, -128))


def test_the_quantised_elu_is_a_table() -> None:
    x = quantized([-128, -10, 0, 10], INT8, 0.1)
    # e^-12.8 - 1 and e^-1 - 1, in steps of 1/32
    assert run("ELU", [x], outputs=[output(INT8, 1 / 32, 5)]).tolist() == [-27, -15, 5, 37]


@pytest.mark.parametrize("op", ["LOGISTIC", "TANH"])
@pytest.mark.parametrize("scale", [2.0**-12, 2.0**-11, 2.0**-13, 0.0001, 0.0013, 0.5, 7.0])
def test_int16_gates_take_any_scale(op: str, scale: float) -> None:
    x = quantized(every_value(INT16, 3), INT16, scale)
    same_as_litert(op, [x], output(INT16, 2.0**-15))


@pytest.mark.parametrize(("dtype", "zero"), [(INT8, -128), (UINT8, 0)])
def test_the_quantised_logistic_is_a_table(dtype: DType, zero: int) -> None:
    for scale in (0.01, 0.05, 0.3):
        x = quantized(every_value(dtype), dtype, scale, zero + 120)
        same_as_litert("LOGISTIC", [x], output(dtype, 1 / 256, zero))


@pytest.mark.parametrize(("dtype", "slopes"), [(INT8, INT8), (UINT8, UINT8), (INT16, INT8)])
def test_quantised_slopes(dtype: DType, slopes: DType) -> None:
    x = every_value(dtype)[: 64 * 32].reshape(-1, 32)
    a = every_value(slopes, 8)
    inputs = [
        quantized(x, dtype, 0.02, 0 if dtype is INT16 else 11),
        quantized(a, slopes, 0.013, 0 if dtype is INT16 else 5),
    ]
    same_as_litert("PRELU", inputs, output(dtype, 0.03, 0 if dtype is INT16 else 9))


def test_int16_slopes_are_read_as_the_bytes_they_are_made_of() -> None:
    inputs = [
        quantized([[-100, -200], [-300, 400]], INT16, 0.01),
        quantized([[256, 771], [5, 6]], INT16, 0.5),
    ]
    same_as_litert("PRELU", inputs, output(INT16, 0.01))


def test_ends_of_clamps_that_cannot_be_stored_saturate() -> None:
    x = quantized([-3, 0, 3], INT8, 1e-9)
    assert run("RELU6", [x], outputs=[output(INT8, 1e-10)]).tolist() == [0, 0, 30]
    x = quantized([-3, 0, 3], INT8, 1.0)
    assert run("RELU", [x], outputs=[output(INT8, 1.0, 1000)]).tolist() == [127, 127, 127]


@pytest.mark.parametrize(
    ("op", "dtype", "result", "options", "message"),
    [
        ("RELU", INT8, Tensor(dtype=INT8), {}, "output 0 'out0' has no quantisation"),
        ("LOGISTIC", INT16, output(INT16, 0.5), {}, "another scale .* expected 3.05.*, found 0.5"),
        ("HARD_SWISH", INT8, output(INT8, 1e-6), {}, "expected at most 128 times as large"),
        ("LEAKY_RELU", INT8, output(INT8, 0.1), {"alpha": math.nan}, "do not go together"),
        ("LEAKY_RELU", INT8, output(INT8, 0.1), {"alpha": math.inf}, "do not go together"),
        ("ELU", UINT8, output(UINT8, 0.1), {}, "ELU does not take; expected .*, found UINT8"),
        ("HARD_SWISH", INT16, output(INT16, 0.1), {}, "HARD_SWISH does not take"),
        ("TANH", INT8, output(UINT8, 0.1), {}, "declared with the wrong type"),
    ],
)
def test_contradictions_are_named(
    op: str, dtype: DType, result: Tensor, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        run(op, [quantized([1], dtype, 0.1)], options, outputs=[result])


def test_slopes_must_broadcast_to_the_input() -> None:
    with pytest.raises(
        ModelError, match=r"slopes do not broadcast .*expected \[2\], found \[3, 2\]"
    ):
        run("PRELU", [np.ones(2, np.float32), np.ones((3, 2), np.float32)])
    with pytest.raises(ModelError, match="do not broadcast"):
        run("PRELU", [np.ones(2, np.float32), np.ones(3, np.float32)])
    with pytest.raises(ModelError, match="input 1 .* expected FLOAT32"):
        run("PRELU", [np.ones(2, np.float32), np.ones(2, np.float16)])

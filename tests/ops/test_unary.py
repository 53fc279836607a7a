"""Element-wise functions of one tensor."""

from __future__ import annotations

import numpy as np
import pytest

from build import Value, run
from martlet.dtypes import DType
from martlet.errors import ModelError
from quantized import every_value, output, quantized, same_as_litert

INT8, INT16 = DType.INT8, DType.INT16


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("ABS", [1.5, 0.5, 0, 0.5, 2.5]),
        ("NEG", [1.5, 0.5, 0, -0.5, -2.5]),
        ("SQUARE", [2.25, 0.25, 0, 0.25, 6.25]),
        ("FLOOR", [-2, -1, 0, 0, 2]),
        ("CEIL", [-1, 0, 0, 1, 3]),
        ("ROUND", [-2, 0, 0, 0, 2]),
        ("SIGN", [-1, -1, 0, 1, 1]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_functions_that_are_exact(op: str, expected: list[float], dtype: type) -> None:
    result = run(op, [np.array([-1.5, -0.5, 0, 0.5, 2.5], dtype)])
    assert result.dtype == dtype
    assert result.tolist() == expected


@pytest.mark.parametrize(
    ("op", "at_four"),
    [
        ("SIN", np.sin(4)),
        ("COS", np.cos(4)),
        ("EXP", np.exp(4)),
        ("LOG", np.log(4)),
        ("SQRT", 2),
        ("RSQRT", 0.5),
    ],
)
def test_functions_that_are_not(op: str, at_four: float) -> None:
    assert run(op, [np.float32([4])])[0] == pytest.approx(at_four, rel=1e-6)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("LOG", [np.nan, -np.inf, np.inf, np.nan]),
        ("SQRT", [np.nan, 0, np.inf, np.nan]),
        ("RSQRT", [np.nan, np.inf, 0, np.nan]),
        ("SIGN", [-1, 0, 1, np.nan]),
    ],
)
def test_floats_without_an_answer_are_nan_or_infinite(op: str, expected: list[float]) -> None:
    result = run(op, [np.float32([-1, 0, np.inf, np.nan])])
    np.testing.assert_array_equal(result, np.float32(expected))


def test_the_least_integer_is_its_own_negative() -> None:
    for dtype in (np.int8, np.int16, np.int32, np.int64):
        least = np.iinfo(dtype).min
        assert run("NEG", [np.array([least, 3], dtype)]).tolist() == [least, -3]
    assert run("ABS", [np.int32([-(2**31), -3])]).tolist() == [-(2**31), 3]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1, 2, 3, 4, 5, 6)])
def test_any_shape_goes(shape: tuple[int, ...]) -> None:
    assert run("ABS", [np.ones(shape, np.float16)]).shape == shape
    assert run("EXP", [quantized(np.ones(shape), INT8, 0.1)]).shape == shape


@pytest.mark.parametrize("op", ["ABS", "EXP", "LOG", "SQRT", "RSQRT"])
@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "out_scale", "out_zero"),
    [
        (INT8, 0.05, -128, 0.03, -100),
        (INT8, 0.05, -20, 0.05, 7),
        (INT8, 1.7, -128, 0.004, -128),
        (INT16, 0.0003, 0, 0.0002, 0),
        (INT16, 0.0003, 0, 0.0003, 0),
        (INT16, 0.004, 0, 0.001, 0),
    ],
)
def test_quantised_functions_are_the_reference_kernels(
    op: str, dtype: DType, scale: float, zero: int, out_scale: float, out_zero: int
) -> None:
    x = every_value(dtype)
    if op in ("SQRT", "RSQRT"):
        x = x[x >= zero]
    same_as_litert(op, [quantized(x, dtype, scale, zero)], output(dtype, out_scale, out_zero))


def test_roots_take_what_lies_below_zero_as_zero() -> None:
    for dtype in (INT8, INT16):
        x = quantized([-5, 0, 4], dtype, 1.0)
        assert run("SQRT", [x], outputs=[output(dtype, 1.0)]).tolist() == [0, 0, 2]
    x = quantized([-5, 0, 4], INT8, 1.0)
    assert run("RSQRT", [x], outputs=[output(INT8, 0.125)]).tolist() == [127, 127, 4]
    x = quantized([-1280, -128], INT16, 1.0)
    assert run("RSQRT", [x], outputs=[output(INT16, 0.125)]).tolist() == [32767, 32767]


def test_the_logarithm_of_what_is_not_positive_is_the_least_output() -> None:
    x = quantized([-1, 0, 1], INT8, 1.0)
    assert run("LOG", [x], outputs=[output(INT8, 0.1, 20)]).tolist() == [-128, -128, 20]


def test_int16_without_a_scale_means_itself() -> None:
    assert run("ABS", [np.int16([-7, 7])]).tolist() == [7, 7]


def test_quantised_input_needs_scales_on_both_sides() -> None:
    with pytest.raises(ModelError, match="input 0 'in0' has no quantisation"):
        run("EXP", [np.int8([1])])
    with pytest.raises(ModelError, match="output 0 'out0' has no quantisation"):
        run("EXP", [quantized([1], INT8, 0.1)], outputs=[INT8])
    with pytest.raises(ModelError, match="has a scale per channel"):
        run("EXP", [quantized([1, 2], INT8, [0.1, 0.2])])
    with pytest.raises(
        ModelError, match=r"input 0 has an unusable zero point; expected 0, found 3"
    ):
        run("EXP", [quantized([1], INT16, 0.1, 3)])
    with pytest.raises(ModelError, match="too far apart"):
        run("ABS", [quantized([1], INT8, 1e38)], outputs=[output(INT8, 1e-38)])


def test_types_without_the_function_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match="EXP does not take; expected .*found INT32"):
        run("EXP", [np.int32([1])])
    with pytest.raises(ModelError, match="SIN does not take"):
        run("SIN", [Value(np.int8([1]))])

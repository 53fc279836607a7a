"""QUANTIZE, DEQUANTIZE, FAKE_QUANT, NumericVerify."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers
from hypothesis import given
from hypothesis import strategies as st

from build import const, one_node, run, run_model
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError
from martlet.graph import Blockwise, Graph, Model, Quantization, Tensor
from martlet.runtime.session import Session
from quantized import every_value, output, quantized, same_as_litert

INT8, UINT8, INT16, INT32 = DType.INT8, DType.UINT8, DType.INT16, DType.INT32
INT4, UINT4, FLOAT32 = DType.INT4, DType.UINT4, DType.FLOAT32


def test_an_input_without_a_scale_is_0_as_in_litert() -> None:
    x = quantized([5, -7], INT16, 0.1)
    x.quantization = None
    result = run("QUANTIZE", [x], outputs=[output(INT16, 0.1)])
    assert result.tolist() == [0, 0]
    same_as_litert("QUANTIZE", [x], output(INT16, 0.1))


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (INT8, [-17, -1, 2, 3, 4, 127]),
        (UINT8, [0, 0, 2, 3, 4, 255]),
        (INT16, [-17, -1, 2, 3, 4, 2003]),
        (INT4, [-8, -1, 2, 3, 4, 7]),
        (UINT4, [0, 0, 2, 3, 4, 15]),
    ],
)
def test_halves_go_away_from_zero_before_the_zero_point_is_added(
    dtype: DType, expected: list[int]
) -> None:
    x = np.float32([-10, -2, -0.25, 0.2, 0.25, 1000])
    assert run("QUANTIZE", [x], outputs=[output(dtype, 0.5, 3)]).tolist() == expected


@given(st.floats(-12.5, 12.5, width=32))
def test_a_value_comes_back_to_within_half_a_step(x: float) -> None:
    stored = run("QUANTIZE", [np.float32([x])], outputs=[output(INT8, 0.1)])
    back = run("DEQUANTIZE", [quantized(stored, INT8, 0.1)], outputs=[FLOAT32])
    assert abs(back[0] - x) <= 0.05 + 1e-6


def test_what_does_not_fit_into_32_bits() -> None:
    x = np.float32([1e20, -1e20, np.inf, np.nan])
    model, _ = one_node("QUANTIZE", [x], outputs=[output(INT8, 0.1, 3)])
    assert run_model(model, [x], reference=True)[0].tolist() == [-128, -128, -128, -128]
    assert run_model(model, [x], reference=False)[0].tolist() == [127, -128, 127, 127]
    for reference in (True, False):
        same_as_litert("QUANTIZE", [x], output(INT8, 0.1, 3), reference=reference)


def test_channels_have_their_own_scales() -> None:
    x = np.float32([[1, 1], [-1, 3]])
    result = run("QUANTIZE", [x], outputs=[output(INT8, [0.5, 0.25], [0, 10], axis=1)])
    assert result.tolist() == [[2, 14], [-2, 22]]
    back = run("DEQUANTIZE", [quantized(result, INT8, [0.5, 0.25], [0, 10], 1)], outputs=[FLOAT32])
    assert back.tolist() == x.tolist()


PAIRS = [
    (a, b)
    for a, bs in {
        INT8: (INT8, UINT8, INT16),
        UINT8: (INT8, UINT8, INT16),
        INT16: (INT8, INT16, INT32),
        INT32: (INT8, INT16),
    }.items()
    for b in bs
]


@pytest.mark.parametrize(("dtype", "result"), PAIRS)
@pytest.mark.parametrize("ratio", [1, 0.37, 3.2])
def test_quantised_values_change_their_scale(dtype: DType, result: DType, ratio: float) -> None:
    def zero(d: DType) -> int:
        return {INT8: -5, UINT8: 130}.get(d, 0)

    if dtype is INT32:
        x = np.random.default_rng(0).integers(-(2**18), 2**18, 999).astype(np.int32)
    else:
        x = every_value(dtype, 5 if dtype is INT16 else 1)
    same_as_litert(
        "QUANTIZE", [quantized(x, dtype, 0.02 * ratio, zero(dtype))],
        output(result, 0.02, zero(result)),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [INT8, UINT8, INT16, INT4, UINT4])
def test_stored_values_become_real(dtype: DType) -> None:
    x = quantized([0, 1, 7], dtype, 0.5, 0 if dtype is INT16 else 1)
    expected = [0, 0.5, 3.5] if dtype is INT16 else [-0.5, 0, 3]
    assert run("DEQUANTIZE", [x], outputs=[FLOAT32]).tolist() == expected
    same_as_litert("DEQUANTIZE", [x], output(FLOAT32))


def test_two_bit_weights_become_real() -> None:
    x = const(np.int8([-2, -1, 0, 1]), DType.INT2, Quantization(np.float32([0.5]), np.array([0])))
    assert run("DEQUANTIZE", [x], outputs=[FLOAT32]).tolist() == [-1, -0.5, 0, 0.5]
    same_as_litert("DEQUANTIZE", [x], output(FLOAT32))


def test_float16_weights_are_expanded() -> None:
    weights = const(np.float16([1.5, -2]))
    result = run("DEQUANTIZE", [weights], outputs=[FLOAT32])
    assert result.dtype == np.float32
    assert result.tolist() == [1.5, -2]


def test_blocks_have_their_own_scales() -> None:
    graph = Graph()
    scales = graph.constant(np.float16([[1, 2], [4, 8]]), "scales")
    weights = graph.constant(np.int8([[1, 2, 3, 4], [5, 6, 7, -8]]), "weights", INT4)
    graph.tensors[weights].quantization = Quantization(blockwise=Blockwise(scales, -1, 2))
    graph.output(graph.add("DEQUANTIZE", [weights], outputs=[Tensor("real")]))
    session = Session(Model([graph]))
    (result,) = session.run(session.plan(0, ()), ())
    assert result.tolist() == [[1, 2, 6, 8], [20, 24, 56, -64]]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3)])
def test_any_shape_goes(shape: tuple[int, ...]) -> None:
    assert run("QUANTIZE", [np.zeros(shape, np.float32)], outputs=[output(INT8, 1)]).shape == shape
    x = quantized(np.zeros(shape), INT8, 1.0)
    assert run("DEQUANTIZE", [x], outputs=[FLOAT32]).shape == shape
    assert run("QUANTIZE", [x], outputs=[output(UINT8, 1)]).shape == shape


F = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("op", "x", "result", "message"),
    [
        ("QUANTIZE", F, FLOAT32, "FLOAT32 cannot be quantised .* expected INT8 or .*found FLOAT32"),
        ("QUANTIZE", F, INT8, "output 0 'out0' has no quantisation"),
        ("QUANTIZE", F, output(INT8, -1), "output 0 has an unusable scale"),
        ("QUANTIZE", F, output(INT8, 1, 1 << 40), "unusable zero point; expected 32 bits"),
        ("QUANTIZE", F, output(INT8, [1, 2], axis=1), "number of scales .*expected 3, found 2"),
        ("QUANTIZE", F, output(INT8, [1, 2], axis=5), "quantised dimension .* expected -2 to 1"),
        ("QUANTIZE", quantized([1], INT16, 1), output(UINT8, 1), "INT16 cannot be quantised"),
        ("QUANTIZE", quantized([1], INT8, [1, 2]), output(UINT8, 1), "scale per channel"),
        ("DEQUANTIZE", np.int8([1]), FLOAT32, "input 0 'in0' has no quantisation"),
        ("DEQUANTIZE", np.int64([1]), FLOAT32, "DEQUANTIZE does not take"),
        ("DEQUANTIZE", quantized([1], INT8, np.nan), FLOAT32, "unusable scale"),
    ],
)
def test_contradictions_are_named(op: str, x: Any, result: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        run(op, [x], outputs=[result])


def fake(x: Any, **options: Any) -> Any:
    return run("FAKE_QUANT", [np.float32(x)], {"num_bits": 8, **options})


def test_fake_quantisation_rounds_to_steps_that_include_zero() -> None:
    # 4 bits over [-0.2, 1.3] are steps of 0.1, with zero at the second.
    result = fake([-9, -0.04, 0.16, 9], num_bits=4, min=-0.2, max=1.3)
    np.testing.assert_allclose(result, [-0.2, 0, 0.2, 1.3], atol=1e-6)
    # A range that does not fit moves by less than a step.
    result = fake([-9, 0, 9], num_bits=2, min=-0.4, max=2.6)
    np.testing.assert_allclose(result, [0, 0, 3], atol=1e-6)


def test_a_narrow_range_leaves_out_the_lowest_step() -> None:
    result = fake([-9, 0, 9], num_bits=2, min=-1.0, max=1.0, narrow_range=True)
    np.testing.assert_allclose(result, [-1, 0, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bits": 1, "min": -1.0, "max": 1.0}, "num_bits is out of range; expected 2 to 16"),
        ({"num_bits": 99, "min": -1.0, "max": 1.0}, "found 99"),
        ({"min": 1.0, "max": 2.0}, "the range must hold zero"),
        ({"min": 0.0, "max": 0.0}, "the range must hold zero"),
        ({"min": float("nan"), "max": 1.0}, "the range must hold zero"),
        ({"min": 0.0, "max": float("inf")}, "the range must hold zero"),
    ],
)
def test_fake_quantisation_needs_a_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        fake([1.0], **options)


def verify(reference: list[float], **options: Any) -> Any:
    raw = np.frombuffer(bytes(flexbuffers.Dumps(options)), np.uint8)
    return run(
        "NumericVerify", [quantized([1, 2], INT8, 0.5), np.float32(reference)],
        outputs=[FLOAT32], custom=True, custom_options=raw if options else None,
    )  # fmt: skip


def test_numeric_verify_gives_the_differences() -> None:
    assert verify([0.25, 3]).tolist() == [0.25, -2]
    assert verify([0.25, 3], tolerance=0.5, log_if_failed=False).tolist() == [0.25, -2]


def test_numeric_verify_stops_where_a_value_is_off_by_more_than_so_many_steps() -> None:
    assert verify([0.5, 1.5], tolerance=1.5, log_if_failed=True).tolist() == [0, -0.5]
    with pytest.raises(RunError, match=r"off by too much; expected at most 0.75, found 2.0"):
        verify([0.5, 3], tolerance=1.5, log_if_failed=True)


def test_numeric_verify_needs_a_reference_of_its_shape() -> None:
    with pytest.raises(ModelError, match=r"differ in shape; expected \[2\], found \[3\]"):
        verify([1, 2, 3])

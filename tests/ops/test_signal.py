"""RFFT2D, IRFFT2D, REAL, IMAG, COMPLEX_ABS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import const, one_node, run, run_model
from martlet.dtypes import DType
from martlet.errors import LimitError, ModelError
from oracle import litert

C64, F32 = DType.COMPLEX64, DType.FLOAT32


def rfft2d(x: np.ndarray, *lengths: int) -> Any:
    return run("RFFT2D", [x, const(np.int32(lengths))], outputs=[C64])


def irfft2d(x: np.ndarray, *lengths: int) -> Any:
    return run("IRFFT2D", [x, const(np.int32(lengths))], outputs=[F32], custom=True)


def test_a_constant_has_only_the_frequency_zero() -> None:
    result = rfft2d(np.ones((2, 4), np.float32), 2, 4)
    assert result.dtype == np.complex64
    assert result.tolist() == [[8, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("lengths", [(1, 8), (4, 4), (8, 16), (2, 2), (1, 1)])
def test_the_transform_is_the_kernel_s(lengths: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 8)).astype(np.float32)
    model, arrays = one_node("RFFT2D", [x, const(np.int32(lengths))], outputs=[C64])
    (found,) = run_model(model, arrays)
    if lengths[1] > 1:  # LiteRT's transform needs two values
        (expected,) = litert(model, arrays)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.shape == (2, 3, lengths[0], lengths[1] // 2 + 1)


@given(st.integers(1, 6), st.integers(1, 12))
def test_the_inverse_gives_back_the_values(height: int, width: int) -> None:
    x = np.random.default_rng(width).normal(size=(2, height, width)).astype(np.float32)
    back = irfft2d(rfft2d(x, height, width), height, width)
    np.testing.assert_allclose(back, x, atol=1e-5)


def test_values_are_cut_or_padded() -> None:
    x = np.float32([[1, 2, 3]])
    assert rfft2d(x, 1, 2).tolist() == [[3, -1]]
    assert rfft2d(x, 1, 4)[0, 0] == 6
    assert rfft2d(np.zeros((0, 2, 2), np.float32), 2, 2).shape == (0, 2, 2)
    assert rfft2d(np.zeros((2, 0), np.float32), 2, 2).tolist() == [[0, 0], [0, 0]]


def test_lengths_may_come_with_the_data() -> None:
    x = np.ones((2, 4), np.float32)
    assert run("RFFT2D", [x, np.int32([2, 4])], outputs=[C64]).shape == (2, 3)


@pytest.mark.parametrize(
    ("x", "lengths", "message"),
    [
        (np.ones(4, np.float32), [1, 4], "number of dimensions"),
        (np.ones((4, 4), np.float64), [4, 4], "expected FLOAT32, found FLOAT64"),
        (np.ones((4, 4), np.float32), [4], "input 1 must be two lengths"),
        (np.ones((4, 4), np.float32), [0, 4], "must be positive, found 0 and 4"),
        (np.ones((4, 4), np.float32), [4, -4], "must be positive"),
    ],
)
def test_contradictions_are_named(x: np.ndarray, lengths: list[int], message: str) -> None:
    with pytest.raises(ModelError, match=message.replace(",", "[,;]")):
        rfft2d(x, *lengths)


def test_a_transform_beyond_the_memory_limit_is_refused() -> None:
    with pytest.raises(LimitError):
        rfft2d(np.ones((1, 1), np.float32), 2**31 - 1, 2**31 - 1)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_parts_of_complex_numbers(dtype: type) -> None:
    x = np.array([[3 + 4j, -1]], dtype)
    real = DType.of(x.real)
    assert run("REAL", [x], outputs=[real]).tolist() == [[3, -1]]
    assert run("IMAG", [x], outputs=[real]).tolist() == [[4, 0]]
    assert run("COMPLEX_ABS", [x], outputs=[real]).tolist() == [[5, 1]]


def test_parts_are_asked_of_complex_numbers_only() -> None:
    with pytest.raises(ModelError, match="REAL does not take; expected COMPLEX64 or COMPLEX128"):
        run("REAL", [np.float32([1])])
    with pytest.raises(ModelError, match="wrong type; expected FLOAT32, found FLOAT64"):
        run("IMAG", [np.complex64([1])], outputs=[DType.FLOAT64])

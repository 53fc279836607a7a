"""CAST."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import run
from martlet.dtypes import DType
from martlet.errors import ModelError
from quantized import output, same_as_litert

EVERY = [
    DType.INT8, DType.UINT8, DType.INT16, DType.UINT16, DType.INT32, DType.UINT32, DType.INT64,
    DType.BOOL, DType.FLOAT16, DType.FLOAT32, DType.FLOAT64, DType.COMPLEX64,
]  # fmt: skip


def cast(x: np.ndarray, dtype: DType) -> np.ndarray:
    result: np.ndarray = run("CAST", [x], outputs=[dtype])
    assert result.dtype == dtype.numpy
    return result


def sample(dtype: DType) -> np.ndarray:
    rng = np.random.default_rng(1)
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        return rng.integers(info.min, info.max, 40, dtype.numpy, endpoint=True)
    if dtype is DType.BOOL:
        return rng.integers(0, 2, 40).astype(bool)
    x = rng.normal(size=40) * 10.0 ** rng.integers(-1, 4 if dtype is DType.FLOAT16 else 20, 40)
    x[:3] = np.inf, -np.inf, np.nan
    x = x.astype(dtype.numpy)
    if dtype is DType.COMPLEX64:
        x.imag = x.real[::-1]
    return x


@pytest.mark.parametrize("dtype", EVERY)
def test_all_pairs_of_types_are_the_reference_kernel(dtype: DType) -> None:
    for result in EVERY:
        same_as_litert("CAST", [sample(dtype)], output(result))
    if dtype is DType.FLOAT32:
        for result in (DType.INT4, DType.UINT4, DType.INT2):
            same_as_litert("CAST", [sample(dtype)], output(result))


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers_keep_their_low_bits(values: list[int]) -> None:
    x = np.array(values, np.int64)
    assert cast(x, DType.UINT8).tolist() == [v & 255 for v in values]
    assert cast(cast(x, DType.UINT64), DType.INT64).tolist() == values


def test_floats_saturate() -> None:
    x = np.float32([-1e9, -1.9, 1.9, 1e9, np.nan])
    assert cast(x, DType.INT8).tolist() == [-128, -1, 1, 127, 127]
    assert cast(x, DType.UINT64).tolist() == [0, 0, 1, 10**9, 2**64 - 1]
    assert cast(x, DType.INT4).tolist() == [-8, -1, 1, 7, 7]
    assert cast(x, DType.INT2).tolist() == [-2, -1, 1, 1, 1]


def test_complex_numbers_lose_their_imaginary_part() -> None:
    x = np.complex128([1.5 + 2j, 3j])
    assert cast(x, DType.FLOAT32).tolist() == [1.5, 0]
    assert cast(x, DType.BOOL).tolist() == [True, False]
    assert cast(x, DType.COMPLEX64).tolist() == x.tolist()


def test_any_shape_goes() -> None:
    for shape in ((), (0,), (1, 2, 3, 4, 5, 6)):
        assert cast(np.ones(shape), DType.INT8).shape == shape


@pytest.mark.parametrize("result", [DType.STRING, DType.INT4, DType.UINT4, DType.INT2])
def test_pairs_without_a_meaning_are_refused(result: DType) -> None:
    with pytest.raises(ModelError, match=f"INT32 cannot be cast .*found {result.name}"):
        run("CAST", [np.int32([1])], outputs=[result])
    with pytest.raises(ModelError, match="CAST does not take"):
        run("CAST", [np.array([b"1"])], outputs=[DType.INT32])

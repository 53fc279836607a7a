"""Real Fourier transforms in fixed point, held against KISS FFT's answers and against NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from martlet.ops.fixed_point_fft import factors, irfft, rfft


def nothing():
    pass


def samples(n, dtype):
    x = np.random.default_rng(n).integers(-(1 << 12), 1 << 12, n)
    return (x << (16 if dtype is np.int32 else 0)).astype(dtype)


@pytest.mark.parametrize(
    ("n", "radices"),
    [(1, (1,)), (8, (4, 2)), (256, (4, 4, 4, 4)), (30, (2, 3, 5)), (49, (7, 7)), (13, (13,))],
)
def test_factors_are_taken_fours_first(n, radices):
    assert factors(n) == radices


@pytest.mark.parametrize("n", [2, 8, 12, 20, 30, 64, 98, 512])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_the_spectrum_is_that_of_numpy_divided_by_the_length(n, dtype):
    x = samples(n, dtype)
    found = rfft(x, nothing).astype(np.float64)
    expected = np.fft.rfft(x) / (1 if dtype is np.float32 else n)
    unit = {np.int16: 4, np.int32: 64, np.float32: 1}[dtype]
    np.testing.assert_allclose(found[0::2], expected.real, atol=unit)
    np.testing.assert_allclose(found[1::2], expected.imag, atol=unit)


def test_float_transforms_are_inverse_to_each_other():
    x = np.random.default_rng(0).normal(size=(3, 60)).astype(np.float32)
    np.testing.assert_allclose(irfft(rfft(x, nothing), nothing), x, atol=1e-5)


# Of KISS FFT v130 with FIXED_POINT 16, for the samples (i * 7919 mod 65536) - 32768.
KISS_16 = {
    8: [-5050, 0, -3959, 9558, -3959, 3959, -3959, 1640, -3960, 0],
    10: [-3685, 0, -9259, 8332, -5984, -783, -1934, -3356, 1341, -2566, 2593, 0],
    14: [
        -4699,
        0,
        -8176,
        -1131,
        3639,
        4560,
        -5001,
        3657,
        -320,
        -1406,
        -1040,
        3311,
        -3496,
        -1127,
        723,
        0,
    ],
}


@pytest.mark.parametrize("n", KISS_16)
def test_int16_results_are_those_of_the_library(n):
    x = ((np.arange(n) * 7919) % 65536 - 32768).astype(np.int16)
    assert rfft(x, nothing).tolist() == KISS_16[n]


KISS_INVERSE_32 = [
    -590544894,
    -81786373,
    449449503,
    326593193,
    149816502,
    326344879,
    0,
    296776229,
    -149816501,
    216241493,
    -449449502,
    -493624527,
]


def test_int32_inverse_results_are_those_of_the_library():
    x = ((np.arange(14) * 7919 << 15) % (1 << 32) - (1 << 31)).astype(np.int32)
    assert irfft(x, nothing).tolist() == KISS_INVERSE_32


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 3))
def test_rows_are_transformed_one_by_one(half, rows):
    x = samples(2 * half * rows, np.int16).reshape(rows, 2 * half)
    alone = [rfft(row, nothing) for row in x]
    assert rfft(x, nothing).tolist() == [row.tolist() for row in alone]

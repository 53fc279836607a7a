"""RFFT2D on machine code means what it means in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import const
from lowered_node import compute, is_lowered
from martlet.dtypes import DType
from martlet.kernels.targets import Target
from native import targets

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
OUTPUT = [DType.COMPLEX64]


def check(
    target: Target, shape: tuple[int, ...], lengths: tuple[int, int], split: int | None = None
) -> None:
    x = np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)
    inputs = [x, const(np.array(lengths, np.int32))]
    (found,), (expected,) = compute(target, "RFFT2D", inputs, None, split, outputs=OUTPUT)
    assert found.shape == expected.shape
    # Both compute in float64, so they differ by how the last bit is rounded.
    np.testing.assert_allclose(found, expected, rtol=2e-7, atol=1e-7 * np.abs(expected).max())


@each
@pytest.mark.parametrize("length", [2, 4, 8, 32, 256, 1024])
def test_rows_of_every_length(target: Target, length: int) -> None:
    for rows in (1, 3, 9):
        for split in (None, 1):
            check(target, (rows, 1, length), (1, length), split)


@each
@given(
    batch=st.sampled_from([(), (1,), (3,), (2, 5)]),
    rows=st.integers(1, 20),
    pitch=st.integers(1, 40),
    height=st.sampled_from([1, 2, 4, 16]),
    width=st.sampled_from([2, 4, 8, 32]),
    split=st.sampled_from([None, 1, 2]),
)
def test_what_is_cut_and_what_is_padded(
    target: Target, batch: tuple[int, ...], rows: int, pitch: int, height: int, width: int,
    split: int | None,
) -> None:  # fmt: skip
    check(target, (*batch, rows, pitch), (height, width), split)


@each
def test_a_tone_is_one_line_of_the_spectrum(target: Target) -> None:
    tone = np.cos(np.arange(64) * (2 * np.pi * 5 / 64)).astype(np.float32)
    inputs = [tone[None], const(np.array([1, 64], np.int32))]
    (found,), _ = compute(target, "RFFT2D", inputs, outputs=OUTPUT)
    expected = np.zeros((1, 33), np.complex64)
    expected[0, 5] = 32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_is_left_to_numpy() -> None:
    def lowered(shape: tuple[int, ...], *lengths: int) -> bool:
        inputs = [np.zeros(shape, np.float32), const(np.array(lengths, np.int32))]
        return is_lowered("RFFT2D", inputs, outputs=OUTPUT)

    assert lowered((2, 3, 8), 1, 8)
    assert lowered((0, 3, 8), 1, 8)
    assert not lowered((2, 3, 8), 1, 6)
    assert not lowered((2, 3, 8), 3, 8)
    assert not lowered((2, 3, 8), 1, 1)
    assert not lowered((2, 0, 8), 4, 8)
    assert not lowered((2, 3, 0), 4, 8)

"""Exact products of integer matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from martlet.ops import integer_matmul as module
from martlet.ops.integer_matmul import centered, integer_matmul


@given(
    st.sampled_from([np.int8, np.uint8, np.int16, np.int32]).flatmap(
        lambda dtype: st.tuples(arrays(dtype, (3, 5)), arrays(dtype, (5, 2)))
    )
)
def test_products_are_exact_for_every_width(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    exact = a.astype(object) @ b.astype(object)
    wrapped = [[(n + (1 << 63)) % (1 << 64) - (1 << 63) for n in row] for row in exact]
    assert integer_matmul(a, b).tolist() == wrapped


def test_batches_broadcast() -> None:
    a, b = np.ones((2, 1, 3, 4), np.int8), np.ones((5, 4, 6), np.int8)
    assert (integer_matmul(a, b) == 4).all()
    assert integer_matmul(a, b).shape == (2, 5, 3, 6)


def test_large_weights_go_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.arange(12).reshape(3, 4).astype(np.int8)
    b = np.arange(28).reshape(4, 7).astype(np.int8)
    whole = integer_matmul(a, b)
    monkeypatch.setattr(module, "BLOCK", 8)
    np.testing.assert_array_equal(integer_matmul(a, b), whole)


def test_empty_matrices() -> None:
    assert integer_matmul(np.zeros((0, 4), np.int8), np.zeros((4, 3), np.int8)).shape == (0, 3)
    assert integer_matmul(np.zeros((2, 0), np.int8), np.zeros((0, 1), np.int8)).tolist() == [
        [0],
        [0],
    ]


def test_a_zero_point_is_taken_off_without_overflow() -> None:
    assert centered(np.array([-128, 127], np.int8), 127).tolist() == [-255, 0]

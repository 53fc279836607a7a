"""REDUCE_WINDOW and STABLEHLO_REDUCE_WINDOW on machine code give what they give in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import const
from lowered_node import compute, compute_model, is_lowered, lower
from martlet.kernels.targets import Target
from native import targets
from region_models import reduce_window_model

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
BODIES = ("ADD", "MUL", "MAXIMUM", "MINIMUM")
DTYPES = (np.float32, np.int32, np.int64, np.bool_)


def numbers(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    x = np.random.default_rng(sum(shape)).normal(size=shape) * (1 if dtype is np.bool_ else 30)
    return (x > 0) if dtype is np.bool_ else x.astype(dtype)


@each
@given(st.data())
def test_any_windows(target: Target, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 5))

    def drawn(low: int, high: int, count: int = rank) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    dtype = data.draw(st.sampled_from(DTYPES))
    model, arrays = reduce_window_model(
        numbers(tuple(drawn(0, 6)), dtype), drawn(1, 3), data.draw(st.sampled_from(BODIES)),
        initial=data.draw(st.integers(0, 1)), window_strides=drawn(1, 2),
        window_dilations=drawn(1, 2), base_dilations=drawn(1, 2), padding=drawn(0, 2, 2 * rank),
    )  # fmt: skip
    split = data.draw(st.sampled_from([None, 3]))
    (found,), (expected,) = compute_model(target, model, arrays, split)
    np.testing.assert_array_equal(found, expected)


@each
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("dtype", DTYPES[:3])
def test_rows_of_every_length(target: Target, dtype: Any, body: str) -> None:
    for length in (1, 2, 3, 7, 8, 17, 33):
        for window, stride in (([3, 1], 1), ([3, 2], 1), ([2, 2], 2)):
            x = numbers((5, length + 1), dtype)
            for split in (None, 1):
                model, arrays = reduce_window_model(x, window, body, window_strides=[1, stride])
                (found,), (expected,) = compute_model(target, model, arrays, split)
                np.testing.assert_array_equal(found, expected)


@each
def test_what_is_no_number_and_what_is_cropped(target: Target) -> None:
    x = np.array([[np.nan, 1, -np.inf, 3, np.nan, np.nan, np.inf, 0]], np.float32)
    for body in BODIES:
        model, arrays = reduce_window_model(x, [1, 3], body, padding=[0, 0, -1, 2])
        (found,), (expected,) = compute_model(target, model, arrays)
        np.testing.assert_array_equal(found, expected)


@each
@pytest.mark.parametrize("function", [*BODIES, "ALL", "ANY"])
def test_windows_that_inputs_give(target: Target, function: str) -> None:
    x = numbers((4, 9), np.bool_ if function in ("ALL", "ANY") else np.float32)
    inputs = [x, x[:1, :1].copy().reshape(()), *(const(np.array(n)) for n in ([2, 3], [1, 2]))]
    inputs.append(const(np.array([1, 2])))
    options = {"reduce_function": function}
    (found,), (expected,) = compute(target, "REDUCE_WINDOW", inputs, options)
    np.testing.assert_array_equal(found, expected)


def test_what_is_left_to_numpy() -> None:
    given = [const(np.array([n])) for n in (2, 1, 1)]
    for dtype, function, lowered in (
        (np.int8, "ADD", False), (np.float32, "ALL", False), (np.bool_, "ALL", True),
        (np.float64, "ADD", False), (np.int64, "ADD", True),
    ):  # fmt: skip
        inputs = [np.zeros(4, dtype), np.zeros((), dtype), *given]
        assert is_lowered("REDUCE_WINDOW", inputs, {"reduce_function": function}) is lowered
    model, arrays = reduce_window_model(np.zeros(1 << 15, np.float32), [1 << 15])
    assert lower(model, arrays) is None

"""REDUCE_WINDOW and STABLEHLO_REDUCE_WINDOW."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import const, one_node, run, run_model
from martlet.errors import ModelError, UnsupportedError
from oracle import litert
from region_models import reduce_window_model

ROWS = np.arange(1, 7, dtype=np.int32)


def fold(*args: Any, **kwargs: Any) -> Any:
    return run_model(*reduce_window_model(*args, **kwargs))[0].tolist()


@pytest.mark.parametrize(
    ("body", "initial", "result"),
    [("ADD", 10, [13, 15]), ("MUL", 2, [4, 12]), ("MAXIMUM", 0, [2, 3]), ("MINIMUM", 9, [1, 2])],
)
def test_each_window_is_folded_from_the_initial_value(
    body: str, initial: int, result: list[int]
) -> None:
    assert fold(ROWS[:3], [2], body, initial) == result
    numbers = [const(np.array([n], np.int64)) for n in (2, 1, 1)]
    plain = run("REDUCE_WINDOW", [ROWS[:3], const(np.array(initial, np.int32)), *numbers],
                {"reduce_function": body})  # fmt: skip
    assert plain.tolist() == result


def test_booleans() -> None:
    x = np.array([True, True, False])
    assert fold(x, [2], "LOGICAL_AND", 1) == [True, False]
    assert fold(x, [2], "LOGICAL_OR", 0) == [True, True]


def test_strides_dilations_and_padding() -> None:
    assert fold(ROWS, [2], window_strides=[2]) == [3, 7, 11]
    assert fold(ROWS, [2], window_dilations=[3]) == [5, 7, 9]
    assert fold(ROWS[:3], [1], base_dilations=[3], initial=0) == [1, 0, 0, 2, 0, 0, 3]
    assert fold(ROWS[:3], [1], padding=[2, 1]) == [0, 0, 1, 2, 3, 0]
    assert fold(ROWS, [1], padding=[-1, -2]) == [2, 3, 4]


def test_a_window_larger_than_the_input_fits_nowhere() -> None:
    assert fold(ROWS, [7]) == []


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_any_window_is_litert_s(data: Any) -> None:
    rank = data.draw(st.integers(1, 3))

    def numbers(low: int, high: int, count: int = rank) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    shape = numbers(4, 7)
    x = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    model, arrays = reduce_window_model(
        x, numbers(1, 3), data.draw(st.sampled_from(["ADD", "STABLEHLO_MAXIMUM"])), 3,
        window_strides=numbers(1, 2), base_dilations=numbers(1, 3),
        window_dilations=numbers(1, 2), padding=numbers(-1, 3, 2 * rank),
    )  # fmt: skip
    assert np.array_equal(run_model(model, arrays)[0], litert(model, arrays)[0])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("function", ["ADD", "MUL", "MINIMUM", "MAXIMUM", "ALL", "ANY"])
def test_reduce_window_of_every_type_is_litert_s(dtype: Any, function: str) -> None:
    x = np.arange(42).reshape(6, 7).astype(dtype) % 5
    numbers = [const(np.array(n, np.int64)) for n in ([2, 3], [2, 1], [1, 2])]
    model, arrays = one_node(
        "REDUCE_WINDOW", [x, const(np.array(1, dtype)), *numbers], {"reduce_function": function},
        options_type="ReduceWindowOptions",
    )  # fmt: skip
    assert np.array_equal(run_model(model, arrays)[0], litert(model, arrays)[0])


def test_what_is_refused() -> None:
    with pytest.raises(ModelError, match="strides of the window must be positive"):
        fold(ROWS, [2], window_strides=[0])
    with pytest.raises(ModelError, match="padding has the wrong length; expected 2, found 1"):
        fold(ROWS, [2], padding=[1])
    with pytest.raises(ModelError, match="crops more than there is"):
        fold(ROWS, [1], padding=[-4, -3])
    with pytest.raises(UnsupportedError, match=r"the body \['SUB'\]"):
        fold(ROWS, [2], "SUB")
    numbers = [const(np.array([n], np.int64)) for n in (2, 1, 1)]
    with pytest.raises(ModelError, match="one initial value"):
        run("REDUCE_WINDOW", [ROWS, ROWS, *numbers], {"reduce_function": "ADD"})

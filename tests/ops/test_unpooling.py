"""Pooling with places, and unpooling."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from build import run
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError, UnsupportedError

SAME, VALID = 1, 2
F32, I32 = DType.FLOAT32, DType.INT32


def structure(window: tuple[int, int], strides: tuple[int, int], padding: int = VALID,
              activation: int = 0) -> np.ndarray:  # fmt: skip
    """The C structure of options; sizes along height and width."""
    fields = (padding, strides[1], strides[0], window[1], window[0], activation, 0, 0, 0, 0)
    return np.frombuffer(struct.pack("<10i", *fields), np.uint8)


def in_window(x: np.ndarray, *options: Any) -> list[np.ndarray]:
    return run(
        "MaxPoolingWithArgmax2D", [x], outputs=[F32, F32], custom=True,
        custom_options=structure(*options),
    )  # fmt: skip


def in_image(x: np.ndarray, **changes: Any) -> list[np.ndarray]:
    said = {
        "ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID",
        "include_batch_in_index": False, **changes,
    }  # fmt: skip
    custom = np.frombuffer(bytes(flexbuffers.Dumps(said)), np.uint8)
    return run("MaxPoolWithArgmax", [x], outputs=[F32, I32], custom=True, custom_options=custom)


def unpool(op: str, values: np.ndarray, indices: np.ndarray, *options: Any) -> np.ndarray:
    return run(
        op, [values, indices], outputs=[F32], custom=True, custom_options=structure(*options)
    )


def image(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)[None, :, :, None]


def test_mediapipe_counts_places_within_the_window() -> None:
    values, places = in_window(image([1, 9, 0, 0], [2, 3, 5, 4]), (2, 2), (2, 2))
    assert values.ravel().tolist() == [9, 5]
    assert places.ravel().tolist() == [np.float32(1.1), np.float32(2.1)]


def test_padding_counts_as_places_of_the_window() -> None:
    _, places = in_window(image([5, 1]), (3, 3), (1, 1), SAME)
    assert places.astype(int).ravel().tolist() == [4, 3]


def test_tensorflow_lite_counts_places_within_the_image_and_channels() -> None:
    x = np.array([[1, 9, 0, 0], [2, 3, 5, 4]], np.float32)
    values, places = in_image(np.stack([x, -x], -1)[None])
    assert values.ravel().tolist() == [9, -1, 5, 0]
    assert places.ravel().tolist() == [2, 1, 12, 5]


def test_the_first_of_equal_maxima_counts() -> None:
    _, places = in_image(image([1, 7], [7, 7]))
    assert places.ravel().tolist() == [1]


def test_without_a_finite_number_the_place_is_the_first() -> None:
    x = image([-np.inf, np.nan], [-np.inf, -np.inf])
    lowest = float(np.finfo(np.float32).min)
    assert [a.ravel().tolist() for a in in_image(x)] == [[lowest], [0]]
    assert in_window(x, (2, 2), (2, 2))[1].ravel().tolist() == [np.float32(0.1)]


def test_the_activation_clamps_the_values() -> None:
    assert in_window(image([-3, 9]), (1, 1), (1, 1), VALID, 3)[0].ravel().tolist() == [0, 6]


@given(arrays(np.float32, (2, 4, 6, 2), elements=st.floats(0.5, 100, width=32), unique=True))
def test_unpooling_puts_the_maxima_back(x: np.ndarray) -> None:
    for op, (values, places) in (
        ("MaxUnpooling2D", in_window(x, (2, 2), (2, 2))),
        ("MaxUnpooling2D", in_image(x)),
        ("LiteRtMaxUnpooling2D", in_image(x)),
    ):
        back = unpool(op, values, places, (2, 2), (2, 2))
        assert back.shape == x.shape
        assert set(back[back != 0].ravel().tolist()) == set(values.ravel().tolist())
        assert ((back == 0) | (back == x)).all()


def test_the_size_comes_from_padding_stride_and_window() -> None:
    values = np.ones((1, 2, 4, 1), np.float32)
    places = np.zeros(values.shape, np.int32)
    valid = unpool("LiteRtMaxUnpooling2D", values, places, (2, 2), (2, 3))
    assert valid.shape == (1, 4, 11, 1)
    same = unpool("LiteRtMaxUnpooling2D", values, places, (2, 2), (2, 3), SAME)
    assert same.shape == (1, 4, 12, 1)
    mediapipe = unpool("MaxUnpooling2D", values, places.astype(np.float32), (2, 5), (2, 5))
    assert mediapipe.shape == (1, 4, 20, 1)


def test_where_values_meet_the_later_one_stays() -> None:
    places = np.zeros((1, 1, 2, 1), np.int32)
    assert unpool("MaxUnpooling2D", image([3, 4]), places, (1, 1), (1, 1)).ravel().tolist() == [
        4,
        0,
    ]


@pytest.mark.parametrize("index", [-1, 8])
def test_places_outside_the_image_are_an_error_of_the_run(index: int) -> None:
    places = np.full((1, 1, 2, 1), index, np.int32)
    with pytest.raises(RunError, match=f"expected 0 to 7, found {index}"):
        unpool("MaxUnpooling2D", image([3, 4]), places, (2, 2), (2, 2))


@pytest.mark.parametrize("index", [-1.0, 4.0, np.nan, np.inf])
def test_places_outside_the_window_are_an_error_of_the_run(index: float) -> None:
    places = np.full((1, 1, 2, 1), index, np.float32)
    with pytest.raises(RunError, match="index is out of range"):
        unpool("MaxUnpooling2D", image([3, 4]), places, (2, 2), (2, 2))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (((2, 2), (2, 2), 0), "unknown padding; expected 1 or 2, found 0"),
        (((2, 2), (2, 2), VALID, 9), "unknown activation"),
        (((2, 0), (2, 2)), "must be positive"),
        (((2, 2), (-1, 2)), "must be positive"),
    ],
)
def test_options_are_checked(options: Any, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        in_window(image([1, 2]), *options)


def test_options_that_are_too_short_or_not_supported_are_refused() -> None:
    x = image([1, 2])
    with pytest.raises(ModelError, match="too short; expected 24 bytes or more, found 0"):
        run("MaxUnpooling2D", [x, x], outputs=[F32], custom=True)
    with pytest.raises(UnsupportedError, match="count the batch"):
        in_image(x, include_batch_in_index=True)


def test_values_and_places_have_one_shape() -> None:
    with pytest.raises(ModelError, match="differ in shape"):
        unpool("MaxUnpooling2D", image([1, 2]), np.zeros((1, 2, 1, 1), np.int32), (1, 1), (1, 1))

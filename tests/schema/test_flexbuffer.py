"""FlexBuffers: values come back as written, damage is a ModelError."""

import contextlib
import math

import pytest
from flatbuffers import flexbuffers
from hypothesis import given
from hypothesis import strategies as st

from martlet.errors import ModelError
from martlet.schema.flexbuffer import MAX_DEPTH, decode

KEYS = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=6)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(-1e30, 1e30)
    | st.text(max_size=6)
    | st.binary(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def test_a_map_by_hand():
    # {"a": 7}: key, vector of keys, map (keys' offset, keys' width, length, value, type), root.
    data = bytes([ord("a"), 0, 1, 3, 1, 1, 1, 7, 4, 2, 36, 1])
    assert decode(data, "here") == {"a": 7}


def test_the_options_of_a_detection_operator():
    options = {"max_detections": 10, "y_scale": 10.0, "use_regular_nms": False, "names": ["a", "b"]}
    assert decode(flexbuffers.Dumps(options), "here") == options


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda b: b.TypedVectorFromElements([1, -300, 3]), [1, -300, 3]),
        (lambda b: b.FixedTypedVectorFromElements([1.5, 2.5]), [1.5, 2.5]),
        (lambda b: b.FixedTypedVectorFromElements([1, 2, 3, 4]), [1, 2, 3, 4]),
        (lambda b: b.IndirectInt(-5), -5),
        (lambda b: b.IndirectFloat(0.25), 0.25),
        (lambda b: b.UInt(1 << 63), 1 << 63),
        (lambda b: b.Blob(b"\0\xff"), b"\0\xff"),
        (lambda b: b.Key("key"), "key"),
    ],
)
def test_every_kind_of_value(build, expected):
    builder = flexbuffers.Builder()
    build(builder)
    assert decode(builder.Finish(), "here") == expected


@given(VALUES)
def test_what_is_written_is_read(value):
    assert decode(flexbuffers.Dumps(value), "here") == value


@given(VALUES, st.data())
def test_damage_is_a_model_error(value, data):
    damaged = bytearray(flexbuffers.Dumps(value))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[data.draw(st.integers(0, 2)) :]
    try:
        decode(bytes(damaged), "here")
    except ModelError as error:
        assert "here" in str(error)  # noqa: PT017


@given(st.binary(max_size=40))
def test_any_bytes_decode_or_raise_a_model_error(data):
    with contextlib.suppress(ModelError):
        decode(data, "here")


def test_deep_nesting_is_refused():
    value = 1
    for _ in range(MAX_DEPTH + 1):
        value = [value, "text"]
    with pytest.raises(ModelError, match="nested too deeply"):
        decode(flexbuffers.Dumps(value), "here")


def test_values_that_share_children_without_end_are_refused():
    # Each level is a vector of two offsets to the level before it: 2^24 leaves in 100 bytes.
    data = bytearray([1, 7, 4])
    start = 1
    for _ in range(24):
        first = len(data) + 1
        data += bytes([2, first - start, first + 1 - start, 40, 40])
        start = first
    data += bytes([len(data) - start, 40, 1])
    with pytest.raises(ModelError, match="share"):
        decode(bytes(data), "here")


def test_nan_survives():
    assert math.isnan(decode(flexbuffers.Dumps(float("nan")), "here"))


def test_too_short_says_so():
    with pytest.raises(ModelError, match="at least 3 bytes, found 2"):
        decode(b"\0\1", "options")

"""FlatBuffers by tables of data: what is written comes back, what is damaged is refused."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from martlet.errors import ModelError
from martlet.schema.layout import Decoder, Encoder, Record, Schema

SCHEMA = Schema(
    enums={"Colour": ("byte", "RED GREEN =7 BLUE")},
    unions={"Shape": "Circle Square"},
    tables={
        "Circle": "radius:float",
        "Square": "side:int=4 name:string",
        "Root": (
            "small:byte big:ulong flag:bool=true colour:Colour=GREEN text:string old:int! "
            "numbers:[long] shape:Shape names:[string] children:[Root] only:Square"
        ),
    },
)


def encode(record: Record) -> bytes:
    return bytes(Encoder(SCHEMA, {}).encode(record, b"TEST"))


def decode(data: bytes) -> Record:
    return Decoder(SCHEMA, memoryview(data), "file").root("Root")


def test_records_may_share_an_array() -> None:
    numbers = np.arange(100)
    child = SCHEMA.record("Root", numbers=numbers)
    root = decode(encode(SCHEMA.record("Root", numbers=numbers, children=[child, child])))
    assert [r.numbers.tolist() for r in (root, *root.children)] == [list(range(100))] * 3


def test_numbers_of_8_bytes_may_be_aligned_to_4() -> None:
    places = set()
    for word in ("", "word"):
        record = SCHEMA.record("Root", text=word, numbers=np.array([1 << 40, -2]))
        data = bytes(Encoder(SCHEMA, {("Root", "numbers"): 4}).encode(record, b"TEST"))
        places.add(data.index(record.numbers.tobytes()) % 8)
        assert decode(data).numbers.tolist() == [1 << 40, -2]
    assert places == {0, 4}


def test_fields_left_out_have_their_defaults() -> None:
    root = decode(encode(SCHEMA.record("Root")))
    assert root.small == 0
    assert root.flag is True
    assert root.colour == "GREEN"
    assert root.text is None
    assert root.shape is None
    assert not hasattr(root, "old")


def test_enum_values_skip_as_the_table_says() -> None:
    assert SCHEMA.enums["Colour"].values == {"RED": 0, "GREEN": 1, "BLUE": 7}


def test_enum_values_without_a_name_stay_numbers() -> None:
    record = SCHEMA.record("Root", colour=5)
    assert decode(encode(record)).colour == 5


leaf = st.builds(
    lambda small, big, flag, colour, text, numbers, shape: SCHEMA.record(
        "Root",
        small=small,
        big=big,
        flag=flag,
        colour=colour,
        text=text,
        numbers=None if numbers is None else np.array(numbers, np.int64),
        shape=shape,
    ),
    st.integers(-128, 127),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.sampled_from(["RED", "GREEN", "BLUE"]),
    st.none() | st.text(max_size=20),
    st.none() | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    st.none()
    | st.builds(lambda r: SCHEMA.record("Circle", radius=r), st.floats(width=32))
    | st.builds(lambda s: SCHEMA.record("Square", side=s, name="sq"), st.integers(0, 9)),
)
trees = st.recursive(
    leaf,
    lambda inner: st.builds(
        lambda root, children, names: SCHEMA.record(
            "Root", **{**root.fields(), "children": children, "names": names}
        ),
        leaf,
        st.lists(inner, max_size=3),
        st.lists(st.text(max_size=8), max_size=3),
    ),
    max_leaves=8,
)


@given(trees)
def test_what_is_encoded_decodes_to_the_same(record: Record) -> None:
    assert decode(encode(record)) == record


def test_a_record_knows_its_fields() -> None:
    record = SCHEMA.record("Square")
    with pytest.raises(AttributeError, match="Square has no field 'radius'"):
        record.radius = 1.0
    with pytest.raises(AttributeError, match="no field"):
        SCHEMA.record("Square", radius=1.0)


sample = SCHEMA.record(
    "Root",
    text="hello",
    numbers=np.arange(4),
    shape=SCHEMA.record("Square", name="x"),
    names=["a", "b"],
    children=[SCHEMA.record("Root", text="deep", children=[SCHEMA.record("Root")])],
)


def test_every_truncation_is_refused_or_reads_the_same() -> None:
    data = encode(sample)
    for length in range(len(data)):
        with suppress(ModelError):
            assert decode(data[:length]) == sample, length


@given(st.integers(0, len(encode(sample)) - 1), st.integers(0, 255))
def test_every_changed_byte_is_refused_or_reads_as_something(position: int, value: int) -> None:
    data = bytearray(encode(sample))
    data[position] = value
    with suppress(ModelError):
        decode(bytes(data))


def test_a_table_that_contains_itself_is_refused() -> None:
    # children[0] refers back to the root: endless nesting in a file of a few bytes.
    data = bytearray(encode(SCHEMA.record("Root", children=[SCHEMA.record("Root")])))
    root = struct.unpack_from("<I", data)[0]
    vtable = root - struct.unpack_from("<i", data, root)[0]
    # The vector is the only field; its only element can point forward only, so make it wrap.
    field = root + 4
    vector = field + struct.unpack_from("<I", data, field)[0]
    struct.pack_into("<I", data, vector + 4, (root - vector - 4) & 0xFFFFFFFF)
    assert vtable > 0
    with pytest.raises(ModelError, match="outside the file"):
        decode(bytes(data))


def test_shared_tables_cannot_multiply_beyond_the_size_of_the_file() -> None:
    """Ten levels of ten references to one table each would be 10^10 tables."""
    data = bytearray(b"\0\0\0\0TEST")
    struct.pack_into("<I", data, 0, 8 + 22)
    slot = 10  # children
    data += struct.pack(f"<{2 + slot + 1}H", 4 + 2 * (slot + 1), 8, *([0] * slot), 4)
    data = data[: 8 + 4 + 2 * (slot + 1)]
    data += bytes(-len(data) % 4)
    struct.pack_into("<I", data, 0, len(data))
    vtable = 8
    for level in range(20):
        table = len(data)
        data += struct.pack("<iI", table - vtable, 4)
        last = level == 19
        count = 0 if last else 10
        data += struct.pack("<I", count)
        after = len(data) + 4 * count
        for i in range(count):
            data += struct.pack("<I", after - (table + 12 + 4 * i))
    with pytest.raises(ModelError, match="more tables and vectors than the file has|too deeply"):
        decode(bytes(data))


def test_a_shared_vector_cannot_multiply_beyond_the_size_of_the_file() -> None:
    data = bytearray(encode(SCHEMA.record("Root", children=[SCHEMA.record("Root")] * 1000)))
    # Every child says that it has the same 80 kB of numbers, which lie behind all of them.
    vtable, size = len(data), 4 + 2 * 7
    data += struct.pack("<HH6HH", size, 8, *[0] * 6, 4)
    data += bytes(-len(data) % 8)
    tables, numbers = len(data), len(data) + 8 * 1000 + 4
    for i in range(1000):
        at = tables + 8 * i
        data += struct.pack("<iI", at - vtable, numbers - at - 4)
    data += struct.pack("<II", 0, 10_000) + bytes(80_000)
    root = struct.unpack_from("<I", data)[0]
    children = root + 4
    children += struct.unpack_from("<I", data, children)[0]
    assert struct.unpack_from("<I", data, children)[0] == 1000
    for i in range(1000):
        place = children + 4 + 4 * i
        struct.pack_into("<I", data, place, tables + 8 * i - place)
    with pytest.raises(ModelError, match="more tables and vectors than the file has room for"):
        decode(bytes(data))


def test_a_vector_longer_than_the_file_is_refused_before_it_is_read() -> None:
    data = bytearray(encode(SCHEMA.record("Root", numbers=np.arange(2))))
    at = data.index(struct.pack("<Iq", 2, 0))
    struct.pack_into("<I", data, at, 1 << 31)
    with pytest.raises(ModelError, match=r"numbers runs past the end of the file"):
        decode(bytes(data))

"""Fields of protocol buffers, and damage."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_node import proto_field, varint
from martlet.errors import ModelError
from martlet.schema.protobuf import fields, integers, signed, single


def test_fields_come_in_order_with_their_numbers():
    data = proto_field(1, 300) + proto_field(2, b"ab") + proto_field(3, 1.5) + proto_field(1, 0)
    number, text, bits, again = fields(data, "here")
    assert (number, text, again) == ((1, 300), (2, b"ab"), (1, 0))
    assert (bits[0], single(bits[1])) == (3, 1.5)


def test_repeated_numbers_may_be_packed():
    assert integers(varint(3) + varint(300) + varint(-1), "here") == [3, 300, -1]
    assert integers(7, "here") == [7]


@settings(deadline=None)
@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_numbers_keep_their_sign(number):
    assert signed(fields(proto_field(5, number), "here")[0][1]) == number


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x80", "a number does not end"),
        (b"\x08" + b"\xff" * 11, "a number does not end"),
        (b"\x0a\x05ab", "longer than what is left"),
        (b"\x0d\x00", "longer than what is left"),
        (b"\x0b", "unknown wire type 3"),
    ],
)
def test_damage_is_named(data, problem):
    with pytest.raises(ModelError, match=problem):
        fields(data, "here")


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_give_fields_or_an_error(data):
    with suppress(ModelError):
        fields(data, "here")

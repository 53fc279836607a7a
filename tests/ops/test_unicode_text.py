"""FlexUnicodeDecodeWithOffsets, FlexWhitespaceTokenizeWithOffsets, FlexUnicodeEncode."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import run
from custom_node import flex
from martlet.dtypes import DType
from martlet.errors import RunError, UnsupportedError

INT32, INT64 = DType.INT32, DType.INT64


def decode(*texts, **attributes):
    strings = np.empty(len(texts), object)
    strings[:] = texts
    node = flex("UnicodeDecodeWithOffsets", **attributes)
    outputs = [INT64, INT32, INT64]
    return run("FlexUnicodeDecodeWithOffsets", [strings], outputs=outputs, **node)


def encode(codes, splits, **attributes):
    inputs = [np.array(codes, np.int32), np.array(splits)]
    node = flex("UnicodeEncode", **attributes)
    return run("FlexUnicodeEncode", inputs, outputs=[DType.STRING], **node).tolist()


def test_code_points_and_where_they_begin():
    splits, codes, starts = decode("é😀".encode(), b"", b"ab")
    assert splits.tolist() == [0, 2, 2, 4]
    assert codes.tolist() == [0xE9, 0x1F600, ord("a"), ord("b")]
    assert starts.tolist() == [0, 2, 0, 1]


@pytest.mark.parametrize(
    ("errors", "codes"), [(b"replace", [97, 0xFFFD, 98]), (b"ignore", [97, 98])]
)
def test_what_is_not_utf8_is_replaced_or_left_out(errors, codes):
    assert decode(b"a\xffb", errors=errors)[1].tolist() == codes


def test_strict_decoding_refuses_it():
    with pytest.raises(RunError, match="not valid UTF-8; found byte 1"):
        decode(b"a\xff", errors=b"strict")


def test_controls_are_replaced_on_demand():
    codes = decode(b"a\n", replace_control_characters=True, replacement_char=63)[1]
    assert codes.tolist() == [97, 63]


def test_other_encodings_are_refused():
    with pytest.raises(UnsupportedError, match="UTF-16-BE"):
        decode(b"", input_encoding=b"UTF-16-BE")


def test_tokens_with_their_place_in_each_row():
    codes = np.array([ord(c) for c in " ab c" + "d\u3000"], np.int32)
    values, inner, starts, limits, outer = run(
        "FlexWhitespaceTokenizeWithOffsets", [codes, np.array([0, 5, 7])], custom=True,
        outputs=[INT32, INT64, INT64, INT64, INT64],
    )  # fmt: skip
    assert "".join(map(chr, values)) == "abcd"
    assert inner.tolist() == [0, 2, 3, 4]
    assert (starts.tolist(), limits.tolist()) == ([1, 4, 0], [3, 5, 1])
    assert outer.tolist() == [0, 2, 3]


def test_numbers_that_are_no_code_points_are_replaced():
    assert encode([97, 0xD800, -1, 98], [0, 3, 4]) == ["a\ufffd\ufffd".encode(), b"b"]


@settings(deadline=None)
@given(st.lists(st.text(max_size=6), max_size=4))
def test_decoding_and_encoding_give_the_text_back(texts):
    splits, codes, _ = decode(*[t.encode() for t in texts])
    assert encode(codes, splits) == [t.encode() for t in texts]

"""tftext:WhitespaceTokenizer, tftext:Ngrams."""

import numpy as np
import pytest

from build import const, run
from custom_node import flexbuffer
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError
from martlet.ops.tokenizers import split_whitespace

STRING, INT64 = DType.STRING, DType.INT64


def strings(shape, *texts):
    result = np.empty(len(texts), object)
    result[:] = texts
    return result.reshape(shape)


def tokenize(text, *outputs):
    return run("tftext:WhitespaceTokenizer", [text], custom=True, outputs=outputs)


def ngrams(width, *inputs, axis=-1, kind="STRING_JOIN"):
    node = flexbuffer(width=width, axis=axis, reduction_type=kind, string_separator="_")
    outputs = [STRING] + [INT64] * (len(inputs) - 1)
    return run("tftext:Ngrams", inputs, outputs=outputs, **node)


def test_a_dense_result_is_filled_with_empty_strings():
    tokens = tokenize(strings((2,), b" a  b\n", b"c"), STRING)
    assert tokens.tolist() == [[b"a", b"b"], [b"c", b""]]


def test_a_ragged_result_has_row_splits_for_each_dimension():
    text = strings((2, 2), b"a b", b"", b"c", b"d e f")
    tokens, outer, inner = tokenize(text, STRING, INT64, INT64)
    assert tokens.tolist() == [b"a", b"b", b"c", b"d", b"e", b"f"]
    assert outer.tolist() == [0, 2, 4]
    assert inner.tolist() == [0, 2, 2, 3, 6]


def test_no_strings_have_no_tokens():
    assert tokenize(strings((0,)), STRING).shape == (0, 0)


def test_there_must_be_row_splits_for_each_dimension():
    with pytest.raises(ModelError, match="row splits for each dimension; expected 2, found 1"):
        tokenize(strings((1, 1), b"a"), STRING, INT64)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("日本\u3000語\u2003x\ufeffy", ["日本", "語", "x", "y"]),
        ("a\u200bb", ["a\u200bb"]),
        ("😀 b", ["😀", "b"]),
    ],
)
def test_white_space_is_that_of_unicode(text, tokens):
    assert split_whitespace(text.encode()) == [t.encode() for t in tokens]


def test_nothing_is_read_past_a_byte_that_is_not_utf8():
    assert split_whitespace(b"a bc\xff d") == [b"a", b"bc"]
    assert split_whitespace("a \ufffd d".encode()) == [b"a"]


def test_ngrams_run_along_the_last_dimension():
    grams = ngrams(2, strings((2, 3), b"a", b"b", b"c", b"d", b"e", b"f"))
    assert grams.tolist() == [[b"a_b", b"b_c"], [b"d_e", b"e_f"]]


def test_ngrams_of_a_ragged_tensor_stay_within_its_rows():
    splits = [const(np.array(s)) for s in ([0, 2], [0, 3, 4])]
    grams, outer, inner = ngrams(2, strings((4,), b"a", b"b", b"c", b"d"), *splits)
    assert grams.tolist() == [b"a_b", b"b_c"]
    assert outer.tolist() == [0, 2]
    assert inner.tolist() == [0, 2, 2]


def test_a_width_past_the_row_gives_nothing():
    assert ngrams(4, strings((1, 3), b"a", b"b", b"c")).shape == (1, 0)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [({"axis": 0}, "last axis only"), ({"kind": "SUM"}, "unknown reduction; expected STRING_JOIN")],
)
def test_other_ngrams_are_refused(changes, problem):
    with pytest.raises(ModelError, match=problem):
        ngrams(1, strings((1,), b"a"), **changes)


def test_row_splits_are_checked():
    with pytest.raises(RunError, match="row splits do not rise"):
        ngrams(1, strings((1,), b"a"), np.array([0, 2]))

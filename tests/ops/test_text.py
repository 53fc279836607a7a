"""SKIP_GRAM, LSH_PROJECTION, HASHTABLE_LOOKUP, and SmartReply's operators."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import const, run
from martlet.dtypes import DType
from martlet.errors import LimitError, ModelError
from martlet.ops.text import normalize_sentence, split_words
from oracle import agree

STRING = [DType.STRING]


def strings(*texts):
    result = np.empty(len(texts), object)
    result[:] = [t if isinstance(t, bytes) else t.encode() for t in texts]
    return result


def skip_gram(text, size, skip, every=False, check=agree):
    options = {"ngram_size": size, "max_skip_size": skip, "include_all_ngrams": every}
    return check("SKIP_GRAM", [strings(text)], options, outputs=STRING).tolist()


# Skip-grams


def test_pairs_may_skip_words_and_longer_grams_come_before_what_they_begin_with():
    assert skip_gram("a b c", 2, 1, every=True) == [b"a b", b"a c", b"a", b"b c", b"b", b"c"]


def test_only_the_wanted_size_unless_all_are_asked_for():
    assert skip_gram("a b c d", 3, 0) == [b"a b c", b"b c d"]


def test_too_few_words_give_nothing():
    assert skip_gram("a b", 3, 2, every=True) == []
    assert skip_gram("", 1, 0) == []


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_that_is_not_positive_gives_nothing(size):
    assert skip_gram("a b", size, 1, check=run) == []


def test_a_space_in_front_belongs_to_the_first_word_which_is_then_dropped():
    assert split_words(b" a b\tc ") == [b"b", b"c"]
    assert split_words(b" a") == [b" a"]
    assert split_words(b"a  b") == [b"a", b"b"]


@settings(max_examples=25, deadline=None)
@given(
    st.text("ab \t", max_size=14), st.integers(1, 4), st.integers(0, 3), st.booleans()
)  # fmt: skip
def test_skip_grams_are_those_of_litert(text, size, skip, every):
    skip_gram(text, size, skip, every)


def test_too_many_skip_grams_are_refused_before_they_are_made():
    with pytest.raises(LimitError, match="n-grams"):
        skip_gram("a " * 200, 30, 30, check=run)


# Projections


def lsh(kind, *inputs):
    return agree("LSH_PROJECTION", inputs, {"type": kind}, outputs=[DType.INT32])


SEEDS = np.float32([[0.123, 0.456], [-0.321, 1.234], [5.678, -4.321]])


def test_dense_projection_gives_a_bit_for_each_seed():
    assert set(lsh("DENSE", SEEDS, np.int32([12345, 54321, 67890])).tolist()) <= {0, 1}


def test_sparse_projection_packs_the_bits_of_a_function_and_keeps_functions_apart():
    weights = np.float32([0.12, 0.34, 0.56])
    dense = lsh("DENSE", SEEDS, np.int32([12345, 54321, 67890]), weights).reshape(3, 2)
    sparse = lsh("SPARSE", SEEDS, np.int32([12345, 54321, 67890]), weights)
    np.testing.assert_array_equal(sparse, dense @ [2, 1] + [0, 4, 8])


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_rows_of_any_numbers_are_hashed_as_bytes(dtype):
    lsh("DENSE", SEEDS, np.arange(40).reshape(2, 4, 5).astype(dtype))


def test_weights_must_be_one_to_a_row():
    with pytest.raises(ModelError, match="differ in number; expected 3, found 2"):
        run(
            "LSH_PROJECTION", [SEEDS, np.int32([1, 2, 3]), np.float32([1, 2])],
            {"type": "DENSE"}, outputs=[DType.INT32],
        )  # fmt: skip


def test_an_unknown_kind_of_projection_is_refused():
    with pytest.raises(ModelError, match="unknown type of projection"):
        run("LSH_PROJECTION", [SEEDS, np.int32([1])], {"type": "UNKNOWN"}, outputs=[DType.INT32])


# Tables


def test_found_rows_come_out_and_missing_ones_are_0():
    values, hits = agree(
        "HASHTABLE_LOOKUP",
        [np.int32([1234, -292, -11, 0]), const(np.int32([-11, 0, 1234])),
         const(np.float32([[0, 0.1], [1, 1.1], [2, 2.1]]))],
        outputs=[DType.FLOAT32, DType.UINT8],
    )  # fmt: skip
    np.testing.assert_array_equal(values, np.float32([[2, 2.1], [0, 0], [0, 0.1], [1, 1.1]]))
    assert hits.tolist() == [1, 0, 1, 1]


def test_strings_that_are_missing_are_empty():
    values, hits = agree(
        "HASHTABLE_LOOKUP",
        [np.int32([7, 8]), const(np.int32([7])), const(strings("Hi"))],
        outputs=[DType.STRING, DType.UINT8],
    )
    assert values.tolist() == [b"Hi", b""]
    assert hits.tolist() == [1, 0]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_of_equal_keys_the_one_is_found_that_litert_finds(keys):
    keys = np.sort(np.int32(keys))
    values = np.arange(len(keys), dtype=np.int32)
    agree(
        "HASHTABLE_LOOKUP", [np.arange(-5, 6, dtype=np.int32), const(keys), const(values)],
        outputs=[DType.INT32, DType.UINT8],
    )  # fmt: skip


def test_a_table_must_have_a_value_for_each_key():
    with pytest.raises(ModelError, match="keys and values differ in number"):
        run(
            "HASHTABLE_LOOKUP", [np.int32([7]), np.int32([7, 8]), np.float32([1])],
            outputs=[DType.FLOAT32, DType.UINT8],
        )  # fmt: skip


# SmartReply


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Are you free?", "<S> are you free ? <E>"),
        ("  I'm here. ", "<S> i am here <E>"),
        ("can't", "<S> ca not <E>"),
        ("do n't", "<S> do not <E>"),
        ("they'll go, we've been, you're it", "<S> they will go, we have been, you are it <E>"),
        ("What?!?!", "<S> what ? ! ?! <E>"),
        ("so!!!", "<S> so ! <E>"),
        ('(a) "b" *c*', "<S> a b c <E>"),
        ("- , yes - ,", "<S> yes <E>"),
        ("ÄÖ Über", "<S> ÄÖ Über <E>"),
        ("", "<S>  <E>"),
    ],
)
def test_normal_form_of_a_sentence(text, normal):
    assert normalize_sentence(text.encode()) == normal.encode()


def test_a_long_sentence_is_cut_at_300_bytes_and_has_no_end():
    assert normalize_sentence(b"a" * 301) == b"<S> " + b"a" * 300
    assert normalize_sentence(b"a" * 300) == b"<S> " + b"a" * 300 + b" <E>"


def test_bytes_that_are_not_utf8_are_kept_and_match_no_pattern():
    assert normalize_sentence(b"A\xffn't") == b"<S> a\xffn't <E>"


def test_several_strings_are_made_lower_case_as_in_litert_own_sample():
    result = run("Normalize", [strings("Google", "LiteRT", "Awesome")], custom=True)
    assert result.tolist() == [b"google", b"litert", b"awesome"]


def test_features_weigh_as_many_as_they_have_words_and_marks_nothing():
    labels, weights = run(
        "ExtractFeatures", [strings("<S>", "<E>", "<S> <E>", "<S> hi", "hi")], custom=True,
        outputs=[DType.INT32, DType.FLOAT32],
    )  # fmt: skip
    assert weights.tolist() == [0, 0, 0, 2, 1]
    assert labels[:3].tolist() == [0, 0, 0]
    assert ((labels >= 0) & (labels < 1_000_000)).all()


def test_no_features_are_one_that_weighs_nothing():
    labels, weights = run(
        "ExtractFeatures", [strings()], custom=True, outputs=[DType.INT32, DType.FLOAT32]
    )
    assert labels.tolist() == weights.tolist() == [0]


def predict(count, threshold, signatures, raw=None):
    options = np.frombuffer(raw or struct.pack("<if", count, threshold), np.uint8)
    return run(
        "Predict",
        [np.int32(signatures), const(np.int32([1, 5])), const(np.int32([[10, 20], [20, 30]])),
         const(np.float32([[1, 2], [4, 0.25]]))],
        custom=True, custom_options=options, outputs=[DType.INT32, DType.FLOAT32],
    )  # fmt: skip


def test_signatures_vote_and_the_best_labels_win():
    labels, weights = predict(4, 0.2, [1, 5])
    assert labels.tolist() == [20, 10, -1, -1]
    assert weights.tolist() == [3, 0.5, 0, 0]


def test_unknown_signatures_still_count_in_the_mean():
    labels, weights = predict(1, 0, [1, 2, 3, 4])
    assert (labels.tolist(), weights.tolist()) == ([20], [0.5])


def test_options_of_another_size_are_refused():
    with pytest.raises(ModelError, match="expected 8 bytes, found 3"):
        predict(0, 0, [1], raw=b"abc")

"""Text to n-grams to the mean of embeddings, as in MediaPipe's language detector."""

import numpy as np
import pytest

from build import run
from custom_node import flexbuffer
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError
from martlet.ops.language_detector import murmur64


def ngrams(text, lengths=(1, 2), sizes=(100, 200), **options):
    node = flexbuffer(
        seed=123, ngram_lengths=list(lengths), vocab_sizes=list(sizes), **options
    )  # fmt: skip
    return run("NGramHash", [np.array([text], object)], outputs=[DType.INT32], **node).tolist()


def expected(*rows, sizes=(100, 200)):
    return [
        [[murmur64(g, 123) % n + 1 for g in row] for row, n in zip(rows, sizes, strict=True)]
    ]  # fmt: skip


def test_the_hash_is_murmur_hash_64a():
    assert murmur64(b"", 0) == 0
    assert murmur64(b"hello", 0) == 0x1E68D17C457BF117


def test_ngrams_reach_over_both_ends_of_the_text():
    rows = [b"^", b"h", b"i", b"$"], [b"^h", b"hi", b"i$", b"$"]
    assert ngrams(b"hi") == expected(*rows)


def test_case_counts_only_if_the_options_say_so():
    assert ngrams(b"HI") == ngrams(b"hi")
    assert ngrams(b"HI", lowercase_input=False) != ngrams(b"hi")


def test_what_is_no_letter_is_a_space():
    assert ngrams(b"a1!") == ngrams(b"a  ")
    assert ngrams(b"a\xff") == ngrams(b"a ")


def test_characters_of_several_bytes_are_one():
    text = "\u0416\u00e9".encode()
    letters = [c.encode() for c in "^\u0436\u00e9$"]
    pairs = [a + b for a, b in zip(letters, [*letters[1:], b""], strict=True)]
    assert ngrams(text) == expected(letters, pairs)


def test_a_character_that_is_cut_off_ends_the_text():
    assert ngrams(b"a\xc3", lowercase_input=False) == ngrams(b"a")


def test_a_text_that_grows_in_lower_case_is_cut_and_one_that_shrinks_filled():
    grown, shrunk = "\u023a", "\u0130"
    assert len(grown.lower().encode()) == 3
    assert ngrams(f"{grown}b".encode()) == ngrams("\u2c65".encode())
    assert ngrams(shrunk.encode()) == ngrams(b"i ")


def test_max_splits_counts_both_ends():
    assert ngrams(b"wow", max_splits=3) == expected([b"^", b"w", b"$"], [b"^w", b"w$", b"$"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": ()}, "ngram_lengths is not a list"),
        ({"lengths": (1,)}, "differ in length; expected 1, found 2"),
        ({"sizes": (1, 0)}, "vocab_sizes has a wrong number"),
        ({"max_splits": 0}, "max_splits is out of range"),
    ],
)
def test_options_are_checked(changes, message):
    with pytest.raises(ModelError, match=message):
        ngrams(b"hi", **changes)


TABLE = np.uint8([[0, 0], [1, 2], [3, 0], [2, 3]])
CODEBOOK = np.float32([[5, 2], [8, 2], [1, 3], [0, -2]])


def embedding(*ids, table=TABLE):
    inputs = [np.int32([ids]), table, CODEBOOK]
    return run("KmeansEmbeddingLookup", inputs, outputs=[DType.FLOAT32], custom=True).tolist()


def test_embeddings_are_joined_codes_and_their_mean_is_taken():
    assert embedding(1) == [[8, 2, 1, 3]]
    assert embedding(1, 2) == [[4, 0, 3, 2.5]]


def test_ids_after_the_first_0_do_not_count():
    assert embedding(1, 0, 2) == embedding(1)
    assert embedding(0, 1) == [[0, 0, 0, 0]]


def test_ids_and_codes_are_checked():
    with pytest.raises(RunError, match="an id is out of range; expected 0 to 3, found 4"):
        embedding(4)
    with pytest.raises(RunError, match="a code is out of range; expected 0 to 3, found 9"):
        embedding(1, table=TABLE + np.uint8(7))


def test_there_is_one_text_at_a_time():
    with pytest.raises(ModelError, match="the batch is not 1"):
        run("KmeansEmbeddingLookup", [np.ones((2, 1), np.int32), TABLE, CODEBOOK], custom=True)

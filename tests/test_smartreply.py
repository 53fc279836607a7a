"""SmartReply: the answers of its original runtime, and its parts on a small model."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from corpus import ROOT
from martlet.dtypes import DType
from martlet.errors import ArgumentError, ModelError
from martlet.graph import Graph, Model, Tensor
from martlet.ops.farmhash import fingerprints
from martlet.schema.writer import write
from martlet.smartreply import SmartReply, split_sentences

FOLDER = ROOT / "smartreply"


@pytest.mark.skipif(not FOLDER.exists(), reason="the published model is not here")
def test_all_replies_and_scores_are_those_of_the_original():
    model = SmartReply(FOLDER / "smartreply.tflite")
    for message, expected in json.loads((FOLDER / "cases.json").read_text()):
        assert model.reply(message) == pytest.approx(expected, abs=1e-4), message


@pytest.mark.parametrize(
    ("message", "sentences"),
    [
        ("hi, you there??  Good", ["hi ,", "you there ?", "Good"]),
        ("3.5 is fine", ["3 .5 is fine"]),
        ("Really?! ", ["Really !"]),
        ("", [""]),
    ],
)
def test_sentences_end_at_their_marks(message, sentences):
    assert split_sentences(message) == sentences


def small_model():
    """A word gives one feature, which gives the signature 0 or 1, which votes for replies."""
    graph = Graph()
    text = graph.input("text", (1,), DType.STRING)

    def add(op, inputs, outputs, **fields):
        tensors = [Tensor(f"{op}{i}", (), dtype) for i, dtype in enumerate(outputs)]
        first = graph.add(op, inputs, outputs=tensors, **fields)
        return range(first, first + len(outputs))

    (normal,) = add("Normalize", [text], [DType.STRING], custom=True)
    (grams,) = add(
        "SKIP_GRAM", [normal], [DType.STRING], options_type="SkipGramOptions",
        options={"ngram_size": 1, "max_skip_size": 0, "include_all_ngrams": True},
    )  # fmt: skip
    features = add("ExtractFeatures", [grams], [DType.INT32, DType.FLOAT32], custom=True)
    seeds = graph.constant(np.float32([[0.5]]))
    (signature,) = add(
        "LSH_PROJECTION", [seeds, *features], [DType.INT32], options={"type": "SPARSE"},
        options_type="LSHProjectionOptions",
    )  # fmt: skip
    table = [
        graph.constant(np.int32([0, 1])),
        graph.constant(np.int32([[1, 2], [2, 3]])),
        graph.constant(np.float32([[1.0, 0.5], [0.75, 0.25]])),
    ]
    options = np.frombuffer(struct.pack("<if", 3, 0.1), np.uint8)
    labels, weights = add(
        "Predict", [signature, *table], [DType.INT32, DType.FLOAT32], custom=True,
        custom_options=options,
    )  # fmt: skip
    keys = graph.constant(np.int32([1, 2, 3]))
    replies = graph.constant(np.array([b"Yes", b"No \xf0\x9f\x98\x80", b"Maybe"], object))
    messages, _ = add("HASHTABLE_LOOKUP", [labels, keys, replies], [DType.STRING, DType.UINT8])
    graph.output(messages, weights)
    return Model([graph])


def votes_for(word):
    """The signature that the small model gives a word, worked out by hand."""
    feature = int(fingerprints([word.encode()])[0] % np.uint64(1_000_000))
    key = struct.pack("<fi", 0.5, feature)
    return int(fingerprints([key]).view(np.int64)[0] > 0)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "small.tflite"
    file.write_bytes(bytes(write(small_model())))
    return file


REPLIES = ({"Yes": 1.0, "No 😀": 0.5}, {"No 😀": 0.75, "Maybe": 0.25})


@pytest.mark.parametrize("word", ["hello", "bye", "ok", "日本語"])
def test_replies_come_best_first(path, word):
    replies = SmartReply(path).reply(word)
    assert replies == REPLIES[votes_for(word)]
    assert list(replies.values()) == sorted(replies.values(), reverse=True)


def test_scores_of_sentences_are_added(path):
    model = SmartReply(path)
    words = ["hello", "bye"]
    expected: dict[str, float] = {}
    for part in split_sentences("hello, bye"):
        for reply, score in model.reply(part).items():
            expected[reply] = expected.get(reply, 0) + score
    assert model.reply(", ".join(words)) == pytest.approx(expected)


@pytest.mark.parametrize("message", ["", " ", "...", "\ud800", "\0", "x" * 5000, "a b " * 500])
def test_any_text_is_answered(path, message):
    assert isinstance(SmartReply(path).reply(message), dict)


def test_the_message_must_be_text(path):
    with pytest.raises(ArgumentError, match="expected str, found bytes"):
        SmartReply(path).reply(b"hello")


def test_another_model_is_refused(tmp_path):
    graph = Graph()
    graph.output(graph.add("RELU", [graph.input("x", (1,))]))
    file = tmp_path / "relu.tflite"
    file.write_bytes(bytes(write(Model([graph]))))
    with pytest.raises(ModelError, match="not a SmartReply model"):
        SmartReply(file)

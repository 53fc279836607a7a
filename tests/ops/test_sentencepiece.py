"""SentencePiece: the library's model and TensorFlow Lite Support's form of it."""

import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from build import const, run, run_model
from custom_node import flex, proto_field
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError, UnsupportedError
from martlet.graph import Graph, Model, Node, Tensor
from martlet.ops.sentencepiece_model import (
    _CONFIG,
    DoubleArray,
    WordTrie,
    from_config,
    from_proto,
)
from martlet.schema.layout import Encoder

SPACE = "\u2581"
PIECES = {"<unk>": 0.0, "<s>": 0.0, "</s>": 0.0, SPACE: -2.0, "a": -3.0, "b": -3.5, "ab": -4.0,
          SPACE + "ab": -5.0, "abb": -9.0}  # fmt: skip
KINDS = {"<unk>": 2, "<s>": 3, "</s>": 3}
IDS = {piece: i for i, piece in enumerate(PIECES)}
NFKC = {"\uff41": "a", "\u3000": " "}  # full-width a, ideographic space


def double_array(words):
    """A Darts double array of words (bytes) and their numbers."""
    nodes = {0: 0}
    reserved = {0}

    def place(position, items):
        labels = sorted({w[0] for w, _ in items if w})
        ends = [n for w, n in items if not w]
        offset = 256
        while any((position ^ offset ^ c) in reserved for c in labels) or (
            ends and (position ^ offset) in reserved
        ):
            offset += 256
        nodes[position] |= offset << 10 if offset < 1 << 21 else 0
        base = position ^ offset
        if ends:
            nodes[position] |= 0x100
            nodes[base] = 0x80000000 | ends[0]
            reserved.add(base)
        for c in labels:
            nodes[base ^ c] = c
            reserved.add(base ^ c)
        for c in labels:
            place(base ^ c, [(w[1:], n) for w, n in items if w and w[0] == c])

    place(0, list(words.items()))
    unused = 0x80000000  # no label
    return [nodes.get(i, unused) for i in range(-(-max(nodes) // 256 + 1) * 256 + 256)]


def replacements():
    texts, words = b"", {}
    for source, target in NFKC.items():
        words[source.encode()] = len(texts)
        texts += target.encode() + b"\0"
    return double_array(words), texts


def proto(pieces=PIECES, kinds=KINDS, trainer=b"", charsmap=True):
    data = b""
    for piece, score in pieces.items():
        fields = proto_field(1, piece.encode()) + proto_field(2, score)
        data += proto_field(1, fields + proto_field(3, kinds.get(piece, 1)))
    nodes, texts = replacements()
    table = struct.pack(f"<I{len(nodes)}I", 4 * len(nodes), *nodes) + texts
    data += proto_field(2, trainer)
    return data + proto_field(3, proto_field(2, table) if charsmap else b"")


def config(**changes):
    words = {p.encode(): i for p, i in IDS.items() if p not in KINDS}
    nodes, texts = replacements()
    fields = {
        "start_code": 1, "end_code": 2, "unknown_code": 0, "unknown_penalty": -19.0,
        "pieces": _CONFIG.record("Trie", nodes=np.array(double_array(words), np.uint32)),
        "pieces_scores": np.array(list(PIECES.values()), np.float32),
        "remove_extra_whitespaces": True, "add_dummy_prefix": True, "escape_whitespaces": True,
        "normalized_prefixes": _CONFIG.record("Trie", nodes=np.array(nodes, np.uint32)),
        "normalized_replacements": np.frombuffer(texts, np.int8),
    } | changes  # fmt: skip
    record = _CONFIG.record("EncoderConfig", **fields)
    return bytes(Encoder(_CONFIG, {}).encode(record, b"TEST"))


def ids(model, text):
    return [n for n, _ in model.encode(text.encode(), lambda: None)]


def pieces_of(*names):
    return [IDS[n] for n in names]


LIBRARY = from_proto(proto(), "here")
SUPPORT = from_config(config(), "here")


@pytest.mark.parametrize("model", [LIBRARY, SUPPORT], ids=["library", "support"])
class TestBoth:
    def test_the_most_probable_pieces_win(self, model):
        assert ids(model, "ab") == pieces_of(SPACE + "ab")
        assert ids(model, "abb") == pieces_of(SPACE + "ab", "b")
        assert ids(model, "ba") == pieces_of(SPACE, "b", "a")

    def test_runs_of_space_shrink_and_ends_are_trimmed(self, model):
        assert ids(model, "  ab   ab ") == pieces_of(SPACE + "ab", SPACE + "ab")

    def test_neighbouring_unknowns_are_one(self, model):
        assert ids(model, "axyzb") == pieces_of(SPACE, "a", "<unk>", "b")

    def test_the_longest_known_prefix_is_replaced(self, model):
        assert ids(model, "\uff41\u3000b") == pieces_of(SPACE, "a", SPACE, "b")

    def test_no_text_has_no_pieces(self, model):
        assert ids(model, "") == ids(model, "  ") == []


@settings(deadline=None)
@given(st.text("ab x\uff41\u3000", max_size=12))
def test_both_forms_agree(text):
    assert ids(LIBRARY, text) == ids(SUPPORT, text)


@settings(deadline=None)
@example({b"Y"}, b"\0Y")
@given(st.sets(st.binary(min_size=1, max_size=4), max_size=12), st.binary(max_size=8))
def test_both_tries_find_the_same_words(words, text):
    numbers = {w: i for i, w in enumerate(sorted(words)) if 0 not in w}
    found = list(DoubleArray(double_array(numbers)).prefixes(text, 0))
    assert found == list(WordTrie(numbers).prefixes(text, 0))


def test_a_byte_that_is_not_utf8_is_unknown():
    assert LIBRARY.encode(b"a\xff", lambda: None)[-1] == (0, "\ufffd".encode())


def test_unknown_characters_fall_back_to_bytes_where_the_model_has_them():
    every_byte = {f"<0x{b:02X}>": 0.0 for b in range(256)}
    kinds = KINDS | dict.fromkeys(every_byte, 6)
    model = from_proto(proto(PIECES | every_byte, kinds, proto_field(35, 1)), "here")
    first = len(PIECES)
    assert ids(model, "aé") == [*pieces_of(SPACE, "a"), first + 0xC3, first + 0xA9]


def test_pieces_of_the_user_win_and_are_not_normalised():
    model = from_proto(proto(PIECES | {"\uff41b": 0.0}, KINDS | {"\uff41b": 4}), "here")
    assert ids(model, "\uff41b") == [IDS[SPACE], len(PIECES)]


@pytest.mark.parametrize(
    ("data", "error", "problem"),
    [
        (proto(trainer=proto_field(3, 2)), UnsupportedError, "not a unigram model"),
        (proto({"a": -1.0}, {}), ModelError, "one for what is unknown"),
        (b"\xff", ModelError, "not a valid protocol buffer"),
        (proto(charsmap=False) + proto_field(3, proto_field(2, b"\xff\xff\xff\xff")), ModelError,
         "table of replacements"),
    ],
)  # fmt: skip
def test_damaged_models_are_refused(data, error, problem):
    with pytest.raises(error, match=problem):
        from_proto(data, "here")


# Operators


def texts(*values):
    result = np.empty(len(values), object)
    result[:] = [v.encode() for v in values]
    return result


def flags(start=False, end=False, reverse=False, nbest=0):
    return [const(np.int32(nbest)), const(np.float32(1)), *map(const, (start, end, reverse))]


def tokenize(*values, **options):
    model = const(np.frombuffer(config(), np.uint8))
    return run(
        "TFSentencepieceTokenizeOp", [model, texts(*values), *flags(**options)], custom=True,
        outputs=[DType.INT32, DType.INT32],
    )  # fmt: skip


def test_rows_of_pieces_and_their_splits():
    numbers, splits = tokenize("ab", "", "a")
    assert numbers.tolist() == pieces_of(SPACE + "ab", SPACE, "a")
    assert splits.tolist() == [0, 1, 1, 3]


def test_start_and_end_are_added_and_turned_round_with_the_rest():
    assert tokenize("ab", start=True, end=True)[0].tolist() == [1, IDS[SPACE + "ab"], 2]
    assert tokenize("a", start=True, reverse=True)[0].tolist() == [IDS["a"], IDS[SPACE], 1]


def test_sampling_is_refused():
    with pytest.raises(UnsupportedError, match="5 best ways"):
        tokenize("a", nbest=5)


def detokenize(numbers, splits):
    pieces = ["", "", "", " ", "a", "b", "ab", " ab"]
    record = _CONFIG.record("DecoderConfig", decode_pieces=pieces, remove_dummy_prefix=True)
    model = np.frombuffer(bytes(Encoder(_CONFIG, {}).encode(record, b"TEST")), np.uint8)
    return run(
        "TFSentencepieceDetokenizeOp",
        [const(model), np.array(numbers, np.int32), np.array(splits, np.int32)],
        custom=True, outputs=[DType.STRING],
    ).tolist()  # fmt: skip


def test_pieces_are_put_together_without_the_space_in_front():
    assert detokenize([7, 5, 7, 3, 4], [0, 3, 3, 5]) == [b"abb ab", b"", b"a"]


def test_numbers_that_are_no_pieces_are_refused():
    with pytest.raises(RunError, match="not that of a piece; expected 0 to 7"):
        detokenize([8], [0, 1])


@pytest.mark.parametrize("kind", [DType.INT32, DType.STRING])
def test_tensorflow_text_keeps_the_model_in_an_operator(kind):
    graph = Graph()
    strings = graph.input("x", (1,), DType.STRING)
    handle = graph.tensor(Tensor("handle", (), DType.RESOURCE))
    graph.nodes.append(Node("FlexSentencepieceOp", [], [handle],
                            **flex("SentencepieceOp", model=proto())))  # fmt: skip
    inputs = [handle, strings]
    for value in (np.int32(0), np.float32(1), np.bool_(False), np.bool_(True), np.bool_(False)):
        inputs.append(graph.constant(value))
    outputs = [Tensor("ids", (), kind), Tensor("splits", (), DType.INT64)]
    graph.add("FlexSentencepieceTokenizeOp", inputs, outputs=outputs,
              **flex("SentencepieceTokenizeOp"))  # fmt: skip
    graph.output(*graph.nodes[-1].outputs)

    numbers, splits = run_model(Model([graph]), [texts("ab")])
    expected = [IDS[SPACE + "ab"], 2] if kind is DType.INT32 else [f"{SPACE}ab".encode(), b"</s>"]
    assert numbers.tolist() == expected
    assert splits.tolist() == [0, 2]

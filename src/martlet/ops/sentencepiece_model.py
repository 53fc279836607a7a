"""SentencePiece's unigram model (Kudo, arXiv 1804.10959): a text to the most probable pieces.

1. The text is normalised: the longest prefixes that a table knows are replaced, runs of space
   shrink to one, a space may be put in front, and spaces become U+2581.
2. Of all ways to cut it into pieces of the vocabulary, the one with the largest sum of scores
   (float32 log-probabilities) is found from left to right. What no piece covers is unknown, at a
   price below that of every piece; neighbouring unknowns are one.

`from_proto` reads the library's own model file, as TensorFlow Text keeps it; `from_config` the
FlatBuffer that TensorFlow Lite Support makes of it, which knows pieces by number only and takes
unknowns byte by byte.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from martlet.errors import ModelError, UnsupportedError
from martlet.records import dataclass, field
from martlet.schema.layout import Decoder, Schema
from martlet.schema.protobuf import fields, signed, single

_SPACE = b"\xe2\x96\x81"  # U+2581
_REPLACEMENT = b"\xef\xbf\xbd"  # U+FFFD, for a byte that is not UTF-8
_UNKNOWN_PENALTY = np.float32(10)
_NORMAL, _UNKNOWN, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 4, 5, 6
_UNIGRAM = 1
_CONFIG = Schema(
    enums={"EncoderVersion": ("byte", "SENTENCE_PIECE")},
    unions={},
    tables={
        "Trie": "nodes:[uint]",
        "EncoderConfig": (
            "version:EncoderVersion start_code:int end_code:int unknown_code:int=-1 "
            "unknown_penalty:float encoding_offset:int pieces:Trie pieces_scores:[float] "
            "remove_extra_whitespaces:bool add_dummy_prefix:bool escape_whitespaces:bool "
            "normalized_prefixes:Trie normalized_replacements:[byte]"
        ),
        "DecoderConfig": (
            "version:EncoderVersion encoding_offset:int decode_pieces:[string] "
            "denormalized_prefixes:Trie denormalized_replacements:[byte] remove_dummy_prefix:bool"
        ),
    },
)


class Trie(Protocol):
    """Words with numbers."""

    def prefixes(self, data: bytes, start: int) -> Iterator[tuple[int, int]]:
        """(length, number) of each word that stands at `start`, the shortest first."""


class DoubleArray:
    """A trie in one array (Darts): the low byte of a node is its label, the rest an offset."""

    def __init__(self, nodes: list[int]) -> None:
        self.nodes = nodes

    def prefixes(self, data: bytes, start: int) -> Iterator[tuple[int, int]]:
        nodes = self.nodes
        position = self._offset(nodes[0]) if nodes else 0
        for i in range(start, len(data)):
            position ^= data[i]
            if position >= len(nodes) or nodes[position] & 0x800000FF != data[i]:
                return
            node = nodes[position]
            position ^= self._offset(node)
            if position >= len(nodes):
                return
            if node & 0x100:
                yield i + 1 - start, nodes[position] & 0x7FFFFFFF

    @staticmethod
    def _offset(node: int) -> int:
        return ((node >> 10) << ((node & 0x200) >> 6)) & 0xFFFFFFFF


class WordTrie:
    """A trie of words held in a dictionary, with all their beginnings."""

    def __init__(self, words: dict[bytes, int]) -> None:
        self.words = words
        self.beginnings = {w[:n] for w in words for n in range(1, len(w))}

    def prefixes(self, data: bytes, start: int) -> Iterator[tuple[int, int]]:
        for end in range(start + 1, len(data) + 1):
            part = data[start:end]
            if part in self.words:
                yield end - start, self.words[part]
            if part not in self.beginnings:
                return


def _char_length(data: bytes, i: int) -> int:
    """Bytes of the UTF-8 character at i; 0 if there is no valid one."""
    for n in range(1, 5):
        try:
            data[i : i + n].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return n
    return 0


@dataclass
class SentencePiece:
    """A model: `encode` cuts a text into pieces, given as (number, bytes)."""

    pieces: Trie
    scores: np.ndarray
    unknown: int
    unknown_score: np.float32
    start: int = -1
    end: int = -1
    start_piece: bytes = b""
    end_piece: bytes = b""
    offset: int = 0
    replacements: tuple[Trie, bytes] | None = None
    protected: Trie | None = None
    byte_pieces: dict[int, int] = field(default_factory=dict)
    add_prefix: bool = True
    trim: bool = True
    escape: bool = True
    by_bytes: bool = False

    def encode(self, text: bytes, tick: Callable[[], None]) -> list[tuple[int, bytes]]:
        normal = self._normalize_bytes(text) if self.by_bytes else self._normalize(text)
        result: list[tuple[int, bytes]] = []
        unknown_before = False
        for number, piece in self._best(normal, tick):
            unknown = number == self.unknown
            if unknown and self.byte_pieces:
                result += [(self.byte_pieces[b], b"<0x%02X>" % b) for b in piece]
            elif unknown and unknown_before:
                result[-1] = (number, result[-1][1] + piece)
            else:
                result.append((number if unknown else number + self.offset, piece))
            unknown_before = unknown
        return result

    def _replace(self, data: bytes, i: int) -> tuple[int, bytes] | None:
        """(length, replacement) of the longest known prefix at i."""
        if self.replacements is None:
            return None
        trie, texts = self.replacements
        longest = max(trie.prefixes(data, i), default=None)
        if longest is None or longest[1] >= len(texts):
            return None
        return longest[0], texts[longest[1] : texts.find(b"\0", longest[1])]

    def _normalize(self, text: bytes) -> bytes:
        """As SentencePiece itself: only U+0020 is space once prefixes are replaced."""
        parts: list[bytes] = []
        i = 0
        while i < len(text):
            kept = max(self.protected.prefixes(text, i), default=None) if self.protected else None
            found = None if kept else self._replace(text, i)
            if kept:
                found = kept[0], text[i : i + kept[0]]
            elif found is None:
                size = _char_length(text, i)
                found = (size, text[i : i + size]) if size else (1, _REPLACEMENT)
            i += found[0]
            parts.append(found[1])
        space = _SPACE if self.escape else b" "
        result = bytearray()
        after_space = self.trim
        for part in parts:
            if after_space:
                part = part.lstrip(b" ")
            if not part:
                continue
            if not result and self.add_prefix:
                result += space
            result += part.replace(b" ", space)
            after_space = self.trim and part.endswith(b" ")
        if self.trim:
            while result.endswith(space):
                del result[-len(space) :]
        return bytes(result)

    def _normalize_bytes(self, text: bytes) -> bytes:
        """As TensorFlow Lite Support: tab, line feed and return are spaces, too."""
        if not text:
            return text
        if self.add_prefix:
            text = b" " + text
        result = bytearray()
        i = 0
        while i < len(text):
            length, part = self._replace(text, i) or (1, text[i : i + 1])
            result += part
            i += length
        normal = bytes(result)
        if self.trim:
            normal = _shrink(normal)
        if self.escape:
            for blank in (b" ", b"\t", b"\r", b"\n"):
                normal = normal.replace(blank, _SPACE)
        return normal

    def _best(self, text: bytes, tick: Callable[[], None]) -> list[tuple[int, bytes]]:
        """The path with the largest score, as (number, bytes); [] if there is none."""
        best: list[tuple[np.float32, int, int] | None] = [None] * (len(text) + 1)
        best[0] = (np.float32(0), -1, -1)

        def reach(end: int, score: np.float32, number: int, start: int) -> None:
            there = best[end]
            if there is None or there[0] < score:
                best[end] = (score, number, start)

        for i in range(len(text)):
            here = best[i]
            if here is None:
                continue
            tick()
            size = 1 if self.by_bytes else max(1, _char_length(text, i))
            if self.by_bytes and self.unknown >= 0:
                reach(i + size, here[0] + self.unknown_score, self.unknown, i)
            whole = False
            for length, number in self.pieces.prefixes(text, i):
                if number < len(self.scores):
                    reach(i + length, here[0] + self.scores[number], number, i)
                    whole |= length == size
            if not whole and not self.by_bytes:
                reach(i + size, here[0] + self.unknown_score, self.unknown, i)
        path: list[tuple[int, bytes]] = []
        position = len(text)
        while position > 0:
            found = best[position]
            if found is None:
                return []
            path.append((found[1], text[found[2] : position]))
            position = found[2]
        return path[::-1]


def _shrink(text: bytes) -> bytes:
    """Runs of two blanks or more become one space; a blank at the end goes."""
    blanks = b" \t\r\n"
    result = bytearray()
    i = 0
    while i < len(text):
        end = i
        while end < len(text) and text[end] in blanks:
            end += 1
        if end - i > 1:
            result += b" "
            i = end
        else:
            result.append(text[i])
            i += 1
    if result and result[-1] in blanks:
        del result[-1]
    return bytes(result)


def from_config(data: bytes, where: str) -> SentencePiece:
    """The model in TensorFlow Lite Support's FlatBuffer."""
    config = Decoder(_CONFIG, memoryview(data), where).root("EncoderConfig")
    if config.version != "SENTENCE_PIECE":
        raise UnsupportedError("the tokeniser is of an unknown kind", where=where)
    if config.pieces is None or config.pieces.nodes is None or config.pieces_scores is None:
        raise ModelError("the tokeniser has no pieces", where=where)
    replacements = None
    if config.normalized_prefixes is not None and config.normalized_replacements is not None:
        texts = np.asarray(config.normalized_replacements, np.int8).tobytes() + b"\0"
        nodes = config.normalized_prefixes.nodes
        replacements = DoubleArray([] if nodes is None else nodes.tolist()), texts
    return SentencePiece(
        pieces=DoubleArray(config.pieces.nodes.tolist()),
        scores=np.asarray(config.pieces_scores, np.float32),
        unknown=config.unknown_code,
        unknown_score=np.float32(config.unknown_penalty),
        start=config.start_code,
        end=config.end_code,
        offset=config.encoding_offset,
        replacements=replacements,
        add_prefix=config.add_dummy_prefix,
        trim=config.remove_extra_whitespaces,
        escape=config.escape_whitespaces,
        by_bytes=True,
    )


def decoder_from_config(data: bytes, where: str) -> tuple[list[bytes], int, bool]:
    """Pieces as text, the offset of their numbers, whether a space in front is dropped."""
    config = Decoder(_CONFIG, memoryview(data), where).root("DecoderConfig")
    if config.version != "SENTENCE_PIECE":
        raise UnsupportedError("the tokeniser is of an unknown kind", where=where)
    pieces = [p.encode("utf-8", "surrogateescape") for p in config.decode_pieces or []]
    return pieces, config.encoding_offset, config.remove_dummy_prefix


def from_proto(data: bytes, where: str) -> SentencePiece:
    """The library's model file."""
    parts: dict[int, Any] = {}
    entries: list[tuple[bytes, np.float32, int]] = []
    for number, value in fields(data, where):
        if number == 1 and isinstance(value, bytes):
            piece = dict(fields(value, where))
            text, kind = piece.get(1, b""), piece.get(3, _NORMAL)
            if not isinstance(text, bytes) or not isinstance(kind, int):
                raise ModelError("a piece of the tokeniser is damaged", where=where)
            bits = piece.get(2, 0)
            score = np.float32(single(bits)) if isinstance(bits, int) else np.float32(0)
            entries.append((text, score, kind))
        elif isinstance(value, bytes):
            parts[number] = dict(fields(value, where))
    trainer, normalizer = parts.get(2, {}), parts.get(3, {})
    kind = trainer.get(3, _UNIGRAM)
    if kind != _UNIGRAM:
        raise UnsupportedError(f"the tokeniser is not a unigram model, but of type {kind}",
                               where=where)  # fmt: skip
    kinds = np.array([k for *_, k in entries], np.int64)
    unknown = np.flatnonzero(kinds == _UNKNOWN)
    normal = [score for _, score, k in entries if k == _NORMAL]
    if len(unknown) != 1 or not normal:
        raise ModelError("the tokeniser needs pieces, and one for what is unknown", where=where)
    words = {t: i for i, (t, _, k) in enumerate(entries) if k in (_NORMAL, _USER_DEFINED) and t}
    ids = {t: i for i, (t, _, k) in enumerate(entries) if k != _UNUSED}
    scores = np.array([score for _, score, _ in entries], np.float32)
    # Pieces of the user win over all others.
    for i in np.flatnonzero(kinds == _USER_DEFINED):
        scores[i] = np.float32(len(entries[i][0]) * max(normal)) - np.float32(0.1)
    protected = {entries[i][0]: int(i) for i in np.flatnonzero(kinds == _USER_DEFINED)}
    names = {n: _bytes(trainer.get(n), d) for n, d in ((46, b"<s>"), (47, b"</s>"))}
    bytes_of = {b: ids[b"<0x%02X>" % b] for b in range(256) if b"<0x%02X>" % b in ids}
    return SentencePiece(
        pieces=WordTrie(words),
        scores=scores,
        unknown=int(unknown[0]),
        unknown_score=min(normal) - _UNKNOWN_PENALTY,
        start=ids.get(names[46], -1),
        end=ids.get(names[47], -1),
        start_piece=names[46],
        end_piece=names[47],
        replacements=_charsmap(_bytes(normalizer.get(2), b""), where),
        protected=WordTrie(protected) if protected else None,
        byte_pieces=bytes_of if trainer.get(35) and len(bytes_of) == 256 else {},
        add_prefix=bool(signed(normalizer.get(3, 1))),
        trim=bool(signed(normalizer.get(4, 1))),
        escape=bool(signed(normalizer.get(5, 1))),
    )


def _bytes(value: Any, default: bytes) -> bytes:
    return value if isinstance(value, bytes) else default


def _charsmap(data: bytes, where: str) -> tuple[Trie, bytes] | None:
    """The normaliser's table: the size of a trie, the trie, texts that each end in NUL."""
    if not data:
        return None
    size = struct.unpack_from("<I", data)[0] if len(data) >= 4 else 0
    if len(data) < 4 or size % 4 or size > len(data) - 4:
        raise ModelError("the tokeniser's table of replacements is damaged", where=where)
    nodes = np.frombuffer(data, np.dtype("<u4"), size // 4, 4).tolist()
    return DoubleArray(nodes), data[4 + size :] + b"\0"

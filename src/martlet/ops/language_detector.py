"""The two operators of MediaPipe's language detector: text to n-grams to the mean of embeddings.

`NGramHash`: one string becomes characters, `^` in front and `$` behind, everything that is no
letter a space; characters are in lower case unless the options say otherwise. Each run of n
characters (shorter at the end) is hashed to 1…vocabulary size: int32 [1, lengths, characters].

`KmeansEmbeddingLookup`: ids [1, n] up to the first 0, a table that gives each id a row of code
numbers, and a codebook with a vector for each code number. An id's embedding is the vectors of its
row one after the other; the result is the mean over the ids, or zeros where there are none.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from martlet.dtypes import DType
from martlet.ops.custom_options import Options, boolean, integer, options
from martlet.ops.operator import Call, Spec, register

_MASK = (1 << 64) - 1
_FACTOR = 0xC6A4A7935BD1E995
_BAD = "\ufffd"


def murmur64(data: bytes, seed: int) -> int:
    """MurmurHash64A (Appleby, 2008) of a string."""

    def mix(word: int) -> int:
        return word ^ (word >> 47)

    whole = len(data) & ~7
    value = seed ^ (len(data) * _FACTOR & _MASK)
    for i in range(0, whole, 8):
        word = int.from_bytes(data[i : i + 8], "little") * _FACTOR & _MASK
        value = (value ^ (mix(word) * _FACTOR & _MASK)) * _FACTOR & _MASK
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _MASK
    return mix(mix(value) * _FACTOR & _MASK)


def characters(data: bytes) -> list[str]:
    """The characters of UTF-8. A byte that begins none counts as U+FFFD; a character cut off by
    the end ends the text.
    """
    found, i = [], 0
    while i < len(data):
        first = data[i]
        size = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
        rest = data[i + 1 : i + size]
        text, step = _BAD, 1
        if all(byte & 0xC0 == 0x80 for byte in rest):
            if len(rest) < size - 1:
                break
            with suppress(UnicodeDecodeError):
                text, step = data[i : i + size].decode("utf-8", "surrogatepass"), size
        found.append(text)
        i += step
    return found


def _lower(letter: str) -> str:
    """Lower case, where it is one letter; Cherokee had none when the operator was made."""
    if not letter.isalpha() or "\u13a0" <= letter <= "\u13f5":
        return letter
    lower = letter.lower()
    return lower if len(lower) == 1 else lower[0] if letter == "\u0130" else letter


def _lower_text(data: bytes) -> bytes:
    """The text in lower case, cut or filled with zeros to the bytes that it had before."""
    lower = "".join(_lower(c) for c in characters(data)).encode("utf-8", "surrogatepass")
    return lower[: len(data)].ljust(len(data), b"\0")


def _numbers(call: Call, values: Options, name: str) -> list[int]:
    """A list of positive int32."""
    found = values.get(name, [])
    if not isinstance(found, list) or not found:
        call.fail(f"option {name} is not a list of numbers", found=repr(found)[:40])
    for value in found:
        if not isinstance(value, int) or not 0 < value < 1 << 31:
            call.fail(f"option {name} has a wrong number", "1 to 2147483647", repr(value)[:40])
    return found


def _settings(call: Call) -> tuple[int, list[int], list[int], int, bool]:
    values = options(call)
    seed = values.get("seed", 0)
    if not isinstance(seed, int):
        call.fail("option seed is not an integer", found=repr(seed)[:40])
    lengths, sizes = (_numbers(call, values, name) for name in ("ngram_lengths", "vocab_sizes"))
    call.check(
        len(lengths) == len(sizes),
        "ngram_lengths and vocab_sizes differ in length",
        str(len(lengths)),
        str(len(sizes)),
    )
    most = integer(call, values, "max_splits", 128, low=1)
    return seed & _MASK, lengths, sizes, most, boolean(call, values, "lowercase_input", True)


def _infer_hash(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.STRING)
    call.check(0 not in call.shape(0), "NGramHash needs a text", "one string", "none")
    _settings(call)
    return [Spec(DType.INT32, None)]


def _hash(call: Call, texts: np.ndarray) -> np.ndarray:
    seed, lengths, sizes, most, fold = _settings(call)
    text = texts.flat[0]
    tokens = [b"^"]
    for character in characters(_lower_text(text) if fold else text):
        if len(tokens) + 1 >= most:
            break
        tokens.append(character.encode() if character.isalpha() else b" ")
    tokens.append(b"$")
    call.session.reserve(4 * len(lengths) * len(tokens), call.place)
    result = np.empty((1, len(lengths), len(tokens)), np.int32)
    for row, (length, size) in enumerate(zip(lengths, sizes, strict=True)):
        for start in range(len(tokens)):
            call.tick()
            gram = b"".join(tokens[start : start + length])
            result[0, row, start] = murmur64(gram, seed) % size + 1
    return result


def _infer_embedding(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.INT32)
    call.check_dtype(1, DType.UINT8)
    call.check_dtype(2, DType.FLOAT32)
    batch, _ = call.check_rank(0, 2)
    call.check(batch == 1, "the batch is not 1", "1", str(batch))
    _, codes = call.check_rank(1, 2)
    _, width = call.check_rank(2, 2)
    return [Spec(DType.FLOAT32, (1, codes * width))]


def _embedding(call: Call, ids: np.ndarray, table: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    tokens = ids[0]
    tokens = tokens[: int(np.argmax(tokens == 0))] if (tokens == 0).any() else tokens
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < len(table):
        call.fail_run("an id is out of range", f"0 to {len(table) - 1}", str(tokens.max()))
    codes = table[tokens]
    if codes.size and codes.max() >= len(codebook):
        call.fail_run("a code is out of range", f"0 to {len(codebook) - 1}", str(codes.max()))
    call.session.reserve(4 * codes.size * codebook.shape[1], call.place)
    total = codebook[codes].sum(0, dtype=np.float32)
    return np.asarray(total / np.float32(max(len(tokens), 1))).reshape(1, -1)


register("NGramHash", infer=_infer_hash, evaluate=_hash, inputs=1, custom=True)
register(
    "KmeansEmbeddingLookup", infer=_infer_embedding, evaluate=_embedding, inputs=3, custom=True
)  # fmt: skip

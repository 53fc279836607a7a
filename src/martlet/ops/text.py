"""Strings and look-ups: skip-grams, hash projections, hash tables, and SmartReply's operators.

Together they are the SmartReply model (Ravi, "ProjectionNet", arXiv 1708.00630): a sentence is
normalised, cut into skip-grams, each n-gram is hashed to a feature, the features are projected to
a few short signatures, every signature votes for labels, and the best labels are looked up as
text. `martlet.SmartReply` runs it.

Strings are arrays of `bytes`. Patterns see them as UTF-8, in which a byte that is not part of a
valid character matches nothing, as in RE2; case, space and punctuation are those of ASCII.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from martlet.dtypes import DType
from martlet.ops.farmhash import fingerprint64, fingerprints
from martlet.ops.fixed_point import wrap_int32
from martlet.ops.operator import Call, Spec, register

# Skip-grams ----------------------------------------------------------------------------------


def _infer_skip_gram(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.STRING)
    call.check(0 not in call.shape(0), "SKIP_GRAM needs a sentence", "one string", "none")
    return [Spec(DType.STRING, None)]


def split_words(sentence: bytes) -> list[bytes]:
    """Words between white space, as SKIP_GRAM sees them.

    Its search for spaces begins at the second byte, so a space in front belongs to the first
    word, and such a word is dropped unless it is the only one.
    """
    first, *rest = re.split(rb"\s", sentence[1:])
    first = sentence[:1] + first
    words = rest if rest and first[:1].isspace() else [first, *rest]
    return [word for word in words if word]


def _count_grams(words: int, size: int, reach: int) -> int:
    """How many skip-grams of at most `size` words there are; a lower bound past 2^26."""
    ending = np.ones(words, np.int64)  # grams of the current length that end at each word
    first = np.maximum(np.arange(words) - reach, 0)
    total = words
    for _ in range(size - 1):
        sums = np.append(0, np.cumsum(ending))
        ending = sums[:-1] - sums[first]
        more = int(ending.sum())
        total += more
        if not more or total > 1 << 26:
            break
    return total


def _skip_gram(call: Call, sentences: np.ndarray) -> np.ndarray:
    """Depth first, and longer grams before the shorter one that they begin with."""
    size, reach = int(call.option("ngram_size")), int(call.option("max_skip_size")) + 1
    words = split_words(sentences.flat[0])
    if size <= 0 or len(words) < size:
        return np.empty(0, object)
    reach = min(max(reach, 0), len(words))
    longest = min(sum(map(len, words)) + len(words), size * (1 + max(map(len, words))))
    count = _count_grams(len(words), size, reach)
    call.session.reserve(count * (64 + longest), f"{call.place}, its n-grams")
    grams: list[bytes] = []
    for start in range(len(words)):
        chosen, after = [start], [start + 1]  # word indices, and the next to try at each depth
        while chosen:
            candidate = after[-1]
            if len(chosen) < size and candidate < min(chosen[-1] + reach + 1, len(words)):
                after[-1] += 1
                chosen.append(candidate)
                after.append(candidate + 1)
                continue
            if len(chosen) == size or call.option("include_all_ngrams"):
                grams.append(b" ".join(words[i] for i in chosen))
                call.tick()
            chosen.pop()
            after.pop()
    return as_strings(grams)


def as_strings(strings: list[bytes]) -> np.ndarray:
    """A 1-D array of strings."""
    result = np.empty(len(strings), object)
    result[:] = strings
    return result


register(
    "SKIP_GRAM", infer=_infer_skip_gram, evaluate=_skip_gram, inputs=1, options="SkipGramOptions",
)  # fmt: skip

# Locality-sensitive hashing ------------------------------------------------------------------


_LSH_CHUNK = 1 << 21  # bytes of keys that are hashed together


def _infer_lsh(call: Call) -> list[Spec]:
    hashes, bits = call.check_rank(0, 2, 2)
    call.check_dtype(0, DType.FLOAT32)
    call.check(bits <= 32, "a hash function gives too many bits", "at most 32", str(bits))
    call.check(
        call.dtype(1).bits >= 8 and call.dtype(1) is not DType.RESOURCE,
        "LSH_PROJECTION takes numbers of whole bytes",
        found=call.dtype(1).name,
    )
    features = call.check_rank(1, 1, 32)
    call.check(features[0] >= 1, "there is nothing to project", "at least one row", "none")
    if call.has(2):
        call.check_dtype(2, DType.FLOAT32)
        call.check(
            call.check_rank(2, 1) == features[:1],
            "weights and features differ in number", str(features[0]), str(call.shape(2)[0]),
        )  # fmt: skip
    kind = call.option("type")
    if kind not in ("SPARSE", "DENSE"):
        call.fail("unknown type of projection", "SPARSE or DENSE", str(kind))
    return [Spec(DType.INT32, (hashes if kind == "SPARSE" else hashes * bits,))]


def _lsh(
    call: Call, seeds: np.ndarray, features: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """A bit for each seed: is the weighted sum of hash(seed, row), as signed numbers, positive?

    Sums are taken in doubles, in the order of the rows.
    """
    rows = np.ascontiguousarray(features.reshape(features.shape[0], -1)).view(np.uint8)
    count, length = rows.shape
    hashes, bits = seeds.shape
    scale = 1.0 if weights is None else weights.astype(np.float64)
    chunk = max(1, _LSH_CHUNK // (count * (length + 4)))
    call.session.reserve(12 * max(_LSH_CHUNK, rows.size), f"{call.place}, its keys")
    heads = np.ascontiguousarray(seeds).reshape(-1, 1).view(np.uint8)
    signs = np.zeros(seeds.size, np.int64)
    for start in range(0, seeds.size, chunk):
        call.tick()
        part = heads[start : start + chunk]
        keys = np.empty((len(part), count, length + 4), np.uint8)
        keys[:, :, :4] = part[:, None]
        keys[:, :, 4:] = rows
        votes = fingerprint64(keys.reshape(-1, length + 4)).view(np.int64).astype(np.float64)
        sums = np.cumsum(votes.reshape(len(part), count) * scale, axis=1)
        signs[start : start + chunk] = sums[:, -1] > 0
    if call.option("type") == "DENSE":
        return signs.astype(np.int32)
    # The bits of one function, most significant first, offset so that functions do not collide.
    powers = np.left_shift(1, np.arange(bits - 1, -1, -1, dtype=np.int64))
    offsets = np.arange(hashes, dtype=np.int64) << bits
    return wrap_int32(signs.reshape(hashes, bits) @ powers + offsets).astype(np.int32)


register(
    "LSH_PROJECTION", infer=_infer_lsh, evaluate=_lsh, inputs=(2, 3),
    options="LSHProjectionOptions",
)  # fmt: skip

# Hash tables ---------------------------------------------------------------------------------


def _infer_hashtable_lookup(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.INT32)
    call.check_dtype(1, DType.INT32)
    (wanted,) = call.check_rank(0, 1)
    (keys,) = call.check_rank(1, 1)
    values = call.check_rank(2, 1, 1 if call.dtype(2) is DType.STRING else 32)
    call.check(
        keys == values[0], "keys and values differ in number", str(keys), str(values[0])
    )  # fmt: skip
    call.check(keys > 0, "the table is empty", "at least one key", "none")
    return [Spec(call.dtype(2), (wanted, *values[1:])), Spec(DType.UINT8, (wanted,))]


def _search(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position of each wanted key in sorted keys, and whether it is there.

    The halving is that of the C library's `bsearch`, with its answers for repeated keys.
    """
    low = np.zeros(wanted.shape, np.int64)
    high = np.full(wanted.shape, keys.size, np.int64)
    while (open_ := low < high).any():
        middle = np.where(open_, (low + high) // 2, 0)
        found = open_ & (keys[middle] == wanted)
        below, above = open_ & (wanted < keys[middle]), open_ & (wanted > keys[middle])
        high = np.where(below, middle, high)
        low = np.where(above, middle + 1, low)
        # A found key ends its search: both bounds meet at it.
        low, high = np.where(found, middle, low), np.where(found, middle, high)
    position = np.minimum(low, keys.size - 1)
    return position, keys[position] == wanted


def _hashtable_lookup(
    call: Call, wanted: np.ndarray, keys: np.ndarray, values: np.ndarray
) -> list[np.ndarray]:
    position, hit = _search(keys, wanted)
    result = values[position]
    result[~hit] = b"" if call.dtype(2) is DType.STRING else 0
    return [result, hit.astype(np.uint8)]


register(
    "HASHTABLE_LOOKUP", infer=_infer_hashtable_lookup, evaluate=_hashtable_lookup, inputs=3,
    outputs=2,
)  # fmt: skip

# SmartReply ----------------------------------------------------------------------------------

_MAX_CHARS = 300
_CHAR = r"[^\t\n\f\r \udc80-\udcff]"  # RE2's \S: no ASCII white space, no stray byte
_SPACE = r"[\t\n\f\r ]"
_ENDINGS = "'t|'nt|n't|'d|'ll|'s|'m|'ve|'re"
_NORMALIZE = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"[.*()\"]", ""),
        # Contractions that stand apart from their word join it, and then are spelt out.
        (rf"{_SPACE}({_ENDINGS})([\t\n\f\r ,;:/])", r"\1\2"),
        (rf"{_SPACE}({_ENDINGS})\Z", r"\1"),
        (rf"({_CHAR}+)'ll", r"\1 will"),
        (rf"({_CHAR}+)'nt", r"\1 not"),
        (rf"({_CHAR}+)'re", r"\1 are"),
        (rf"({_CHAR}+)'ve", r"\1 have"),
        (rf"({_CHAR}+)n't", r"\1 not"),
        (r"i'm", "i am"),
        # Question and exclamation marks: one of a kind, set apart.
        (r"[?]+", "?"),
        (r"[!]+", "!"),
        (r"([^?!\udc80-\udcff]+)([?!])", r"\1 \2 "),
        (r"([?!])([?!])", r"\1 \2"),
        (r"[\t\n\f\r ,:;\-&'\"]+\Z", ""),
        (r"\A[\t\n\f\r ,:;\-&'\"]+", ""),
    ]
]
_ASCII_LOWER = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}
_BLANKS = " \t\n\v\f\r"


def normalize_sentence(sentence: bytes) -> bytes:
    """SmartReply's normal form: `<S> are you free ? <E>`.

    A sentence of more than 300 bytes is cut there and has no `<E>`.
    """
    text = sentence.decode("utf-8", "surrogateescape").translate(_ASCII_LOWER).strip(_BLANKS)
    for pattern, replacement in _NORMALIZE:
        text = pattern.sub(replacement, text)
    result = text.strip(_BLANKS).encode("utf-8", "surrogateescape")
    result = result + b" <E>" if len(result) <= _MAX_CHARS else result[:_MAX_CHARS]
    return b"<S> " + result


def _infer_normalize(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.STRING)
    size = int(np.prod(call.shape(0), dtype=object))
    call.check(size > 0, "Normalize needs a sentence", "one string", "none")
    return [Spec(DType.STRING, (1,) if size == 1 else call.shape(0))]


def _normalize(call: Call, strings: np.ndarray) -> np.ndarray:
    """One string: SmartReply's operator. Several: LiteRT's sample of that name (lower case)."""
    if strings.size == 1:
        return as_strings([normalize_sentence(strings.flat[0])])
    return as_strings([s.lower() for s in strings.flat]).reshape(strings.shape)


_NO_FEATURES = (b"<S>", b"<E>", b"<S> <E>")
_FEATURES = 1_000_000


def _infer_extract_features(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.STRING)
    (count,) = call.check_rank(0, 1)
    count = max(count, 1)  # no n-grams: one feature of weight 0
    return [Spec(DType.INT32, (count,)), Spec(DType.FLOAT32, (count,))]


def _extract_features(call: Call, ngrams: np.ndarray) -> list[np.ndarray]:
    """The hash of each n-gram, and how many words it has; 0 and 0 where it is only marks."""
    strings = list(ngrams) or [_NO_FEATURES[0]]
    kept = np.array([s not in _NO_FEATURES for s in strings])
    labels = fingerprints(strings) % np.uint64(_FEATURES)
    weights = np.array([s.count(b" ") + 1 for s in strings], np.float32)
    return [np.where(kept, labels, 0).astype(np.int32), np.where(kept, weights, 0)]


def _predict_options(call: Call) -> tuple[int, float]:
    """How many labels, and the least weight of one: an int32 and a float32."""
    raw = call.node.custom_options
    if raw is None or raw.size != 8:
        size = 0 if raw is None else raw.size
        call.fail("the options of Predict have the wrong size", "8 bytes", str(size))
    count, threshold = struct.unpack("<if", raw.tobytes())
    call.check(count >= 0, "the number of predictions is negative", found=str(count))
    return count, threshold


def _infer_predict(call: Call) -> list[Spec]:
    for i, dtype in enumerate((DType.INT32, DType.INT32, DType.INT32, DType.FLOAT32)):
        call.check_dtype(i, dtype)
    (votes,) = call.check_rank(0, 1)
    (keys,) = call.check_rank(1, 1)
    labels, weights = call.check_rank(2, 2), call.check_rank(3, 2)
    call.check(
        labels == weights and labels[0] == keys,
        "keys, labels and weights differ in number",
        f"{keys} rows",
        f"{list(labels)} and {list(weights)}",
    )
    count, _ = _predict_options(call)
    call.session.reserve(32 * votes * labels[1], f"{call.place}, its votes")
    return [Spec(DType.INT32, (count,)), Spec(DType.FLOAT32, (count,))]


def _predict(
    call: Call, signatures: np.ndarray, keys: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> list[np.ndarray]:
    """Add up, in float32, the weights that the found signatures give each label; the best first.

    Places that are left over hold label -1 and weight 0. Equal weights are put in order of label
    (the original leaves their order to its hash table).
    """
    count, threshold = _predict_options(call)
    best = np.full(count, -1, np.int32), np.zeros(count, np.float32)
    if keys.size == 0 or signatures.size == 0:
        return list(best)
    position = np.minimum(np.searchsorted(keys, signatures), keys.size - 1)
    rows = position[keys[position] == signatures]
    named, slots = np.unique(labels[rows].ravel(), return_inverse=True)
    totals = np.zeros(named.size, np.float32)
    shares = weights[rows].ravel() / np.float32(signatures.size)
    np.add.at(totals, slots.reshape(-1), shares)
    order = np.argsort(-totals, kind="stable")[:count]
    order = order[~(totals[order] < np.float32(threshold))]
    best[0][: order.size], best[1][: order.size] = named[order], totals[order]
    return list(best)


register("Normalize", infer=_infer_normalize, evaluate=_normalize, inputs=1, custom=True)
register(
    "ExtractFeatures", infer=_infer_extract_features, evaluate=_extract_features, inputs=1,
    outputs=2, custom=True,
)  # fmt: skip
register(
    "Predict", infer=_infer_predict, evaluate=_predict, inputs=4, outputs=2, custom=True
)  # fmt: skip

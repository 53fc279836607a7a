"""Tokenisers of TensorFlow Text that TensorFlow Lite Support has as custom operators.

    tftext:WhitespaceTokenizer   strings -> tokens
    tftext:Ngrams                tokens -> each run of `width` tokens, joined

Both give either a dense tensor (one output; shorter rows are filled with empty strings) or a
ragged one: the flat tokens, and an int64 tensor of row splits for each dimension of the input.
"""

from __future__ import annotations

import itertools
import math
import re

import numpy as np

from martlet.dtypes import DType
from martlet.ops import custom_options
from martlet.ops.operator import Call, Spec, register
from martlet.ops.text import as_strings

# White space of Unicode as Plan 9's rune library has it, byte order mark included.
_SPACE = re.compile("[\t-\r \x85\xa0\u1680\u180e\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]")


def split_whitespace(text: bytes) -> list[bytes]:
    """The tokens between white space; what follows a byte that is not UTF-8 is left out."""
    try:
        decoded = text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        decoded = text[: error.start].decode("utf-8", "surrogatepass")
    # The library reads U+FFFD as the sign of an error, wherever it comes from.
    decoded = decoded.partition("\ufffd")[0]
    return [t.encode("utf-8", "surrogatepass") for t in _SPACE.split(decoded) if t]


def _infer_whitespace(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.STRING)
    shape = call.shape(0)
    if call.outputs == 1:
        return [Spec(DType.STRING, None)]
    if call.outputs != len(shape) + 1:
        call.fail(
            "there must be row splits for each dimension", f"{len(shape)}", f"{call.outputs - 1}"
        )
    sizes = itertools.accumulate(shape, lambda a, b: a * b)
    return [Spec(DType.STRING, None), *(Spec(DType.INT64, (n + 1,)) for n in sizes)]


def _whitespace(call: Call, strings: np.ndarray) -> list[np.ndarray]:
    rows = []
    for text in strings.flat:
        call.tick()
        rows.append(split_whitespace(text))
    if call.outputs == 1:
        width = max(map(len, rows), default=0)
        call.session.reserve(8 * width * len(rows), f"{call.place}, its tokens")
        flat = [t for row in rows for t in [*row, *[b""] * (width - len(row))]]
        return [as_strings(flat).reshape(*strings.shape, width)]
    # Dimensions of the input are regular; only the last partition depends on the strings.
    splits = [
        np.arange(math.prod(strings.shape[: i + 1]) + 1, dtype=np.int64) * strings.shape[i + 1]
        for i in range(strings.ndim - 1)
    ]
    splits.append(np.cumsum([0, *map(len, rows)], dtype=np.int64))
    return [as_strings([t for row in rows for t in row]), *splits]


register(
    "tftext:WhitespaceTokenizer", infer=_infer_whitespace, evaluate=_whitespace, inputs=1,
    outputs=(1, None), custom=True,
)  # fmt: skip


def _ngram_options(call: Call) -> tuple[int, bytes]:
    """Width and separator."""
    options = custom_options.options(call)
    axis = custom_options.integer(call, options, "axis")
    call.check(axis == -1, "n-grams can be made along the last axis only", "-1", str(axis))
    kind = custom_options.text(call, options, "reduction_type")
    call.check(kind == "STRING_JOIN", "unknown reduction", "STRING_JOIN", kind)
    separator = custom_options.text(call, options, "string_separator")
    width = custom_options.integer(call, options, "width", low=1)
    return width, separator.encode("utf-8", "surrogateescape")


def _infer_ngrams(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.STRING)
    width, _ = _ngram_options(call)
    if call.outputs != call.inputs:
        call.fail("inputs and outputs differ in number", str(call.inputs), str(call.outputs))
    if call.inputs == 1:
        shape = call.check_rank(0, 1, 32)
        return [Spec(DType.STRING, (*shape[:-1], max(0, shape[-1] - width + 1)))]
    call.check_rank(0, 1)
    for i in range(1, call.inputs):
        call.check_dtype(i, DType.INT64)
        call.check(call.check_rank(i, 1)[0] > 0, "row splits are empty", "at least 1")
    return [Spec(DType.STRING, None), *(call.spec(i) for i in range(1, call.inputs))]


def _joined(call: Call, tokens: list[bytes], width: int, separator: bytes) -> list[bytes]:
    count = max(0, len(tokens) - width + 1)
    each = 64 + sum(map(len, tokens)) // max(1, len(tokens)) * width + width * len(separator)
    call.session.reserve(count * each, f"{call.place}, its n-grams")
    grams = []
    for i in range(count):
        call.tick()
        grams.append(separator.join(tokens[i : i + width]))
    return grams


def _ngrams(call: Call, tokens: np.ndarray, *splits: np.ndarray) -> list[np.ndarray]:
    width, separator = _ngram_options(call)
    if not splits:
        shape = call.shape(0)
        rows = tokens.reshape(math.prod(shape[:-1]), shape[-1])
        flat = [g for row in rows for g in _joined(call, list(row), width, separator)]
        size = max(0, shape[-1] - width + 1)
        return [as_strings(flat).reshape(*shape[:-1], size)]
    bounds = splits[-1]
    if bounds[0] < 0 or (np.diff(bounds) < 0).any() or bounds[-1] > len(tokens):
        call.fail_run("row splits do not rise", f"0 to {len(tokens)}", str(bounds[:8].tolist()))
    rows_of = [
        _joined(call, list(tokens[a:b]), width, separator)
        for a, b in itertools.pairwise(bounds.tolist())
    ]
    inner = np.cumsum([0, *map(len, rows_of)], dtype=np.int64)
    return [as_strings([g for row in rows_of for g in row]), *splits[:-1], inner]


register(
    "tftext:Ngrams", infer=_infer_ngrams, evaluate=_ngrams, inputs=(1, None), outputs=(1, None),
    custom=True,
)  # fmt: skip

"""TensorFlow's operators on code points, as tokenisers in Flex models use them.

    FlexUnicodeDecodeWithOffsets       strings -> row splits, code points, where each begins
    FlexWhitespaceTokenizeWithOffsets  code points, row splits -> those of the tokens, row splits
                                       of tokens, first and last + 1 of each, row splits of rows
    FlexUnicodeEncode                  code points, row splits -> strings

UTF-8 only. With `errors` "replace", what is not valid becomes `replacement_char`.
"""

from __future__ import annotations

import itertools

import numpy as np

from martlet.dtypes import DType
from martlet.ops.node_def import attributes
from martlet.ops.operator import Call, Spec, register
from martlet.ops.text import as_strings

_SPLITS = (DType.INT32, DType.INT64)
_WHITE_SPACE = np.array(
    [*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F,
     0x3000]
)  # fmt: skip


def _policy(call: Call, encoding: str) -> tuple[str, int | None, bool]:
    """How errors are met, the code point to put in (None: nothing), and for controls, too?"""
    found = attributes(call)
    name = found.get(encoding, b"UTF-8")
    if name not in (b"UTF-8", "UTF-8"):
        call.unsupported(f"{call.op} with the encoding {name!r}")
    errors = found.get("errors", b"replace")
    errors = errors.decode("ascii", "replace") if isinstance(errors, bytes) else str(errors)
    if errors not in ("replace", "ignore", "strict"):
        call.fail("unknown way to meet errors", "replace, ignore or strict", errors[:40])
    char = found.get("replacement_char", 0xFFFD)
    if not isinstance(char, int) or not 0 <= char < 0x110000 or 0xD800 <= char < 0xE000:
        call.fail("the replacement is not a code point", found=repr(char)[:40])
    controls = bool(found.get("replace_control_characters", False))
    return errors, char if errors == "replace" else None, controls


def _infer_decode(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.STRING)
    (count,) = call.check_rank(0, 1)
    _policy(call, "input_encoding")
    splits = call.output(0).dtype
    if splits not in _SPLITS:
        call.fail("row splits have the wrong type", "INT32 or INT64", splits.name)
    return [Spec(splits, (count + 1,)), Spec(DType.INT32, None), Spec(DType.INT64, None)]


def _decode(call: Call, strings: np.ndarray) -> list[np.ndarray]:
    errors, char, controls = _policy(call, "input_encoding")
    codes: list[int] = []
    starts: list[int] = []
    lengths = []
    for data in strings:
        call.tick()
        before, position = len(codes), 0
        while position < len(data):
            try:
                part, bad = data[position:].decode("utf-8"), len(data)
                after = bad
            except UnicodeDecodeError as error:
                bad, after = position + error.start, position + error.end
                part = data[position:bad].decode("utf-8")
                if errors == "strict":
                    call.fail_run("a string is not valid UTF-8", found=f"byte {bad}")
            for c in part:
                starts.append(position)
                codes.append(char if controls and ord(c) < 32 and char is not None else ord(c))
                position += len(c.encode())
            if bad < len(data) and char is not None:
                starts.append(bad)
                codes.append(char)
            position = after
        lengths.append(len(codes) - before)
    splits = np.cumsum([0, *lengths]).astype(call.output(0).dtype.numpy)
    return [splits, np.array(codes, np.int32), np.array(starts, np.int64)]


def _check_rows(call: Call) -> int:
    """Code points and row splits; returns the number of rows."""
    call.check_dtype(0, DType.INT32)
    call.check_rank(0, 1)
    call.check_dtype(1, *_SPLITS)
    (size,) = call.check_rank(1, 1)
    call.check(size > 0, "row splits are empty", "at least 1", "0")
    return size - 1


def _bounds(call: Call, codes: np.ndarray, splits: np.ndarray) -> list[int]:
    bounds = splits.astype(np.int64)
    if bounds[0] != 0 or (np.diff(bounds) < 0).any() or bounds[-1] != codes.size:
        call.fail_run("row splits do not rise from 0 to the end", f"0 to {codes.size}",
                      str(bounds[:8].tolist()))  # fmt: skip
    return [int(b) for b in bounds]


def _infer_whitespace(call: Call) -> list[Spec]:
    rows = _check_rows(call)
    splits = call.dtype(1)
    return [
        Spec(DType.INT32, None),
        Spec(splits, None),
        Spec(DType.INT64, None),
        Spec(DType.INT64, None),
        Spec(splits, (rows + 1,)),
    ]


def _whitespace(call: Call, codes: np.ndarray, splits: np.ndarray) -> list[np.ndarray]:
    bounds = np.array(_bounds(call, codes, splits))
    kept = ~np.isin(codes, _WHITE_SPACE)
    edges = np.zeros(codes.size + 1, bool)
    edges[bounds] = True
    # A token begins after white space or at the start of a row, and ends likewise.
    first = kept & (edges[:-1] | ~np.append(False, kept[:-1]))
    last = kept & (edges[1:] | ~np.append(kept[1:], False))
    starts, limits = np.flatnonzero(first), np.flatnonzero(last) + 1
    row = np.searchsorted(bounds, starts, side="right") - 1
    inner = np.append(0, np.cumsum(limits - starts))
    return [
        codes[kept],
        inner.astype(splits.dtype),
        (starts - bounds[row]).astype(np.int64),
        (limits - bounds[row]).astype(np.int64),
        np.searchsorted(starts, bounds).astype(splits.dtype),
    ]


def _infer_encode(call: Call) -> list[Spec]:
    rows = _check_rows(call)
    _policy(call, "output_encoding")
    return [Spec(DType.STRING, (rows,))]


def _encode(call: Call, codes: np.ndarray, splits: np.ndarray) -> np.ndarray:
    errors, char, _ = _policy(call, "output_encoding")
    bad = (codes < 0) | (codes >= 0x110000) | ((codes >= 0xD800) & (codes < 0xE000))
    if errors == "strict" and bad.any():
        call.fail_run("a number is not a code point", found=str(codes[bad][0]))
    instead = "" if char is None else chr(char)
    chars = [instead if b else chr(c) for c, b in zip(codes.tolist(), bad.tolist(), strict=True)]
    rows = itertools.pairwise(_bounds(call, codes, splits))
    return as_strings(["".join(chars[a:b]).encode() for a, b in rows])


register(
    "FlexUnicodeDecodeWithOffsets", infer=_infer_decode, evaluate=_decode, inputs=1, outputs=3,
    custom=True,
)  # fmt: skip
register(
    "FlexWhitespaceTokenizeWithOffsets", infer=_infer_whitespace, evaluate=_whitespace, inputs=2,
    outputs=5, custom=True,
)  # fmt: skip
register("FlexUnicodeEncode", infer=_infer_encode, evaluate=_encode, inputs=2, custom=True)

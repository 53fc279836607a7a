"""Operators that cut text into SentencePiece's pieces and put it together again.

    TFSentencepieceTokenizeOp     model (bytes), strings, … -> numbers, row splits
    TFSentencepieceDetokenizeOp   model (bytes), numbers, row splits -> strings
    FlexSentencepieceOp           -> a handle of the model that its attributes hold
    FlexSentencepieceTokenizeOp   handle, strings, … -> numbers or pieces, row splits

The first two are TensorFlow Lite Support's, the others TensorFlow Text's. The tokenisers also
take: n-best size and alpha for drawing one of many ways to cut (only the best is supported),
whether to add a piece for the start and the end, and whether to turn the order round.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.ops.node_def import attributes
from martlet.ops.operator import Call, Spec, register
from martlet.ops.sentencepiece_model import (
    SentencePiece,
    decoder_from_config,
    from_config,
    from_proto,
)
from martlet.ops.text import as_strings

_SPLITS = (DType.INT32, DType.INT64)


def _check_scalars(call: Call) -> None:
    """Inputs 2 to 6: n-best size, alpha, start, end, reverse."""
    for i, dtype in enumerate((DType.INT32, DType.FLOAT32, DType.BOOL, DType.BOOL, DType.BOOL), 2):
        call.check_dtype(i, dtype)
        call.check(
            np.prod(call.shape(i), dtype=object) == 1, f"input {i} is not one value", "1 value"
        )


def _check_text(call: Call) -> list[Spec]:
    call.check_dtype(1, DType.STRING)
    (count,) = call.check_rank(1, 1)
    _check_scalars(call)
    splits = call.output(1).dtype
    if splits not in _SPLITS:
        call.fail("row splits have the wrong type", "INT32 or INT64", splits.name)
    return [Spec(call.output(0).dtype, None), Spec(splits, (count + 1,))]


def _encode(
    call: Call, model: SentencePiece, texts: np.ndarray, flags: tuple[np.ndarray, ...]
) -> list[np.ndarray]:
    nbest, _, start, end, reverse = (f.item() for f in flags)
    if nbest not in (0, 1):
        call.unsupported(f"drawing one of the {nbest} best ways to cut a text")
    for wanted, number, what in ((start, model.start, "start"), (end, model.end, "end")):
        if wanted and number < 0:
            call.fail_run(f"the model has no piece for the {what} of a text")
    rows = []
    for text in texts:
        row = model.encode(text, call.tick)
        row = [(model.start, model.start_piece)] * start + row
        row += [(model.end, model.end_piece)] * end
        rows.append(row[::-1] if reverse else row)
    flat = [piece for row in rows for piece in row]
    splits = np.cumsum([0, *map(len, rows)]).astype(call.output(1).dtype.numpy)
    if call.output(0).dtype is DType.STRING:
        return [as_strings([piece for _, piece in flat]), splits]
    return [np.array([number for number, _ in flat], np.int64).astype(np.int32), splits]


def _cached(call: Call, key: Any, make: Any) -> Any:
    """A model is decoded once a session and bytes."""
    cache = call.session.resources.setdefault("sentencepiece", {})
    if key not in cache:
        cache[key] = make()
    return cache[key]


# TensorFlow Lite Support ---------------------------------------------------------------------


def _infer_tokenize(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.UINT8, DType.INT8)
    call.check_rank(0, 1)
    specs = _check_text(call)
    call.check(specs[0].dtype is DType.INT32, "pieces come as numbers", "INT32")
    return specs


def _tokenize(
    call: Call, data: np.ndarray, texts: np.ndarray, *flags: np.ndarray
) -> list[np.ndarray]:
    raw, where = data.tobytes(), f"{call.place}, its tokeniser"
    model = _cached(call, ("encoder", raw), lambda: from_config(raw, where))
    return _encode(call, model, texts, flags)


def _infer_detokenize(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.UINT8, DType.INT8)
    call.check_rank(0, 1)
    call.check_dtype(1, DType.INT32)
    call.check_rank(1, 1)
    call.check_dtype(2, *_SPLITS)
    (count,) = call.check_rank(2, 1)
    call.check(count > 0, "row splits are empty", "at least 1", "0")
    return [Spec(DType.STRING, (count - 1,))]


def _detokenize(
    call: Call, data: np.ndarray, numbers: np.ndarray, splits: np.ndarray
) -> np.ndarray:
    raw, where = data.tobytes(), f"{call.place}, its tokeniser"
    pieces, offset, drop = _cached(call, ("decoder", raw), lambda: decoder_from_config(raw, where))
    bounds = splits.astype(np.int64)
    if bounds[0] != 0 or (np.diff(bounds) < 0).any() or bounds[-1] > len(numbers):
        call.fail_run("row splits do not rise from 0", f"0 to {len(numbers)}", str(bounds[:8]))
    codes = numbers.astype(np.int64) - offset
    if ((codes < 0) | (codes >= len(pieces))).any():
        call.fail_run("a number is not that of a piece", f"{offset} to {offset + len(pieces) - 1}")
    texts = []
    for start, end in itertools.pairwise(bounds.tolist()):
        row = [pieces[code] for code in codes[start:end]]
        if drop and row and row[0].startswith(b" "):
            row[0] = row[0][1:]
        texts.append(b"".join(row))
    return as_strings(texts)


register(
    "TFSentencepieceTokenizeOp", infer=_infer_tokenize, evaluate=_tokenize, inputs=7, outputs=2,
    custom=True, pure=False,
)  # fmt: skip
register(
    "TFSentencepieceDetokenizeOp", infer=_infer_detokenize, evaluate=_detokenize, inputs=(3, 6),
    custom=True, pure=False,
)  # fmt: skip

# TensorFlow Text -----------------------------------------------------------------------------


def _infer_model(call: Call) -> list[Spec]:
    output = call.output()
    call.check(
        output.dtype in (DType.INT32, DType.RESOURCE),
        "the output of a handle has the wrong type",
        "RESOURCE or INT32",
        output.dtype.name,
    )
    if not isinstance(attributes(call).get("model"), bytes):
        call.fail("the tokeniser has no model", "the bytes of one in attribute 'model'")
    return [Spec(output.dtype, ())]


def _model(call: Call) -> np.ndarray:
    handles = call.session.resources.setdefault("sentencepiece handles", [])
    raw = attributes(call)["model"]
    if raw not in handles:
        handles.append(raw)
    return np.array(handles.index(raw), np.int32)


def _infer_flex_tokenize(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.INT32, DType.RESOURCE)
    specs = _check_text(call)
    call.check(
        specs[0].dtype in (DType.INT32, DType.STRING),
        "pieces have the wrong type",
        "INT32 or STRING",
        specs[0].dtype.name,
    )
    if attributes(call).get("return_nbest"):
        call.unsupported("all of the best ways to cut a text")
    return specs


def _flex_tokenize(
    call: Call, handle: np.ndarray, texts: np.ndarray, *flags: np.ndarray
) -> list[np.ndarray]:
    handles = call.session.resources.get("sentencepiece handles", [])
    if handle.size != 1 or not 0 <= handle.item() < len(handles):
        call.fail_run("the handle of the tokeniser is not that of a model")
    raw, where = handles[handle.item()], f"{call.place}, its tokeniser"
    model = _cached(call, ("library", raw), lambda: from_proto(raw, where))
    return _encode(call, model, texts, flags)


register(
    "FlexSentencepieceOp", infer=_infer_model, evaluate=_model, inputs=0, custom=True, pure=False
)  # fmt: skip
register(
    "FlexSentencepieceTokenizeOp", infer=_infer_flex_tokenize, evaluate=_flex_tokenize, inputs=7,
    outputs=2, custom=True, pure=False,
)  # fmt: skip

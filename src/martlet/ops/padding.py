"""Operators that put values around or between elements: PAD, PADV2, MIRROR_PAD, DILATE,
STABLEHLO_PAD.

All but MIRROR_PAD are one thing: an array of the fill value into which the elements are put, at
steps, after the edges whose padding is negative have been cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import INDICES, Call, Spec, register

# Any integer type may hold paddings.
_PADDING_TYPES = (*INDICES, DType.INT8, DType.INT16, DType.BOOL)


def _paddings(call: Call, dtypes: Sequence[DType]) -> list[tuple[int, int]] | None:
    """Input 1: (before, after) for each dimension."""
    flat = call.integers(1, call.rank(0), 2, dtypes=dtypes)
    if flat is None:
        return None
    call.check(min(flat, default=0) >= 0, "a padding is negative", found=str(flat))
    return list(zip(flat[::2], flat[1::2], strict=True))


def _padded(call: Call, paddings: list[tuple[int, int]] | None) -> list[Spec]:
    if paddings is None:
        return [Spec(call.dtype(0), None)]
    sizes = zip(call.shape(0), paddings, strict=True)
    return [Spec(call.dtype(0), tuple(n + before + after for n, (before, after) in sizes))]


def placement(
    sizes: Sequence[int], edges: Sequence[tuple[int, int]], steps: Sequence[int]
) -> tuple[tuple[int, ...], tuple[Any, ...], tuple[Any, ...]]:
    """(shape, slices of x, slices where they go), if x has these sizes; see `place`."""
    shape: list[int] = []
    source: list[slice] = []
    target: list[slice] = []
    for n, (before, after), step in zip(sizes, edges, steps, strict=True):
        size = max(n - 1, 0) * step + min(n, 1) + before + after
        # Element k stands at before + k * step: those from `first` to `last` are inside.
        first = max(0, -(before // step))
        last = min(n, (size - 1 - before) // step + 1)
        count = max(0, last - first)
        shape.append(max(size, 0))
        source.append(slice(first, first + count))
        start = before + first * step if count else 0
        target.append(slice(start, start + max(count - 1, 0) * step + min(count, 1), step))
    return tuple(shape), tuple(source), tuple(target)


def place(
    x: np.ndarray, fill: Any, edges: Sequence[tuple[int, int]], steps: Sequence[int]
) -> np.ndarray:
    """The elements of x, `steps` apart, with `edges` (before, after) added; negative ones cut."""
    shape, source, target = placement(x.shape, edges, steps)
    result = np.full(shape, fill, x.dtype)
    result[(*target, ...)] = x[(*source, ...)]
    return result


# PAD, PADV2 -------------------------------------------------------------------------------


def _pad_spec(call: Call) -> list[Spec]:
    dtype = call.dtype(0)
    call.check(dtype is not DType.STRING, "strings cannot be padded")
    if call.has(2):
        call.check_same_dtype(0, 2)
        call.check_one(2)
        call.check_same_quantization(2)
    elif stored_zero(call):
        limits = np.iinfo(dtype.numpy)
        zero = stored_zero(call)
        call.check(
            limits.min <= zero <= limits.max,
            "the output's zero point does not fit its type",
            f"{limits.min} to {limits.max}",
            str(zero),
        )
    return _padded(call, pad_edges(call))


def pad_edges(call: Call) -> list[tuple[int, int]] | None:
    """(before, after) for each dimension that PAD and PADV2 are given."""
    return _paddings(call, _PADDING_TYPES)


def stored_zero(call: Call) -> int:
    """What stands for zero in the output of a quantised operator."""
    quantization = call.output().quantization
    narrow = call.dtype(0) in (DType.UINT8, DType.INT8, DType.INT16)
    if not narrow or quantization is None or quantization.zero_point.size == 0:
        return 0
    return int(quantization.zero_point[0])


def _pad(call: Call, x: np.ndarray, _: np.ndarray, value: np.ndarray | None = None) -> np.ndarray:
    edges = pad_edges(call)
    assert edges is not None
    fill = stored_zero(call) if value is None else value.reshape(())
    return place(x, fill, edges, [1] * x.ndim)


# MIRROR_PAD -------------------------------------------------------------------------------


def _mirror_spec(call: Call) -> list[Spec]:
    call.check_same_quantization(0)
    paddings = _paddings(call, INDICES)
    mode = call.option("mode")
    call.check(
        mode in ("REFLECT", "SYMMETRIC"), "mode is unknown", "REFLECT or SYMMETRIC", str(mode)
    )
    # REFLECT does not repeat the edge, so that it has one element less to give.
    spare = int(mode == "REFLECT")
    for axis, (n, pair) in enumerate(zip(call.shape(0), paddings or [], strict=False)):
        call.check(
            max(pair) <= max(n - spare, 0),
            f"dimension {axis} is too short to be mirrored",
            f"paddings of at most {max(n - spare, 0)}",
            str(list(pair)),
        )
    return _padded(call, paddings)


def _mirror_pad(call: Call, x: np.ndarray, _: np.ndarray) -> np.ndarray:
    edges = _paddings(call, INDICES)
    assert edges is not None
    spare = int(call.option("mode") == "REFLECT")
    for axis, (before, after) in enumerate(edges):
        n = x.shape[axis]
        forth = np.arange(n)
        back = forth[::-1]
        ahead = back[n - spare - before : n - spare]
        x = np.take(x, np.concatenate([ahead, forth, back[spare : spare + after]]), axis)
    return x


# DILATE, STABLEHLO_PAD --------------------------------------------------------------------


def _dilate_spec(call: Call) -> list[Spec]:
    """DILATE: input 1 says how far apart the elements come to stand."""
    dtype = call.check_same_dtype(0, 2)
    call.check(dtype is not DType.STRING, "strings cannot be padded")
    call.check_one(2)
    shape = call.check_rank(0, 1, 32)
    steps = call.integers(1, len(shape), dtypes=(DType.INT32,))
    if steps is None:
        return [Spec(dtype, None)]
    call.check(min(steps) >= 1, "a dilation is not positive", found=str(steps))
    return [
        Spec(dtype, tuple(max(n - 1, 0) * d + min(n, 1) for n, d in zip(shape, steps, strict=True)))
    ]


def _dilate(call: Call, x: np.ndarray, steps: np.ndarray, value: np.ndarray) -> np.ndarray:
    return place(x, value.reshape(()), [(0, 0)] * x.ndim, steps.tolist())


def stablehlo_paddings(call: Call) -> tuple[list[tuple[int, int]], list[int]]:
    """(edges, steps) from the options of STABLEHLO_PAD."""
    rank = call.rank(0)
    values = []
    for name in ("edge_padding_low", "edge_padding_high", "interior_padding"):
        option = call.option(name)
        numbers = [] if option is None else [int(n) for n in option]
        call.check(
            len(numbers) == rank, f"{name} has the wrong length", str(rank), str(len(numbers))
        )
        values.append(numbers)
    low, high, interior = values
    call.check(min(interior, default=0) >= 0, "interior_padding is negative", found=str(interior))
    return list(zip(low, high, strict=True)), [n + 1 for n in interior]


def _stablehlo_pad_spec(call: Call) -> list[Spec]:
    dtype = call.check_same_dtype(0, 1)
    call.check(dtype is not DType.STRING, "strings cannot be padded")
    call.check_one(1)
    edges, steps = stablehlo_paddings(call)
    shape = [
        max(n - 1, 0) * step + min(n, 1) + low + high
        for n, (low, high), step in zip(call.shape(0), edges, steps, strict=True)
    ]
    # TensorFlow Lite makes every size 0 once one of them is.
    return [Spec(dtype, tuple(shape) if min(shape, default=1) > 0 else (0,) * len(shape))]


def _stablehlo_pad(call: Call, x: np.ndarray, value: np.ndarray) -> np.ndarray:
    (spec,) = _stablehlo_pad_spec(call)
    assert spec.shape is not None
    if 0 in spec.shape:
        return np.zeros(spec.shape, x.dtype)
    edges, steps = stablehlo_paddings(call)
    return place(x, value.reshape(()), edges, steps)


register(
    "PAD", infer=_pad_spec, evaluate=_pad, inputs=(2, 3), options="PadOptions", versions=6,
    optional=(2,),
)  # fmt: skip
register(
    "PADV2", infer=_pad_spec, evaluate=_pad, inputs=(2, 3), options="PadV2Options", versions=6,
    optional=(2,),
)  # fmt: skip
register(
    "MIRROR_PAD", infer=_mirror_spec, evaluate=_mirror_pad, inputs=2, options="MirrorPadOptions",
    versions=3,
)  # fmt: skip
register("DILATE", infer=_dilate_spec, evaluate=_dilate, inputs=3, options="DilateOptions")
register(
    "STABLEHLO_PAD", infer=_stablehlo_pad_spec, evaluate=_stablehlo_pad, inputs=2,
    options="StablehloPadOptions",
)  # fmt: skip

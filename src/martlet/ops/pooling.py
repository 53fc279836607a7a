"""Pooling: every window of an image becomes its average, its maximum or its root mean square.

AVERAGE_POOL_2D, MAX_POOL_2D, L2_POOL_2D, and the custom AveragePool3D and MaxPool3D.

In: (batch, height, width, channels), with a depth before the height for 3-D. Out: the same with
one place for each window. Windows reduce one axis after the other, so that the work grows with
the sum of their sizes; elements outside the image take no part, nor are they counted.

- Average of integers: the exact sum, divided once, half away from zero.
- Maximum: NaNs are passed over, and the result is at least the lowest finite number.
- Results are clamped to the fused activation; scales play no other part, for input and output
  share them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from martlet.dtypes import DType
from martlet.ops.activation_range import QUANTIZED, apply, fused_activation, integer_range
from martlet.ops.operator import Call, Infer, Spec, register
from martlet.ops.sliding_window import Axis, window_axis
from martlet.schema.flexbuffer import decode

Windows = Callable[[Call], "list[Axis]"]


def image_windows(call: Call) -> list[Axis]:
    """The windows of a builtin, along height and width."""
    shape = call.check_rank(0, 4)
    return [
        window_axis(
            call,
            call.option("padding"),
            letter,
            size,
            call.option(f"filter_{name}"),
            call.option(f"stride_{letter}"),
        )
        for letter, name, size in (("h", "height", shape[1]), ("w", "width", shape[2]))
    ]


def flexbuffer_windows(call: Call, letters: str) -> tuple[list[Axis], dict]:
    """The windows that a custom operator's FlexBuffer describes, and all that it says.

    `ksize` and `strides` have an entry for each dimension of the input, 1 for batch and channels.
    """
    rank = len(letters) + 2
    shape = call.check_rank(0, rank)
    custom = call.node.custom_options
    options = decode(b"" if custom is None else custom.tobytes(), call.place)
    options = options if isinstance(options, dict) else {}
    sizes = []
    for name in ("ksize", "strides"):
        entries = options.get(name)
        if not (
            isinstance(entries, list)
            and len(entries) == rank
            and all(type(n) is int and 0 < n < 1 << 31 for n in entries)
            and entries[0] == entries[-1] == 1
        ):
            call.fail(
                f"{name} must be {rank} positive sizes",
                "1 for batch and channels",
                str(entries)[:80],
            )
        sizes.append(entries[1:-1])
    padding = options.get("padding")
    axes = [
        window_axis(call, padding, letter, size, taps, stride)
        for letter, size, taps, stride in zip(letters, shape[1:-1], *sizes, strict=True)
    ]
    return axes, options


def volume_windows(call: Call) -> list[Axis]:
    """The windows of AveragePool3D and MaxPool3D."""
    axes, options = flexbuffer_windows(call, "dhw")
    layout = options.get("data_format")
    call.check(layout == "NDHWC", "unknown data_format", "NDHWC", str(layout)[:80])
    return axes


def pooled_shape(call: Call, axes: Sequence[Axis]) -> tuple[int, ...]:
    shape = call.shape(0)
    return (shape[0], *(axis.positions for axis in axes), shape[-1])


def reaching_taps(axis: Axis) -> range:
    """The taps that meet the image at some position; few, however large the window."""
    first = axis.before - (axis.positions - 1) * axis.stride
    return range(max(0, first), min(axis.taps, axis.before + axis.size))


def reduce_axis(
    call: Call, x: np.ndarray, dimension: int, axis: Axis, combine: np.ufunc, start: object
) -> np.ndarray:
    """Combine what lies under the windows along one dimension, from the value `start`."""
    shape = list(x.shape)
    shape[dimension] = axis.positions
    call.session.reserve(math.prod(shape) * x.dtype.itemsize, call.place)
    result = np.full(shape, start, x.dtype)
    lead = (slice(None),) * dimension
    for tap in reaching_taps(axis):
        call.tick()
        met = axis.overlap(tap, range(axis.positions), range(axis.size))
        if met is not None:
            here, under = (*lead, met[0]), (*lead, met[1])
            combine(result[here], x[under], out=result[here])
    return result


def _reduce(
    call: Call, x: np.ndarray, axes: Sequence[Axis], combine: np.ufunc, start: object
) -> np.ndarray:
    for dimension, axis in enumerate(axes, 1):
        x = reduce_axis(call, x, dimension, axis, combine, start)
    return x


def _counts(axes: Sequence[Axis]) -> np.ndarray:
    """How many elements lie under each window, shaped to broadcast against the result."""
    counts = np.ones((1,) * (len(axes) + 2), np.int64)
    for dimension, axis in enumerate(axes, 1):
        first = np.arange(axis.positions, dtype=np.int64) * axis.stride - axis.before
        inside = np.minimum(first + axis.taps, axis.size) - np.maximum(first, 0)
        counts = counts * inside.reshape([-1 if d == dimension else 1 for d in range(counts.ndim)])
    return counts


def _average(call: Call, x: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    counts = _counts(axes)
    if x.dtype.kind == "f":
        sums = _reduce(call, x, axes, np.add, 0)
        return np.asarray(sums / counts.astype(x.dtype))
    call.session.reserve(x.size * 8, call.place)
    sums = _reduce(call, x.astype(np.int64), axes, np.add, 0)
    return np.asarray(np.sign(sums) * ((np.abs(sums) + counts // 2) // counts))


def _maximum(call: Call, x: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    if x.dtype.kind == "f":
        return _reduce(call, x, axes, np.fmax, np.finfo(x.dtype).min)
    return _reduce(call, x, axes, np.maximum, np.iinfo(x.dtype).min)


def _root_mean_square(call: Call, x: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    sums = _reduce(call, x * x, axes, np.add, 0)
    return np.asarray(np.sqrt(sums / _counts(axes).astype(x.dtype)))


def _activation(call: Call) -> str:
    return "NONE" if call.node.custom else fused_activation(call)


def _infer(windows: Windows, dtypes: Sequence[DType]) -> Infer:
    def infer(call: Call) -> list[Spec]:
        dtype = call.check_dtype(0, *dtypes)
        spec = Spec(dtype, pooled_shape(call, windows(call)))
        activation = _activation(call)
        if dtype in QUANTIZED:
            call.check(call.output().dtype is dtype, "input and output differ in type", dtype.name)
            integer_range(call, activation)
        return [spec]

    return infer


def _evaluate(windows: Windows, reduce: Callable) -> Callable[[Call, np.ndarray], np.ndarray]:
    def evaluate(call: Call, x: np.ndarray) -> np.ndarray:
        y = reduce(call, x, windows(call))
        if call.dtype(0) in QUANTIZED:
            low, high = integer_range(call, _activation(call))
            return np.asarray(np.clip(y, low, high)).astype(x.dtype)
        return apply(y, _activation(call))

    return evaluate


_IMAGES = (DType.FLOAT32, DType.UINT8, DType.INT8, DType.INT16)
_VOLUMES = (DType.FLOAT32, DType.INT8, DType.INT16)

# name, windows, types, meaning, highest version, whether custom
_POOLS: list[tuple[str, Windows, Sequence[DType], Callable, int, bool]] = [
    ("AVERAGE_POOL_2D", image_windows, _IMAGES, _average, 3, False),
    ("MAX_POOL_2D", image_windows, _IMAGES, _maximum, 3, False),
    ("L2_POOL_2D", image_windows, (DType.FLOAT32,), _root_mean_square, 1, False),
    ("AveragePool3D", volume_windows, _VOLUMES, _average, 1, True),
    ("MaxPool3D", volume_windows, _VOLUMES, _maximum, 1, True),
]
for _name, _windows, _dtypes, _meaning, _version, _custom in _POOLS:
    register(
        _name, infer=_infer(_windows, _dtypes), evaluate=_evaluate(_windows, _meaning), inputs=1,
        options="" if _custom else "Pool2DOptions", versions=_version, custom=_custom,
    )  # fmt: skip

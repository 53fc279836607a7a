"""Pooling that remembers where each maximum stood, and unpooling that puts it back (custom).

Two families share the idea, not the notation of a place:
- MediaPipe's MaxPoolingWithArgmax2D and MaxUnpooling2D write the place of the maximum within its
  window, row * window width + column, as a float (plus 0.1, so that it truncates safely);
- TensorFlow Lite's MaxPoolWithArgmax, MaxUnpooling2D and LiteRtMaxUnpooling2D write its place in
  the image, (row * width + column) * channels + channel, as an int32.

MaxUnpooling2D is in both: the type of its indices tells which. Of equal maxima the first counts,
row by row; places without a maximum are 0, and where two values meet the later one stays.

Options: a FlexBuffer for MaxPoolWithArgmax, else the bytes of a C structure of int32: padding
(1 SAME, 2 VALID), stride along width and height, window's width and height, activation, and four
that do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from martlet.dtypes import DType
from martlet.ops.activation_range import apply
from martlet.ops.operator import Call, Spec, register
from martlet.ops.pooling import flexbuffer_windows, pooled_shape, reaching_taps
from martlet.ops.sliding_window import Axis, window_axis
from martlet.records import dataclass

F32, I32 = DType.FLOAT32, DType.INT32
PADDINGS = {1: "SAME", 2: "VALID"}
ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}


@dataclass(frozen=True)
class PoolOptions:
    """The C structure; sizes as (along height, along width)."""

    padding: str
    strides: tuple[int, int]
    window: tuple[int, int]
    activation: str


def _options(call: Call) -> PoolOptions:
    raw = call.node.custom_options
    data = b"" if raw is None else raw.tobytes()
    call.check(len(data) >= 24, "the options are too short", "24 bytes or more", str(len(data)))
    padding, stride_w, stride_h, width, height, activation = map(int, np.frombuffer(data, "<i4", 6))
    call.check(padding in PADDINGS, "unknown padding", "1 or 2", str(padding))
    call.check(activation in ACTIVATIONS, "unknown activation", "0 to 3", str(activation))
    sizes = (stride_h, stride_w, height, width)
    call.check(min(sizes) > 0, "strides and windows must be positive", found=str(sizes))
    return PoolOptions(
        PADDINGS[padding], (stride_h, stride_w), (height, width), ACTIVATIONS[activation]
    )


# Pooling ----------------------------------------------------------------------------------


def _window_options(call: Call) -> tuple[list[Axis], str]:
    shape, options = call.check_rank(0, 4), _options(call)
    parts = zip("hw", shape[1:3], options.window, options.strides, strict=True)
    axes = [window_axis(call, options.padding, *part) for part in parts]
    return axes, options.activation


def _image_options(call: Call) -> tuple[list[Axis], str]:
    axes, options = flexbuffer_windows(call, "hw")
    if options.get("include_batch_in_index"):
        call.unsupported("indices that count the batch are not supported")
    return axes, "NONE"


def _in_window(axes: list[Axis], y: np.ndarray, x: np.ndarray) -> np.ndarray:
    place = np.maximum(y, 0) * axes[1].taps + np.maximum(x, 0)
    return np.asarray(place.astype(np.float32) + np.float32(0.1))


def _in_image(axes: list[Axis], y: np.ndarray, x: np.ndarray) -> np.ndarray:
    found = y >= 0
    rows, columns = (
        np.arange(axis.positions, dtype=np.int64) * axis.stride - axis.before for axis in axes
    )
    place = (y + rows[:, None, None]) * axes[1].size + x + columns[:, None]
    channels = y.shape[-1]
    flat = np.where(found, place, 0) * channels + np.arange(channels)
    return np.asarray(flat, np.int32)


def _strict_maximum(
    call: Call, x: np.ndarray, dimension: int, axis: Axis, carried: np.ndarray | None = None
) -> list[np.ndarray]:
    """Maxima along one dimension, the tap of each, and what `carried` has at that place.

    A value counts only if it is above the lowest finite number; else its tap is -1.
    """
    shape = list(x.shape)
    shape[dimension] = axis.positions
    call.session.reserve(math.prod(shape) * 24, call.place)
    best = np.full(shape, np.finfo(x.dtype).min, x.dtype)
    place = np.full(shape, -1, np.int64)
    along = np.full(shape, -1, np.int64)
    lead = (slice(None),) * dimension
    for tap in reaching_taps(axis):
        call.tick()
        met = axis.overlap(tap, range(axis.positions), range(axis.size))
        if met is None:
            continue
        here, under = (*lead, met[0]), (*lead, met[1])
        better = x[under] > best[here]
        best[here] = np.where(better, x[under], best[here])
        place[here] = np.where(better, tap, place[here])
        if carried is not None:
            along[here] = np.where(better, carried[under], along[here])
    return [best, place, along]


def _register_pool(
    name: str,
    index_dtype: DType,
    options: Callable[[Call], tuple[list[Axis], str]],
    places: Callable[[list[Axis], np.ndarray, np.ndarray], np.ndarray],
) -> None:
    def infer(call: Call) -> list[Spec]:
        call.check_dtype(0, F32)
        axes, _ = options(call)
        shape = pooled_shape(call, axes)
        return [Spec(F32, shape), Spec(index_dtype, shape)]

    def evaluate(call: Call, image: np.ndarray) -> list[np.ndarray]:
        (rows, columns), activation = options(call)
        # The first maximum of a window stands in the first row that has it.
        best, x, _ = _strict_maximum(call, image, 2, columns)
        best, y, x = _strict_maximum(call, best, 1, rows, x)
        return [apply(best, activation), places([rows, columns], y, x)]

    register(name, infer=infer, evaluate=evaluate, inputs=1, outputs=2, custom=True)


# Unpooling --------------------------------------------------------------------------------


def _unpooled(call: Call) -> list[Spec]:
    call.check_dtype(0, F32)
    indices = call.check_dtype(1, *((I32,) if call.op.startswith("LiteRt") else (I32, F32)))
    batch, height, width, channels = call.check_rank(0, 4)
    call.check(
        call.shape(1) == call.shape(0),
        "values and indices differ in shape",
        str(list(call.shape(0))),
        str(list(call.shape(1))),
    )
    options = _options(call)
    if indices is F32:
        sizes = [n * k for n, k in zip((height, width), options.window, strict=True)]
    else:
        parts = zip((height, width), options.strides, options.window, strict=True)
        same = options.padding == "SAME"
        sizes = [n * s if same else max(0, (n - 1) * s + k) for n, s, k in parts]
    return [Spec(F32, (batch, *sizes, channels))]


def _unpool(call: Call, values: np.ndarray, indices: np.ndarray) -> np.ndarray:
    shape = _unpooled(call)[0].shape
    assert shape is not None
    batch, height, width, channels = shape
    result = np.zeros((batch, height * width * channels), np.float32)
    if values.size:
        call.session.reserve(values.size * 24, call.place)
        if call.dtype(1) is F32:
            places = _from_window(call, indices, height, width)
        else:
            places = _checked(call, indices, height * width * channels)
        every = np.arange(batch)[:, None]
        result[every, places.reshape(batch, -1)] = values.reshape(batch, -1)
    return result.reshape(shape)


def _checked(call: Call, indices: np.ndarray, count: int) -> np.ndarray:
    """Indices from 0 to count - 1, as int64."""
    if not ((indices >= 0) & (indices < count)).all():  # so that NaNs fail, too
        wrong = indices[~((indices >= 0) & (indices < count))].flat[0]
        call.fail_run("an index is out of range", f"0 to {count - 1}", str(wrong))
    return indices.astype(np.int64)


def _from_window(call: Call, indices: np.ndarray, height: int, width: int) -> np.ndarray:
    """Places in the image from places in windows of MediaPipe's padding."""
    options = _options(call)
    (tall, wide), shape = options.window, indices.shape
    inside = _checked(call, indices, min(tall * wide, 1 << 62))
    coordinates = []
    for dimension, size, taps, stride, tap in (
        (1, height, tall, options.strides[0], inside // wide),
        (2, width, wide, options.strides[1], inside % wide),
    ):
        count = shape[dimension]
        before = max(0, (count - 1) * stride + taps - size) // 2
        start = np.arange(count, dtype=np.int64) * stride - before
        spread = [-1 if d == dimension else 1 for d in range(4)]
        coordinates.append(_checked(call, start.reshape(spread) + tap, size))
    y, x = coordinates
    channels = shape[3]
    return np.asarray((y * width + x) * channels + np.arange(channels))


_register_pool("MaxPoolingWithArgmax2D", F32, _window_options, _in_window)
_register_pool("MaxPoolWithArgmax", I32, _image_options, _in_image)
for _name in ("MaxUnpooling2D", "LiteRtMaxUnpooling2D"):
    register(_name, infer=_unpooled, evaluate=_unpool, inputs=2, custom=True)

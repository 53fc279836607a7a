"""RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR, over height and width.

An output row y lies at the input's y * scale, or (y + 0.5) * scale - 0.5 with half_pixel_centers,
where scale is input size / output size, or (input - 1) / (output - 1) with align_corners; columns
alike. Coordinates are float32. Bilinear values round as follows:

- float32: the weighted sum of the four neighbours, in float32;
- uint8: that sum, plus 0.5, cut;
- int8, int16: coordinates and weights are integers with 10 fractional bits; the sum has 20 and is
  rounded once, half away from zero.
"""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call, Spec, register
from martlet.records import NamedTuple

_BITS = 10


def _spec(call: Call) -> list[Spec]:
    n, height, width, depth = call.check_rank(0, 4)
    size = call.integers(1, 2, dtypes=(DType.INT32,))
    if size is None:
        return [Spec(call.dtype(0), None)]
    call.check(min(size) > 0, "the new size is not positive", found=str(size))
    call.check(
        min(height, width) > 0, "an empty image cannot be resized", found=f"{height} by {width}"
    )
    return [Spec(call.dtype(0), (n, *size, depth))]


def _bilinear_spec(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32, DType.UINT8, DType.INT8, DType.INT16)
    call.check(
        not (call.option("align_corners") and call.option("half_pixel_centers")),
        "align_corners and half_pixel_centers exclude each other",
    )
    return _spec(call)


# Bilinear ---------------------------------------------------------------------------------


class Neighbours(NamedTuple):
    """The two input positions around each output position, and the second one's weight."""

    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray


def _scale(size: int, new: int, align: bool) -> tuple[int, int]:
    """Input steps for each output step, as a fraction."""
    return (size - 1, new - 1) if align and new > 1 else (size, new)


def float_neighbours(size: int, new: int, align: bool, half: bool) -> Neighbours:
    above, below = _scale(size, new, align)
    scale = np.float32(above) / np.float32(below)
    shift = np.float32(0.5 if half else 0)
    place = (np.arange(new, dtype=np.float32) + shift) * scale - shift
    low = np.clip(np.floor(place), 0, size - 1).astype(np.int64)
    high = np.clip(np.ceil(place), 0, size - 1).astype(np.int64)
    return Neighbours(low, high, place - low.astype(np.float32))


def _fixed_neighbours(size: int, new: int, align: bool, half: bool) -> Neighbours:
    above, below = _scale(size, new, align)
    scale = ((above << _BITS) + below // 2) // below
    place = np.arange(new, dtype=np.int64) * scale
    if half:
        place += scale // 2 - (1 << (_BITS - 1))
    low = np.clip(place >> _BITS, 0, size - 1)
    high = np.clip((place + (1 << _BITS) - 1) >> _BITS, 0, size - 1)
    return Neighbours(low, high, place - (low << _BITS))


def _bilinear(call: Call, x: np.ndarray, new: np.ndarray) -> np.ndarray:
    align, half = bool(call.option("align_corners")), bool(call.option("half_pixel_centers"))
    height, width = (int(n) for n in new)
    fixed = x.dtype.kind == "i"
    neighbours = _fixed_neighbours if fixed else float_neighbours
    rows = neighbours(x.shape[1], height, align, half)
    columns = neighbours(x.shape[2], width, align, half)
    # One image at a time, so that the wide intermediates stay small.
    call.session.reserve(32 * height * width * x.shape[3], call.place)
    result = np.empty((x.shape[0], height, width, x.shape[3]), x.dtype)
    for i, image in enumerate(x):
        call.tick()
        result[i] = _fixed_image(image, rows, columns) if fixed else _image(image, rows, columns)
    return result


def _image(image: np.ndarray, rows: Neighbours, columns: Neighbours) -> np.ndarray:
    # The order of terms and factors is part of the meaning for uint8.
    down, right = rows.weight[:, None, None], columns.weight[:, None]
    up, left = 1 - down, 1 - right
    low, high = image[rows.low].astype(np.float32), image[rows.high].astype(np.float32)
    total: np.ndarray = low[:, columns.low] * up * left
    total += high[:, columns.low] * down * left
    total += low[:, columns.high] * up * right
    total += high[:, columns.high] * down * right
    if image.dtype.kind == "u":
        total += np.float32(0.5)
    return total.astype(image.dtype)


def _fixed_image(image: np.ndarray, rows: Neighbours, columns: Neighbours) -> np.ndarray:
    one = 1 << _BITS
    down, right = rows.weight[:, None, None], columns.weight[:, None]
    tall = image[rows.low] * (one - down) + image[rows.high] * down
    total: np.ndarray = tall[:, columns.low] * (one - right) + tall[:, columns.high] * right
    nudge = np.where(total > 0, 1 << (2 * _BITS - 1), -(1 << (2 * _BITS - 1)))
    total += nudge
    # Division that truncates towards zero, as in C.
    rounded: np.ndarray = np.sign(total) * (np.abs(total) >> (2 * _BITS))
    return rounded.astype(image.dtype)


# Nearest neighbour ------------------------------------------------------------------------


def nearest_positions(size: int, new: int, align: bool, half: bool) -> np.ndarray:
    above, below = _scale(size, new, align)
    scale = np.float32(above) / np.float32(below)
    place = (np.arange(new, dtype=np.float32) + np.float32(0.5 if half else 0)) * scale
    nearest = np.floor(place)
    if align:
        nearest += place - nearest >= 0.5
    positions: np.ndarray = np.clip(nearest, 0, size - 1)
    return positions.astype(np.int64)


def _nearest(call: Call, x: np.ndarray, new: np.ndarray) -> np.ndarray:
    align, half = bool(call.option("align_corners")), bool(call.option("half_pixel_centers"))
    rows = nearest_positions(x.shape[1], int(new[0]), align, half)
    columns = nearest_positions(x.shape[2], int(new[1]), align, half)
    tall: np.ndarray = np.take(x, rows, 1)
    return np.take(tall, columns, 2)


register(
    "RESIZE_BILINEAR", infer=_bilinear_spec, evaluate=_bilinear, inputs=2,
    options="ResizeBilinearOptions", versions=4,
)  # fmt: skip
register(
    "RESIZE_NEAREST_NEIGHBOR", infer=_spec, evaluate=_nearest, inputs=2,
    options="ResizeNearestNeighborOptions", versions=4,
)  # fmt: skip

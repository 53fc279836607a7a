"""RESIZE_NEAREST_NEIGHBOR of any type, RESIZE_BILINEAR in float32: tables of where pixels are."""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.resizing import float_neighbours, nearest_positions
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.movement import LEAST_BYTES
from martlet.plan.lowering.strides import grain


@lowers("RESIZE_NEAREST_NEIGHBOR", pitched=True)
def resize_nearest(lowering: Lowering) -> bool:
    size = lowering.call.value(1)
    if size is None:
        return False
    n, height, width, depth = lowering.call.shape(0)
    new = [int(v) for v in size]
    itemsize = lowering.call.dtype(0).numpy.itemsize
    nbytes, pixel = depth * itemsize, lowering.pitch(0) * itemsize
    ends = (
        bool(lowering.call.option("align_corners")),
        bool(lowering.call.option("half_pixel_centers")),
    )
    rows = _places(n, height, nearest_positions(height, new[0], *ends), width * pixel)
    columns = nearest_positions(width, new[1], *ends) * pixel
    lowering.step(
        "copy_pixels", lowering.input(0), lowering.output(0), nbytes,
        lowering.output_pitch(depth) * itemsize, new[1],
        lowering.data(rows), lowering.data(columns),
        units=n * new[0] if nbytes else 0,
        grain=grain(lowering, n * new[0], -(-LEAST_BYTES // max(nbytes * new[1], 1)), 1),
    )  # fmt: skip
    return True


@lowers("RESIZE_BILINEAR", pitched=True)
def resize_bilinear(lowering: Lowering) -> bool:
    size = lowering.call.value(1)
    if size is None or lowering.call.dtype(0) is not DType.FLOAT32:
        return False
    n, height, width, depth = lowering.call.shape(0)
    new = [int(v) for v in size]
    ends = (
        bool(lowering.call.option("align_corners")),
        bool(lowering.call.option("half_pixel_centers")),
    )
    rows = float_neighbours(height, new[0], *ends)
    columns = float_neighbours(width, new[1], *ends)
    pixel = lowering.pitch(0)
    tables = [_places(n, height, place, width * pixel) for place in (rows.low, rows.high)]
    tables += [np.tile(rows.weight, n), columns.low * pixel, columns.high * pixel, columns.weight]
    lowering.step(
        "blend_pixels_f32", lowering.input(0), lowering.output(0), depth,
        lowering.output_pitch(depth), new[1],
        *map(lowering.data, tables),
        units=n * new[0] if depth else 0,
        grain=grain(lowering, n * new[0], -(-LEAST_BYTES // max(4 * depth * new[1], 1)), 1),
    )  # fmt: skip
    return True


def _places(images: int, height: int, positions: np.ndarray, row: int) -> np.ndarray:
    """Where the rows at these positions begin, in every image, `row` being what one row takes."""
    first = np.arange(images, dtype=np.int64)[:, None] * height
    return np.ravel((first + positions) * row)

"""MediaPipe's custom operators: crops that follow landmarks, and images sampled at given points.

The attention face mesh finds 468 landmarks, then looks again at the lips and eyes:

    Landmarks2TransformMatrix   landmarks of one part -> the 4×4 matrix that takes a pixel of an
                                upright crop around that part to its place in the feature map
    TransformTensorBilinear     feature map, matrix -> the crop, sampled bilinearly
    TransformLandmarks          landmarks found in the crop, matrix -> their place in the map

Each has an older version with landmarks in the last dimension and other options. `Resampler` and
`DenseImageWarp` sample an image at points that a tensor holds. Everything is float32; a point off
the image gives 0, but for DenseImageWarp, which moves it to the edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.ops import custom_options
from martlet.ops.operator import Call, Shape, Spec, register

_MAX_SIDE = 1 << 20
F32 = np.float32


def _integers(call: Call, options: dict[str, Any], name: str, low: int, high: int) -> list[int]:
    """A list of integers in low…high."""
    values = options.get(name)
    if not isinstance(values, list):
        call.fail(f"option {name} is not a list", found=repr(values)[:40])
    return [
        custom_options.integer(call, {name: value}, name, low=low, high=high) for value in values
    ]  # fmt: skip


def _pair(call: Call, options: dict[str, Any], name: str) -> tuple[int, int]:
    """Height and width."""
    values = _integers(call, options, name, 1, _MAX_SIDE)
    if len(values) != 2:
        call.fail(f"option {name} has the wrong length", "height and width", str(values))
    return values[0], values[1]


# Landmarks2TransformMatrix -------------------------------------------------------------------


def _infer_matrix(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32)
    if call.node.version == 1:
        shape = call.check_rank(0, 4)
        call.check(shape[:3] == (1, 1, 1), "landmarks have the wrong shape", "1 × 1 × 1 × 3 n")
        _matrix_options_1(call, shape[3] // 3)
    else:
        shape = call.check_rank(0, 3)
        call.check(
            shape[0] == 1 and shape[2] == 3,
            "landmarks have the wrong shape", "1 × n × 3", str(list(shape)),
        )  # fmt: skip
        _matrix_options_2(call, shape[1])
    return [Spec(DType.FLOAT32, (1, 4, 4))]


def _landmark_options(call: Call, count: int, subset: str) -> tuple[dict[str, Any], list[int]]:
    """All options; the two landmarks that give the angle, and those of the part."""
    options = custom_options.options(call)
    ends = [
        custom_options.integer(call, options, f"{side}_rotation_idx", low=0, high=count - 1)
        for side in ("left", "right")
    ]
    part = _integers(call, options, subset, 0, count - 1)
    call.check(bool(part), f"option {subset} names no landmark")
    return options, ends + part


def _matrix_options_1(call: Call, count: int) -> tuple[dict[str, Any], list[int]]:
    options, indices = _landmark_options(call, count, "subset")
    indices = indices[: 2 + (len(indices) - 2) // 2 * 2]  # the part is read in pairs
    dimensions = custom_options.integer(call, options, "dimensions", low=3, high=3)
    values = {
        "input_hw": _pair(call, options, "input_hw"),
        "output_hw": _pair(call, options, "output_hw"),
        "dimensions": dimensions,
        "range": custom_options.integer(call, options, "landmarks_range", low=1),
        "grow": custom_options.number(call, options, "bbox_size_multiplier"),
    }
    call.check(values["grow"] != 0, "option bbox_size_multiplier is 0")
    call.check(len(indices) > 2, "option subset names no pair of landmarks")
    return values, indices


def _matrix_options_2(call: Call, count: int) -> tuple[dict[str, Any], list[int]]:
    options, indices = _landmark_options(call, count, "subset_idxs")
    values: dict[str, Any] = {
        name: custom_options.integer(call, options, name, low=1, high=_MAX_SIDE)
        for name in ("output_height", "output_width")
    }
    for name in ("scale_x", "scale_y"):
        values[name] = custom_options.number(call, options, name)
        call.check(values[name] > 0, f"option {name} is not positive", found=str(values[name]))
    values["target"] = custom_options.number(call, options, "target_rotation_radians")
    return values, indices


def _rotation(angle: np.float32) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], F32)


def _affine(scale: tuple[Any, Any], shift: tuple[Any, Any]) -> np.ndarray:
    return np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]], [0, 0, 1]], F32)


def _matrix(call: Call, landmarks: np.ndarray) -> np.ndarray:
    """Turn the part upright, take its bounding box, map the crop's pixels to the turned box."""
    if call.node.version == 1:
        return _matrix_1(call, landmarks.reshape(-1)[: landmarks.size // 3 * 3].reshape(-1, 3))
    options, indices = _matrix_options_2(call, landmarks.shape[1])
    points = landmarks[0, indices, :2]
    gap = points[1] - points[0]
    angle = F32(options["target"]) - np.arctan2(gap[1], gap[0])
    turned = points[2:] @ _rotation(angle)[:2, :2].T
    low, high = turned.min(axis=0), turned.max(axis=0)
    center = _rotation(-angle)[:2, :2] @ ((low + high) / F32(2))
    size = np.array([options["output_width"], options["output_height"]], F32)
    scale = np.array([options["scale_x"], options["scale_y"]], F32) * (high - low) / size
    turn = _affine((1, 1), tuple(center)) @ _rotation(-angle) @ _affine(tuple(scale), (0, 0))
    plane = turn @ _affine((1, 1), tuple(-size / F32(2)))
    result = np.eye(4, dtype=F32)
    result[:2, :2], result[:2, 3] = plane[:2, :2], plane[:2, 2]
    return result[None]


def _matrix_1(call: Call, landmarks: np.ndarray) -> np.ndarray:
    """As version 2, but between -1 and 1 on either side, and with pixels at the corners."""
    options, indices = _matrix_options_1(call, len(landmarks))
    points = landmarks[indices, :2]
    gap = points[1] - points[0]
    angle = -np.arctan(gap[1] / gap[0])
    turned = points[2:] @ _rotation(angle)[:2, :2].T
    low = np.minimum(turned.min(axis=0), F32(100000))
    high = np.maximum(turned.max(axis=0), F32(-100000))
    reach = F32(options["range"])
    scale = (high - low) * F32(options["grow"]) / reach
    center = _rotation(-angle)[:2, :2] @ ((high + low) / F32(2))
    turn = _rotation(-angle)
    turn[:2, 2] = center / reach * F32(2) - F32(1)
    (in_h, in_w), (out_h, out_w) = options["input_hw"], options["output_hw"]
    half = ((in_w - 1) / 2, (in_h - 1) / 2)
    steps = F32(2) / np.array([out_w - 1, out_h - 1], F32)
    plane = _affine(half, half) @ turn @ _affine(tuple(scale), (0, 0))
    plane = plane @ _affine(tuple(steps), (-1, -1))
    result = np.zeros((4, 4), F32)
    result[:3, :2] = plane[:, :2]
    result[:2, 3] = plane[:2, 2]
    result[2, 2] = plane[2, 2]
    result[3, 3] = 1
    return result[None]


# TransformLandmarks --------------------------------------------------------------------------


def _check_matrix(call: Call) -> None:
    call.check_dtype(1, DType.FLOAT32)
    shape = call.shape(1)
    call.check(
        shape[-2:] == (4, 4) and shape.count(1) == len(shape) - 2,
        "the transform is not a matrix", "1 × 4 × 4", str(list(shape)),
    )  # fmt: skip


def _point_options(call: Call, shape: Shape) -> tuple[int, np.float32]:
    """Coordinates of a landmark (2 or 3), and the factor on the matrix' shift."""
    if call.node.version == 1:
        options = custom_options.options(call)
        scale = custom_options.number(call, options, "scale", 1.0)
        call.check(scale != 0, "option scale is 0")
        dimensions = custom_options.integer(call, options, "dimensions", 3, low=2, high=3)
    else:
        scale, dimensions = 1.0, shape[-1]
        call.check(dimensions in (2, 3), "landmarks have the wrong size", "2 or 3", f"{dimensions}")
    call.check(
        shape[-1] % dimensions == 0,
        "the last dimension does not hold whole landmarks",
        f"a multiple of {dimensions}",
        str(shape[-1]),
    )
    return dimensions, F32(scale)


def _infer_transform_landmarks(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32)
    shape = call.check_rank(0, 4 if call.node.version == 1 else 3)
    _check_matrix(call)
    _point_options(call, shape)
    return [call.spec(0)]


def _transform_landmarks(call: Call, landmarks: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """x and y go through the matrix; z, if there is one, stays."""
    dimensions, scale = _point_options(call, landmarks.shape)
    rows = matrix.reshape(4, 4)[:2]
    result = landmarks.reshape(-1, dimensions).copy()
    x, y = result[:, 0].copy(), result[:, 1].copy()
    for i, row in enumerate(rows):
        result[:, i] = row[0] * x + row[1] * y + row[3] * scale
    return result.reshape(landmarks.shape)


# Sampling ------------------------------------------------------------------------------------


def _read(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Pixels of an image (height, width, channels) at whole coordinates; 0 off the image."""
    height, width = image.shape[:2]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    if not image.size:
        return np.zeros((*y.shape, image.shape[2]), image.dtype)
    pixels = image[np.where(inside, y, 0), np.where(inside, x, 0)]
    return np.where(inside[..., None], pixels, F32(0))


def _corners(
    image: np.ndarray, y: np.ndarray, x: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Pixels top left, top right, bottom left, bottom right, and the fractions of y and x."""
    low_y, low_x = np.floor(y), np.floor(x)
    top, left = low_y.astype(np.int64), low_x.astype(np.int64)
    pixels = [_read(image, top + dy, left + dx) for dy in (0, 1) for dx in (0, 1)]
    return pixels, (y - low_y)[..., None], (x - low_x)[..., None]


def _crop_size(call: Call) -> tuple[int, int]:
    options = custom_options.options(call)
    if call.node.version == 1:
        mode = custom_options.text(call, options, "mode", "bilinear")
        call.check(mode == "bilinear", "unknown interpolation", "bilinear", mode)
        return _pair(call, options, "output_size")
    height, width = (
        custom_options.integer(call, options, name, low=1, high=_MAX_SIDE)
        for name in ("output_height", "output_width")
    )
    return height, width


def _infer_transform_tensor(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32)
    shape = call.check_rank(0, 4)
    call.check(shape[0] == 1, "the batch is not 1", "1", str(shape[0]))
    _check_matrix(call)
    height, width = _crop_size(call)
    call.session.reserve(64 * height * width * (shape[3] + 4), f"{call.place}, its samples")
    return [Spec(DType.FLOAT32, (1, height, width, shape[3]))]


def _transform_tensor(call: Call, images: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The crop; version 2 takes coordinates at the middle of pixels, version 1 at their corner."""
    height, width = _crop_size(call)
    image = images[0]
    rows = matrix.reshape(4, 4)[:2]
    out_y, out_x = np.mgrid[:height, :width].astype(F32)
    places = []
    for row in rows:
        shift = row[3]
        if call.node.version > 1:
            shift = F32(float(shift) + (float(row[0]) * 0.5 + float(row[1]) * 0.5 - 0.5))
        places.append(row[0] * out_x + row[1] * out_y + shift)
    x, y = places
    inside = (x >= 0) & (x <= image.shape[1] - 1) & (y >= 0) & (y <= image.shape[0] - 1)
    pixels, fy, fx = _corners(image, np.where(inside, y, F32(0)), np.where(inside, x, F32(0)))
    top_left, top_right, bottom_left, bottom_right = pixels
    # Weights of the left and upper pixels are taken in double precision.
    rest_x, rest_y = 1.0 - fx.astype(np.float64), 1.0 - fy.astype(np.float64)
    upper = (rest_x * top_left + fx * top_right).astype(F32)
    lower = (rest_x * bottom_left + fx * bottom_right).astype(F32)
    result = (fy * lower + rest_y * upper).astype(F32)
    return np.where(inside[..., None], result, F32(0))[None]


def _infer_resampler(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32)
    call.check_dtype(1, DType.FLOAT32)
    shape = call.check_rank(0, 4)
    call.check(
        call.check_rank(1, 4) == (*shape[:3], 2),
        f"the points of {call.op} have the wrong shape",
        str([*shape[:3], 2]),
        str(list(call.shape(1))),
    )
    call.session.reserve(24 * call.spec(0).nbytes // max(shape[0], 1), f"{call.place}, its samples")
    return [call.spec(0)]


def _resampler(call: Call, images: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Each pixel from the point (x, y) that is given for it."""
    result = np.zeros(images.shape, F32)
    height, width = images.shape[1:3]
    for image, point, out in zip(images, points, result, strict=True):
        call.tick()
        x, y = point[..., 0], point[..., 1]
        inside = (x > -1) & (y > -1) & (x < width) & (y < height)
        pixels, fy, fx = _corners(image, np.where(inside, y, F32(0)), np.where(inside, x, F32(0)))
        top_left, top_right, bottom_left, bottom_right = pixels
        gx, gy = F32(1) - fx, F32(1) - fy
        mixed = gx * gy * top_left + fx * fy * bottom_right
        mixed = mixed + gx * fy * bottom_left + fx * gy * top_right
        out[...] = np.where(inside[..., None], mixed, F32(0))
    return result


def _infer_warp(call: Call) -> list[Spec]:
    specs = _infer_resampler(call)
    call.check(min(call.shape(0)[1:3]) >= 2, "the image is too small", "2 × 2", "less")
    return specs


def _dense_image_warp(call: Call, images: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Each pixel from where it stands, less the flow (y, x) that is given for it."""
    result = np.zeros(images.shape, F32)
    for image, moved, out in zip(images, flow, result, strict=True):
        call.tick()
        low, part = [], []
        for axis, stand in enumerate(np.mgrid[: image.shape[0], : image.shape[1]]):
            place = (stand - moved[..., axis].astype(F32)).astype(F32)
            floor = np.clip(np.nan_to_num(np.floor(place)), 0, image.shape[axis] - 2)
            low.append(floor.astype(np.int64))
            part.append(np.clip(np.nan_to_num(place - floor), F32(0), F32(1))[..., None])
        (y, x), (fy, fx) = low, part
        upper = fx * (image[y, x + 1] - image[y, x]) + image[y, x]
        lower = fx * (image[y + 1, x + 1] - image[y + 1, x]) + image[y + 1, x]
        out[...] = fy * (lower - upper) + upper
    return result


register(
    "Landmarks2TransformMatrix", infer=_infer_matrix, evaluate=_matrix, inputs=1, versions=2,
    custom=True,
)  # fmt: skip
register(
    "TransformLandmarks", infer=_infer_transform_landmarks, evaluate=_transform_landmarks,
    inputs=2, versions=2, custom=True,
)  # fmt: skip
for _name, _versions in (("TransformTensor", 1), ("TransformTensorBilinear", 2)):
    register(
        _name, infer=_infer_transform_tensor, evaluate=_transform_tensor, inputs=2,
        versions=_versions, custom=True,
    )  # fmt: skip
register("Resampler", infer=_infer_resampler, evaluate=_resampler, inputs=2, custom=True)
register("DenseImageWarp", infer=_infer_warp, evaluate=_dense_image_warp, inputs=2, custom=True)

"""Files -> arrays for a model's inputs: images, .npy files, random values.

An image becomes (1, height, width, channels) or, for a model that wants channels first,
(1, channels, height, width). Its pixels p, 0 to 255, become (p - mean) / std, by the model's
metadata or the caller's; a quantised input then gets the nearest stored value. Without either,
quantised inputs take the pixels as they are (uint8) or less 128 (int8), as converters leave
them, and float inputs take -1 to 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from martlet.errors import ArgumentError
from martlet.metadata import TensorMetadata

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
MAX_PIXELS = 1 << 26


def from_file(
    path: Path,
    detail: dict[str, Any],
    about: TensorMetadata | None,
    mean: list[float],
    std: list[float],
) -> np.ndarray:
    """The array that a file holds, made to fit the input that `detail` describes."""
    if path.suffix == ".npy":
        try:
            return np.asarray(np.load(path, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise ArgumentError(f"Could not read {path}: {error}") from error
    return _image(path, detail, about, mean, std)


def random_values(detail: dict[str, Any], source: np.random.Generator) -> np.ndarray:
    """Random values of an input's type and shape: 0 to 1 for floats, small for wide integers."""
    shape, dtype = tuple(int(n) for n in detail["shape"]), np.dtype(detail["dtype"])
    if dtype.kind == "b":
        return source.random(shape) < 0.5
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        low, high = (info.min, info.max) if dtype.itemsize == 1 else (0, 9)
        return source.integers(low, high, shape, dtype, endpoint=True)
    if dtype.kind in "fc":
        return source.random(shape).astype(dtype)
    return np.full(shape, b"hello", object)


def _image(
    path: Path,
    detail: dict[str, Any],
    about: TensorMetadata | None,
    mean: list[float],
    std: list[float],
) -> np.ndarray:
    height, width, channels, channels_first = _layout(detail)
    pixels = _pixels(path, height, width, channels)
    dtype = np.dtype(detail["dtype"])
    if not (mean or std) and about is not None:
        mean, std = about.mean, about.std
    scale, zero_point = detail["quantization"]
    if mean or std or (dtype.kind == "f"):
        default = 127.5 if not (mean or std) else None
        values = (pixels - _per_channel(mean, channels, default or 0.0, "--mean")) / _per_channel(
            std, channels, default or 1.0, "--std"
        )
        if dtype.kind in "iu" and scale:
            values = np.rint(values / scale) + zero_point
    else:
        values = pixels - (128.0 if dtype == np.int8 else 0.0)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        values = np.clip(np.rint(values), info.min, info.max)
    array = values.astype(dtype)
    return np.ascontiguousarray(array.transpose(2, 0, 1) if channels_first else array)[None]


def _layout(detail: dict[str, Any]) -> tuple[int, int, int, bool]:
    """(height, width, channels, whether channels come first); -1 for a size that is free."""
    shape = [int(n) for n in detail["shape_signature"]]
    if len(shape) == 4:
        if shape[3] in _MODES:
            return shape[1], shape[2], shape[3], False
        if shape[1] in _MODES:
            return shape[2], shape[3], shape[1], True
    raise ArgumentError(
        f"input {detail['name']!r} does not take an image",
        expected="a shape such as [1, 224, 224, 3]",
        found=str(shape),
        hint="Give a .npy file.",
    )


def _pixels(path: Path, height: int, width: int, channels: int) -> np.ndarray:
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ArgumentError(
                    f"{path} is too large",
                    expected=f"at most {MAX_PIXELS} pixels",
                    found=f"{opened.width} × {opened.height}",
                )
            image = ImageOps.exif_transpose(opened).convert(_MODES[channels])
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ArgumentError(
            f"Could not read {path}: {error}", hint="Give an image or a .npy file."
        ) from error
    size = (width if width > 0 else image.width, height if height > 0 else image.height)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image, np.float64).reshape(size[1], size[0], channels)


def _per_channel(values: list[float], channels: int, default: float, name: str) -> np.ndarray:
    if not values:
        values = [default]
    if len(values) not in (1, channels):
        raise ArgumentError(
            f"{name} has the wrong number of values",
            expected=f"1 or {channels}",
            found=str(len(values)),
        )
    result = np.array(values, np.float64)
    if name == "--std" and not (np.isfinite(result) & (result != 0)).all():
        raise ArgumentError("--std must not be 0", found=str(values))
    return result

"""Values that a caller passes -> arrays of a tensor's element type, or an ArgumentError.

`exact_value` takes what `set_tensor` takes: an array of the very type of the tensor.
`convert_value` takes any numbers that the type can hold without changing them (Python lists,
float64 for float32, small enough integers), for callers who think in values, not in types.
Strings come as `bytes` or `str` (stored as UTF-8) and are held as object arrays of `bytes`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.errors import ArgumentError, UnsupportedError

_RANGES = {DType.INT4: (-8, 7), DType.UINT4: (0, 15), DType.INT2: (-2, 1)}


def exact_value(value: Any, dtype: DType, what: str) -> np.ndarray:
    """The value as an array, which must have the type `dtype` already."""
    if dtype is DType.STRING:
        return string_value(value, what)
    array, wanted = _array(value, what), _numpy(dtype, what)
    if array.dtype.newbyteorder("=") != wanted:
        raise ArgumentError(
            f"Cannot set tensor: Got value of another type for {what}",
            expected=dtype.name,
            found=_name(array),
            hint=f"Convert it: value.astype(np.{wanted.name}).",
        )
    return _in_range(array, dtype, what)


def convert_value(value: Any, dtype: DType, what: str) -> np.ndarray:
    """The value as an array of type `dtype`, if that can hold every element of it."""
    if dtype is DType.STRING:
        return string_value(value, what)
    array, wanted = _array(value, what), _numpy(dtype, what)
    if array.dtype == wanted:
        return _in_range(array, dtype, what)
    fits = array.dtype.kind in "biufc" and (array.dtype.kind != "c" or wanted.kind == "c")
    if fits:
        with np.errstate(all="ignore"):
            converted = array.astype(wanted)
        if wanted.kind in "biu":
            fits = bool(np.array_equal(converted, array))
        if fits:
            return _in_range(converted, dtype, what)
    raise ArgumentError(
        f"the value for {what} cannot be held by its type without loss",
        expected=dtype.name,
        found=_name(array),
        hint="Quantise or convert it first.",
    )


def string_value(value: Any, what: str) -> np.ndarray:
    """An object array of `bytes`."""
    array = value if isinstance(value, np.ndarray) else np.array(value, dtype=object)
    if array.dtype.kind == "S" and array.ndim == 0:
        return _strings([array.tobytes()], ())  # trailing zero bytes are part of a lone string
    if array.dtype.kind not in "OSU":
        raise ArgumentError(
            f"Cannot set tensor: Got value of another type for {what}",
            expected="strings (bytes or str)",
            found=_name(array),
        )
    return _strings([_to_bytes(s, what) for s in array.reshape(-1).tolist()], array.shape)


def _strings(items: list[bytes], shape: tuple[int, ...]) -> np.ndarray:
    result = np.empty(len(items), object)
    result[:] = items
    return result.reshape(shape)


def _to_bytes(item: Any, what: str) -> bytes:
    if isinstance(item, bytes):
        return bytes(item)
    if isinstance(item, str):
        try:
            return item.encode()
        except UnicodeEncodeError as error:
            raise ArgumentError(f"a string for {what} is not Unicode text: {error}") from error
    raise ArgumentError(
        f"Cannot set tensor: Got an element of another type for {what}",
        expected="bytes or str",
        found=type(item).__name__,
    )


def _array(value: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except Exception as error:  # whatever the caller's object raises when it is converted
        raise ArgumentError(
            f"Failed to convert the value for {what} into an array: {error}"
        ) from error


def _numpy(dtype: DType, what: str) -> np.dtype:
    if not dtype.supported:
        raise UnsupportedError(f"{what} has the type {dtype.name}, which is not supported")
    return dtype.numpy


def _in_range(array: np.ndarray, dtype: DType, what: str) -> np.ndarray:
    low, high = _RANGES.get(dtype, (0, 0))
    if dtype in _RANGES and array.size and not (low <= array.min() and array.max() <= high):
        raise ArgumentError(
            f"Cannot set tensor: Values for {what} are out of the range of {dtype.name}",
            expected=f"{low} to {high}",
            found=f"{array.min()} to {array.max()}",
        )
    return array


def _name(array: np.ndarray) -> str:
    try:
        return DType.of(array).name
    except TypeError:
        return str(array.dtype)

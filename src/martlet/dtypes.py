"""Element types of tensors, under the names of the format, with the NumPy type that holds them."""

from __future__ import annotations

import enum

import numpy as np


class DType(enum.Enum):
    """An element type.

    numpy: the NumPy type that holds it in memory, where those of 4 and 2 bits take a byte each
    and strings are `bytes` objects; not there unless `supported`. bits: that one element takes in
    a file, 0 for strings and variants.
    """

    numpy: np.dtype
    bits: int
    supported: bool
    """Whether Martlet computes with it."""
    is_integer: bool
    is_float: bool

    FLOAT32 = "FLOAT32"
    FLOAT16 = "FLOAT16"
    INT32 = "INT32"
    UINT8 = "UINT8"
    INT64 = "INT64"
    STRING = "STRING"
    BOOL = "BOOL"
    INT16 = "INT16"
    COMPLEX64 = "COMPLEX64"
    INT8 = "INT8"
    FLOAT64 = "FLOAT64"
    COMPLEX128 = "COMPLEX128"
    UINT64 = "UINT64"
    RESOURCE = "RESOURCE"
    VARIANT = "VARIANT"
    UINT32 = "UINT32"
    UINT16 = "UINT16"
    INT4 = "INT4"
    BFLOAT16 = "BFLOAT16"
    INT2 = "INT2"
    UINT4 = "UINT4"
    FLOAT8_E4M3FN = "FLOAT8_E4M3FN"
    FLOAT8_E5M2 = "FLOAT8_E5M2"

    @classmethod
    def of(cls, array: np.ndarray) -> DType:
        """The element type of an array (`INT8` for int8, `STRING` for objects and bytes)."""
        if array.dtype.kind in "OSU":
            return cls.STRING
        for dtype, numpy in _NUMPY.items():
            if numpy == array.dtype and dtype not in (cls.STRING, *PACKED):
                return dtype
        raise TypeError(f"{array.dtype} has no counterpart in the .tflite format")

    def __repr__(self) -> str:
        return self.name

    __hash__ = object.__hash__  # as fast as the planner wants it


_NUMPY: dict[DType, np.dtype] = {
    DType.FLOAT32: np.dtype(np.float32),
    DType.FLOAT16: np.dtype(np.float16),
    DType.INT32: np.dtype(np.int32),
    DType.UINT8: np.dtype(np.uint8),
    DType.INT64: np.dtype(np.int64),
    DType.STRING: np.dtype(object),
    DType.BOOL: np.dtype(np.bool_),
    DType.INT16: np.dtype(np.int16),
    DType.COMPLEX64: np.dtype(np.complex64),
    DType.INT8: np.dtype(np.int8),
    DType.FLOAT64: np.dtype(np.float64),
    DType.COMPLEX128: np.dtype(np.complex128),
    DType.UINT64: np.dtype(np.uint64),
    DType.UINT32: np.dtype(np.uint32),
    DType.UINT16: np.dtype(np.uint16),
    DType.INT4: np.dtype(np.int8),
    DType.UINT4: np.dtype(np.uint8),
    DType.INT2: np.dtype(np.int8),
    # A handle is the number of a resource within one interpreter.
    DType.RESOURCE: np.dtype(np.int32),
}
_BITS = {
    DType.STRING: 0,
    DType.VARIANT: 0,
    DType.INT4: 4,
    DType.UINT4: 4,
    DType.INT2: 2,
    DType.BFLOAT16: 16,
    DType.FLOAT8_E4M3FN: 8,
    DType.FLOAT8_E5M2: 8,
}
# Elements of less than a byte, several of which share a byte in a file.
PACKED = (DType.INT4, DType.UINT4, DType.INT2)
FLOATS = frozenset({DType.FLOAT32, DType.FLOAT16, DType.FLOAT64, DType.BFLOAT16})
INTEGERS = frozenset(
    {DType.INT8, DType.UINT8, DType.INT16, DType.UINT16, DType.INT32, DType.UINT32, DType.INT64,
     DType.UINT64, *PACKED}
)  # fmt: skip

for _dtype in DType:
    _dtype.supported = _dtype in _NUMPY
    if _dtype.supported:
        _dtype.numpy = _NUMPY[_dtype]
    _dtype.bits = _BITS[_dtype] if _dtype in _BITS else 8 * _dtype.numpy.itemsize
    _dtype.is_integer = _dtype in INTEGERS
    _dtype.is_float = _dtype in FLOATS

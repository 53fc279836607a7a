"""Bytes that get another type: BITCAST, and what complex numbers are made of: REAL, IMAG and,
of complex64, COMPLEX_ABS."""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.movement import LEAST_BYTES, Block, copy
from martlet.plan.lowering.strides import CACHE_LINE, grain


@lowers("BITCAST")
def bitcast(lowering: Lowering) -> bool:
    """A copy of bytes. Other bytes than 0 and 1 would have to change for booleans."""
    call = lowering.call
    if call.output().dtype is DType.BOOL:
        return False
    stored = np.empty(lowering.size(0) * call.dtype(0).numpy.itemsize, np.uint8)
    return copy(lowering, Block(lowering.input(0), stored), Block(lowering.output(), stored))


@lowers("REAL", "IMAG")
def part(lowering: Lowering) -> bool:
    """Every other float of the input."""
    numbers = np.empty(lowering.size(0), lowering.call.dtype(0).numpy)
    whole = Block(lowering.input(0), numbers)
    found = whole.of(numbers.real if lowering.call.op == "REAL" else numbers.imag)
    target = np.empty(numbers.shape, found.array.dtype)
    return copy(lowering, found, Block(lowering.output(), target))


@lowers("COMPLEX_ABS")
def magnitude(lowering: Lowering) -> bool:
    """Absolute values (`kernels/complex.py`)."""
    if lowering.call.dtype(0) is not DType.COMPLEX64:
        return False
    units = lowering.size(0)
    lowering.step(
        "complex_abs_f32", lowering.input(0), lowering.output(),
        units=units, grain=grain(lowering, units, LEAST_BYTES // 8, CACHE_LINE // 4),
    )  # fmt: skip
    return True

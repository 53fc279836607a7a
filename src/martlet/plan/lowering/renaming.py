"""Bytes that get another type: BITCAST, and the two parts of complex numbers, REAL and IMAG."""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.movement import Block, copy


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

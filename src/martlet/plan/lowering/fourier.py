"""RFFT2D of lengths that are powers of two: rows, and then columns (`kernels/fourier.py`)."""

from __future__ import annotations

import math

import numpy as np

from martlet.plan.lowering import Lowering, Ref, lowers

LARGEST = 1 << 16  # of a length, so that scratch stays small


@lowers("RFFT2D")
def rfft2d(lowering: Lowering) -> bool:
    """Rows and columns are cut or padded with zeros to the lengths that input 1 gives."""
    call, lengths = lowering.call, lowering.call.value(1)
    if lengths is None:
        return False
    height, width = (int(n) for n in lengths)
    *batch, rows, pitch = call.shape(0)
    if any(n & (n - 1) or n > LARGEST for n in (height, width)) or width == 1:
        return False
    matrices, used, bins = math.prod(batch), min(rows, height), width // 2 + 1
    if matrices == 0:
        return True
    if used == 0 or pitch == 0:
        return False
    y = lowering.output()
    _step(
        lowering, "rfft_rows", [
            lowering.input(0), y, matrices * used, used, min(pitch, width), pitch, rows * pitch,
            bins, height * bins,
        ], width, width // 2, matrices * used,
    )  # fmt: skip
    if height > 1:
        columns = matrices * bins
        _step(
            lowering, "fft_columns", [y, columns, bins, used, height * bins], height, height,
            columns,
        )  # fmt: skip
    return True


def _step(
    lowering: Lowering, kernel: str, arguments: list[Ref | int], length: int, count: int,
    transforms: int,
) -> None:  # fmt: skip
    """Add a step of transforms of `count` complex numbers; length: of which the roots are."""
    lanes = lowering.lanes // 2
    angles = np.arange(length // 2 + 1) * (-2 * math.pi / length)
    roots = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    slot = 4 * count * lanes
    lowering.step(
        kernel, *arguments, lowering.data(roots), count, count.bit_length() - 1, lowering.slots(),
        lowering.threads, lowering.scratch(8 * slot * lowering.threads), slot,
        units=math.ceil(transforms / lanes),
    )  # fmt: skip

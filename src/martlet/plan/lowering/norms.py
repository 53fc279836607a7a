"""L2_NORMALIZATION and LOCAL_RESPONSE_NORMALIZATION in float32 (`kernels/norms.py`)."""

from __future__ import annotations

from martlet.dtypes import DType
from martlet.plan.lowering import Lowering, lowers
from martlet.plan.lowering.strides import grain

LEAST_ELEMENTS = 4096
"""Computed by a thread at once."""
QUARTERS = range(1, 9)
"""Exponents, in quarters, that are made of roots."""


@lowers("L2_NORMALIZATION", pitched=True, overwrites=(0,))
def l2_normalization(lowering: Lowering) -> bool:
    """Each row, along the last dimension."""
    return lowering.call.dtype(0) is DType.FLOAT32 and _rows(lowering, "l2_normalize_f32")


@lowers("LOCAL_RESPONSE_NORMALIZATION", pitched=True)
def local_response_normalization(lowering: Lowering) -> bool:
    call = lowering.call
    length = call.shape(0)[-1]
    radius = min(int(call.option("radius")), length)
    if radius < 0 or length >= 1 << 30 or call.session.reference:
        return False
    bias, alpha, beta = (float(call.option(name)) for name in ("bias", "alpha", "beta"))
    if bias > 0 and alpha >= 0 and 4 * beta in QUARTERS:
        kernel, beta = "local_response_norm_roots_f32", int(4 * beta)
    else:
        kernel = "local_response_norm_f32"
    return _rows(lowering, kernel, bias, alpha, beta, radius)


def _rows(lowering: Lowering, kernel: str, *numbers: float) -> bool:
    length = lowering.call.shape(0)[-1]
    if lowering.size(0) == 0:
        return True
    rows = lowering.size(0) // length
    lowering.step(
        kernel, lowering.input(0), lowering.output(), *numbers, length, lowering.pitch(0),
        lowering.output_pitch(length),
        units=rows, grain=grain(lowering, rows, max(1, LEAST_ELEMENTS // length), 1),
    )  # fmt: skip
    return True

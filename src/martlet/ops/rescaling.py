"""From the scale of input 0 to that of the output: the checks and the ratio.

For operators that take one quantised tensor and give another of the same shape.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call


def check_quantized(call: Call) -> None:
    """Raise unless input 0 and the output have one usable scale each, and int16 no zero point."""
    call.scale(0), call.output_scale()  # which raise where there is none, or more than one
    symmetric = call.dtype(0) is DType.INT16
    for what, zero_point in (
        ("input 0", call.zero_point(0)),
        ("output 0", call.output_zero_point()),
    ):
        call.check(
            zero_point == 0 if symmetric else abs(zero_point) < 1 << 31,
            f"{what} has an unusable zero point",
            "0" if symmetric else "32 bits",
            str(zero_point),
        )


def scale_ratio(call: Call) -> float:
    """Scale of input 0 / scale of the output, in float32; raises where it is not finite."""
    with np.errstate(all="ignore"):
        ratio = float(np.float32(call.scale(0)) / np.float32(call.output_scale()))
    if not math.isfinite(ratio):
        call.fail("the scales of input and output are too far apart", found=str(ratio))
    return ratio

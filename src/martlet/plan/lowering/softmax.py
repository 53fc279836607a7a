"""SOFTMAX and LOG_SOFTMAX in float32 (`kernels/softmax.py`)."""

from __future__ import annotations

from martlet.dtypes import DType
from martlet.plan.lowering import Lowering, lowers


@lowers("SOFTMAX", "LOG_SOFTMAX", pitched=True)
def softmax(lowering: Lowering) -> bool:
    """Over the last dimension."""
    call = lowering.call
    if call.dtype(0) is not DType.FLOAT32:
        return False
    length = call.shape(0)[-1]
    beta = float(call.option("beta")) if call.op == "SOFTMAX" else 1.0
    lowering.step(
        f"{call.op.lower()}_f32", lowering.input(0), lowering.output(), beta, length,
        lowering.pitch(0), lowering.output_pitch(length),
        units=lowering.size(0) // max(length, 1),
    )  # fmt: skip
    return True

"""Fused activations: the interval to which an operator's result is clamped before it is stored.

NONE, RELU, RELU6 and RELU_N1_TO_1 are intervals of real numbers. A float operator clamps to the
interval itself, of which the open ends are the largest finite numbers, so that infinities become
finite, as in TensorFlow Lite's reference kernels. A quantised operator clamps to the stored
numbers that stand for the ends: zero point + round(end / scale), the quotient in float32, half
away from zero, within the range of the type.

    activation = fused_activation(call)                in `infer`: refuses what is no interval
    y = apply(y, activation)                           float, and integers that are not quantised
    low, high = integer_range(call, activation)        quantised uint8, int8, int16
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call

INTERVALS: dict[str, tuple[int | None, int | None]] = {
    "NONE": (None, None),
    "RELU": (0, None),
    "RELU6": (0, 6),
    "RELU_N1_TO_1": (-1, 1),
}
QUANTIZED = (DType.UINT8, DType.INT8, DType.INT16)


def fused_activation(call: Call, option: str = "fused_activation_function") -> str:
    """The activation that the node asks for; raises where it is not one of `INTERVALS`."""
    name = call.option(option)
    if name not in INTERVALS:
        call.fail(
            f"{call.op} cannot have the fused activation {name}",
            " or ".join(INTERVALS),
            str(name),
            hint="Make the activation an operator of its own.",
        )
    return str(name)


def apply(x: np.ndarray, name: str) -> np.ndarray:
    """Clamp real numbers (floats of any width, or integers that mean themselves). NaNs stay."""
    info = np.finfo(x.dtype) if x.dtype.kind == "f" else np.iinfo(x.dtype)
    low, high = INTERVALS[name]
    if x.dtype.kind != "f" and low is None and high is None:
        return x
    least = info.min if low is None else max(low, info.min)
    most = info.max if high is None else high
    clamped: np.ndarray = np.clip(x, x.dtype.type(least), x.dtype.type(most))
    return clamped


def integer_range(call: Call, name: str, output: int = 0) -> tuple[int, int]:
    """The least and the greatest stored value of a quantised output under an activation.

    Without an activation that is the range of the type, whether it is quantised or not.
    """
    dtype = call.output(output).dtype
    if dtype not in QUANTIZED:
        call.fail(
            f"output {output} cannot be clamped as a quantised value",
            " or ".join(d.name for d in QUANTIZED),
            dtype.name,
        )
    info = np.iinfo(dtype.numpy)
    low, high = INTERVALS[name]
    least = info.min if low is None else max(info.min, _stored(call, low, output))
    most = info.max if high is None else min(info.max, _stored(call, high, output))
    if least > most:
        call.fail(
            f"no value of output {output} lies in the range of {name}",
            f"a zero point from {info.min} to {info.max}",
            str(call.output_zero_point(output)),
        )
    return int(least), int(most)


def _stored(call: Call, real: int, output: int) -> int:
    """The stored value that stands for a real number, not yet clamped."""
    with np.errstate(all="ignore"):
        quotient = float(np.float32(real) / np.float32(call.output_scale(output)))
    call.check(
        abs(quotient) < 1 << 31,
        f"output {output} has a scale too small for its fused activation",
        found=str(call.output_scale(output)),
    )
    rounded = math.copysign(math.floor(abs(quotient) + 0.5), quotient)
    return call.output_zero_point(output) + int(rounded)

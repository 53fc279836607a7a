"""What the recurrent operators share: activations, dense products, state, the order of time.

A dense product is float, or hybrid: int8 weights, and rows of floats that are quantised one by
one when they come (`quantize_rows`), either way as `matrix.product(matrix.prepare(x))`, so that
several matrices can share what was prepared once.

State lives in variable tensors, which an operator reads at the start of a run and overwrites at
its end (`check_state`, `store`). Sequences are handled as [time, batch, features]
(`time_first`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call, Shape
from martlet.records import NamedTuple

Activation = Callable[[np.ndarray], np.ndarray]
LARGEST = np.finfo(np.float32).max  # in place of an infinite inverse, which makes NaN of 0


def logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) in float32."""
    result: np.ndarray = np.float32(1) / (np.float32(1) + np.exp(-x))
    return result


ACTIVATIONS: dict[str, Activation] = {
    "NONE": lambda x: x,
    "RELU": lambda x: np.maximum(x, np.float32(0)),
    "RELU_N1_TO_1": lambda x: np.clip(x, np.float32(-1), np.float32(1)),
    "RELU6": lambda x: np.clip(x, np.float32(0), np.float32(6)),
    "TANH": np.tanh,
    "SIGN_BIT": lambda x: np.signbit(x).astype(np.float32),
}


def activation(call: Call) -> Activation:
    """The fused activation of the node; raises where the format knows no such one."""
    name = call.option("fused_activation_function")
    if name not in ACTIVATIONS:
        call.fail("the activation is unknown", " or ".join(ACTIVATIONS), str(name))
    return ACTIVATIONS[name]


class Rows(NamedTuple):
    """Quantised rows: real = scale * (values - zero); scale and zero are columns."""

    values: np.ndarray
    scale: np.ndarray
    zero: np.ndarray


def quantize_rows(x: np.ndarray, asymmetric: bool) -> Rows:
    """Quantise each row of a float32 matrix to 8 bits by its own range.

    Symmetric: the largest magnitude becomes 127. Asymmetric: the range, with 0 in it, becomes
    -128 to 127. Products with the inverse scale are float32, rounded half away from zero.
    """
    low = x.min(axis=1, initial=0)[:, None]
    high = x.max(axis=1, initial=0)[:, None]
    if not asymmetric:
        extent = np.maximum(-low, high)
        empty = extent == 0
        extent = np.where(empty, np.float32(127), extent)
        q = _round(x * np.minimum(np.float32(127) / extent, LARGEST))
        return Rows(np.clip(q, -127, 127), extent / np.float32(127), np.zeros_like(low))
    low, high = low.astype(np.float64), high.astype(np.float64)
    empty = low == high
    scale = np.where(empty, 1.0, (high - low) / 255)
    # Of the two ends, the one whose zero point is known more exactly decides.
    by_low, by_high = -128 - low / scale, 127 - high / scale
    zero = np.where(128 + np.abs(low / scale) < 127 + np.abs(high / scale), by_low, by_high)
    zero = np.where(empty, 0, np.clip(_round(zero), -128, 127)).astype(np.float32)
    scale = scale.astype(np.float32)
    q = _round(zero + x * np.minimum(np.float32(1) / scale, LARGEST))
    return Rows(np.clip(q, -128, 127), scale, zero)


def _round(x: np.ndarray) -> np.ndarray:
    """To the nearest integer, half away from zero, as float64."""
    wide = np.asarray(x, np.float64)
    result: np.ndarray = np.trunc(wide + np.copysign(0.5, wide))
    return result


class FloatMatrix:
    """Weights of [outputs, inputs] in float32."""

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights

    def prepare(self, x: np.ndarray) -> Any:
        return x

    def product(self, x: Any) -> np.ndarray:
        result: np.ndarray = x @ self.weights.T
        return result


class HybridMatrix:
    """Weights of [outputs, inputs] in int8 (uint8 holds the same bits) with one scale.

    sparse: LiteRT's kernel for sparse weights, which takes no zero points off.
    """

    def __init__(
        self, weights: np.ndarray, scale: float, asymmetric: bool, sparse: bool = False
    ) -> None:
        self.weights = weights.view(np.int8).astype(np.float64)
        self.sums = self.weights.sum(axis=1)
        self.scale = np.float32(scale)
        self.asymmetric = asymmetric
        self.sparse = sparse

    def prepare(self, x: np.ndarray) -> Any:
        return quantize_rows(x, self.asymmetric)

    def product(self, x: Any) -> np.ndarray:
        total = x.values @ self.weights.T
        if not self.sparse:
            total -= x.zero * self.sums
        result: np.ndarray = total.astype(np.float32) * (x.scale * self.scale)
        return result


Matrix = FloatMatrix | HybridMatrix


def matrix(call: Call, i: int, weights: np.ndarray, sparse: bool = False) -> Matrix:
    """The dense product with input i."""
    if call.dtype(i) is DType.FLOAT32:
        return FloatMatrix(weights)
    asymmetric = bool(call.option("asymmetric_quantize_inputs"))
    return HybridMatrix(weights, call.scale(i), asymmetric, sparse)


def check_matrix(call: Call, i: int, what: str, shape: Shape, dtype: DType) -> None:
    """Raise unless input i has this shape and type, and a scale where it is quantised."""
    check_input(call, i, what, shape, dtype)
    if dtype is not DType.FLOAT32:
        call.scale(i)


def check_input(call: Call, i: int, what: str, shape: Shape, dtype: DType) -> None:
    """Raise unless input i is given and has this shape and type."""
    call.check_dtype(i, dtype)
    if call.shape(i) != shape:
        call.fail(
            f"{what}, input {i} {call.input(i).name!r}, does not fit the other inputs",
            f"shape {list(shape)}",
            str(list(call.shape(i))),
        )


def check_state(call: Call, i: int, what: str, size: int, dtype: DType) -> None:
    """Raise unless input i is a variable tensor of so many elements of this type."""
    call.check_dtype(i, dtype)
    tensor = call.input(i)
    call.check(
        tensor.is_variable and not tensor.is_constant,
        f"{what}, input {i} {tensor.name!r}, cannot be written",
        "a variable tensor without a value",
        "a constant" if tensor.is_constant else "a tensor that is no variable",
    )
    found = int(np.prod(call.shape(i), dtype=object))
    call.check(
        found == size,
        f"{what}, input {i} {tensor.name!r}, does not fit the other inputs",
        f"{size} elements",
        f"{found} (shape {list(call.shape(i))})",
    )


def store(state: np.ndarray, value: np.ndarray) -> None:
    """Overwrite a state. A caller's array that is write-protected stays as it is."""
    if state.flags.writeable:
        state[...] = value.reshape(state.shape)


def time_first(x: np.ndarray, time_major: bool) -> np.ndarray:
    """Between [batch, time, …] and [time, batch, …]; the input as it is if `time_major`."""
    return x if time_major else np.ascontiguousarray(x.swapaxes(0, 1))


def steps(call: Call, out: np.ndarray, reverse: bool = False) -> Iterator[int]:
    """The moments of an output [time, …] in the order in which they are computed."""
    moments = range(len(out) if out.size else 0)
    for t in reversed(moments) if reverse else moments:
        call.tick()
        yield t

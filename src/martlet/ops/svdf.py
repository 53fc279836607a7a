"""SVDF: a dense layer over the last m inputs, factored into features and time.

Inputs: x [batch, i], feature weights [f, i], time weights [f, m], bias [f / rank] (optional) and
the state, a variable [batch, f * m]: the last m values of each filter. A run shifts the state by
one, puts W x in the last place, weighs each filter's values over time, adds up the `rank`
filters of each unit, and adds the bias.

- float32, or hybrid: 8-bit weights, rows of x quantised when they come, the rest float32.
- int8, with time weights and state in int16, or both in int8 (as TensorFlow Lite for
  Microcontrollers has it; this state has a zero point). W x is rescaled to the state's scale and
  saturated, the sum to the output's; both rounded twice. The activation is the output's range.
"""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.fixed_point import multiply_twice, quantize_multiplier, saturate, wrap_int32
from martlet.ops.operator import Call, Spec, register
from martlet.ops.recurrent import (
    activation,
    check_input,
    check_matrix,
    check_state,
    matrix,
    store,
)

X, FEATURES, TIME, BIAS, STATE = range(5)


def _infer(call: Call) -> list[Spec]:
    dtype = call.check_dtype(X, DType.FLOAT32, DType.INT8)
    batch, size = call.check_rank(X, 2)
    filters = call.check_rank(FEATURES, 2)[0]
    memory = call.check_rank(TIME, 2)[1]
    rank = int(call.option("rank"))
    call.check(
        1 <= rank <= max(filters, 1) and filters % rank == 0,
        "the rank does not divide the filters",
        f"a divisor of {filters}",
        str(rank),
    )
    call.check(memory >= 1, "there is no memory", "1 or more", str(memory))
    activation(call)
    if dtype is DType.FLOAT32:
        weights = call.check_dtype(FEATURES, DType.FLOAT32, DType.INT8, DType.UINT8)
        time, state, bias = weights, DType.FLOAT32, DType.FLOAT32
    else:
        weights, bias = DType.INT8, DType.INT32
        time = state = call.check_dtype(TIME, DType.INT16, DType.INT8)
        name = call.option("fused_activation_function")
        call.check(name == "RELU", "SVDF in int8 has one activation", "RELU", str(name))
        call.scale(X)
        call.scale(STATE)
        call.output_scale()
    check_matrix(call, FEATURES, "feature weights", (filters, size), weights)
    check_matrix(call, TIME, "time weights", (filters, memory), time)
    if call.has(BIAS):
        check_input(call, BIAS, "bias", (filters // rank,), bias)
    call.check_rank(STATE, 2)
    check_state(call, STATE, "state", batch * filters * memory, state)
    return [Spec(dtype, (batch, filters // rank))]


def _evaluate(
    call: Call,
    x: np.ndarray,
    features: np.ndarray,
    time: np.ndarray,
    bias: np.ndarray | None,
    state: np.ndarray,
) -> np.ndarray:
    step = _float if call.dtype(X) is DType.FLOAT32 else _integer
    return step(call, x, features, time, bias, state)


def _shift(state: np.ndarray, latest: np.ndarray, memory: int) -> np.ndarray:
    """The state as [batch, filters, memory], with the latest values in the last place."""
    old = state.reshape(*latest.shape, memory)
    new = np.concatenate([old[:, :, 1:], latest[:, :, None].astype(state.dtype)], axis=2)
    store(state, new)
    return new


def _add_up(call: Call, sums: np.ndarray) -> np.ndarray:
    """The sums of the filters of each unit."""
    rank = int(call.option("rank"))
    return np.asarray(sums.reshape(len(sums), sums.shape[1] // rank, rank).sum(axis=2))


def _float(
    call: Call,
    x: np.ndarray,
    features: np.ndarray,
    time: np.ndarray,
    bias: np.ndarray | None,
    state: np.ndarray,
) -> np.ndarray:
    weights = matrix(call, FEATURES, features)
    new = _shift(state, weights.product(weights.prepare(x)), time.shape[1])
    if call.dtype(TIME) is not DType.FLOAT32:
        time = time.view(np.int8).astype(np.float32) * np.float32(call.scale(TIME))
    sums = np.einsum("bfm,fm->bf", new, time)
    units = _add_up(call, sums)
    return activation(call)(units if bias is None else units + bias)


def _integer(
    call: Call,
    x: np.ndarray,
    features: np.ndarray,
    time: np.ndarray,
    bias: np.ndarray | None,
    state: np.ndarray,
) -> np.ndarray:
    x_scale, feature_scale, time_scale, state_scale = (
        np.float32(call.scale(i)) for i in (X, FEATURES, TIME, STATE)
    )
    output_scale = np.float32(call.output_scale())
    to_state = quantize_multiplier(float(x_scale * feature_scale / state_scale))
    to_output = quantize_multiplier(float(state_scale * time_scale / output_scale))
    # An int16 state is symmetric, whatever its zero point says.
    zero = call.zero_point(STATE) if state.dtype == np.int8 else 0
    product = (x.astype(np.float64) - call.zero_point(X)) @ features.T.astype(np.float64)
    latest = saturate(multiply_twice(wrap_int32(product.astype(np.int64)), *to_state), state.dtype)
    # The zero point is added after the saturation, and wraps.
    stored = (latest.astype(np.int64) + zero).astype(state.dtype)
    new = _shift(state, stored, time.shape[1]).astype(np.int64) - zero
    sums = np.einsum("bfm,fm->bf", new, time.astype(np.int64))
    units = _add_up(call, sums)
    total = wrap_int32(units if bias is None else units + bias)
    return saturate(multiply_twice(total, *to_output) + call.output_zero_point(), np.int8)


register(
    "SVDF", infer=_infer, evaluate=_evaluate, inputs=5, options="SVDFOptions", versions=4,
    optional=(BIAS,), pure=False,
)  # fmt: skip

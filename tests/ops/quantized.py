"""Quantised values for tests, and LiteRT's reference answers for one node of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from build import Value, one_node, run_model
from martlet.dtypes import DType
from martlet.graph import Quantization, Tensor
from oracle import litert


def every_value(dtype: DType, step: int = 1) -> np.ndarray:
    """All values of an 8- or 16-bit type in order, or every so many."""
    info = np.iinfo(dtype.numpy)
    return np.arange(info.min, info.max + 1, step).astype(dtype.numpy)


def quantized(x: Any, dtype: DType, scale: Any, zero_point: Any = 0, axis: int = 0) -> Value:
    return Value(np.asarray(x, dtype.numpy), dtype, Quantization.of(scale, zero_point, axis))


def output(dtype: DType, scale: Any = None, zero_point: Any = 0, axis: int = 0) -> Tensor:
    quantization = None if scale is None else Quantization.of(scale, zero_point, axis)
    return Tensor(dtype=dtype, quantization=quantization)


def same_as_litert(
    op: str,
    inputs: Sequence[Any],
    result: Tensor,
    options: dict[str, Any] | None = None,
    options_type: str = "",
    reference: bool = True,
) -> None:
    """Raise unless one node's output equals LiteRT's, to the bit."""
    model, arrays = one_node(op, inputs, options, [result], options_type=options_type)
    (expected,) = litert(model, arrays, reference)
    (found,) = run_model(model, arrays, reference=reference)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)

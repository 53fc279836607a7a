"""Operators of TensorFlow without a builtin twin, under their own name or as `Flex…`.

Element by element: the trigonometric, hyperbolic and other functions of NumPy, on floats.
`Identity` and its kin give their input, `Assign` (a variable that became an input) the new value,
and `StringToHashBucketFast` the fingerprint of each string modulo the number of buckets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.ops.farmhash import fingerprints
from martlet.ops.node_def import attributes
from martlet.ops.operator import Call, Spec, like_input, register

Function = Callable[[np.ndarray], np.ndarray]
_FLOATS = (DType.FLOAT32, DType.FLOAT16, DType.FLOAT64)


def _softsign(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / (1 + np.abs(x)))


_FUNCTIONS: dict[str, Any] = {
    "Acos": np.arccos, "Acosh": np.arccosh, "Asin": np.arcsin, "Asinh": np.arcsinh,
    "Atan": np.arctan, "Atanh": np.arctanh, "Cosh": np.cosh, "Expm1": np.expm1,
    "Inv": np.reciprocal, "Log1p": np.log1p, "Reciprocal": np.reciprocal, "Rint": np.rint,
    "Sinh": np.sinh, "Softplus": partial(np.logaddexp, 0.0), "Softsign": _softsign,
    "Tan": np.tan,
}  # fmt: skip
_SAME = ("Identity", "StopGradient", "PreventGradient", "Snapshot")


def _infer_function(call: Call) -> list[Spec]:
    call.check_dtype(0, *_FLOATS)
    return [call.spec(0)]


def _function(call: Call, x: np.ndarray) -> np.ndarray:
    return np.asarray(_FUNCTIONS[call.op.removeprefix("Flex")](x), x.dtype)


def _same(call: Call, x: np.ndarray) -> np.ndarray:
    return x


def _infer_assign(call: Call) -> list[Spec]:
    call.check_same_dtype(0, 1)
    if attributes(call).get("validate_shape", True):
        call.check(
            call.shape(0) == call.shape(1),
            "variable and value differ in shape",
            str(list(call.shape(0))),
            str(list(call.shape(1))),
        )
    return [call.spec(1)]


def _assign(call: Call, variable: np.ndarray, value: np.ndarray) -> np.ndarray:
    return value


def _buckets(call: Call) -> int:
    count = attributes(call).get("num_buckets")
    if not isinstance(count, int) or count < 1:
        call.fail("the number of buckets is wrong", "a positive integer", repr(count)[:40])
    return count


def _infer_buckets(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.STRING)
    _buckets(call)
    return [Spec(DType.INT64, call.shape(0))]


def _hash_buckets(call: Call, strings: np.ndarray) -> np.ndarray:
    hashes = fingerprints(list(strings.ravel())) % np.uint64(_buckets(call))
    return hashes.astype(np.int64).reshape(strings.shape)


for _prefix in ("", "Flex"):
    for _name in _FUNCTIONS:
        register(
            _prefix + _name, infer=_infer_function, evaluate=_function, inputs=1, custom=True
        )  # fmt: skip
    for _name in _SAME:
        register(_prefix + _name, infer=like_input, evaluate=_same, inputs=1, custom=True)
    register(_prefix + "Assign", infer=_infer_assign, evaluate=_assign, inputs=2, custom=True)
    register(
        _prefix + "StringToHashBucketFast", infer=_infer_buckets, evaluate=_hash_buckets,
        inputs=1, custom=True,
    )  # fmt: skip

"""Booleans, bits and choice: logical and bitwise operators, shifts, SELECT, BITCAST, and the
element by element STABLEHLO_ operators that have a kernel.

None of these look at scales: quantised values pass through as they are stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from martlet.dtypes import PACKED, DType
from martlet.ops.operator import Call, Spec, broadcast, register
from martlet.ops.pairwise import check_pair
from martlet.records import dataclass

BOOL = (DType.BOOL,)
BITS = (DType.INT8, DType.INT16, DType.INT32)
UNSIGNED_BITS = (DType.UINT8, DType.UINT16, DType.UINT32)
INTEGERS = (*BITS, *UNSIGNED_BITS, DType.INT64, DType.UINT64)
NUMBERS = (DType.FLOAT16, DType.FLOAT32, DType.FLOAT64, *INTEGERS, DType.BOOL)


def _right_shift(x: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Arithmetic; negative counts shift by 0, large ones by all places but one."""
    last = 8 * x.dtype.itemsize - 1
    return np.asarray(np.right_shift(x, np.clip(places, 0, last).astype(x.dtype)))


def _left_shift(x: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Counts below 0, or from the number of bits on, leave nothing."""
    inside = (places >= 0) & (places < 8 * x.dtype.itemsize)
    return np.where(inside, np.left_shift(x, np.where(inside, places, 0)), 0).astype(x.dtype)


@dataclass(frozen=True)
class _Operator:
    """A function of two tensors of one type. broadcasts: whether their shapes may differ."""

    function: Callable[[np.ndarray, np.ndarray], np.ndarray]
    types: tuple[DType, ...]
    options: str = ""
    broadcasts: bool = True


def _stablehlo(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
    types: tuple[DType, ...] = NUMBERS,
    options: str = "",
) -> _Operator:
    return _Operator(function, types, options, broadcasts=False)


# On booleans NumPy's + and * are "or" and "and", as C's are once stored in a bool.
_OPERATORS = {
    "LOGICAL_AND": _Operator(np.logical_and, BOOL, "LogicalAndOptions"),
    "LOGICAL_OR": _Operator(np.logical_or, BOOL, "LogicalOrOptions"),
    "BITWISE_XOR": _Operator(np.bitwise_xor, BITS + UNSIGNED_BITS, "BitwiseXorOptions"),
    "RIGHT_SHIFT": _Operator(_right_shift, BITS + UNSIGNED_BITS, "RightShiftOptions"),
    "STABLEHLO_ADD": _stablehlo(np.add),
    "STABLEHLO_MULTIPLY": _stablehlo(np.multiply),
    "STABLEHLO_MAXIMUM": _stablehlo(lambda x, y: np.where(x < y, y, x)),
    "STABLEHLO_MINIMUM": _stablehlo(lambda x, y: np.where(y < x, y, x)),
    "STABLEHLO_AND": _stablehlo(np.bitwise_and, (*INTEGERS, DType.BOOL)),
    "STABLEHLO_SHIFT_LEFT": _stablehlo(_left_shift, BITS, "StablehloShiftLeftOptions"),
}


def _infer(call: Call) -> list[Spec]:
    operator = _OPERATORS[call.op]
    shape = check_pair(call, operator.types)
    if not operator.broadcasts:
        call.check(
            call.shape(0) == call.shape(1),
            f"{call.op} takes inputs of one shape",
            str(list(call.shape(0))),
            str(list(call.shape(1))),
        )
    return [Spec(call.dtype(0), shape)]


def _evaluate(call: Call, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(_OPERATORS[call.op].function(x, y))


for _name, _operator in _OPERATORS.items():
    register(_name, infer=_infer, evaluate=_evaluate, inputs=2, options=_operator.options)


def _infer_not(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.BOOL)
    return [call.spec(0)]


register(
    "LOGICAL_NOT", infer=_infer_not, evaluate=lambda _, x: np.asarray(np.logical_not(x)), inputs=1,
    options="LogicalNotOptions",
)  # fmt: skip


# Choice --------------------------------------------------------------------------------------


def _infer_select(call: Call) -> list[Spec]:
    """SELECT: the condition has the shape of the choices, is a scalar, or picks whole rows.

    SELECT_V2: all three broadcast. Where all three have one element, the shape that the file
    declares for the output stands.
    """
    call.check_dtype(0, DType.BOOL)
    dtype = call.check_same_dtype(1, 2)
    condition, x, y = (call.shape(i) for i in range(3))
    if math.prod(condition) == math.prod(x) == math.prod(y) == 1:
        declared = call.output().shape
        if math.prod(declared) == 1:
            return [Spec(dtype, declared)]
    if call.op == "SELECT_V2":
        return [Spec(dtype, broadcast(call, 0, 1, 2))]
    call.check(x == y, "SELECT chooses between tensors of one shape", str(list(x)), str(list(y)))
    call.check(
        condition in ((), x, x[:1]),
        "the condition does not fit the choices",
        f"{list(x)}, {list(x[:1])} or a scalar",
        str(list(condition)),
    )
    return [Spec(dtype, x)]


def _select(call: Call, condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    shape = _infer_select(call)[0].shape
    assert shape is not None
    if call.op == "SELECT" and condition.ndim == 1:
        condition = condition.reshape(-1, *[1] * (x.ndim - 1))
    return np.asarray(np.where(condition, x, y)).reshape(shape)


for _name, _versions, _options in (
    ("SELECT", 4, "SelectOptions"),
    ("SELECT_V2", 2, "SelectV2Options"),
):
    register(
        _name, infer=_infer_select, evaluate=_select, inputs=3, versions=_versions,
        options=_options,
    )  # fmt: skip


# BITCAST -------------------------------------------------------------------------------------


def _infer_bitcast(call: Call) -> list[Spec]:
    """A wider type takes the last dimension in; a narrower one adds a dimension."""
    source, target = call.dtype(0), call.output().dtype
    for dtype in (source, target):
        call.check(
            dtype.supported and dtype.bits > 0 and dtype not in (*PACKED, DType.RESOURCE),
            "the type has no bits to reinterpret",
            "a type of whole bytes",
            dtype.name,
        )
    shape = call.shape(0)
    if source.bits > target.bits:
        shape = (*shape, source.bits // target.bits)
    elif source.bits < target.bits:
        call.check(
            shape[-1:] == (target.bits // source.bits,),
            f"the last dimension does not make up one {target.name}",
            str(target.bits // source.bits),
            str(list(shape)),
        )
        shape = shape[:-1]
    return [Spec(target, shape)]


def _bitcast(call: Call, x: np.ndarray) -> np.ndarray:
    target, shape = _infer_bitcast(call)[0]
    assert shape is not None
    stored = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
    return (stored != 0 if target is DType.BOOL else stored.view(target.numpy)).reshape(shape)


register("BITCAST", infer=_infer_bitcast, evaluate=_bitcast, inputs=1, options="BitcastOptions")

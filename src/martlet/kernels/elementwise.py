"""Kernels of elementwise operators: each is one short expression.

`UNARY`, `BINARY` and the tables below say what is computed from vectors; what follows the operands
in an expression's signature are the kernel's own numbers. Operands and result are rows of strided
blocks (`martlet.kernels.rows`), units are elements:

    tanh_f32(a, y, numbers…, rows)
    add_f32_vv, add_f32_vs, add_f32_sv(a, b, y, numbers…, rows)
    refuse_zeros_f32(a, status, rows)

The letters of a form say how the row of each operand is read: as vectors, or as one number (`s`)
for the whole row. The result may lie where an operand lies that is read as vectors, at the same
distances: an element is read before it is written, and never again.

Clamps keep what is not a number.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, F64, I1, I8, I32, I64, Builder, Pointer, Value, arguments
from martlet.kernels.math import (
    atan2,
    copy_sign,
    cos,
    erf,
    exp,
    exp_minus_one,
    log,
    logistic,
    power,
    sin,
    tanh,
)
from martlet.kernels.rows import pieces, row_fields, rows
from martlet.kernels.targets import Target

Expression = Callable[..., Value]


def clamp(k: Builder, x: Value, low: Value | float, high: Value | float) -> Value:
    """x between two ends; x itself where it is not a number."""
    raised = k.maximum(k.as_value(low, x.type), x)
    return k.minimum(k.as_value(high, x.type), raised)


def hard_swish(k: Builder, x: Value) -> Value:
    return x * clamp(k, x + 3, 0, 6) * (1 / 6)


def gelu(k: Builder, x: Value) -> Value:
    return 0.5 * x * (erf(k, x * math.sqrt(0.5)) + 1)


def gelu_tanh(k: Builder, x: Value) -> Value:
    return 0.5 * x * (tanh(k, math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)) + 1)


def fake_quant(k: Builder, x: Value, low: Value, high: Value, inverse: Value, step: Value) -> Value:
    """The nearest of the steps from `low` on, the one further from zero where two are as near."""
    steps = (clamp(k, x, low, high) - low) * inverse
    whole = k.truncate(steps)
    up = k.select(k.absolute(steps - whole) >= 0.5, k.as_value(1.0, x.type), 0.0)
    return (whole + copy_sign(k, up, steps)) * step + low


UNARY: dict[str, Expression] = {
    "clamp": clamp,
    "leaky_relu": lambda k, x, slope: k.select(x > 0, x, x * slope),
    "elu": lambda k, x: k.select(x < 0, exp_minus_one(k, x), x),
    "hard_swish": hard_swish,
    "fake_quant": fake_quant,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "logistic": logistic,
    "tanh": tanh,
    "exp": exp,
    "log": log,
    "sin": sin,
    "cos": cos,
    "abs": lambda k, x: k.absolute(x),
    "neg": lambda k, x: -x,
    "square": lambda k, x: x * x,
    "sqrt": lambda k, x: k.square_root(x),
    "rsqrt": lambda k, x: 1 / k.square_root(x),
    "floor": lambda k, x: k.floor(x),
    "ceil": lambda k, x: k.ceil(x),
    "round": lambda k, x: k.round_to_even(x),
    "sign": lambda k, x: k.select(x > 0, k.as_value(1.0, x.type), k.select(x < 0, -1.0, x)),
}


def floor_divide(k: Builder, a: Value, b: Value) -> Value:
    """floor(a / b), the quotient in float64."""
    return k.floor(a.to(F64) / b.to(F64)).to(F32)


def floor_modulo(k: Builder, a: Value, b: Value) -> Value:
    """a - b floor(a / b).

    Every step in float64 is exact and leaves 2^-52 of a quotient, which is below 2^278.
    """
    rest, by = a.to(F64), b.to(F64)
    for _ in range(6):
        n = k.truncate(rest / by)
        rest = k.select(n.equals(0.0), rest, k.fma(-n, by, rest))
    y = rest.to(F32)
    other_side = y.differs(0.0) & ((y < 0) ^ (b < 0))
    return k.select(other_side, y + b, y)


def _clamped(f: Expression) -> Expression:
    """With a fused activation, which is an interval; without one, that of the finite numbers."""

    def g(k: Builder, a: Value, b: Value, low: Value, high: Value) -> Value:
        return clamp(k, f(k, a, b), low, high)

    return g


BINARY: dict[str, Expression] = {
    "add": _clamped(lambda k, a, b: a + b),
    "sub": _clamped(lambda k, a, b: a - b),
    "mul": _clamped(lambda k, a, b: a * b),
    "div": _clamped(lambda k, a, b: a / b),
    "maximum": lambda k, a, b: k.maximum(a, b),
    "minimum": lambda k, a, b: k.minimum(a, b),
    "squared_difference": lambda k, a, b: (a - b) * (a - b),
    "prelu": lambda k, x, slope: k.select(x >= 0, x, x * slope),
    "floor_div": floor_divide,
    "floor_mod": floor_modulo,
    "pow": _clamped(power),
}
INTEGER_UNARY: dict[tuple[str, str], Expression] = {
    ("abs", "i32"): lambda k, x: k.absolute(x),
    ("neg", "i32"): lambda k, x: -x,
    ("neg", "i64"): lambda k, x: -x,
    ("sign", "i32"): lambda k, x: (x > 0).to(I32) - (x < 0).to(I32),
}
INTEGER_BINARY: dict[str, Expression] = {
    "add": lambda k, a, b: a + b,
    "sub": lambda k, a, b: a - b,
    "mul": lambda k, a, b: a * b,
    "maximum": lambda k, a, b: k.maximum(a, b),
    "minimum": lambda k, a, b: k.minimum(a, b),
}


def _divided(rounded: Callable[[Builder, Value], Value]) -> Expression:
    """Of int32 values in float64, where no quotient is rounded to the next whole number.

    By -1 they are negated, and wrap, for one of the quotients is no int32.
    """

    def quotient(k: Builder, a: Value, b: Value) -> Value:
        opposite = b.equals(-1)
        divisor = k.select(opposite, 1, b)
        found = rounded(k, a.to(F64) / divisor.to(F64))
        return k.select(opposite, -a, found.to(I32))

    return quotient


def _remainder(k: Builder, a: Value, b: Value) -> Value:
    """Of int32, with the sign of the divisor."""
    return a - _floor_quotient(k, a, b) * b


def _wide_remainder(k: Builder, a: Value, b: Value) -> Value:
    """Of int64, with the sign of the divisor."""
    # By -1 nothing is left over; the machine would trap where the quotient is no int64.
    rest = a % k.select(b.equals(0) | b.equals(-1), 1, b)
    return k.select(rest.differs(0) & ((rest ^ b) < 0), rest + b, rest)


_floor_quotient = _divided(lambda k, x: k.floor(x))
DIVISION: dict[str, Expression] = {
    "div": _divided(lambda k, x: k.truncate(x)),
    "floor_div": _floor_quotient,
    "floor_mod": _remainder,
}
"""Of int32. By 0 they give some number, and do not trap."""
ALIKE: dict[tuple[str, str], Expression] = {
    ("atan2", "float"): atan2,
    ("bitwise_and", "i32"): lambda k, a, b: a & b,
    ("bitwise_and", "i64"): lambda k, a, b: a & b,
    ("shift_left", "i32"): lambda k, a, b: k.select(b.below_unsigned(32), a << (b & 31), 0),
}
"""Of operands of one shape."""
BITWISE: dict[str, Expression] = {
    "bitwise_xor": lambda k, a, b: a ^ b,
    "right_shift": lambda k, a, b: a >> k.minimum(k.maximum(b, 0), 31),
}
"""Of int32."""
COMPARISON: dict[str, Expression] = {
    "equal": lambda k, a, b: a.equals(b).to(I8),
    "not_equal": lambda k, a, b: a.differs(b).to(I8),
    "less": lambda k, a, b: (a < b).to(I8),
    "less_equal": lambda k, a, b: (a <= b).to(I8),
    "greater": lambda k, a, b: (a > b).to(I8),
    "greater_equal": lambda k, a, b: (a >= b).to(I8),
}
LOGICAL: dict[str, Expression] = {
    "logical_and": lambda k, a, b: a & b,
    "logical_or": lambda k, a, b: a | b,
    "equal_bool": lambda k, a, b: a.equals(b).to(I8),
    "not_equal_bool": lambda k, a, b: a ^ b,
}
"""Of bytes that are 0 or 1."""
SHORT = {"float": "f32", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64"}
"""Element types in names of kernels."""


def scale_shift(k: Builder, x: Value, a: Value, b: Value, low: Value, high: Value) -> Value:
    """A batch norm with its activation."""
    return clamp(k, k.fma(x, a, b), low, high)


def choose(k: Builder, condition: Value, a: Value, b: Value) -> Value:
    """a where the condition, a byte, is not 0."""
    return k.select(condition.differs(0), a, b)


def refuse_zeros(k: Builder, a: Pointer, status: Pointer, *values: Value) -> None:
    """Say in the status, two words [found, value], if one of these divisors is 0."""
    fine = k.variable(k.constant(1, I1))
    for (a_at,), start, stop in rows(k, values[:-2], *values[-2:]):
        for i, lanes in pieces(k, start, stop):
            fine.value = fine.value & k.all_lanes(k.load(a, a_at + i, lanes=lanes).differs(0))
    with k.when(fine.value ^ 1):
        k.store(status, 1, k.constant(0, I64))
        k.store(status, 0, k.constant(1, I64))


CHOICES = tuple("".join(form) for form in itertools.product("vs", repeat=3))[:-1]
FORMS = ("vv", "vs", "sv")


def _numbers(f: Expression, operands: int) -> list[str]:
    """The expression's parameters after the builder and the operands."""
    return list(inspect.signature(f).parameters)[1 + operands :]


def rowwise(
    name: str, f: Expression, operands: Sequence[str], form: str, result: str = "float"
) -> Kernel:
    """The kernel of an expression of operands of these element types."""
    names = _numbers(f, len(operands))
    letters = "abc"[: len(operands)]

    def write(k: Builder, *values: Any) -> None:
        pointers, y = values[: len(operands)], values[len(operands)]
        numbers = values[len(operands) + 1 :][: len(names)]
        fields = values[len(operands) + 1 + len(names) : -2]
        for (*places, y_at), start, stop in rows(k, fields, *values[-2:]):
            read = list(zip(pointers, places, form, strict=True))
            fixed = [k.scalar(p, at) if kind == "s" else None for p, at, kind in read]
            for i, lanes in pieces(k, start, stop):
                elements = [
                    k.load(p, at + i, lanes=lanes) if one is None else k.broadcast(one, lanes)
                    for (p, at, _), one in zip(read, fixed, strict=True)
                ]
                k.store(y, y_at + i, f(k, *elements, *numbers))

    declared = [f"{n}: *{element}" for n, element in zip(letters, operands, strict=True)]
    declared += [f"y: *{result}", *(f"{n}: float" for n in names)]
    return Kernel(name, write, arguments(*declared, *row_fields(*letters, "y")))


def kernels(target: Target) -> list[Kernel]:
    """All elementwise kernels. They are the same for every target."""
    found = [rowwise(f"{name}_f32", f, ["float"], "v") for name, f in UNARY.items()]
    for name, f in BINARY.items():
        found += [rowwise(f"{name}_f32_{form}", f, ["float"] * 2, form) for form in FORMS]
    for (name, element), f in INTEGER_UNARY.items():
        found.append(rowwise(f"{name}_{element}", f, [element], "v", element))
    for element in ("i32", "i64"):
        for name, f in INTEGER_BINARY.items():
            found += [rowwise(f"{name}_{element}_{o}", f, [element] * 2, o, element) for o in FORMS]
    for element in ("float", "i32", "i64"):
        for name, f in COMPARISON.items():
            full = f"{name}_{SHORT[element]}"
            found += [rowwise(f"{full}_{o}", f, [element] * 2, o, "i8") for o in FORMS]
    for name, f in (DIVISION | BITWISE).items():
        found += [rowwise(f"{name}_i32_{o}", f, ["i32"] * 2, o, "i32") for o in FORMS]
    for o in FORMS:
        found.append(rowwise(f"floor_mod_i64_{o}", _wide_remainder, ["i64"] * 2, o, "i64"))
    for (name, element), f in ALIKE.items():
        found.append(rowwise(f"{name}_{SHORT[element]}_vv", f, [element] * 2, "vv", element))
    for element in ("float", "i32", "i64"):
        block = arguments(f"a: *{element}", "status: *i64", *row_fields("a"))
        found.append(Kernel(f"refuse_zeros_{SHORT[element]}", refuse_zeros, block))
    for name, f in LOGICAL.items():
        found += [rowwise(f"{name}_{o}", f, ["i8"] * 2, o, "i8") for o in FORMS]
    found.append(rowwise("logical_not", lambda k, a: a ^ 1, ["i8"], "v", "i8"))
    for element in ("i8", "i32", "i64"):
        operands = ["i8", element, element]
        found += [rowwise(f"select_{element}_{o}", choose, operands, o, element) for o in CHOICES]
    found.append(rowwise("scale_shift_f32", scale_shift, ["float"] * 3, "vvv"))
    return found

"""Kernels of elementwise operators: each is one short expression.

`UNARY` and `BINARY` say what is computed from vectors of float32; what follows the operands in an
expression's signature are the kernel's own numbers. From every unary expression comes a kernel

    relu_f32(x, y, numbers…)                      units: elements

and from every binary one three, which differ in how the rows of the operands are read: as
vectors, or as one number (`s`) for the whole row, as strides of 0 say. Shapes that broadcast are
rows of strided blocks (`martlet.kernels.rows`).

    add_f32_vv, add_f32_vs, add_f32_sv(a, b, y, numbers…, rows)     units: elements

Clamps keep what is not a number.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import Builder, Pointer, Value, arguments
from martlet.kernels.math import cos, erf, exp, exp_minus_one, log, logistic, sin, tanh
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


UNARY: dict[str, Expression] = {
    "clamp": clamp,
    "leaky_relu": lambda k, x, slope: k.select(x > 0, x, x * slope),
    "elu": lambda k, x: k.select(x < 0, exp_minus_one(k, x), x),
    "hard_swish": hard_swish,
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
}


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
}

FORMS = ("vv", "vs", "sv")


def _numbers(f: Expression, operands: int) -> list[str]:
    """The expression's parameters after the builder and the operands."""
    return list(inspect.signature(f).parameters)[1 + operands :]


def _unary(name: str, f: Expression) -> Kernel:
    def write(k: Builder, x: Pointer, y: Pointer, *values: Value) -> None:
        *numbers, first, last = values
        for i, mask in k.vectors(first, last):
            k.store(y, i, f(k, k.load(x, i, mask), *numbers), mask)

    numbers = [f"{n}: float" for n in _numbers(f, 1)]
    return Kernel(f"{name}_f32", write, arguments("x: *float", "y: *float", *numbers))


def _binary(name: str, f: Expression, form: str) -> Kernel:
    names = _numbers(f, 2)

    def write(k: Builder, a: Pointer, b: Pointer, y: Pointer, *values: Value) -> None:
        numbers, fields = values[: len(names)], values[len(names) : -2]
        for (a_at, b_at, y_at), start, stop in rows(k, fields, *values[-2:]):
            operands = ((a, a_at, form[0]), (b, b_at, form[1]))
            fixed = [k.scalar(p, at) if kind == "s" else None for p, at, kind in operands]
            for i, lanes in pieces(k, start, stop):
                left, right = (
                    k.load(p, at + i, lanes=lanes) if one is None else k.broadcast(one, lanes)
                    for (p, at, _), one in zip(operands, fixed, strict=True)
                )
                k.store(y, y_at + i, f(k, left, right, *numbers))

    declared = ["a: *float", "b: *float", "y: *float", *(f"{n}: float" for n in names)]
    return Kernel(f"{name}_f32_{form}", write, arguments(*declared, *row_fields("a", "b", "y")))


def kernels(target: Target) -> list[Kernel]:
    """All elementwise kernels. They are the same for every target."""
    return [_unary(name, f) for name, f in UNARY.items()] + [
        _binary(name, f, form) for name, f in BINARY.items() for form in FORMS
    ]

"""Casts: each element as a value of another type. Rows and units as of `elementwise.py`.

    cast_f32_i8(a, y, rows)
    cast_same_i8           the same bits, whatever they are
    quantize_f32_i8_vss    a / b + c, b being scales and c zero points: one, or (`vvv`) a vector
    dequantize_i8_vss      (a - c) * b

Floats are truncated towards zero and saturate, what is not a number becomes the greatest value;
integers keep their low bits; anything but 0 is true. Types are named as in kernels' arguments, but
for u8, bytes without a sign, and `bool`, bytes that are 0 or 1. From float16 there is float32
only, and the other way round. Quotients are rounded half away from zero.
"""

from __future__ import annotations

from collections.abc import Callable

from martlet.kernels.elementwise import Expression, rowwise
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, I32, Builder, Type, Value
from martlet.kernels.targets import Target

STORED = {
    "f16": "half", "f32": "float", "i8": "i8", "u8": "i8", "bool": "i8", "i16": "i16",
    "i32": "i32", "i64": "i64",
}  # fmt: skip
"""The type in memory."""
BITS = {"i8": 8, "u8": 8, "i16": 16, "i32": 32, "i64": 64}
SOURCES = ("f32", "i8", "u8", "i16", "i32", "i64")
RESULTS = ("f32", "i8", "u8", "i16", "i32", "i64", "bool")


def cast(source: str, result: str) -> Callable[[Builder, Value], Value] | None:
    """The expression; None where the bits stay, or where another cast does the same."""
    target = Type(STORED[result])

    def to_bool(k: Builder, x: Value) -> Value:
        if x.type.is_float:  # by its bits, for denormal numbers may count as 0
            x = x.bits_as(I32) << 1
        return x.differs(0).to(target)

    def saturated(k: Builder, x: Value) -> Value:
        return _saturated(k, x, result)

    def unsigned(k: Builder, x: Value) -> Value:
        return x.to_unsigned(target)

    if STORED[source] == STORED[result] and result != "bool":
        return None
    if result == "bool":
        return None if source == "u8" else to_bool
    if source == "f32" and result != "f16":
        return saturated
    if result == "u8":
        return None
    return unsigned if source == "u8" else lambda k, x: x.to(target)


def _saturated(k: Builder, x: Value, result: str) -> Value:
    """A float as an integer; the bound above the greatest value is a float, that may not be."""
    signed = result != "u8"
    low = -(1 << (BITS[result] - 1)) if signed else 0
    above = low + (1 << BITS[result])
    fits = x < above
    y = k.select(fits, k.maximum(k.as_value(low, x.type), k.select(fits, x, 0.0)), 0.0)
    whole = y.to(Type("i64" if result == "i64" else "i32"))
    return k.select(fits, whole, above - 1).to(Type(STORED[result]))


FAR = float(1 << 20)
"""Beyond all stored values and zero points, and whole in float32."""
QUANTIZED = ("i8", "u8", "i16")


def quantize(result: str) -> Expression:
    """The expression that makes stored values of floats."""

    def f(k: Builder, x: Value, scale: Value, zero: Value) -> Value:
        quotient = x / scale
        whole = k.truncate(quotient)
        away = k.select(quotient < 0, k.as_value(-1.0, x.type), 1.0)
        rounded = whole + k.select(k.absolute(quotient - whole) >= 0.5, away, 0.0)
        near = k.maximum(k.as_value(-FAR, x.type), k.minimum(rounded, FAR))
        low = 0 if result == "u8" else -(1 << (BITS[result] - 1))
        stored = k.maximum(near.to(I32) + zero, low)
        return k.minimum(stored, low + (1 << BITS[result]) - 1).to(Type(STORED[result]))

    return f


def dequantize(source: str) -> Expression:
    """The expression that makes floats of stored values."""

    def f(k: Builder, x: Value, scale: Value, zero: Value) -> Value:
        wide = x.to_unsigned(I32) if source == "u8" else x.to(I32)
        return (wide - zero).to(F32) * scale

    return f


def kernels(target: Target) -> list[Kernel]:
    """All casts. They are the same for every target."""
    pairs = [(a, b) for a in SOURCES for b in RESULTS] + [("f16", "f32"), ("f32", "f16")]
    same = ("i8", "i16", "i32", "i64")
    found = [rowwise(f"cast_same_{e}", lambda k, x: x, [e], "v", e) for e in same]
    for source, result in pairs:
        if (f := cast(source, result)) is not None:
            name = f"cast_{source}_{result}"
            found.append(rowwise(name, f, [STORED[source]], "v", STORED[result]))
    for name in QUANTIZED:
        stored = STORED[name]
        for form in ("vss", "vvv"):
            full, operands = f"quantize_f32_{name}_{form}", ["float", "float", "i32"]
            found.append(rowwise(full, quantize(name), operands, form, stored))
            full, operands = f"dequantize_{name}_{form}", [stored, "float", "i32"]
            found.append(rowwise(full, dequantize(name), operands, form))
    return found

"""Norms along the last dimension of float32 tensors; units are rows, at any pitch.

    l2_normalize_f32          each row divided by its length, which is at least `EPSILON`
    local_response_norm_f32   each element times (bias + alpha * s)^-beta, s being the sum of the
                              squares of its neighbours from `radius` before to `radius` behind it

Where a power has a base that is not positive, the last neighbour is left out, as TensorFlow Lite's
reference kernel does everywhere. `local_response_norm_roots_f32` is for a bias above 0 and an alpha
that is not below, with which there are no such bases, and for a `beta` of so many quarters: its
powers are products of fourth roots.
"""

from __future__ import annotations

from collections.abc import Callable

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, I32, Builder, Pointer, Value, arguments
from martlet.kernels.math import power
from martlet.kernels.reductions import REDUCTIONS, Totals
from martlet.kernels.rows import pieces
from martlet.kernels.targets import Target

EPSILON = 1e-6


def l2_normalize(
    k: Builder, x: Pointer, y: Pointer, length: Value, x_pitch: Value, y_pitch: Value,
    first: Value, last: Value,
) -> None:  # fmt: skip
    """Sums of squares are made as sums are (`reductions.py`)."""
    add = REDUCTIONS["sum"]["float"]
    for row in k.range(first, last):
        source, target = x + row * x_pitch, y + row * y_pitch
        squares = Totals(k, add, k.constant(0, F32), k.lanes, lambda value: value * value)
        squares.add(source, length)
        norm = k.square_root(squares.all().to(F32))
        # What is not a number stays so.
        inverse = 1 / k.maximum(k.constant(EPSILON, F32), norm)
        for i, lanes in pieces(k, length * 0, length):
            k.store(target, i, k.load(source, i, lanes=lanes) * inverse)


def local_response_norm(roots: bool) -> Callable[..., None]:
    """The writer of a local response norm."""

    def write(
        k: Builder, x: Pointer, y: Pointer, bias: Value, alpha: Value, beta: Value, radius: Value,
        length: Value, x_pitch: Value, y_pitch: Value, first: Value, last: Value,
    ) -> None:  # fmt: skip
        for row in k.range(first, last):
            source, target = x + row * x_pitch, y + row * y_pitch
            for i, lanes in pieces(k, length * 0, length):
                start, stop = i - radius, i + radius
                total = k.variable(k.zeros(lanes=lanes))
                behind = k.variable(k.zeros(lanes=lanes))
                inside = (start >= 0) & (stop + lanes <= length)
                for condition, end in ((inside, None), (inside ^ 1, length)):
                    with k.when(condition):
                        for at in k.range(start, stop):
                            total.value = total.value + _squares(k, source, at, lanes, end)
                        behind.value = _squares(k, source, stop, lanes, end)
                base = total.value * alpha + bias
                whole = (total.value + behind.value) * alpha + bias
                if roots:
                    root = 1 / k.square_root(k.square_root(whole))
                    product = k.variable(root)
                    for _ in k.range(1, beta):
                        product.value = product.value * root
                    scale = product.value
                else:
                    base = k.select((base > 0) & (whole > 0), whole, base)
                    scale = power(k, base, k.broadcast(-beta, lanes))
                k.store(target, i, k.load(source, i, lanes=lanes) * scale)

    return write


def _squares(k: Builder, x: Pointer, at: Value, lanes: int, length: Value | None) -> Value:
    """Of the elements from there on; zeros beyond a row of that length."""
    mask = None
    if length is not None:
        places = k.lane_numbers(I32, lanes) + at.to(I32)
        mask = places.below_unsigned(k.broadcast(length.to(I32), lanes))
    value = k.load(x, at, mask, lanes)
    return value * value


def kernels(target: Target) -> list[Kernel]:
    """All norms. They are the same for every target."""
    rows = "length: i64", "x_pitch: i64", "y_pitch: i64"
    operands = "x: *float", "y: *float"
    return [
        Kernel("l2_normalize_f32", l2_normalize, arguments(*operands, *rows)),
        *(
            Kernel(
                f"local_response_norm{name}_f32",
                local_response_norm(roots),
                arguments(*operands, "bias: float", "alpha: float", beta, "radius: i64", *rows),
            )
            for name, roots, beta in (("", False, "beta: float"), ("_roots", True, "beta: i64"))
        ),
    ]

"""Winograd's minimal convolutions: their matrices, exactly, and transforms as vector code.

F(m, r) computes m neighbouring outputs of a window of r taps with n = m + r - 1 multiplications
instead of m * r:

    outputs (m) = A · ((G · taps (r)) ⊙ (B · inputs (n)))

1. Taps and outputs, as coefficients of polynomials, would be multiplied by evaluating both at n
   points, multiplying the values, and interpolating. A sliding window is the transpose of that
   product, so the matrices of interpolation change places (Winograd, "Arithmetic Complexity of
   Computations", 1980; Lavin & Gray, 2016).
2. One point is infinity, the others are 0 and pairs ±p. With row i for point p: G is
   p^k / ∏(p - q), q the other points; A is p^k; B the coefficients of ∏(x - q).
3. Points are fractions whose powers float32 holds exactly, those that gave the least error among
   multiples of 1/8 (`tests/kernels/test_winograd.py` bounds it): for F(4, 3) a third of that of
   the usual ±1, ±2.
4. Of a pair ±p, the rows of B differ in the signs of every other coefficient only, so both are a
   sum and a difference of two shorter sums; likewise the columns of A.

In two dimensions the transforms are nested: along columns, then along rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from martlet.kernels.forms import Transform
from martlet.kernels.language import Builder, Value

if TYPE_CHECKING:
    from fractions import Fraction

# By n: the positive halves of the pairs.
_PAIRS = {
    1: (), 4: ("1",), 6: ("5/8", "3/2"), 8: ("1/2", "1", "2"), 10: ("3/8", "3/4", "5/4", "5/2"),
}  # fmt: skip

Row = tuple["Fraction", ...]


def matrices(form: Transform) -> tuple[tuple[Row, ...], tuple[Row, ...], tuple[Row, ...]]:
    """(A, G, B): outputs x size, size x taps, size x size."""
    return _matrices(form.outputs, form.taps)


def transform_weights(k: Builder, form: Transform, values: Sequence[Value]) -> list[Value]:
    """G · values."""
    return _rows(k, matrices(form)[1], values)


def transform_inputs(k: Builder, form: Transform, values: Sequence[Value]) -> list[Value]:
    """B · values."""
    return _rows(k, matrices(form)[2], values)


def transform_products(k: Builder, form: Transform, values: Sequence[Value]) -> list[Value]:
    """A · values."""
    return _columns(k, matrices(form)[0], values)


def _fraction(value: str | int) -> Fraction:
    from fractions import Fraction  # slow to import, and not needed by all models

    return Fraction(value)


@cache
def _matrices(outputs: int, taps: int) -> tuple[tuple[Row, ...], tuple[Row, ...], tuple[Row, ...]]:
    size = outputs + taps - 1
    halves = map(_fraction, _PAIRS[size])
    points = [p for half in halves for p in (half, -half)]
    if size > 1:
        points.insert(0, _fraction(0))
    one, none = _fraction(1), _fraction(0)
    a, g, b = [], [], []
    for i, p in enumerate(points):
        others = [*points[:i], *points[i + 1 :]]
        scale = one
        for q in others:
            scale *= p - q
        a.append(tuple(p**j for j in range(outputs)))
        g.append(tuple(p**j / scale for j in range(taps)))
        b.append((*_polynomial(others), none))
    a.append((none,) * (outputs - 1) + (one,))
    g.append((none,) * (taps - 1) + (one,))
    b.append(_polynomial(points))
    return tuple(zip(*a, strict=True)), tuple(g), tuple(b)


def _polynomial(roots: Sequence[Fraction]) -> Row:
    """The coefficients of ∏(x - root), the constant first."""
    result = [_fraction(1)]
    for root in roots:
        shifted = [_fraction(0), *result]
        result = [s - root * c for s, c in zip(shifted, [*result, _fraction(0)], strict=True)]
    return tuple(result)


def _rows(k: Builder, matrix: Sequence[Row], values: Sequence[Value]) -> list[Value]:
    """matrix · values, rows that differ in signs only computed together."""
    results: list[Value | None] = [None] * len(matrix)
    for i, j in _pairs(matrix):
        row = matrix[i]
        if j is None:
            results[i] = _dot(k, row, values)
            continue
        even = tuple(c if c == d else _fraction(0) for c, d in zip(row, matrix[j], strict=True))
        odd = tuple(c - d for c, d in zip(row, even, strict=True))
        factor = next(c for c in reversed(odd) if c)
        sum_even = _dot(k, even, values)
        sum_odd = _dot(k, tuple(c / factor for c in odd), values)
        results[i] = _add(k, sum_even, factor, sum_odd)
        results[j] = _add(k, sum_even, -factor, sum_odd)
    return [value for value in results if value is not None]


def _columns(k: Builder, matrix: Sequence[Row], values: Sequence[Value]) -> list[Value]:
    """matrix · values, values whose columns differ in signs only added and subtracted first."""
    columns = list(zip(*matrix, strict=True))
    terms: list[tuple[Row, Value]] = []
    for i, j in _pairs(columns):
        if j is None:
            terms.append((columns[i], values[i]))
            continue
        even = tuple(
            c if c == d else _fraction(0) for c, d in zip(columns[i], columns[j], strict=True)
        )
        odd = tuple(c - d for c, d in zip(columns[i], even, strict=True))
        terms += [(even, values[i] + values[j]), (odd, values[i] - values[j])]
    coefficients, summands = zip(*terms, strict=True)
    return [_dot(k, row, summands) for row in zip(*coefficients, strict=True)]


def _pairs(rows: Sequence[Row]) -> Iterator[tuple[int, int | None]]:
    """Each row, with the later one that has the same coefficients but for some signs, if any."""
    left = list(range(len(rows)))
    while left:
        i = left.pop(0)
        size = [abs(c) for c in rows[i]]
        j = next((j for j in left if [abs(c) for c in rows[j]] == size), None)
        if j is not None:
            left.remove(j)
        yield i, j


def _dot(k: Builder, coefficients: Row, values: Sequence[Value]) -> Value:
    """The sum of the values times their coefficients; one whose coefficient is 1 comes first."""
    terms = [(c, v) for c, v in zip(coefficients, values, strict=True) if c]
    terms.sort(key=lambda term: term[0] != 1)
    factor, total = terms[0]
    if factor != 1:
        total = total * float(factor)
    for coefficient, value in terms[1:]:
        total = _add(k, total, coefficient, value)
    return total


def _add(k: Builder, total: Value, coefficient: Fraction, value: Value) -> Value:
    if coefficient == 1:
        return total + value
    if coefficient == -1:
        return total - value
    return k.fma(value, k.as_value(float(coefficient), value.type), total)

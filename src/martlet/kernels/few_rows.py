"""float32 products of a few rows with matrices that nobody packed: C = A · B.

In: rows of A, `lda` apart; B as it lies in memory, by steps of the depth: rows of `columns`, `ldb`
apart. Out: rows of C, `ldc` apart. Packing B would take longer than such a product. Every sum takes
its products in the order of the depth, as in `kernels/gemm.py`.

`products`: as there, four numbers for each product: where its A, B, (bias) and C begin. Units:
blocks of a few vectors of columns, of all products.
"""

from __future__ import annotations

from martlet.kernels.forms import FEW_ROWS_VECTORS
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import I32, Builder, Pointer, Value, arguments
from martlet.kernels.targets import Target

ARGUMENTS = arguments(
    "a: *float", "b: *float", "c: *float", "products: *i64", "rows: i64", "depth: i64",
    "columns: i64", "lda: i64", "ldb: i64", "ldc: i64",
)  # fmt: skip


def few_rows(
    k: Builder, a: Pointer, b: Pointer, c: Pointer, products: Pointer, rows: Value, depth: Value,
    columns: Value, lda: Value, ldb: Value, ldc: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """A row after another, in blocks of 8, 4, 2 vectors and 1; what is left goes under a mask."""
    width = FEW_ROWS_VECTORS * k.lanes
    blocks = (columns + (width - 1)) // width

    def sums(a: Pointer, b: Pointer, c: Pointer, vectors: int, mask: Value | None) -> None:
        for row in k.range(0, rows):
            totals = [k.variable(k.zeros()) for _ in range(vectors)]
            for i in k.range(0, depth):
                factor = k.broadcast(k.scalar(a, row * lda + i))
                for j, total in enumerate(totals):
                    column = k.load(b, i * ldb + j * k.lanes, mask)
                    total.value = k.fma(factor, column, total.value)
            for j, total in enumerate(totals):
                k.store(c, row * ldc + j * k.lanes, total.value, mask)

    for unit in k.range(first, last):
        product, column = unit // blocks * 4, unit % blocks * width
        x, y, z = (
            matrix + k.scalar(products, product + i) for matrix, i in ((a, 0), (b, 1), (c, 3))
        )
        end = k.minimum(column + width, columns)
        place = k.variable(column)
        vectors = FEW_ROWS_VECTORS
        while vectors:
            at = place.value
            with k.when(at + vectors * k.lanes <= end):
                sums(x, y + at, z + at, vectors, None)
                place.value = at + vectors * k.lanes
            vectors //= 2
        at = place.value
        with k.when(at < end):
            mask = k.lane_numbers(I32) < k.broadcast((end - at).to(I32))
            sums(x, y + at, z + at, 1, mask)


def kernels(target: Target) -> list[Kernel]:
    """The one kernel."""
    return [Kernel("few_rows_f32", few_rows, ARGUMENTS)]

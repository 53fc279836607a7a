"""Loops whose bodies are written several times.

Between two products, the processor guesses wrongly where the loop over the depth ends, which costs
as much as two of its steps. It learns the ends of loops that go round a few times only.
"""

from __future__ import annotations

from collections.abc import Iterator

from martlet.kernels.language import Builder, Value

TIMES = 8  # measured: 4 is nearly as good, with 16 the processor is slow to decode it


def unrolled(k: Builder, length: Value) -> Iterator[Value]:
    """`for i in unrolled(k, n):` runs its body for i below n, like `k.range(0, n)`."""
    whole = length // TIMES * TIMES
    for i in k.range(0, whole, TIMES):
        for n in range(TIMES):
            yield i + n
    yield from k.range(whole, length)

"""The peak of a processor: chains of fused multiply-adds that touch registers only.

In: a vector of factors, then a vector of terms. Out: a vector for each unit. A unit runs `rounds`
steps of several chains x = x * factor + term; there are as many chains as hide the time that one
takes, so that nothing but the arithmetic units is waited for.
"""

from __future__ import annotations

from martlet.kernels.kernel import Kernel
from martlet.kernels.language import Builder, Pointer, Value, arguments
from martlet.kernels.targets import Target


def chains(lanes: int) -> int:
    """Chains that run side by side: AVX2 has 16 registers, the others 32."""
    return 12 if lanes == 8 else 24


def flops(lanes: int, rounds: int) -> int:
    """Multiplications and additions of a unit."""
    return 2 * chains(lanes) * lanes * rounds


def fma_peak(
    k: Builder, constants: Pointer, y: Pointer, rounds: Value, first: Value, last: Value
) -> None:
    """Every chain starts elsewhere: LLVM would make one of equal ones."""
    factor, term = k.load(constants, 0), k.load(constants, k.lanes)
    starts = [k.zeros() + float(i) for i in range(chains(k.lanes))]
    sums = [k.variable(start) for start in starts]
    for unit in k.range(first, last):
        for start, x in zip(starts, sums, strict=True):
            x.value = start
        for _ in k.range(0, rounds):
            for x in sums:
                x.value = k.fma(x.value, factor, term)
        total = sums[0].value
        for x in sums[1:]:
            total = total + x.value
        k.store(y, unit * k.lanes, total)


def kernels(target: Target) -> list[Kernel]:
    """The one kernel; what it computes depends on no target but for the lanes."""
    block = arguments("constants: *float", "y: *float", "rounds: i64")
    return [Kernel("fma_peak_f32", fma_peak, block)]

"""The sums of products stay in registers: the compiler must not move them to the stack and back."""

from __future__ import annotations

import re

import pytest

from martlet.kernels.compiler import compile_assembly
from martlet.kernels.kernel import Kernel
from martlet.kernels.registry import kernels_of
from martlet.kernels.targets import TARGETS, Target

X86 = [target for target in TARGETS.values() if target.machine == "x86_64"]
FAMILIES = re.compile(r"(gemm|conv|strassen|stem|winograd|depthwise)_f32")
MOST = 1 / 4
"""Moves from and to the stack, by multiply-adds. The tiles of 12 rows on AVX2 come near it."""


@pytest.mark.parametrize("target", X86, ids=lambda t: t.name)
def test_sums_stay_in_registers(target: Target) -> None:
    kernels = [k for k in kernels_of(target) if isinstance(k, Kernel) and FAMILIES.match(k.name)]
    assert len(kernels) > 30
    for kernel in kernels:
        loops = inner_loops(compile_assembly(kernel.module(target), target))
        products = [(sum("fmadd" in line for line in loop), moves(loop)) for loop in loops]
        assert any(count for count, _ in products), kernel.name
        for count, moved in products:
            assert moved <= count * MOST or count < 12, f"{kernel.name}: {moved} with {count}"


def inner_loops(assembly: str) -> list[list[str]]:
    """The lines of every loop without another inside."""
    lines = assembly.splitlines()
    labels = {m[1]: i for i, line in enumerate(lines) if (m := re.match(r"(\.\w+):", line))}
    jumps = [(labels.get(m[1], len(lines)), i) for i, line in enumerate(lines)
             if (m := re.match(r"\s+j\w+\s+(\.\w+)", line))]  # fmt: skip
    loops = [(start, stop) for start, stop in jumps if start <= stop]
    return [
        lines[start : stop + 1]
        for start, stop in loops
        if not any((a, b) != (start, stop) and start <= a and b <= stop for a, b in loops)
    ]


def moves(loop: list[str]) -> int:
    """Instructions with a vector on the stack."""
    return sum("(%rsp" in line and "mm" in line for line in loop)

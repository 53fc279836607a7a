"""The processors that images are built for, as data."""

from __future__ import annotations

from martlet.records import NamedTuple


class Target(NamedTuple):
    """A processor family.

    triple, cpu, features: as LLVM names them. lanes: float32 in a vector. needs: processor
    features, as the operating system reports them, without which the image must not be run.
    """

    name: str
    triple: str
    cpu: str
    features: str
    lanes: int
    machine: str
    needs: frozenset[str]


# All that LLVM takes for granted in code for x86-64-v3 and v4, as the System V ABI defines them.
# A processor without `abm` or `bmi1` would run their instructions as others, with wrong results.
# Linux leaves out AVX and AVX-512 if it was told not to save their registers.
_AVX2 = frozenset({"avx2", "fma", "f16c", "bmi1", "bmi2", "abm", "movbe", "popcnt"})
_AVX512 = _AVX2 | {
    "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni",
}  # fmt: skip

TARGETS = {
    target.name: target
    for target in (
        Target(
            "x86-64-avx512", "x86_64-unknown-linux-gnu", "x86-64-v4",
            "+avx512vnni", 16, "x86_64", _AVX512,
        ),
        Target("x86-64-avx2", "x86_64-unknown-linux-gnu", "x86-64-v3", "", 8, "x86_64", _AVX2),
        Target(
            "aarch64-neon", "aarch64-unknown-linux-gnu", "generic", "+neon", 4, "aarch64",
            frozenset({"asimd"}),
        ),
    )
}  # fmt: skip
"""Best first among those for one machine."""

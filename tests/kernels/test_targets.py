"""Targets are described completely, and it is said on which of them kernels are not tested here."""

from __future__ import annotations

import shutil
from itertools import pairwise

import pytest

from emulated import MACHINES, needs_bochs
from martlet.kernels.targets import TARGETS, Target
from native import targets

each = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@each
def test_kernels_are_run(target: Target) -> None:
    if target in targets():
        return
    if needs_bochs(target):
        lacking = ", and bochscpu-python is not installed"
    else:
        emulator = MACHINES[target.machine].emulator[0]
        lacking = "" if shutil.which(emulator) else f", and {emulator} is not installed"
    pytest.skip(f"this processor cannot run {target.name}{lacking}: kernels for it are not tested")


@each
def test_vectors_fill_registers(target: Target) -> None:
    width = {"x86-64-avx512": 512, "x86-64-avx2": 256, "aarch64-neon": 128}[target.name]
    assert target.lanes * 32 == width


@each
def test_triples_are_those_of_the_machine(target: Target) -> None:
    assert target.triple.startswith(target.machine)


def test_the_best_target_of_a_machine_comes_first() -> None:
    for machine in {target.machine for target in TARGETS.values()}:
        needs = [target.needs for target in TARGETS.values() if target.machine == machine]
        assert all(better >= other for better, other in pairwise(needs))

"""Whole networks on real AVX-512 code, in an emulated processor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from corpus import cases
from emulated import can_emulate
from martlet.kernels.targets import TARGETS
from martlet.runtime import image_building

pytestmark = [
    pytest.mark.skipif(
        not can_emulate(TARGETS["x86-64-avx512"]), reason="bochscpu-python is not installed"
    ),
    pytest.mark.skipif(not image_building.can_build(), reason="llvmlite is not installed"),
]


def run(*arguments: str) -> str:
    """What the program that emulates says when all was right."""
    program = Path(__file__).with_name("bochs_networks.py")
    done = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_random_networks_compute_the_same() -> None:
    assert run("random", "40").startswith("40 networks, ")


@pytest.mark.slow
@pytest.mark.skipif(not cases(), reason="the corpus is not here")
def test_answers_are_those_of_tensorflow_lite() -> None:
    assert run("corpus").startswith(f"{len(cases())} cases, ")

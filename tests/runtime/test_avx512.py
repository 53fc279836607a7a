"""Whole networks on real AVX-512 code, in an emulated processor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emulated import can_emulate
from martlet.kernels.targets import TARGETS
from martlet.runtime import image_files

pytestmark = [
    pytest.mark.skipif(
        not can_emulate(TARGETS["x86-64-avx512"]), reason="bochscpu-python is not installed"
    ),
    pytest.mark.skipif(not image_files.can_build(), reason="llvmlite is not installed"),
]


def test_random_networks_compute_the_same() -> None:
    program = Path(__file__).with_name("bochs_networks.py")
    run = subprocess.run([sys.executable, program, "40"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("40 networks, ")

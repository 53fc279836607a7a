"""The emulated processor with AVX-512 reports what a kernel must not do."""

from __future__ import annotations

import re
import struct

import pytest

from emulated import Guest, can_emulate
from martlet.kernels.targets import TARGETS

TARGET = TARGETS["x86-64-avx512"]
BROADCAST, RETURN, ZERO_UPPER = "62f27d487cc7", "c3", "c5f877"  # vpbroadcastd zmm0, edi

pytestmark = pytest.mark.skipif(not can_emulate(TARGET), reason="bochscpu-python is not installed")


def run(code: str, first: int = 0) -> bytes:
    """Call code with the address of 64 bytes between forbidden pages; these bytes afterwards."""
    there = Guest(TARGET)
    with there.memory(64) as memory:
        there.call(there.load(bytes.fromhex(code)), memory, (first, 0))
        return there.fetch(memory, 64)


def test_vectors_of_512_bits_are_stored() -> None:
    store = "62f17c481107"  # vmovups [rdi], zmm0
    found = run("62f27d487cc6" + store + ZERO_UPPER + RETURN, 0x12345678)  # of esi
    assert found == struct.pack("<I", 0x12345678) * 16


def test_dot_products_of_bytes_are_there() -> None:
    code = "62f27d487cc6 62f17c4828c8 62f27d4850c8 62f17c48110f"  # vpdpbusd zmm1, zmm0, zmm0
    found = run(code + ZERO_UPPER + RETURN, 0x01020304)
    assert found == struct.pack("<I", 0x01020304 + 1 + 4 + 9 + 16) * 16


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (BROADCAST + RETURN, "there was no vzeroupper"),
        ("31db" + RETURN, "rbx was not restored"),
        ("fd" + RETURN, "MXCSR or the direction flag was not restored"),
        ("8887ff0f0000 8887ffffffff" + RETURN, "page fault (2) before .*, address .*fff"),
        ("8887ff0f0000 888700100000" + RETURN, "page fault (2) before .*, address .*000"),
        ("880500000000" + RETURN, "page fault (3) before "),  # its own code
        ("62f17c482807 62f17c48284701 62f17c48284f3f 62f17c48294f40", "page fault"),
        ("62f17c482847ff", "page fault (0)"),
        ("c5fc2847 01", "protection"),  # vmovaps from where nothing is aligned
        ("0f0b", "invalid instruction"),
        ("62f27e485200", "invalid instruction"),  # vdpbf16ps, which no target may use
    ],
)
def test_faults_are_named(code: str, problem: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError, match="the emulated process died"):
        run(code)
    pattern = re.escape(problem).replace(re.escape(".*"), ".*")
    assert re.search(pattern, capfd.readouterr().err)

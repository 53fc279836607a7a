"""Linked code runs on every machine, whatever it refers to; what would need a loader is refused.

Five kernels need what a compiler puts outside of their own code: constants, a zeroing loop that it
would turn into a call, a jump table, half floats, a division. They are built into one image and
run under QEMU, where it is installed, on x86-64, AArch64, ARMv7 and RISC-V.
"""

from __future__ import annotations

import shutil
from typing import Any, NamedTuple

import numpy as np
import pytest

from emulated import MACHINES, Guest, guest, run_ranges
from martlet.errors import MartletError
from martlet.kernels.builder import build
from martlet.kernels.compiler import compile_object
from martlet.kernels.image import parse
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, I32, Builder, Pointer, Value, arguments
from martlet.kernels.linker import Piece, Section, Wanted, link, read_object
from martlet.kernels.relocations import PAGE
from martlet.kernels.targets import TARGETS, Target

X86 = TARGETS["x86-64-avx2"]
ARM64 = TARGETS["aarch64-neon"]
ARM = Target(
    "armv7", "armv7-unknown-linux-gnueabihf", "cortex-a15", "+neon,+vfp4,+hwdiv-arm", 4, "armv7l",
    frozenset(),
)  # fmt: skip
RISCV = Target(
    "riscv64", "riscv64-unknown-linux-gnu", "generic-rv64", "+m,+a,+f,+d,+c,+zfhmin", 4, "riscv64",
    frozenset(),
)  # fmt: skip
ALL = [t for t in (X86, ARM64, ARM, RISCV) if shutil.which(MACHINES[t.machine].emulator[0])]

PRIMES = np.array([2, 3, 5, 7, 11, 13, 17, 19], np.float32)


def constants(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
    """y = primes[x] + 0.1 + lane numbers: a table, and constants of vectors."""
    table = k.table(PRIMES)
    for i in k.range(first, last):
        k.store(y, i, k.scalar(table, k.scalar(x, i)) + 0.1)
    v = k.load(y, first, lanes=4) + k.lane_numbers(I32, 4).to(F32) * 0.3
    k.store(y, first, v)


def zeroing(k: Builder, y: Pointer, first: Value, last: Value) -> None:
    for i in k.range(first, last):
        k.store(y, i, k.constant(0, F32))


def jump_table(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
    """y = one of eight calculations with x, chosen by x."""
    for i in k.range(first, last):
        value = k.scalar(x, i)
        name = k.fresh("switch")
        cases = " ".join(f"i64 {c}, label %{name}.{c}" for c in range(8))
        k.write(f"switch i64 {value.name}, label %{name}.end [{cases}]")
        for case, result in enumerate(calculations(value)):
            k.label(f"{name}.{case}")
            k.store(y, i, result())
            k.write(f"br label %{name}.end")
        k.label(f"{name}.end")


def calculations(x: Any) -> list[Any]:
    return [
        lambda: x + 100, lambda: x * 77, lambda: x ^ 41, lambda: x * x - 3,
        lambda: (x << 5) | 3, lambda: x * 19 + 1, lambda: (x ^ 1000) + x, lambda: x - 12345,
    ]  # fmt: skip


def half_floats(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
    for i in k.range(first, last):
        k.store(y, i, k.scalar(x, i).to(F32) * 2.0)


def division(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
    for i in k.range(first, last):
        k.store(y, i, k.scalar(x, i) // k.scalar(y, i))


def kernels(words: str = "i64") -> list[Kernel]:
    return [
        Kernel("constants", constants, arguments("x: *i64", "y: *float")),
        Kernel("zeroing", zeroing, arguments("y: *float")),
        Kernel("jump_table", jump_table, arguments("x: *i64", "y: *i64")),
        Kernel("half_floats", half_floats, arguments("x: *half", "y: *float")),
        Kernel("division", division, arguments(f"x: *{words}", f"y: *{words}")),
    ]


class Loaded(NamedTuple):
    there: Guest
    base: int
    offsets: dict[str, int]

    def run(self, name: str, *operands: Any, units: int) -> None:
        run_ranges(self.there, self.base + self.offsets[name], operands, [(0, units)])


@pytest.fixture(scope="module", params=ALL, ids=lambda t: t.name)
def loaded(request: pytest.FixtureRequest) -> Loaded:
    """The image of the five kernels, in the memory of its machine."""
    target = request.param
    data = build(target, kernels("i32" if target is ARM else "i64"))
    image = parse(memoryview(data), "image")
    there = guest(target)
    return Loaded(there, there.load(data[image.code_start :]), image.offsets)


def test_constants(loaded: Loaded) -> None:
    x = np.array([7, 0, 3, 2, 1, 6], np.int64)
    y = np.zeros(6, np.float32)
    loaded.run("constants", x, y, units=6)
    expected = PRIMES[x] + np.float32(0.1)
    expected[:4] += np.arange(4, dtype=np.float32) * np.float32(0.3)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_a_loop_of_zeros_calls_nothing(loaded: Loaded) -> None:
    y = np.ones(100, np.float32)
    loaded.run("zeroing", y, units=99)
    assert not y[:99].any()
    assert y[99] == 1


def test_jump_table(loaded: Loaded) -> None:
    x = np.arange(-1, 9)
    y = np.full(10, 5)
    loaded.run("jump_table", x, y, units=10)
    assert y.tolist() == [5, *(calculations(i)[i]() for i in range(8)), 5]


def test_half_floats(loaded: Loaded) -> None:
    x = np.array([0.5, -65504, 6e-8, np.inf, -0.0], np.float16)
    y = np.zeros(5, np.float32)
    loaded.run("half_floats", x, y, units=5)
    assert y.tobytes() == (x.astype(np.float32) * 2).tobytes()


def test_division(loaded: Loaded) -> None:
    words = np.int32 if loaded.there.machine.bits == 32 else np.int64
    x, y = np.array([100, -100, 7, 1 << 30], words), np.array([7, 7, -2, 3], words)
    expected = [14, -14, -3, (1 << 30) // 3]
    loaded.run("division", x, y, units=4)
    assert y.tolist() == expected


def test_functions_of_the_windows_convention_can_be_called() -> None:
    inner = """
        define win64cc void @inner(ptr %p, i64 %n) {
          %x = load i64, ptr %p
          %y = add i64 %x, %n
          store i64 %y, ptr %p
          ret void
        }"""
    outer = """
        declare win64cc void @inner(ptr, i64)
        define void @outer(ptr %block, i64 %first, i64 %last) {
          call win64cc void @inner(ptr %block, i64 %last)
          ret void
        }"""
    code, offsets = link(
        {n: read_object(compile_object(m, X86)) for n, m in (("outer", outer), ("inner", inner))}
    )
    there = guest(X86)
    with there.memory(8) as block:
        there.fill(block, (40).to_bytes(8, "little"))
        there.call(there.load(code) + offsets["outer"], block, (0, 2))
        assert there.fetch(block, 8) == (42).to_bytes(8, "little")


# What is refused --------------------------------------------------------------------------------


def test_a_call_out_of_the_image_is_named() -> None:
    """ARMv7 divides 64-bit integers by a function of the compiler's library."""
    with pytest.raises(MartletError, match="kernel division calls __aeabi_ldivmod") as caught:
        build(ARM, kernels("i64"))
    assert "vector language" in str(caught.value)


def test_half_floats_where_the_processor_has_none() -> None:
    plain = RISCV._replace(features="+m,+a,+f,+d,+c")
    with pytest.raises(MartletError, match="kernel half_floats calls __extendhfsf2"):
        build(plain, kernels())


def test_writable_data_is_named() -> None:
    module = """
        @state = global i64 7
        define void @k(ptr %block, i64 %first, i64 %last) {
          store i64 %first, ptr @state
          ret void
        }"""
    with pytest.raises(MartletError, match="writable data; found .data"):
        read_object(compile_object(module, X86))


def test_a_relocation_for_a_loader_is_named() -> None:
    """A function that others could replace is reached through the loader's table."""
    module = """
        @elsewhere = external global i64
        define void @k(ptr %block, i64 %first, i64 %last) {
          store i64 %first, ptr @elsewhere
          ret void
        }"""
    pieces = {
        "k": read_object(compile_object(module, X86)),
        "other": Piece("EM_X86_64", {0: Section(False, 8, bytes(8))}, {"elsewhere": (0, 0)}),
    }
    with pytest.raises(MartletError, match="kernel k: a relocation .* found kind .* of EM_X86_64"):
        link(pieces)


def test_two_kernels_of_one_name_are_refused() -> None:
    piece = Piece("EM_X86_64", {0: Section(True, 16, bytes(16))}, {"k": (0, 0)})
    with pytest.raises(MartletError, match="kernel b defines k"):
        link({"a": piece, "b": piece})


# Layout -----------------------------------------------------------------------------------------


def test_code_comes_first_and_everything_is_aligned() -> None:
    first = Piece(
        "EM_X86_64",
        {0: Section(True, 16, b"\x01" * 5), 1: Section(False, 64, b"\x02" * 3)},
        {"a": (0, 0)},
    )
    second = Piece("EM_X86_64", {0: Section(True, 16, b"\x03" * 7)}, {"b": (0, 2)})
    code, offsets = link({"a": first, "b": second})
    assert offsets == {"a": 0, "b": 18}
    assert code[:5] == b"\x01" * 5
    assert code[16:23] == b"\x03" * 7
    assert code[64:67] == b"\x02" * 3


@pytest.mark.parametrize(
    ("kind", "target", "word"),
    [
        (283, 0x1000, 0x94000000 | 0x1000 // 4),  # BL forwards
        (283, -4, 0x94000000 | 0x3FFFFFF),  # BL backwards
        (275, 2 * PAGE + 8, 0x94000000 | 2 % 4 << 29),  # ADRP: two pages on
        (277, 3 * PAGE + 0x123, 0x94000000 | 0x123 << 10),  # ADD: the offset in the page
        (285, PAGE + 0x124, 0x94000000 | 0x124 // 4 << 10),  # LDR of 32 bits
    ],
)
def test_words_of_aarch64(kind: int, target: int, word: int) -> None:
    instruction = (0x94000000).to_bytes(4, "little")
    piece = Piece(
        "EM_AARCH64",
        {0: Section(True, PAGE, instruction.ljust(4 * PAGE, b"\0"))},
        references=[Wanted((0, 0), kind, target, (0, 0))],
    )
    code, _ = link({"k": piece})
    assert int.from_bytes(code[:4], "little") == word


def test_a_distance_that_is_too_long_is_refused() -> None:
    piece = Piece(
        "EM_X86_64",
        {0: Section(True, 16, bytes(16))},
        references=[Wanted((0, 0), 4, 1 << 31, (0, 0))],
    )
    with pytest.raises(MartletError, match="kernel k: a distance in the image is too long"):
        link({"k": piece})

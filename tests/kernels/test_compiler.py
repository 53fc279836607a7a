"""Modules become objects of the right processor; what is wrong with one is said with its name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from martlet.errors import MartletError
from martlet.kernels import builder
from martlet.kernels.builder import build
from martlet.kernels.compiler import compile_assembly, compile_object
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import Builder, Pointer, Value, arguments
from martlet.kernels.linker import read_object
from martlet.kernels.targets import TARGETS, Target

X86, AVX512, ARM64 = (TARGETS[name] for name in ("x86-64-avx2", "x86-64-avx512", "aarch64-neon"))


def _add(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
    for i, mask in k.vectors(first, last):
        k.store(y, i, k.fma(k.load(x, i, mask), k.load(x, i, mask), k.load(y, i, mask)), mask)


def add(name: str = "add") -> Kernel:
    return Kernel(name, _add, arguments("x: *float", "y: *float"))


class Text:
    """A kernel whose module is given as it is."""

    def __init__(self, name: str, module: str) -> None:
        self.name = name
        self._module = module

    def module(self, target: Target) -> str:
        return self._module


# Thousands of saturating steps of 16 bits, a pattern that takes LLVM minutes.
SLOW = "\n".join(
    [
        "declare <64 x i16> @llvm.sadd.sat.v64i16(<64 x i16>, <64 x i16>)",
        "define void @slow(ptr %block, i64 %first, i64 %last) {",
        "%v0 = load <64 x i16>, ptr %block",
        *(
            f"%v{i + 1} = call <64 x i16> @llvm.sadd.sat.v64i16("
            f"<64 x i16> %v{i}, <64 x i16> %v{i // 2})"
            for i in range(20000)
        ),
        "store <64 x i16> %v20000, ptr %block",
        "ret void",
        "}",
    ]
)


@pytest.mark.parametrize(
    ("target", "machine"), [(X86, "EM_X86_64"), (ARM64, "EM_AARCH64")], ids=lambda v: str(v)
)
def test_an_object_of_the_target(target: Target, machine: str) -> None:
    piece = read_object(compile_object(add().module(target), target))
    assert piece.machine == machine
    assert list(piece.symbols) == ["add"]


def test_vectors_are_as_wide_as_the_target() -> None:
    assert "ymm" in compile_assembly(add().module(X86), X86)
    assert "zmm" in compile_assembly(
        add().module(TARGETS["x86-64-avx512"]), TARGETS["x86-64-avx512"]
    )
    assert ".4s" in compile_assembly(add().module(ARM64), ARM64)


def test_a_product_and_a_sum_are_one_instruction_only_where_written_so() -> None:
    def separate(k: Builder, x: Pointer, first: Value, last: Value) -> None:
        k.store(x, 0, k.load(x, 1) * k.load(x, 2) + k.load(x, 3))

    assert "vfmadd" in compile_assembly(add().module(X86), X86)
    kernel = Kernel("separate", separate, arguments("x: *float"))
    assert "vfmadd" not in compile_assembly(kernel.module(X86), X86)


def test_the_same_sources_give_the_same_bytes() -> None:
    kernels = [add(f"add{i}") for i in range(5)]
    assert build(X86, kernels, processes=2) == build(X86, kernels, processes=1)


def test_progress_names_every_kernel() -> None:
    heard: list[tuple[int, int, str]] = []
    build(X86, [add(f"add{i}") for i in range(4)], progress=lambda *what: heard.append(what))
    assert [done for done, _, _ in heard] == [1, 2, 3, 4]
    assert {total for _, total, _ in heard} == {4}
    assert {name for _, _, name in heard} == {f"add{i}" for i in range(4)}


def test_building_imports_no_compiler_here() -> None:
    text = """
import sys
from martlet.kernels.builder import build
from martlet.kernels.executor import entry_points
from martlet.kernels.targets import TARGETS, Target
build(TARGETS['x86-64-avx2'], entry_points())
assert not {'llvmlite', 'elftools'} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", text], check=True, env={"PYTHONPATH": ":".join(sys.path)})


# What goes wrong --------------------------------------------------------------------------------


def test_a_kernel_that_takes_too_long_is_named() -> None:
    with pytest.raises(MartletError, match="kernel slow takes too long .* at most 4 s"):
        build(X86, [add(), Text("slow", SLOW), add("more")], limit=4)


def test_a_kernel_that_does_not_compile_is_named() -> None:
    wrong = Text("wrong", "define void @wrong() { ret i64 0 }")
    with pytest.raises(
        MartletError, match=r"x86-64-avx2: kernel wrong does not compile; found .*parsing"
    ):
        build(X86, [add(), wrong])


def test_a_kernel_that_kills_the_compiler_is_named() -> None:
    """LLVM ends its process where it has no assembler for what stands in the code."""
    module = 'define void @deadly() { call void asm sideeffect "nonsense", ""() ret void }'
    with pytest.raises(MartletError, match="compiler died of kernel deadly; found .*(LLVM|status)"):
        build(ARM64, [Text("deadly", module), add()])


def test_a_kernel_whose_function_fails() -> None:
    def write(k: Builder, x: Pointer, first: Value, last: Value) -> None:
        k.store(x, 0, first)

    with pytest.raises(TypeError, match="i64 does not go into elements of float"):
        build(X86, [Kernel("mixed", write, arguments("x: *float"))])


def test_progress_that_raises_ends_the_build() -> None:
    def interrupt(done: int, total: int, name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(X86, [add(), Text("slow", SLOW)], progress=interrupt)


# The store of the last build --------------------------------------------------------------------


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many kernels were compiled since the last call."""
    count = 0
    compile_ = builder._Compiler.compile

    def counting(self: builder._Compiler, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        return compile_(self, *arguments)

    def since() -> int:
        nonlocal count
        result, count = count, 0
        return result

    monkeypatch.setattr(builder._Compiler, "compile", counting)
    return since


def test_only_what_changed_is_compiled_again(tmp_path: Path, written: Callable[[], int]) -> None:
    store = tmp_path / "pieces"
    kernels = [add(f"add{i}") for i in range(4)]
    first = build(X86, kernels, store=store)
    assert written() == 4
    assert build(X86, kernels, store=store) == first
    assert written() == 0
    build(X86, [*kernels[1:], add("another")], store=store)
    assert written() == 1
    build(ARM64, kernels, store=store)
    assert written() == 4


def test_a_store_that_is_no_store_is_ignored(tmp_path: Path, written: Callable[[], int]) -> None:
    store = tmp_path / "pieces"
    store.write_bytes(b"something else")
    build(X86, [add()], store=store)
    assert written() == 1

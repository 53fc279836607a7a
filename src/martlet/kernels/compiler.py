"""LLVM IR -> machine code of one function, through llvmlite (at build time only).

In: the text of a module. Out: an ELF object file. Loop vectorisation, SLP vectorisation and
unrolling are off: kernels are written as vector code already, and compile in milliseconds so.

`python -m martlet.kernels.compiler` is one of the processes among which `builder.py` divides the
kernels: it reads pickled (target, module) pairs and answers each with a linker's `Piece`, or with
the text of what went wrong.
"""

from __future__ import annotations

import pickle
import sys
from functools import cache
from typing import Any

from martlet.errors import MartletError
from martlet.kernels.linker import Piece, read_object
from martlet.kernels.targets import Target


@cache
def _llvm() -> Any:
    try:
        import llvmlite.binding as llvm
    except ImportError as error:
        raise MartletError(
            "building kernel images needs llvmlite",
            hint="Install it with: pip install 'martlet[compiler]'",
        ) from error
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm


@cache
def _machine(target: Target) -> Any:
    return (
        _llvm()
        .Target.from_triple(target.triple)
        .create_target_machine(
            cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
        )
    )


def compile_object(module: str, target: Target) -> bytes:
    """The object file of a module."""
    machine = _machine(target)
    return bytes(machine.emit_object(_optimized(module, target)))


def compile_assembly(module: str, target: Target) -> str:
    """The assembly text of a module, to look at."""
    return str(_machine(target).emit_assembly(_optimized(module, target)))


def _optimized(module: str, target: Target) -> Any:
    llvm = _llvm()
    parsed = llvm.parse_assembly(f'target triple = "{target.triple}"\n{module}')
    parsed.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_unrolling = False
    passes = llvm.create_pass_builder(_machine(target), tuning)
    passes.getModulePassManager().run(parsed, passes)
    return parsed


def serve() -> None:
    """Say that the compiler is ready, then compile what comes in, until nothing more comes."""
    _llvm()
    _send("ready")
    while True:
        try:
            target, module = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer: Piece | str
        try:
            answer = read_object(compile_object(module, target))
        except RuntimeError as error:
            answer = str(error)
        _send(answer)


def _send(answer: Piece | str) -> None:
    pickle.dump(answer, sys.stdout.buffer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve()

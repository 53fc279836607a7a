"""Kernels of a target -> an image file: compiled by several processes, then linked.

1. Each kernel is written as LLVM IR here, and handed to a process that compiles it
   (`compiler.py`), so that this process needs no compiler and the kernels no common one.
2. A kernel that takes longer than `limit` seconds ends its process and the build, which names it:
   LLVM can spend a quarter of an hour on a pattern that it does not like.
3. The pieces are linked in the order of the kernels, so the same sources give the same bytes.

`python -m martlet.kernels.builder TARGET FILE` builds an image, and says on its standard output
what it has done: `done total kernel` on a line for each kernel.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from martlet.errors import MartletError
from martlet.kernels.image import pack, source_hash
from martlet.kernels.kernel import EntryPoint, Kernel
from martlet.kernels.linker import Piece, link
from martlet.kernels.registry import kernels_of
from martlet.kernels.targets import TARGETS, Target

LIMIT = 30.0

Progress = Callable[[int, int, str], None]
"""(kernels that are done, their number, name of the last)."""


def build(
    target: Target,
    kernels: Sequence[Kernel | EntryPoint] | None = None,
    progress: Progress = lambda done, total, name: None,
    limit: float = LIMIT,
    processes: int | None = None,
) -> bytes:
    """The bytes of an image file of these kernels, or of all kernels of the target."""
    sources = source_hash()
    if kernels is None:
        kernels = kernels_of(target)
    count = min(processes or len(os.sched_getaffinity(0)), len(kernels))
    compilers = [_Compiler(limit) for _ in range(max(count, 1))]
    pieces: dict[str, Piece] = {}
    try:
        with ThreadPoolExecutor(len(compilers)) as pool:
            free = list(compilers)

            def piece_of(kernel: Kernel | EntryPoint) -> tuple[str, Piece]:
                compiler = free.pop()  # there are as many threads as compilers
                piece = compiler.compile(kernel, target)
                free.append(compiler)
                return kernel.name, piece

            futures = [pool.submit(piece_of, kernel) for kernel in kernels]
            try:
                for done, future in enumerate(as_completed(futures), 1):
                    name, piece = future.result()
                    pieces[name] = piece
                    progress(done, len(kernels), name)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for compiler in compilers:
                    compiler.close()
                raise
    finally:
        for compiler in compilers:
            compiler.close()
    code, offsets = link({kernel.name: pieces[kernel.name] for kernel in kernels})
    return pack(target, code, offsets, sources)


class _Compiler:
    """A process that compiles one kernel after another."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "martlet.kernels.compiler"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def compile(self, kernel: Kernel | EntryPoint, target: Target) -> Piece:
        module = kernel.module(target)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(self._limit, give_up)
        timer.daemon = True
        timer.start()
        try:
            pickle.dump((target, module), self._process.stdin)
            self._process.stdin.flush()
            answer = pickle.load(self._process.stdout)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            if late.is_set():
                raise MartletError(
                    f"kernel {kernel.name} takes too long to compile",
                    where=target.name,
                    expected=f"at most {self._limit:g} s",
                    hint="Write it otherwise, or smaller.",
                ) from None
            raise MartletError(
                f"the compiler died of kernel {kernel.name}",
                where=target.name,
                found=self._last_words(),
            ) from None
        finally:
            timer.cancel()
        if isinstance(answer, str):
            raise MartletError(
                f"kernel {kernel.name} does not compile", where=target.name, found=answer
            )
        assert isinstance(answer, Piece)
        return answer

    def _last_words(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {status}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def write(path: Path, data: bytes) -> None:
    """Write a file so that others see all of it or nothing, readable by its owner's rules."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def main(target: str, path: str) -> int:
    """Build for a target into a file. Progress goes to stdout, what is wrong to stderr."""

    def progress(done: int, total: int, name: str) -> None:
        print(done, total, name, flush=True)

    try:
        write(Path(path), build(TARGETS[target], progress=progress))
    except MartletError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

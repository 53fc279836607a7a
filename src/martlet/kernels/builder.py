"""Kernels of a target -> an image file: compiled by several processes, then linked.

1. Each kernel is written as LLVM IR here, and handed to a process that compiles it
   (`compiler.py`), so that this process needs no compiler and the kernels no common one.
2. A kernel that takes longer than `limit` seconds ends its process and the build, which names it:
   LLVM can spend a quarter of an hour on a pattern that it does not like.
3. Kernels that are as they were at the last build are not compiled again: a store, one file a
   target, keeps the pieces by a hash of all that they depend on.
4. The pieces are linked in the order of the kernels, so the same sources give the same bytes.

`python -m martlet.kernels.builder TARGET FILE [STORE]` builds an image, and says on its standard
output what it has done: `done total kernel` on a line for each kernel.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from importlib.metadata import version
from pathlib import Path

from martlet.errors import MartletError
from martlet.kernels.image import pack, source_hash
from martlet.kernels.kernel import EntryPoint, Kernel
from martlet.kernels.linker import Piece, link
from martlet.kernels.registry import kernels_of
from martlet.kernels.targets import TARGETS, Target
from martlet.whole_file import write

LIMIT = 30.0

Progress = Callable[[int, int, str], None]
"""(kernels that are done, their number, name of the last)."""


def build(
    target: Target,
    kernels: Sequence[Kernel | EntryPoint] | None = None,
    progress: Progress = lambda done, total, name: None,
    limit: float = LIMIT,
    processes: int | None = None,
    store: Path | None = None,
) -> bytes:
    """The bytes of an image file of these kernels, or of all kernels of the target."""
    sources = source_hash()
    if kernels is None:
        kernels = kernels_of(target)
    known = _read_store(store)
    compilers = [_Compiler(limit) for _ in range(processes or len(os.sched_getaffinity(0)))]
    pieces: dict[str, Piece] = {}
    keys: dict[str, str] = {}
    free = list(compilers)  # as many as there are threads

    def compile_one(kernel: Kernel | EntryPoint) -> str:
        module = kernel.module(target)
        key = _key(module, target)
        if key not in known:
            compiler = free.pop()
            known[key] = compiler.compile(kernel.name, module, target)
            free.append(compiler)
        pieces[kernel.name], keys[kernel.name] = known[key], key
        return kernel.name

    with ThreadPoolExecutor(len(compilers)) as pool:
        futures = [pool.submit(compile_one, kernel) for kernel in kernels]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                progress(done, len(kernels), future.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for compiler in compilers:
                compiler.kill()
    code, offsets = link({kernel.name: pieces[kernel.name] for kernel in kernels})
    if store is not None:
        write(store, pickle.dumps({keys[name]: piece for name, piece in pieces.items()}))
    return pack(target, code, offsets, sources)


def _read_store(store: Path | None) -> dict[str, Piece]:
    """Pieces of the last build by key; none if the file is not there or of another version."""
    if store is None:
        return {}
    try:
        pieces: dict[str, Piece] = pickle.loads(store.read_bytes())
    except (OSError, EOFError, AttributeError, ImportError, pickle.UnpicklingError):
        return {}
    return pieces


def _key(module: str, target: Target) -> str:
    """A hash of what a piece depends on."""
    return hashlib.sha256(
        f"{_versions()}\n{target.triple} {target.cpu} {target.features}\n{module}".encode()
    ).hexdigest()


@cache
def _versions() -> str:
    here = Path(__file__).parent
    sources = b"".join((here / name).read_bytes() for name in ("compiler.py", "linker.py"))
    return f"{version('llvmlite')} {hashlib.sha256(sources).hexdigest()}"


class _Compiler:
    """A process that compiles one kernel after another; started when there is one to compile."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._closed = False

    def compile(self, name: str, module: str, target: Target) -> Piece:
        """The piece of a kernel, or an error that names it."""
        if self._process is None:
            self._process = self._start()
        process = self._process
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._limit, give_up)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdin is not None
            pickle.dump((target, module), process.stdin)
            process.stdin.flush()
            answer = self._answer(process)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            if late.is_set():
                raise MartletError(
                    f"kernel {name} takes too long to compile",
                    where=target.name,
                    expected=f"at most {self._limit:g} s",
                    hint="Write it otherwise, or smaller.",
                ) from None
            raise MartletError(
                f"the compiler died of kernel {name}",
                where=target.name,
                found=self._last_words(process),
            ) from None
        finally:
            timer.cancel()
        if isinstance(answer, str):
            raise MartletError(f"kernel {name} does not compile", where=target.name, found=answer)
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        """A process that is ready to compile."""
        if self._closed:
            raise MartletError("the build was given up")
        process = subprocess.Popen(
            [sys.executable, "-m", "martlet.kernels.compiler"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            self._answer(process)
        except (EOFError, pickle.UnpicklingError):
            raise MartletError(
                "the compiler does not start", found=self._last_words(process)
            ) from None
        return process

    def _answer(self, process: subprocess.Popen[bytes]) -> Piece | str:
        assert process.stdout is not None
        answer: Piece | str = pickle.load(process.stdout)
        return answer

    def _last_words(self, process: subprocess.Popen[bytes]) -> str:
        status = process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {status}"

    def kill(self) -> None:
        """End the process, whatever it is doing; no other is started."""
        self._closed = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def main(target: str, path: str, store: str | None = None) -> int:
    """Build for a target into a file. Progress goes to stdout, what is wrong to stderr."""

    def progress(done: int, total: int, name: str) -> None:
        print(done, total, name, flush=True)

    try:
        data = build(
            TARGETS[target], progress=progress, store=None if store is None else Path(store)
        )
        write(path, data)
    except MartletError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

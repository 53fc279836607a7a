"""Builds kernel images into the user's cache, in a checkout.

- A file is written under another name and renamed, so what has its name is whole.
- One process builds while others that need the same wait for it (a lock that the system drops with
  the process).
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from martlet import log
from martlet.errors import MartletError
from martlet.kernels.targets import Target
from martlet.runtime.image_files import cache_directory

KEPT = 8  # images of older sources that stay in the cache

Progress = Callable[[int, int, str], None]


def can_build() -> bool:
    """Whether what builds images is installed (it is not imported to find out)."""
    needed = ("llvmlite", "elftools")
    return bool(sys.executable) and all(importlib.util.find_spec(name) for name in needed)


def build_cached(target: Target, file: str) -> None:
    """Build the image of a target into the cache, unless another process has just done so."""
    path = Path(file)
    with building(path):
        if path.exists():
            return
        log.info("building the kernel image for %s: %s", target.name, path)
        with progress_bar(f"kernels for {target.name}, once") as progress:
            build(target, path, progress)
        prune(path.parent)


@contextmanager
def building(path: Path) -> Iterator[None]:
    """One process at a time builds a file; the others wait here."""
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: work may be done twice
            log.debug("%s cannot be locked", path)
        yield
    finally:
        os.close(descriptor)


def build(target: Target, path: Path, progress: Progress) -> None:
    """Build the image of a target into a file, in a process of its own."""
    store = Path(cache_directory(), f"{target.name}.pieces")
    command = [sys.executable, "-m", "martlet.kernels.builder", target.name, str(path), str(store)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                done, total, name = line.split()
                progress(int(done), int(total), name)
        except BaseException:
            process.terminate()
            raise
        if process.wait() != 0:
            errors.seek(0)
            raise MartletError(
                f"the kernel image for {target.name} cannot be built",
                found=errors.read().strip() or f"exit status {process.returncode}",
            )


def prune(directory: Path) -> None:
    """Remove all but the newest images of a cache."""
    images = sorted(directory.glob("*.image"), key=_modified, reverse=True)
    for old in images[KEPT:]:
        for path in (old, old.with_suffix(".lock")):
            path.unlink(missing_ok=True)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process removed it
        return 0.0


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A progress bar on the terminal, if there is one and rich is installed."""
    if not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield lambda done, total, name: log.debug("kernel %d of %d: %s", done, total, name)
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total, name: bar.update(task, total=total, completed=done)

"""Where kernel images are: in the package, in the user's cache, or about to be built there.

A wheel carries images in `martlet/images`, one a target, `<target>.image`. A checkout has none; it
builds what it needs into `$XDG_CACHE_HOME/martlet` (`~/.cache/martlet`), into files whose names
hold a hash of the kernels' sources. There,
- the directory is the user's own and nobody else may enter it;
- a file is written under another name and renamed, so what has its name is whole;
- one process builds while others that need the same wait for it (a lock that the system drops
  with the process).
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from martlet import log
from martlet.errors import MartletError
from martlet.kernels.image import source_hash
from martlet.kernels.targets import Target

PACKAGED = Path(__file__).parent.parent / "images"
KEPT = 8  # images of older sources that stay in the cache

Progress = Callable[[int, int, str], None]


def packaged(target: Target) -> Path:
    """Where a wheel has the image of a target."""
    return PACKAGED / f"{target.name}.image"


def is_checkout() -> bool:
    """Whether the package came without images."""
    return not PACKAGED.is_dir()


def can_build() -> bool:
    """Whether what builds images is installed (it is not imported to find out)."""
    from importlib.util import find_spec

    needed = ("llvmlite", "elftools")
    return bool(sys.executable) and all(find_spec(name) for name in needed)


def cache_directory() -> Path:
    """The user's own directory for images, made if need be."""
    base = os.environ.get("XDG_CACHE_HOME")
    directory = Path(base if base and os.path.isabs(base) else Path.home() / ".cache") / "martlet"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
    except (OSError, RuntimeError) as error:
        raise MartletError(
            "there is no cache directory for kernel images", found=str(error)
        ) from None
    if status.st_uid != os.geteuid():
        raise MartletError("the cache directory belongs to somebody else", where=str(directory))
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise MartletError(
            "others may write into the cache directory",
            where=str(directory),
            hint=f"chmod 700 {directory}",
        )
    return directory


def cached(target: Target) -> Path:
    """Where the image of a target is once it was built from the sources as they are."""
    return cache_directory() / f"{target.name}-{source_hash()}.image"


@contextmanager
def building(path: Path) -> Iterator[None]:
    """One process at a time builds a file; the others wait here."""
    import fcntl  # only where something is built

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
    import subprocess  # not needed in most processes, and slow to import
    import tempfile

    store = cache_directory() / f"{target.name}.pieces"
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
    from importlib.util import find_spec

    if not sys.stderr.isatty() or find_spec("rich") is None:
        yield lambda done, total, name: log.debug("kernel %d of %d: %s", done, total, name)
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total, name: bar.update(task, total=total, completed=done)

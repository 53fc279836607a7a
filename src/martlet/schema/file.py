"""An open, mapped model file, and what of it is in memory.

What remains: a mapped file that another process truncates while its weights are being read kills
this process with SIGBUS, as with every program that maps files. Size and time of the file are
noted when it is opened; `File.check_unchanged` looks again before a plan is made. Where files are
rewritten in place, pass the bytes instead.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np

from martlet.errors import ArgumentError, ModelError


class _Mapping(mmap.mmap):
    """The bytes of a file. identity: of the file as it was when it was opened. address: of the
    first byte."""

    identity: tuple[int, ...]
    address: int


class File:
    """An open, mapped model file: its bytes, and whether it is still the file that was opened.

    identity: device, inode, size, and when content and status changed (nanoseconds).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.name = os.path.basename(self.path)
        try:
            with open(self.path, "rb") as handle:
                status = os.fstat(handle.fileno())
                self.stamp = (status.st_size, status.st_mtime_ns)
                self.identity = (status.st_dev, status.st_ino, *self.stamp, status.st_ctime_ns)
                if status.st_size == 0:
                    raise ModelError("the file is empty", where=self.name)
                mapped = _Mapping(handle.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise ArgumentError(
                f"Could not open '{self.path}': {error.strerror or error}",
                hint="Check the path and that the file can be read.",
            ) from error
        mapped.identity = self.identity
        mapped.address = np.frombuffer(mapped, np.uint8).ctypes.data
        self.data = memoryview(mapped)

    def check_unchanged(self) -> None:
        """Raise if the file was replaced in place since it was opened."""
        try:
            status = os.stat(self.path)
        except OSError:
            return  # removed or renamed: the mapped bytes stay what they were
        if (status.st_size, status.st_mtime_ns) != self.stamp:
            raise ModelError(
                "the file changed after it was opened",
                where=self.name,
                hint="Load it again; to replace a model, write a new file and rename it.",
            )


def place_of(array: np.ndarray) -> tuple[int, ...] | None:
    """Which file an array is a part of, and where it begins there; None if it is of no file."""
    mapping = _mapping_of(array)
    return None if mapping is None else (*mapping.identity, array.ctypes.data - mapping.address)


def forget(array: np.ndarray) -> None:
    """Let the system take back the memory of a part of a file, from its first element to its last;
    a later look at it reads the file again. Does nothing for other arrays."""
    address, nbytes = pages_of(array)
    mapping = _mapping_of(array)
    if nbytes and mapping is not None and hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED, address - mapping.address, nbytes)


def pages_of(array: np.ndarray) -> tuple[int, int]:
    """(address, bytes) of the whole pages of a part of a file, from its first element to its last;
    no bytes if there are none, or for other arrays."""
    mapping = _mapping_of(array)
    if mapping is None or array.size == 0:
        return 0, 0
    steps = zip(array.shape, array.strides, strict=True)
    nbytes = sum((n - 1) * stride for n, stride in steps) + array.itemsize
    page, begin = mmap.PAGESIZE, array.ctypes.data
    first, last = -(-begin // page) * page, (begin + nbytes) // page * page
    return first, max(last - first, 0)


def _mapping_of(array: np.ndarray) -> _Mapping | None:
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    owner = base.obj if isinstance(base, memoryview) else base
    return owner if isinstance(owner, _Mapping) else None

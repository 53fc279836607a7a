"""Kernel images in memory: mapped read and execute, never writable, called through ctypes."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
from pathlib import Path
from typing import Any

from martlet.errors import MartletError
from martlet.kernels.image import Image, parse

_libc: Any = None


def _system() -> Any:
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
        _libc.mmap.restype = ctypes.c_void_p
        _libc.mmap.argtypes = [
            ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
            ctypes.c_long,
        ]  # fmt: skip
    return _libc


def processor_features() -> frozenset[str]:
    """What the operating system says that the processor has."""
    features: set[str] = set()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                features |= set(value.split())
                break
    except OSError:
        pass
    return frozenset(features)


class LoadedImage:
    """An image that can be called. Stays mapped as long as the process lives."""

    def __init__(self, path: Path) -> None:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if hasattr(os, "getuid") and status.st_uid not in (os.getuid(), 0):
                raise MartletError("the kernel image belongs to somebody else", where=str(path))
            if status.st_mode & 0o022:
                raise MartletError("the kernel image can be written by others", where=str(path))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                self.image: Image = parse(memoryview(view.read()), path.name)
            if self.image.machine != platform.machine().lower().replace("amd64", "x86_64"):
                raise MartletError("the kernel image is for another machine", where=path.name)
            missing = self.image.needs - processor_features()
            if missing:
                raise MartletError(
                    "the processor lacks what the kernel image needs",
                    where=path.name,
                    found=f"no {', '.join(sorted(missing))}",
                )
            address = _system().mmap(
                None, self.image.code_size, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE,
                file.fileno(), self.image.code_start,
            )  # fmt: skip
        if address in (None, ctypes.c_void_p(-1).value):
            raise MartletError("the system refuses to map the kernel image", where=path.name)
        self.base: int = address
        self.run_alone = self._entry("run_alone", ctypes.c_void_p)
        self.run_shared = self._entry("run_shared", ctypes.c_void_p)
        self.work = self._entry("work", ctypes.c_void_p, ctypes.c_int64)

    def address(self, kernel: str) -> int:
        """Where a kernel's code starts."""
        return self.base + self.image.offsets[kernel]

    def _entry(self, name: str, *types: Any) -> Any:
        return ctypes.CFUNCTYPE(None, *types)(self.address(name))

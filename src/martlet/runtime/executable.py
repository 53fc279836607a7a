"""Code in memory: bytes that are readable and executable, and never writable at the same time.

A file is mapped as it is, so that all processes share its pages. Where the system refuses that
(a file system mounted `noexec`), the bytes are copied into memory of the process, which is made
executable after it was written. Both stay as long as the process lives.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from functools import cache
from typing import Any

from martlet.errors import MartletError


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    libc.mmap.restype = pointer
    libc.mmap.argtypes = [pointer, size, number, number, number, ctypes.c_long]
    libc.mprotect.argtypes = [pointer, size, number]
    libc.munmap.argtypes = [pointer, size]
    return libc


def _mmap(size: int, protection: int, flags: int, descriptor: int, offset: int) -> int:
    address = _libc().mmap(None, size, protection, flags, descriptor, offset)
    if address in (None, ctypes.c_void_p(-1).value):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(address)


def map_code(descriptor: int, offset: int, size: int) -> int:
    """The address at which `size` bytes of a file from `offset` (a whole page) can be run."""
    try:
        return map_file(descriptor, offset, size)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.ENODEV):
            raise
    return copy_code(os.pread(descriptor, size, offset))


def map_file(descriptor: int, offset: int, size: int) -> int:
    """The file's own pages, readable and executable."""
    return _mmap(size, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, descriptor, offset)


def copy_code(code: bytes) -> int:
    """A copy, readable and executable, behind a system call that makes it so.

    On processors whose instruction cache does not see what is written (ARM), Linux brings it up to
    date when it makes fresh pages executable.
    """
    size = max(len(code), 1)
    address = _mmap(
        size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0
    )
    ctypes.memmove(address, code, len(code))
    if _libc().mprotect(address, size, mmap.PROT_READ | mmap.PROT_EXEC):
        _libc().munmap(address, size)
        raise MartletError(
            "the system lets no memory be made executable",
            found=os.strerror(ctypes.get_errno()),
        )
    return address

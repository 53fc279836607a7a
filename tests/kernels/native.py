"""Run one kernel on arrays, in tests: compiled for this machine, with guard pages around."""

from __future__ import annotations

import ctypes
import mmap
from functools import cache
from typing import Any

import numpy as np

from martlet.kernels.compiler import compile_object
from martlet.kernels.kernel import Kernel
from martlet.kernels.linker import link, read_object
from martlet.kernels.targets import Target
from martlet.runtime.executable import copy_code
from martlet.runtime.image import host_targets

__all__ = ["function", "guarded", "host_targets", "run_kernel"]


@cache
def function(kernel: Kernel, target: Target) -> Any:
    """The kernel as a function (block address, first, last)."""
    piece = read_object(compile_object(kernel.module(target), target))
    code, offsets = link({kernel.name: piece})
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    return call(copy_code(code) + offsets[kernel.name])


def guarded(array: np.ndarray, at_end: bool = True) -> np.ndarray:
    """A copy of an array that ends (or begins) at a page that must not be touched.

    An access beyond it kills the process, so a kernel that passes stayed inside.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    page = mmap.PAGESIZE
    pages = -(-max(array.nbytes, 1) // page)
    memory = mmap.mmap(-1, (pages + 2) * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for forbidden in (base, base + (pages + 1) * page):
        assert libc.mprotect(ctypes.c_void_p(forbidden), page, mmap.PROT_READ & 0) == 0
    start = page + (pages * page - array.nbytes if at_end else 0)
    whole = np.frombuffer(memory, np.uint8)
    result = whole[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


def run_kernel(
    kernel: Kernel, target: Target, *arguments: Any, units: int, split: int | None = None
) -> None:
    """Run a kernel over its units, in one range, or in ranges of `split` units."""
    block = np.zeros(max(len(arguments), 1), np.int64)
    for i, argument in enumerate(arguments):
        if isinstance(argument, np.ndarray):
            block[i] = argument.ctypes.data
        elif isinstance(argument, float):
            block[i : i + 1].view(np.float32)[0] = argument
        else:
            block[i] = argument
    call = function(kernel, target)
    for first in range(0, units, split or max(units, 1)):
        call(block.ctypes.data, first, min(first + (split or units), units))

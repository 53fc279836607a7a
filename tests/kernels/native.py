"""Run one kernel on arrays, in tests: on this machine or an emulated one, guard pages around."""

from __future__ import annotations

import ctypes
import mmap
from functools import cache
from typing import Any

import numpy as np

from emulated import Inside, argument_block, can_emulate, guest, run_ranges
from martlet.kernels.compiler import compile_object
from martlet.kernels.kernel import Kernel
from martlet.kernels.linker import link, read_object
from martlet.kernels.targets import TARGETS, Target
from martlet.runtime.executable import copy_code
from martlet.runtime.image import host_targets

__all__ = ["Inside", "function", "guarded", "host_targets", "run_kernel", "targets"]


def targets() -> list[Target]:
    """The targets whose kernels can be run here, by this processor or by an emulator."""
    native = host_targets()
    return [t for t in TARGETS.values() if t in native or can_emulate(t)]


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
    ranges = [(i, min(i + (split or units), units)) for i in range(0, units, split or units or 1)]
    if target not in host_targets():
        there = guest(target)
        run_ranges(there, there.function(kernel, target), arguments, ranges)
        return
    block = argument_block(arguments)
    call = function(kernel, target)
    for first, last in ranges:
        call(block.ctypes.data, first, last)

"""The kernel image: all kernels of one target in one file, and its format.

    bytes 0-7     "MARTIMG1"
    bytes 8-15    size of the index
    bytes 16-47   SHA-256 of everything behind
    from 48       the index, JSON: target, machine, needed processor features, where the code
                  starts, its size, and the offset of every kernel in it
    code start    code and constants, at a multiple of 64 KiB (the largest page in use)

Built from `registry.KERNELS` by `build`; read by `parse`, which checks all of it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from martlet.errors import MartletError
from martlet.kernels.compiler import compile_object
from martlet.kernels.kernel import EntryPoint, Kernel
from martlet.kernels.linker import link
from martlet.kernels.targets import Target

MAGIC = b"MARTIMG1"
HEADER = 48
ALIGNMENT = 1 << 16


@dataclass(frozen=True)
class Image:
    """What an image file says. `code_start` and `code_size` are positions in the file."""

    target: str
    machine: str
    needs: frozenset[str]
    code_start: int
    code_size: int
    offsets: dict[str, int]


def build(
    target: Target,
    kernels: Iterable[Kernel | EntryPoint],
    progress: Callable[[str], None] = lambda name: None,
) -> bytes:
    """The bytes of an image file. `progress` hears the name of each kernel that is done."""
    objects = {}
    for kernel in kernels:
        objects[kernel.name] = compile_object(kernel.module(target), target)
        progress(kernel.name)
    code, offsets = link(objects)
    index = {
        "target": target.name,
        "machine": target.machine,
        "needs": sorted(target.needs),
        "code_size": len(code),
        "code_start": 0,
        "offsets": offsets,
    }
    size = len(json.dumps(index)) + 16  # room for the digits of code_start
    index["code_start"] = -(-(HEADER + size) // ALIGNMENT) * ALIGNMENT
    text = json.dumps(index).encode().ljust(size)
    body = text.ljust(int(str(index["code_start"])) - HEADER, b"\0") + code
    return MAGIC + struct.pack("<Q", size) + hashlib.sha256(body).digest() + body


def parse(data: memoryview, where: str) -> Image:
    """The index of an image file. Raises MartletError unless every byte is as it was built."""
    if len(data) < HEADER or bytes(data[:8]) != MAGIC:
        raise MartletError("the file is not a kernel image", where=where)
    if hashlib.sha256(data[HEADER:]).digest() != bytes(data[16:HEADER]):
        raise MartletError(
            "the kernel image is damaged",
            where=where,
            hint="Remove it; it is built or copied again.",
        )
    (size,) = struct.unpack_from("<Q", data, 8)
    index = json.loads(bytes(data[HEADER : HEADER + size]))
    return Image(
        index["target"],
        index["machine"],
        frozenset(index["needs"]),
        index["code_start"],
        index["code_size"],
        index["offsets"],
    )

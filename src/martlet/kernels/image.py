"""The kernel image: all kernels of one target in one file, and its format.

    bytes 0-7     "MARTIMG1"
    bytes 8-39    SHA-256 of everything behind
    bytes 40-47   size of the index
    from 48       the index, JSON: the fields of `Image`
    code start    code and constants, at a multiple of 64 KiB (the largest page in use)

`pack` makes the file of what `builder.py` built; `parse` reads and checks it.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct

from martlet.errors import MartletError
from martlet.kernels.targets import Target
from martlet.records import NamedTuple


class ImageError(MartletError):
    """The file itself is at fault; another one, built anew, would do."""


MAGIC = b"MARTIMG1"
HASHED = 40  # from here on
HEADER = 48
ALIGNMENT = 1 << 16


class Image(NamedTuple):
    """What an image file says of itself.

    sources: `source_hash()` of what it was built from. needs: processor features without which it
    must not be run. lanes: float32 in a vector. code_start and code_size: positions in the file.
    offsets: of each kernel, from the start of the code.
    """

    target: str
    machine: str
    needs: list[str]
    lanes: int
    sources: str
    code_start: int
    code_size: int
    offsets: dict[str, int]


def source_hash() -> str:
    """A hash over the sources of `martlet.kernels`: images of other sources are out of date."""
    digest = hashlib.sha256()
    folder = os.path.dirname(__file__)
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), "rb", 0) as file:
                digest.update(name.encode() + b"\0" + file.read() + b"\0")
    return digest.hexdigest()[:32]


def pack(target: Target, code: bytes, offsets: dict[str, int], sources: str) -> bytes:
    """The bytes of an image file."""

    def index(start: int) -> bytes:
        image = Image(
            target.name, target.machine, sorted(target.needs), target.lanes, sources,
            start, len(code), offsets,
        )  # fmt: skip
        return json.dumps(image._asdict()).encode()

    start = ALIGNMENT
    while HEADER + len(index(start)) > start:
        start += ALIGNMENT
    text = index(start)
    body = struct.pack("<Q", len(text)) + text.ljust(start - HEADER, b"\0") + code
    return MAGIC + hashlib.sha256(body).digest() + body


def parse(data: memoryview, where: str) -> Image:
    """The index of an image file. Raises ImageError unless every byte is as it was built."""
    if len(data) < HEADER or data[:8] != MAGIC:
        raise ImageError(
            "the file is not a kernel image of this version",
            where=where,
            expected=f"{MAGIC!r} at its start",
            found=repr(bytes(data[:8])),
        )
    if hashlib.sha256(data[HASHED:]).digest() != data[8:HASHED]:
        raise ImageError(
            "the kernel image is damaged",
            where=where,
            hint="Build it again: martlet build-image",
        )
    (size,) = struct.unpack_from("<Q", data, HASHED)
    return Image(**json.loads(bytes(data[HEADER : HEADER + size])))

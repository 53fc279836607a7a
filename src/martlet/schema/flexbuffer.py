"""FlexBuffers, the self-describing format of custom operators' options: bytes -> Python values.

In: the bytes, and a name for errors. Out: None, bool, int, float, str, bytes (blobs), lists, and
dicts with string keys. Nothing in the bytes is trusted: every offset is checked before it is
followed, nesting is bounded, and all that is decoded together is bounded by the size of the
buffer, so that values which share children cannot grow without end.

Layout (public documentation of FlexBuffers): the last byte is the width of the root in bytes, the
byte before it the root's type, and the root stands before that. A type byte holds the kind in its
upper six bits and the width of the children in its lower two. Offsets count backwards from where
they stand. Vectors have their length in front of the first element, and the elements' type bytes
behind the last; a map is a vector of values with, in front of its length, an offset to the
(sorted) vector of keys and that vector's width.
"""

from __future__ import annotations

import enum
import struct
from typing import Any

from martlet.errors import ModelError

MAX_DEPTH = 32


class _Kind(enum.IntEnum):
    NULL = 0
    INT = 1
    UINT = 2
    FLOAT = 3
    KEY = 4
    STRING = 5
    INDIRECT_INT = 6
    INDIRECT_UINT = 7
    INDIRECT_FLOAT = 8
    MAP = 9
    VECTOR = 10
    BLOB = 25
    BOOL = 26


_INDIRECT = {
    _Kind.INDIRECT_INT: _Kind.INT,
    _Kind.INDIRECT_UINT: _Kind.UINT,
    _Kind.INDIRECT_FLOAT: _Kind.FLOAT,
}
# Vectors whose elements all have one kind: the kind, and the length where the type fixes it.
_TYPED: dict[int, tuple[_Kind, int | None]] = {
    11: (_Kind.INT, None),
    12: (_Kind.UINT, None),
    13: (_Kind.FLOAT, None),
    14: (_Kind.KEY, None),
    15: (_Kind.STRING, None),
    36: (_Kind.BOOL, None),
}
_TYPED |= {
    16 + 3 * (length - 2) + i: (kind, length)
    for length in (2, 3, 4)
    for i, kind in enumerate((_Kind.INT, _Kind.UINT, _Kind.FLOAT))
}
_FORMATS = {
    _Kind.INT: {1: "b", 2: "h", 4: "i", 8: "q"},
    _Kind.UINT: {1: "B", 2: "H", 4: "I", 8: "Q"},
    _Kind.FLOAT: {2: "e", 4: "f", 8: "d"},
}


def decode(data: bytes, where: str) -> Any:
    """The value that a FlexBuffer holds. Raises ModelError, and nothing else, on damaged bytes."""
    return _Reader(bytes(data), where).root()


class _Reader:
    def __init__(self, data: bytes, where: str) -> None:
        self.data = data
        self.where = where
        # Without sharing, elements, strings and keys each take their own bytes of the buffer.
        self.budget = 4 * len(data)
        self.strings: dict[tuple[int, int], bytes] = {}

    def root(self) -> Any:
        if len(self.data) < 3:
            raise self.error("it is too short", "at least 3 bytes", str(len(self.data)))
        width, kind = self.data[-1], self.data[-2]
        self.check_width(width)
        return self.value(len(self.data) - 2 - width, width, kind, 0)

    def error(self, problem: str, expected: str = "", found: str = "") -> ModelError:
        return ModelError(
            f"the options are not a valid FlexBuffer: {problem}",
            where=self.where,
            expected=expected,
            found=found,
        )

    def check_width(self, width: int) -> None:
        if width not in (1, 2, 4, 8):
            raise self.error("a width is wrong", "1, 2, 4 or 8 bytes", str(width))

    def spend(self, amount: int) -> None:
        self.budget -= amount
        if self.budget < 0:
            raise self.error("its values share more than a real one would")

    def bytes_at(self, position: int, size: int) -> bytes:
        if position < 0 or size < 0 or position + size > len(self.data):
            raise self.error(
                "a value lies outside the buffer", f"0 to {len(self.data)}", str(position)
            )
        return self.data[position : position + size]

    def scalar(self, position: int, width: int, kind: _Kind) -> Any:
        letter = _FORMATS[kind].get(width)
        if letter is None:
            raise self.error("a float has a wrong width", "2, 4 or 8 bytes", str(width))
        return struct.unpack(f"<{letter}", self.bytes_at(position, width))[0]

    def unsigned(self, position: int, width: int) -> int:
        return int(self.scalar(position, width, _Kind.UINT))

    def follow(self, position: int, width: int) -> int:
        """Where the offset that stands at `position` points."""
        return position - self.unsigned(position, width)

    def value(self, position: int, width: int, packed: int, depth: int) -> Any:
        """The value of type byte `packed` whose slot of `width` bytes is at `position`."""
        self.spend(1)
        number, child = packed >> 2, 1 << (packed & 3)
        if number in _TYPED:
            kind, length = _TYPED[number]
            target = self.follow(position, width)
            if length is None:
                length = self.unsigned(target - child, child)
            return self.elements(target, child, length, kind << 2, depth)
        try:
            kind = _Kind(number)
        except ValueError:
            raise self.error("a type is unknown", found=str(number)) from None
        if kind is _Kind.NULL:
            return None
        if kind is _Kind.BOOL:
            return self.unsigned(position, width) != 0
        if kind in _FORMATS:
            return self.scalar(position, width, kind)
        target = self.follow(position, width)
        if kind in _INDIRECT:
            return self.scalar(target, child, _INDIRECT[kind])
        if kind is _Kind.KEY:
            return self.key(target)
        length = self.unsigned(target - child, child)
        if kind is _Kind.STRING:
            return _text(self.string(target, length))
        if kind is _Kind.BLOB:
            return self.string(target, length)
        values = self.elements(target, child, length, None, depth)
        if kind is _Kind.VECTOR:
            return values
        keys = self.follow(target - 3 * child, child)
        key_width = self.unsigned(target - 2 * child, child)
        self.check_width(key_width)
        names = self.elements(keys, key_width, length, _Kind.KEY << 2, depth)
        return dict(zip(names, values, strict=True))

    def elements(
        self, start: int, width: int, length: int, packed: int | None, depth: int
    ) -> list[Any]:
        """The elements of a vector; `packed` is their type byte, None where each has its own."""
        if depth >= MAX_DEPTH:
            raise self.error("it is nested too deeply", f"at most {MAX_DEPTH} levels")
        self.bytes_at(start, length * width)
        if packed is None:
            types = self.bytes_at(start + length * width, length)
        else:
            types = bytes([packed | (width.bit_length() - 1)]) * length
        return [
            self.value(start + i * width, width, kind, depth + 1) for i, kind in enumerate(types)
        ]

    def key(self, start: int) -> str:
        end = self.data.find(b"\0", start) if 0 <= start < len(self.data) else -1
        if end < 0:
            raise self.error("a key does not end within the buffer")
        return _text(self.string(start, end - start))

    def string(self, start: int, size: int) -> bytes:
        if (start, size) not in self.strings:
            self.spend(size)
            self.strings[start, size] = self.bytes_at(start, size)
        return self.strings[start, size]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")

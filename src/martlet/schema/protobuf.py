"""The wire format of Protocol Buffers: bytes -> fields, without a schema.

`fields(data, where)` gives the fields of one message in order, as (number, value): an int for a
varint or a fixed-size number (its bits, unsigned), bytes for what has a length (strings, inner
messages, packed lists). `signed`, `single` and `integers` read numbers as other types. It serves
the messages that models carry inside: TensorFlow's NodeDef, SentencePiece's model.
"""

from __future__ import annotations

import struct

from martlet.errors import ModelError

Fields = list[tuple[int, "int | bytes"]]
_FIXED = {1: 8, 5: 4}


def fields(data: bytes, where: str) -> Fields:
    """The fields of a message. Raises ModelError, and nothing else, on damaged bytes."""
    result: Fields = []
    position = 0
    while position < len(data):
        key, position = _varint(data, position, where)
        kind, number = key & 7, key >> 3
        if kind == 0:
            value, position = _varint(data, position, where)
            result.append((number, value))
            continue
        if kind == 2:
            size, position = _varint(data, position, where)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise _damaged(where, f"a field has the unknown wire type {kind}")
        if size > len(data) - position:
            raise _damaged(where, "a field is longer than what is left")
        part = data[position : position + size]
        position += size
        result.append((number, part if kind == 2 else int.from_bytes(part, "little")))
    return result


def _varint(data: bytes, position: int, where: str) -> tuple[int, int]:
    value = shift = 0
    while shift < 70 and position < len(data):
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
    raise _damaged(where, "a number does not end")


def _damaged(where: str, problem: str) -> ModelError:
    return ModelError(f"not a valid protocol buffer: {problem}", where=where)


def signed(value: int) -> int:
    """A varint as int64 (int32 is encoded likewise)."""
    return value - (1 << 64) if value >> 63 else value


def single(bits: int) -> float:
    """Four fixed bytes as a float32."""
    number: float = struct.unpack("<f", (bits & 0xFFFFFFFF).to_bytes(4, "little"))[0]
    return number


def integers(value: int | bytes, where: str) -> list[int]:
    """The numbers of one field of a repeated integer, packed or not."""
    if isinstance(value, int):
        return [signed(value)]
    result, position = [], 0
    while position < len(value):
        number, position = _varint(value, position, where)
        result.append(signed(number))
    return result

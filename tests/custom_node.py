"""Options of custom operators, for tests that build them."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from flatbuffers import flexbuffers


def flexbuffer(**values: Any) -> dict[str, Any]:
    """The fields of a custom node whose options are a FlexBuffers map."""
    return {
        "custom": True,
        "custom_options": np.frombuffer(bytes(flexbuffers.Dumps(values)), np.uint8),
    }


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    result = bytearray()
    while value > 127:
        result.append(value & 127 | 128)
        value >>= 7
    return bytes([*result, value])


def proto_field(number: int, value: Any) -> bytes:
    """One field of a protocol buffer: an int, a float32, or bytes."""
    if isinstance(value, bool | int):
        return varint(number << 3) + varint(int(value))
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


class Type(int):
    """A TensorFlow type number."""


def _attribute(value: Any) -> bytes:
    if isinstance(value, list):
        return proto_field(1, b"".join(_attribute(v) for v in value))
    number = {bytes: 2, int: 3, float: 4, bool: 5, Type: 6}[type(value)]
    return proto_field(number, value)


def flex(op: str, **attributes: Any) -> dict[str, Any]:
    """The fields of a node that keeps TensorFlow's operator `op`."""
    node = proto_field(1, b"name") + proto_field(2, op.encode())
    for key, value in attributes.items():
        entry = proto_field(1, key.encode()) + proto_field(2, _attribute(value))
        node += proto_field(5, entry)
    builder = flexbuffers.Builder()
    with builder.Vector():
        builder.String(op)
        # A blob has the layout of a string, whose bytes need not be UTF-8.
        builder.Blob(node)
    return {"custom": True, "custom_options": np.frombuffer(bytes(builder.Finish()), np.uint8)}

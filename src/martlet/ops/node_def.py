"""Attributes of a TensorFlow operator that a `.tflite` file keeps as a custom operator.

With `SELECT_TF_OPS` the converter writes TensorFlow's operator X as the custom operator `FlexX`,
whose options are a FlexBuffers list: the name, and the operator's NodeDef, a protocol buffer.
With `allow_custom_ops` it writes X itself, and the attributes as a FlexBuffers map.
`attributes(call)` reads either: name -> int, float, bool, str, a list of these, or a `TFType`.
"""

from __future__ import annotations

import enum
from typing import Any

from martlet.dtypes import DType
from martlet.ops import custom_options
from martlet.ops.operator import Call
from martlet.schema import flexbuffer
from martlet.schema.protobuf import fields, integers, signed, single

Attributes = dict[str, Any]


class TFType(enum.IntEnum):
    """TensorFlow's element types, by the numbers that its protocol buffers use."""

    FLOAT32 = 1
    FLOAT64 = 2
    INT32 = 3
    UINT8 = 4
    INT16 = 5
    INT8 = 6
    STRING = 7
    COMPLEX64 = 8
    INT64 = 9
    BOOL = 10
    UINT16 = 17
    COMPLEX128 = 18
    FLOAT16 = 19
    UINT32 = 22
    UINT64 = 23

    @property
    def dtype(self) -> DType:
        return DType[self.name]


def attributes(call: Call) -> Attributes:
    """The attributes of a `Flex…` node, or of a TensorFlow operator under its own name."""
    if not call.op.startswith("Flex"):
        return custom_options.options(call)
    raw = call.node.custom_options
    where = f"{call.place}, its NodeDef"
    parts = flexbuffer.decode(raw.tobytes(), where) if raw is not None and raw.size else None
    if not (isinstance(parts, list) and len(parts) == 2 and isinstance(parts[1], (str, bytes))):
        call.fail("the options are not those of a TensorFlow operator", "its name and its NodeDef")
    node = parts[1]
    if isinstance(node, str):
        node = node.encode("utf-8", "surrogateescape")
    result: Attributes = {}
    for number, entry in fields(node, where):
        if number == 2 and entry != call.op.removeprefix("Flex").encode():
            call.fail("the NodeDef is of another operator", call.op, repr(entry)[:60])
        if number == 5 and isinstance(entry, bytes):
            pair = dict(fields(entry, where))
            key, value = pair.get(1, b""), pair.get(2, b"")
            if isinstance(key, bytes) and isinstance(value, bytes):
                result[key.decode("utf-8", "replace")] = _value(value, where)
    return result


def _value(data: bytes, where: str) -> Any:
    """One AttrValue."""
    for number, value in fields(data, where):
        if number == 1 and isinstance(value, bytes):
            return _list(value, where)
        plain = _plain(number, value)
        if plain is not None:
            return plain
    return None


def _plain(number: int, value: int | bytes) -> Any:
    if number == 2 and isinstance(value, bytes):
        return value
    if not isinstance(value, int):
        return None
    if number == 3:
        return signed(value)
    if number == 4:
        return single(value)
    if number == 5:
        return value != 0
    if number == 6:
        return TFType(value) if value in TFType._value2member_map_ else value
    return None


def _list(data: bytes, where: str) -> list[Any]:
    """An AttrValue's list, in which numbers may be packed."""
    result: list[Any] = []
    for number, value in fields(data, where):
        if number == 3:
            result += integers(value, where)
        elif number == 4 and isinstance(value, bytes):
            result += [
                single(int.from_bytes(value[i : i + 4], "little"))
                for i in range(0, len(value) - 3, 4)
            ]
        else:
            result.append(_plain(number, value))
    return result

"""Options of custom operators: a FlexBuffers map from names to numbers, strings and lists.

`options(call)` decodes the map of a node; `integer`, `number`, `boolean` and `text` take one
entry of it and check its type and range. As in FlexBuffers' own accessors, what is missing is 0
(or the default), an integer serves as a float, and a float is cut to an integer.
"""

from __future__ import annotations

import math
from typing import Any

from martlet.ops.operator import Call
from martlet.schema.flexbuffer import decode

INT32 = (-(1 << 31), (1 << 31) - 1)
Options = dict[str, Any]


def options(call: Call) -> Options:
    """The map of a node; {} where it has none."""
    raw = call.node.custom_options
    if raw is None or raw.size == 0:
        return {}
    value = decode(raw.tobytes(), f"{call.place}, its options")
    if value is None:
        return {}
    if not isinstance(value, dict):
        call.fail(f"the options of {call.op} are not a map", "a map", type(value).__name__)
    return value


def number(call: Call, values: Options, name: str, default: float = 0.0) -> float:
    """A finite number."""
    value = values.get(name, default)
    if not isinstance(value, (bool, int, float)):
        call.fail(f"option {name} is not a number", found=repr(value)[:40])
    if not -1e38 < value < 1e38:
        call.fail(f"option {name} is not a finite number", found=repr(value)[:40])
    return float(value)


def integer(
    call: Call, values: Options, name: str, default: int = 0, low: int = INT32[0],
    high: int = INT32[1],
) -> int:  # fmt: skip
    """An integer in low…high."""
    value = math.trunc(number(call, values, name, default))
    if not low <= value <= high:
        call.fail(f"option {name} is out of range", f"{low} to {high}", str(value))
    return value


def boolean(call: Call, values: Options, name: str, default: bool = False) -> bool:
    return bool(number(call, values, name, default))


def text(call: Call, values: Options, name: str, default: str = "") -> str:
    value = values.get(name, default)
    if not isinstance(value, str):
        call.fail(f"option {name} is not a string", found=repr(value)[:40])
    return value

"""Structural equality of models, arrays included."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


def differences(a: Any, b: Any, path: str = "model") -> list[str]:
    """Where two models (or parts of them) differ; [] if nowhere."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        equal = a is not None and b is not None and np.array_equal(a, b)
        return [] if equal else [path]
    if type(a) is not type(b):
        return [f"{path}: {type(a).__name__} and {type(b).__name__}"]
    if dataclasses.is_dataclass(a):
        pairs = [(f.name, getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a)]
    elif isinstance(a, dict):
        if list(a) != list(b):
            return [f"{path}: keys {list(a)} and {list(b)}"]
        pairs = [(k, a[k], b[k]) for k in a]
    elif isinstance(a, list | tuple):
        if len(a) != len(b):
            return [f"{path}: {len(a)} and {len(b)} items"]
        pairs = [(str(i), x, y) for i, (x, y) in enumerate(zip(a, b, strict=True))]
    else:
        return [] if a == b or (a != a and b != b) else [f"{path}: {a!r} and {b!r}"]
    return [d for name, x, y in pairs for d in differences(x, y, f"{path}.{name}")]

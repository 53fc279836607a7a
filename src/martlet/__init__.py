"""Martlet: run, inspect and make `.tflite` models, with NumPy as the only requirement.

    model = martlet.load("model.tflite")      # model(image), print(model)
    martlet.Interpreter("model.tflite")       # as tf.lite.Interpreter
    martlet.SmartReply("smartreply.tflite")   # .reply("Are you free tomorrow?")

Names are imported when they are first used, so that `import martlet` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from martlet.errors import (
        ArgumentError,
        LimitError,
        MartletError,
        ModelError,
        RunError,
        UnsupportedError,
    )
    from martlet.model import RunnableModel, load
    from martlet.runtime.delegates import Delegate, load_delegate
    from martlet.runtime.interpreter import (
        Interpreter,
        InterpreterWithCustomOps,
        OpResolverType,
    )
    from martlet.smartreply import SmartReply

__version__ = "0.1.0"

_HOMES = {
    "martlet.errors": (
        "ArgumentError", "LimitError", "MartletError", "ModelError", "RunError",
        "UnsupportedError",
    ),
    "martlet.model": ("RunnableModel", "load"),
    "martlet.runtime.delegates": ("Delegate", "load_delegate"),
    "martlet.runtime.interpreter": (
        "Interpreter", "InterpreterWithCustomOps", "OpResolverType",
    ),
    "martlet.smartreply": ("SmartReply",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = [
    "ArgumentError",
    "Delegate",
    "Interpreter",
    "InterpreterWithCustomOps",
    "LimitError",
    "MartletError",
    "ModelError",
    "OpResolverType",
    "RunError",
    "RunnableModel",
    "SmartReply",
    "UnsupportedError",
    "load",
    "load_delegate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'martlet' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})

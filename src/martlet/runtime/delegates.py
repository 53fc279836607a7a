"""`load_delegate` and `Delegate`: programs import them, Martlet runs everything itself.

A delegate is a shared object of native code for one accelerator. Martlet cannot hand a graph to
one, so asking for one raises an error that says what to do instead. Programs that fall back to
the processor when a delegate does not load (by `except ValueError` or `except OSError`) go on.
"""

from __future__ import annotations

from typing import Any, NoReturn

from martlet.errors import ArgumentError


class DelegateError(ArgumentError, OSError):
    """A native delegate was asked for. Also an OSError, as a library that does not load."""


class Delegate:
    """The type of what `load_delegate` gives elsewhere. Making one always raises."""

    def __init__(self, library: str, options: dict[str, Any] | None = None) -> None:
        load_delegate(library, options)


def load_delegate(library: str, options: dict[str, Any] | None = None) -> NoReturn:
    """Raise DelegateError: native delegates cannot be used."""
    hint = "Leave out experimental_delegates: Martlet runs the whole model on the processor."
    if "edgetpu" in str(library):
        hint += " Take the model that was not compiled for the Edge TPU."
    raise DelegateError(
        f"Failed to load delegate from {library}: Martlet uses no native delegates", hint=hint
    )

"""Messages through `logging`, which is imported when there is one to give.

Where nobody has imported it yet nobody listens, so messages below a warning are dropped unseen:
a process that only runs a model does not pay for it.
"""

from __future__ import annotations

import sys

NAME = "martlet"
DEBUG, INFO, WARNING = 10, 20, 30  # as in logging


def debug(message: str, *values: object) -> None:
    """A message for those who look into Martlet itself."""
    _say(DEBUG, message, values)


def info(message: str, *values: object) -> None:
    """A message that users may want to see."""
    _say(INFO, message, values)


def warning(message: str, *values: object) -> None:
    """A message that users should see: without any set-up, logging writes it to stderr."""
    _say(WARNING, message, values)


def _say(level: int, message: str, values: tuple[object, ...]) -> None:
    if level < WARNING and "logging" not in sys.modules:
        return
    import logging

    logging.getLogger(NAME).log(level, message, *values, stacklevel=3)

"""What a model may take: bytes and seconds, from arguments or the environment."""

from __future__ import annotations

import os

from martlet.errors import ArgumentError

MEMORY_LIMIT = 4 << 30  # bytes that the values of a run may take, unless another limit is given


def memory_limit_from(value: float | None) -> float | None:
    """Bytes: the argument, else MARTLET_MEMORY_LIMIT, else 4 GiB."""
    return _limit_from("MARTLET_MEMORY_LIMIT", value, MEMORY_LIMIT)


def time_limit_from(value: float | None) -> float | None:
    """Seconds: the argument, else MARTLET_TIME_LIMIT, else none."""
    return _limit_from("MARTLET_TIME_LIMIT", value, None)


def _limit_from(name: str, value: float | None, default: float | None) -> float | None:
    if value is None:
        text = os.environ.get(name)
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            raise ArgumentError(f"{name} is not a number", found=repr(text)) from None
    if not value > 0:
        raise ArgumentError(f"{name} must be positive", found=str(value))
    return value

"""How long a model takes: from the file to the first answer, and the distribution of its runs.

In: a path and values for the inputs. Out: plain values, the JSON of `martlet benchmark --json`;
times are in milliseconds. What each step takes is in `profile.py`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from martlet.runtime.image import host_image
from martlet.runtime.interpreter import Interpreter

Progress = Callable[[float], None]
"""Told how much of the work is done, 0 to 1."""
Values = Callable[[dict[str, Any]], np.ndarray]
"""A value for the input that `get_input_details()` describes."""

SECONDS = 2.0
RUNS = (10, 2000)  # at least and at most, where nobody says how many


def start(path: str | os.PathLike[str], threads: int, values: Values) -> tuple[Interpreter, Any]:
    """A model that has run once, and what that took.

    A kernel image that must be built first is not counted: that happens once a checkout.
    """
    host_image()
    begin = time.perf_counter()
    interpreter = Interpreter(path, num_threads=threads)
    loaded = time.perf_counter()
    interpreter.allocate_tensors()
    planned = time.perf_counter()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], values(detail))
    ready = time.perf_counter()
    interpreter.invoke()
    end = time.perf_counter()
    return interpreter, {
        "load_ms": 1e3 * (loaded - begin),
        "plan_ms": 1e3 * (planned - loaded),
        "first_run_ms": 1e3 * (end - ready),
    }


def latencies(interpreter: Interpreter, runs: int | None, progress: Progress) -> list[float]:
    """Milliseconds of each run: so many, or for some seconds."""
    times: list[float] = []
    least, most = RUNS if runs is None else (runs, runs)
    begin = time.perf_counter()
    while True:
        start = time.perf_counter()
        interpreter.invoke()
        now = time.perf_counter()
        times.append(1e3 * (now - start))
        spent = (now - begin) / SECONDS
        if len(times) >= most or (len(times) >= least and spent >= 1):
            return times
        progress(len(times) / most if runs else max(len(times) / most, min(spent, 1)))


def distribution(times: list[float]) -> dict[str, Any]:
    """Where the times lie. spread: half of them are so far apart (the middle half), by the median.

    p90 and p99 are the times that 90 and 99 of 100 runs do not exceed.
    """
    low, median, high = np.percentile(times, [25, 50, 75]).tolist()
    p90, p99 = np.percentile(times, [90, 99], method="inverted_cdf").tolist()
    return {
        "runs": len(times),
        "min": min(times),
        "median": median,
        "p90": p90,
        "p99": p99,
        "max": max(times),
        "mean": sum(times) / len(times),
        "spread": (high - low) / median,
    }

"""How near Martlet's kernels come to what the processor can do, layer by layer, and its memory.

    python benchmarks/kernels.py --zoo ZOO [MODEL …]

One thread. For each model:
- direct products (no Winograd, no Strassen) of at least 20 MFLOP: their share of the peak of
  multiply-adds, which is measured before and after;
- layers that run by Winograd's algorithms on maps of at least 28 x 28, each by itself: the time of
  the direct product by that of Winograd's, transforms included, in turns;
- the arena, of one or two threads, by the largest sum of live tensors.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import convolutions
import numpy as np

from martlet.ops.operator import Call
from martlet.plan.lowering import convolution
from martlet.plan.planner import declared_specs
from martlet.report.profile import profile
from martlet.runtime.interpreter import Interpreter
from martlet.runtime.native import NativePlan
from martlet.runtime.session import Session

LEAST_FLOPS = 20e6
LEAST_MAP = 28
PRODUCTS = ("CONV_2D", "FULLY_CONNECTED")
TURNS = 7
SECONDS = 0.1  # of each of the two in a turn


def measure(zoo: Path, model: str) -> dict[str, Any]:
    """All figures of one model."""
    interpreter = Interpreter(zoo / f"{model}_f32.tflite", num_threads=1)
    interpreter.allocate_tensors()
    found = profile(interpreter, None, lambda _: None)
    (native,) = interpreter._session._native.values()
    products = [
        {
            "shape": step["shape"], "kernel": step["kernels"][-1]["kernel"],
            "gflops": step["gflops"], "of_peak": step["of_peak"],
        }
        for step in found["steps"]
        if step["flops"] >= LEAST_FLOPS
        and not step["effective"]
        and any(op in PRODUCTS for op in step["op"].split("+"))
    ]  # fmt: skip
    return {
        "model": model,
        "peak_gflops": found["peak_gflops"],
        "products": products,
        "winograd": [row for call in layers(native, found["steps"]) if (row := compare(call))],
        "arena_bytes": max(native.arena_bytes, arena_of_two_threads(zoo, model)),
        "live_bytes": native.plan.peak_bytes,
    }


def arena_of_two_threads(zoo: Path, model: str) -> int:
    """Bytes; each thread has scratch of its own."""
    interpreter = Interpreter(zoo / f"{model}_f32.tflite", num_threads=2)
    interpreter.allocate_tensors()
    interpreter.invoke()
    (native,) = interpreter._session._native.values()
    return native.arena_bytes


def layers(native: NativePlan, steps: Sequence[dict[str, Any]]) -> list[Call]:
    """The different convolutions that run by Winograd's algorithms on large maps."""
    by_number = {step.number: step.call for step in native.plan.steps}
    found: dict[Any, Call] = {}
    for step in steps:
        call = by_number.get(step["nodes"][0])
        if call is None or not step["effective"] or call.op != "CONV_2D":
            continue
        if "winograd_f32" in step["kernels"][-1]["kernel"] and min(call.shape(0)[1:3]) >= LEAST_MAP:
            key = (call.shape(0), call.shape(1), str(call.option("padding")))
            found.setdefault(key, call)
    return list(found.values())


def compare(call: Call) -> dict[str, Any]:
    """The time of a layer both ways, in turns."""
    ways = []
    for direct in (False, True):
        with winograd_off() if direct else winograd_on():
            ways.append(alone(call))
    times: list[list[float]] = [[], []]
    for _ in range(TURNS):
        for native, found in zip(ways, times, strict=True):
            found.append(least(native))
    return {
        "image": list(call.shape(0)),
        "weights": list(call.shape(1)),
        "kernel": ways[0].steps[-1].kernel,
        "speed_up": min(times[1]) / min(times[0]),
        "median": statistics.median(b / a for a, b in zip(*times, strict=True)),
    }


@contextmanager
def winograd_on() -> Iterator[None]:
    """As it is."""
    yield


@contextmanager
def winograd_off() -> Iterator[None]:
    """Plans that are made meanwhile have direct products only."""
    kept = convolution.winograd
    convolution.winograd = lambda lowering, weights: False
    try:
        yield
    finally:
        convolution.winograd = kept


def alone(call: Call) -> NativePlan:
    """A plan of the layer and nothing else, on random numbers."""
    shape = call.operator.infer(call)[0].shape
    assert shape is not None
    return layer(call.shape(0), call.shape(1), shape, dict(call.node.options))


def layer(
    image: tuple[int, ...], filters: tuple[int, ...], result: tuple[int, ...],
    options: dict[str, Any],
) -> NativePlan:  # fmt: skip
    """A plan of a convolution with filters (channels, height, width, depth) of random numbers."""
    network = convolutions.convolution(image, filters, result, options)
    session = Session(network)
    native = session.native(session.plan(0, declared_specs(network.main)))
    assert native is not None
    native.views[network.main.inputs[0]][...] = np.random.default_rng(1).normal(size=image)
    return native


def least(native: NativePlan, seconds: float = SECONDS) -> float:
    """The fastest run within a while, in seconds."""
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        native.run_alone()
        best = min(best, time.perf_counter() - begin)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--zoo", type=Path, required=True, help="the folder of the models")
    options = parser.parse_args()
    for model in options.models:
        print(json.dumps(measure(options.zoo, model), indent=1))


if __name__ == "__main__":
    main()

"""A model so small that what surrounds its arithmetic is what takes time.

    python benchmarks/small.py

Three dense layers, 1 -> 16 -> 16 -> 1, with ReLU between them: the sine regressor of every
tutorial for microcontrollers. Measured is `set_tensor`, `invoke` and `get_tensor` together, of
Martlet and of LiteRT in turns.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np

from martlet import Interpreter
from martlet.graph import Graph, Model
from martlet.schema.writer import write

SIZES = (1, 16, 16, 1)
CALLS = 200
ROUNDS = 100


def sine_regressor() -> bytes:
    """The file of the model, with random weights."""
    random = np.random.default_rng(1)
    graph = Graph()
    x = graph.input("x", (1, 1))
    for number, (before, after) in enumerate(pairwise(SIZES)):
        weights = random.standard_normal((after, before)).astype(np.float32)
        last = number == len(SIZES) - 2
        x = graph.add(
            "FULLY_CONNECTED",
            [x, graph.constant(weights, f"w{number}"), graph.constant(weights[:, 0], f"b{number}")],
            {"fused_activation_function": "NONE" if last else "RELU"},
            options_type="FullyConnectedOptions",
        )
    graph.output(x)
    return bytes(write(Model([graph])))


def microseconds(interpreter: Any) -> float:
    """Of one call, the mean of a few."""
    index = interpreter.get_input_details()[0]["index"]
    output = interpreter.get_output_details()[0]["index"]
    x = np.full((1, 1), 0.5, np.float32)
    start = time.perf_counter()
    for _ in range(CALLS):
        interpreter.set_tensor(index, x)
        interpreter.invoke()
        interpreter.get_tensor(output)
    return 1e6 * (time.perf_counter() - start) / CALLS


def measure() -> dict[str, float]:
    """Microseconds of both, the least of many rounds, and how far their answers are apart."""
    from ai_edge_litert.interpreter import Interpreter as LiteRT

    model = sine_regressor()
    both = {
        name: make(model_content=model, num_threads=1)
        for name, make in (("martlet", Interpreter), ("litert", LiteRT))
    }
    for interpreter in both.values():
        interpreter.allocate_tensors()
    times = [{name: microseconds(it) for name, it in both.items()} for _ in range(ROUNDS)]
    ours, theirs = (it.get_tensor(it.get_output_details()[0]["index"]) for it in both.values())
    return {
        **{f"{name}_us": min(t[name] for t in times) for name in both},
        "difference": float(np.abs(ours - theirs).max()),
    }


if __name__ == "__main__":
    print(measure())

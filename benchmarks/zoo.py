"""Hold the answers on the zoo's models against those of Keras.

    python benchmarks/zoo.py --zoo ZOO [--threads 2] [--json] [MODEL …]

For every model NAME_f32.tflite with its inputs and answers NAME_io.npz: the largest error, by the
range of the answers. The status is 1 if one exceeds 1 %: Keras rounds, too, and the random weights
of a deep network magnify it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from martlet import Interpreter

LARGEST_ERROR = 0.01


def error_of(zoo: Path, name: str, threads: int) -> float:
    """The largest error over all inputs."""
    interpreter = Interpreter(zoo / f"{name}_f32.tflite", num_threads=threads)
    interpreter.allocate_tensors()
    index = interpreter.get_input_details()[0]["index"]
    output = interpreter.get_output_details()[0]["index"]
    with np.load(zoo / f"{name}_io.npz") as known:
        x, expected = known["x"], known["y"]
    found = []
    for image in x:
        interpreter.set_tensor(index, image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(output)[0])
    error = np.abs(np.stack(found).astype(np.float64) - expected).max()
    return float(error / (expected.max() - expected.min()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--zoo", type=Path, required=True, help="the folder of the models")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = options.models or sorted(
        path.name.removesuffix("_io.npz") for path in options.zoo.glob("*_io.npz")
    )
    errors = {}
    for name in names:
        errors[name] = error_of(options.zoo, name, options.threads)
        if not options.json:
            verdict = "" if errors[name] <= LARGEST_ERROR else "  too far off"
            print(f"{name:16} {errors[name]:.1e} of the range{verdict}", flush=True)
    if options.json:
        print(json.dumps(errors, indent=2))
    return int(any(not error <= LARGEST_ERROR for error in errors.values()))


if __name__ == "__main__":
    sys.exit(main())

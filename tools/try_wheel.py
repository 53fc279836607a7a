"""Whether an installed wheel does what it must, where there is nothing but Python and NumPy.

    python tools/try_wheel.py model.tflite ...

It must hold an image for every target, take the one for this processor, compute with it what the
NumPy semantics compute (float32 within 1e-4 of the range of the answers), and the same once more
from the plan that was stored.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np

import martlet
from martlet.kernels.image import parse, source_hash
from martlet.kernels.targets import TARGETS
from martlet.runtime import image_files
from martlet.runtime.image import host_image, host_targets


def main(models: list[str]) -> None:
    """Look at the images, then run the models."""
    package = Path(martlet.__file__).parent
    assert "site-packages" in package.parts, f"{package} is not an installed wheel"
    assert importlib.util.find_spec("llvmlite") is None, "llvmlite is installed: nothing is shown"
    for target in TARGETS.values():
        path = Path(image_files.packaged(target))
        image = parse(memoryview(path.read_bytes()), str(path))
        assert (image.target, image.sources) == (target.name, source_hash()), path
    loaded = host_image()
    fitting = host_targets()
    if fitting:
        assert loaded is not None, f"no image was loaded, but {fitting[0].name} fits"
        assert loaded.image.target == fitting[0].name
    for path in models:
        run(path)
    print(f"{len(models)} models run on {loaded.image.target if loaded else 'NumPy'}")


def run(path: str) -> None:
    """Random inputs through a model, on machine code, again, and, as BUILTIN_REF does, without."""
    machine_code = answers(path, martlet.OpResolverType.BUILTIN)
    again = answers(path, martlet.OpResolverType.BUILTIN)
    numpy = answers(path, martlet.OpResolverType.BUILTIN_REF)
    if host_targets():
        assert martlet.Interpreter(path)._stored is not None, f"{path}: no plan was stored"
    for found, same, expected in zip(machine_code, again, numpy, strict=True):
        assert np.array_equal(found, same), f"{path}: a stored plan computes something else"
        error = np.abs(found - expected).max() / max(np.ptp(expected), 1e-30)
        assert error <= 1e-4, f"{path}: {error:.1e} of the range of the answers"


def answers(path: str, resolver: martlet.OpResolverType) -> list[np.ndarray]:
    """What a model makes of inputs that are always the same."""
    rng = np.random.default_rng(1)
    interpreter = martlet.Interpreter(path, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        value = (rng.random(details["shape"]) * 100).astype(details["dtype"])
        interpreter.set_tensor(details["index"], value)
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    return [interpreter.get_tensor(o["index"]).astype(np.float64) for o in outputs]


if __name__ == "__main__":
    main(sys.argv[1:])

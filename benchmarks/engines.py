"""The engines that are compared, each behind the same three methods, and a process for one of them.

    python benchmarks/engines.py ENGINE ZOO MODEL THREADS

opens a model and then does what it reads on its standard input, a line each, answering with a
line of JSON: `check` runs the model on the zoo's input and says how far the answer is from that
of Keras, `burst SECONDS` runs it for so long and gives the milliseconds of every run. At the start
it says what import, load and the first run took, and its resident memory then.

All engines compute in float32, batch 1, with the options that their makers offer for that. The
files are those that the zoo's scripts make: NAME_f32.tflite for Martlet, LiteRT and OpenVINO,
NAME.onnx, NAME.mnn, NAME.ncnn.param, NAME_saved for the others; NAME_io.npz holds inputs `x` and
the answers `y` of Keras.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

BEGIN = time.perf_counter()  # before NumPy: its import is part of everybody's cold start

import numpy as np  # noqa: E402

PACKAGES = {
    "martlet": "martlet", "mnn": "MNN", "openvino": "openvino", "onnxruntime": "onnxruntime",
    "litert": "ai-edge-litert", "ncnn": "ncnn", "tensorflow": "tensorflow",
}  # fmt: skip
PEERS = ("mnn", "openvino", "onnxruntime", "litert", "ncnn")


class Engine(Protocol):
    """A model that is ready to run."""

    def put(self, x: np.ndarray) -> None:
        """Set the input, (1, height, width, channels)."""

    def run(self) -> None:
        """Compute."""

    def get(self) -> np.ndarray:
        """The output of the last run."""


class OfInterpreter:
    """Martlet and LiteRT: the interface of `tf.lite.Interpreter`."""

    def __init__(self, module: str, path: str, threads: int) -> None:
        interpreter = __import__(module, fromlist=["Interpreter"]).Interpreter
        self._it = interpreter(path, num_threads=threads)
        self._it.allocate_tensors()
        self._in = self._it.get_input_details()[0]["index"]
        self._out = self._it.get_output_details()[0]["index"]
        self.run = self._it.invoke

    def put(self, x: np.ndarray) -> None:
        self._it.set_tensor(self._in, x)

    def get(self) -> np.ndarray:
        return np.array(self._it.get_tensor(self._out))


class OnnxRuntime:
    """Its own thread pool; one operator at a time."""

    def __init__(self, path: str, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self._name = self._session.get_inputs()[0].name

    def put(self, x: np.ndarray) -> None:
        self._feed = {self._name: x}

    def run(self) -> None:
        self._result = self._session.run(None, self._feed)

    def get(self) -> np.ndarray:
        return np.array(self._result[0])


class OpenVino:
    """One stream, for latency; float32 is asked for, since it may take less."""

    def __init__(self, path: str, threads: int) -> None:
        import openvino

        self._tensor = openvino.Tensor
        model = openvino.Core().read_model(path)
        fixed = {
            port: [d.get_length() if d.is_static else 1 for d in port.get_partial_shape()]
            for port in model.inputs
        }
        model.reshape(fixed)
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = openvino.Core().compile_model(model, "CPU", options)
        self._request = compiled.create_infer_request()
        self.run = self._request.infer

    def put(self, x: np.ndarray) -> None:
        self._request.set_input_tensor(self._tensor(x))

    def get(self) -> np.ndarray:
        return np.array(self._request.get_output_tensor(0).data)


class Mnn:
    """precision "high" is float32."""

    def __init__(self, path: str, threads: int) -> None:
        import MNN

        self._mnn, self._it = MNN, MNN.Interpreter(path)
        options = {"backend": "CPU", "numThread": threads, "precision": "high"}
        self._session = self._it.createSession(options)
        self._input = self._it.getSessionInput(self._session)
        shape = tuple(self._input.getShape())
        fixed = tuple(max(n, 1) for n in shape)
        if fixed != shape:
            self._it.resizeTensor(self._input, fixed)
            self._it.resizeSession(self._session)

    def put(self, x: np.ndarray) -> None:
        kind = self._mnn.Halide_Type_Float
        shape = self._input.getShape()
        self._input.copyFrom(
            self._mnn.Tensor(shape, kind, x.reshape(shape), self._input.getDimensionType())
        )

    def run(self) -> None:
        self._it.runSession(self._session)

    def get(self) -> np.ndarray:
        output = self._it.getSessionOutput(self._session)
        shape = output.getShape()
        kind, order = self._mnn.Halide_Type_Float, self._mnn.Tensor_DimensionType_Caffe
        host = self._mnn.Tensor(shape, kind, np.zeros(shape, np.float32), order)
        output.copyToHostTensor(host)
        return np.array(host.getData(), np.float32).reshape(shape)


class Ncnn:
    """Its files take the image as Keras has it. Reduced precision is switched off."""

    def __init__(self, path: str, threads: int) -> None:
        import ncnn

        self._ncnn, self._net = ncnn, ncnn.Net()
        options = self._net.opt
        options.num_threads = threads
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        self._net.load_param(path)
        self._net.load_model(path.replace(".param", ".bin"))
        self._in, self._out = self._net.input_names()[0], self._net.output_names()[0]

    def put(self, x: np.ndarray) -> None:
        self._image = self._ncnn.Mat(np.ascontiguousarray(x[0])).clone()  # it owns no array

    def run(self) -> None:
        extractor = self._net.create_extractor()
        extractor.input(self._in, self._image)
        _, self._result = extractor.extract(self._out)

    def get(self) -> np.ndarray:
        return np.array(self._result)


class TensorFlow:
    """The function of a SavedModel, as a graph."""

    def __init__(self, path: str, threads: int) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self._tf, self._model = tf, tf.saved_model.load(path)
        signatures = self._model.signatures
        self._function = signatures["serve" if "serve" in signatures else "serving_default"]
        (self._name,) = self._function.structured_input_signature[1]

    def put(self, x: np.ndarray) -> None:
        self._feed = {self._name: self._tf.constant(x)}

    def run(self) -> None:
        self._result = self._function(**self._feed)

    def get(self) -> np.ndarray:
        return np.asarray(next(iter(self._result.values())))


def open_engine(name: str, zoo: Path, model: str, threads: int) -> Engine:
    """An engine with a model of the zoo."""
    path = str(zoo / model)
    makers: dict[str, Callable[[], Engine]] = {
        "martlet": lambda: OfInterpreter("martlet", f"{path}_f32.tflite", threads),
        "litert": lambda: OfInterpreter(
            "ai_edge_litert.interpreter", f"{path}_f32.tflite", threads
        ),
        "openvino": lambda: OpenVino(f"{path}_f32.tflite", threads),
        "onnxruntime": lambda: OnnxRuntime(f"{path}.onnx", threads),
        "mnn": lambda: Mnn(f"{path}.mnn", threads),
        "ncnn": lambda: Ncnn(f"{path}.ncnn.param", threads),
        "tensorflow": lambda: TensorFlow(f"{path}_saved", threads),
    }
    return makers[name]()


def error_of(engine: Engine, zoo: Path, model: str) -> float:
    """The largest error on the zoo's first input, by the range of the answers of Keras."""
    with np.load(zoo / f"{model}_io.npz") as known:
        x, y = known["x"][:1], known["y"][0]
    engine.put(x)
    engine.run()
    found = engine.get().astype(np.float64).reshape(-1)
    if found.size != y.size or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - y).max() / (y.max() - y.min()))


def burst(engine: Engine, seconds: float) -> list[float]:
    """Milliseconds of the runs that fit, after one that is not counted; at least two."""
    engine.run()
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 2 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        engine.run()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def main(name: str, folder: str, model: str, threads: str) -> None:
    zoo = Path(folder)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # some engines talk on the standard output

    def answer(value: Any) -> None:
        print(json.dumps(value), file=answers)

    size = 299 if model.startswith("inception") else 224
    x = np.random.default_rng(3).uniform(-1, 1, (1, size, size, 3)).astype(np.float32)
    engine = open_engine(name, zoo, model, int(threads))
    engine.put(x)
    engine.run()
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer({"cold_s": time.perf_counter() - BEGIN, "rss_mb": megabytes})
    for line in sys.stdin:
        command, *rest = line.split()
        answer(error_of(engine, zoo, model) if command == "check" else burst(engine, float(*rest)))


if __name__ == "__main__":
    main(*sys.argv[1:])

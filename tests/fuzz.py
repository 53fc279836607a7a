"""Mutated models: whatever a file says, the answer is arrays or a MartletError.

As a program: `python tests/fuzz.py --count 100000 [--seed 0] [--jobs 2] [MODEL ...]` mutates the
given files (by default the small ones of the corpus and of `examples/`) as `mutations.py` says.
Each is described, verified, loaded, planned and run, now and then with more of the interface
(signatures, other input sizes, every tensor, stored plans), under limits of memory and time in a
worker process. A death, a hang, a growing process or any other exception is reported with the
number that makes it again (`--only N`).
"""

from __future__ import annotations

import argparse
import collections
import gc
import multiprocessing
import multiprocessing.connection
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import martlet
from corpus import ROOT
from martlet.errors import MartletError
from martlet.metadata import read_metadata
from martlet.report.inspect import describe
from martlet.report.verify import verify
from martlet.runtime import session, storing
from martlet.runtime.image import host_image
from martlet.runtime.interpreter import Interpreter, OpResolverType
from martlet.runtime.native import NativePlan
from martlet.schema.reader import read
from martlet.schema.writer import write
from mutations import mutate

MEMORY_LIMIT = 64 << 20
TIME_LIMIT = 2.0
HANG_SECONDS = 30.0
BATCH = 2000
GROWTH_MIB = 64
"""How much the second half of a batch may add to the memory of its process."""


def bases(paths: Sequence[str] = (), largest: int = 40_000) -> list[bytes]:
    """The files to mutate."""
    if paths:
        return [Path(p).read_bytes() for p in paths]
    found = sorted(Path(__file__).parents[1].glob("examples/**/*.tflite"))
    for part in ("ops", "optests", "exact", "micro", "models"):
        found += sorted((ROOT / part).glob("*.tflite"))
    return [p.read_bytes() for p in found if p.stat().st_size <= largest]


def attempt(data: bytes, rng: random.Random) -> str:
    """Load, plan and run a file; returns what came of it. Only MartletErrors are caught."""
    source = np.random.default_rng(rng.randrange(1 << 30))
    with _without_looking_at_the_clock() if rng.random() < 0.5 else nullcontext():
        return _attempt(data, rng, source)


def _attempt(data: bytes, rng: random.Random, source: np.random.Generator) -> str:
    if rng.random() < 0.2:
        _report(data)
    if rng.random() < 0.1:
        _call_as_function(data, source)
    if rng.random() < 0.05:
        _run_stored(data)
    stage = "load"
    try:
        interpreter = Interpreter(
            model_content=data,
            memory_limit=MEMORY_LIMIT,
            time_limit=TIME_LIMIT,
            num_threads=rng.choice((1, 1, 2, 3)),
            experimental_preserve_all_tensors=rng.random() < 0.2,
            experimental_compress_quantization_zero_points=rng.random() < 0.2,
            experimental_op_resolver_type=rng.choice(
                (OpResolverType.BUILTIN_REF, OpResolverType.AUTO)
            ),
        )
        stage = "plan"
        if rng.random() < 0.1:
            _resize(interpreter, rng)
        interpreter.allocate_tensors()
        stage = "run"
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], _values(detail, source))
        for _ in range(rng.choice((1, 1, 1, 2))):
            interpreter.invoke()
        stage = "read"
        for detail in interpreter.get_output_details():
            interpreter.get_tensor(detail["index"])
    except MartletError:
        outcome = f"refused at {stage}"
    else:
        outcome = "ran"
    if stage != "load" and rng.random() < 0.2:
        _look_around(interpreter, rng, source)
    return outcome


@contextmanager
def _without_looking_at_the_clock() -> Iterator[None]:
    """Native steps run in one call, as they do without a limit of time. NumPy keeps its limit."""
    native = session.NativePlan

    def whole(*args: Any, stepwise: bool, **named: Any) -> NativePlan:
        return native(*args, **named)

    with mock.patch.object(session, "NativePlan", whole):
        yield


def _allowing(action: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
    """What a call returns; None if it raises a MartletError."""
    try:
        return action(*args, **named)
    except MartletError:
        return None


def _report(data: bytes) -> None:
    """What is said of a file; that a file is bad is said, too, not raised."""
    verify(data, "mutated")
    model = _allowing(read, data)
    if model is not None:
        describe(model, len(data))
        str(model)
        _allowing(read_metadata, model)
        written = _allowing(write, model)
        if written is not None:
            read(written)


def _call_as_function(data: bytes, source: np.random.Generator) -> None:
    model = _allowing(martlet.load, data, memory_limit=MEMORY_LIMIT, time_limit=TIME_LIMIT)
    if model is not None:
        str(model), repr(model)
        for function in (model, *model.signatures.values()):
            if all(t.size < 1e6 for t in function.inputs.values()):
                values = [_array(t, source) for t in function.inputs.values()]
                _allowing(function, *values)


def _run_stored(data: bytes) -> None:
    """What runs from a stored plan computes what it computes as planned."""
    host_image()  # which lies in the cache as it is
    with tempfile.TemporaryDirectory() as folder:
        changed = {"XDG_CACHE_HOME": folder, "MARTLET_PLANS": ""}
        path = Path(folder, "mutated.tflite")
        path.write_bytes(data)
        with mock.patch.dict(os.environ, changed), mock.patch.object(storing, "SETTLED", 0):
            first = _allowing(Interpreter, path, memory_limit=MEMORY_LIMIT)
            if first is None:
                return
            _allowing(first.allocate_tensors)
            second = _allowing(Interpreter, path, memory_limit=MEMORY_LIMIT)
            if second is None or second._stored is None:
                return
            answers = [_answers(first), _answers(second)]
    if answers[0] != answers[1]:
        raise AssertionError("a stored plan computes something else than the plan itself")


def _answers(interpreter: Interpreter) -> list[bytes] | str:
    """The bytes of all outputs, for inputs that are always the same, or the error."""
    same = np.random.default_rng(1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], _values(detail, same))
    try:
        interpreter.invoke()
    except MartletError as error:
        return str(error)
    return [interpreter.get_tensor(d["index"]).tobytes() for d in interpreter.get_output_details()]


def _array(tensor: Any, source: np.random.Generator) -> np.ndarray:
    dtype = np.dtype(object) if not tensor.dtype.supported else tensor.dtype.numpy
    return _values({"shape": tensor.shape, "dtype": dtype}, source)


def _resize(interpreter: Interpreter, rng: random.Random) -> None:
    for detail in interpreter.get_input_details():
        shape = [rng.choice((0, 1, 2, 3, 7, int(n))) for n in detail["shape"]]
        if rng.random() < 0.1:
            shape = rng.choice(([], [*shape, 1], [1 << 31], [-1], [1 << 20] * 3, shape[:-1]))
        _allowing(interpreter.resize_tensor_input, detail["index"], shape, rng.random() < 0.2)


def _look_around(interpreter: Interpreter, rng: random.Random, source: np.random.Generator) -> None:
    """Everything else that can be asked of an Interpreter."""
    _allowing(interpreter._get_ops_details)
    for graph in range(interpreter.num_subgraphs()):
        for detail in interpreter.get_tensor_details(graph):
            _allowing(interpreter.get_tensor, detail["index"], graph)
    for key in interpreter.get_signature_list():
        runner = _allowing(interpreter.get_signature_runner, key)
        if runner is not None:
            details = runner.get_input_details()
            runner.get_output_details()
            repr(runner)
            if all(np.prod(d["shape"], dtype=float) < 1e6 for d in details.values()):
                values = {k: _values(d, source) for k, d in details.items()}
                _allowing(runner, **values)
    _allowing(interpreter.reset_all_variables)
    _resize(interpreter, rng)
    _allowing(interpreter.allocate_tensors)
    _allowing(interpreter.invoke)


def _values(detail: dict[str, Any], source: np.random.Generator) -> np.ndarray:
    shape, dtype = tuple(map(int, detail["shape"])), np.dtype(detail["dtype"])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        high = (2, 10, int(info.max))[source.integers(3)]
        return source.integers(max(info.min, -high), high, shape, dtype, endpoint=True)
    if dtype.kind == "b":
        return source.random(shape) < 0.5
    if dtype.kind in "fc":
        return (source.normal(size=shape) * source.choice((1, 1, 100))).astype(dtype)
    result = np.empty(shape, object)
    result[...] = b"a word, or two"
    return result


def case(files: Sequence[bytes], seed: int, number: int) -> tuple[bytes, random.Random]:
    """File `number` of a run, and the random state to try it with."""
    rng = random.Random(f"{seed}/{number}")
    return mutate(rng.choice(files), rng), rng


def _worker(
    files: Sequence[bytes], seed: int, numbers: range, pipe: multiprocessing.connection.Connection
) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    sys.setrecursionlimit(1000)
    half = 0
    for number in numbers:
        if number == (numbers.start + numbers.stop) // 2:
            half = _resident_mib()
        pipe.send(("start", number, ""))
        try:
            outcome = attempt(*case(files, seed, number))
        except BaseException:
            outcome = "FAILED\n" + traceback.format_exc(limit=-6)
        pipe.send(("end", number, outcome))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    pipe.send(("done", peak, str(_resident_mib() - half)))


def _resident_mib() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


def run(files: Sequence[bytes], seed: int, count: int, jobs: int) -> collections.Counter[str]:
    """Try `count` mutated files; prints failures and a summary, returns how often what came."""
    outcomes = collections.Counter({"failures": 0})
    started = time.monotonic()
    batch = max(1, min(BATCH, count // jobs))
    queue = [range(i, min(i + batch, count)) for i in range(0, count, batch)][::-1]
    seen: set[str] = set()
    active: dict[Any, list[Any]] = {}  # pipe -> [process, current, since, remaining]
    context = multiprocessing.get_context("fork")
    while queue or active:
        while queue and len(active) < jobs:
            numbers = queue.pop()
            ours, theirs = context.Pipe(False)
            process = context.Process(target=_worker, args=(files, seed, numbers, theirs))
            process.start()
            theirs.close()
            active[ours] = [process, numbers.start, time.monotonic(), numbers]
        for pipe in multiprocessing.connection.wait(list(active), timeout=1):
            entry = active[pipe]
            try:
                kind, number, text = pipe.recv()  # type: ignore[union-attr]
            except EOFError:
                entry[0].join()
                print(f"file {entry[1]}: DIED with exit code {entry[0].exitcode}", flush=True)
                outcomes["failures"] += 1
                queue.append(range(entry[1] + 1, entry[3].stop))
                del active[pipe]
                continue
            if kind == "done":
                outcomes["peak MiB"] = max(outcomes["peak MiB"], number)
                outcomes["growth MiB"] = max(outcomes["growth MiB"], int(text))
                if int(text) > GROWTH_MIB:
                    print(f"files {entry[3]}: memory GREW by {text} MiB", flush=True)
                    outcomes["failures"] += 1
                entry[0].join()
                del active[pipe]
            elif kind == "start":
                entry[1], entry[2] = number, time.monotonic()
            else:
                seconds = int(time.monotonic() - entry[2])
                if seconds > 2 * TIME_LIMIT:
                    print(f"file {number}: {seconds} s", flush=True)
                outcomes["longest s"] = max(outcomes["longest s"], seconds)
                if not text.startswith("FAILED"):
                    outcomes[text] += 1
                else:
                    outcomes["failures"] += 1
                    known = text in seen
                    print(f"file {number}: {'FAILED likewise' if known else text}", flush=True)
                    seen.add(text)
        for pipe, entry in list(active.items()):
            if time.monotonic() - entry[2] > HANG_SECONDS:
                print(f"file {entry[1]}: HUNG", flush=True)
                outcomes["failures"] += 1
                entry[0].kill()
                entry[0].join()
                queue.append(range(entry[1] + 1, entry[3].stop))
                del active[pipe]
    print(f"{count} files, {time.monotonic() - started:.0f} s: {dict(outcomes)}")
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int, help="try this file alone, in this process")
    parser.add_argument("--save", help="with --only: write the file here, too")
    args = parser.parse_args()
    files = bases(args.models)
    if args.only is not None:
        data, rng = case(files, args.seed, args.only)
        if args.save:
            Path(args.save).write_bytes(data)
        print(attempt(data, rng))
        return 0
    return 1 if run(files, args.seed, args.count, args.jobs)["failures"] else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Mutated models: whatever a file says, the answer is arrays or a MartletError.

As a program: `python tests/fuzz.py --count 100000 [--seed 0] [--jobs 2] [MODEL ...]` mutates the
given files (by default the small ones of the corpus and of `examples/`), four fifths of them by
changing one or two facts of the decoded structure, the rest by damaging bytes. Each is loaded,
planned and run under limits of memory and time in a worker process; a death, a hang, a growing
process or any other exception is reported with the number that makes it again (`--only N`).
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import multiprocessing.connection
import os
import random
import resource
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corpus import ROOT
from martlet.errors import MartletError
from martlet.runtime.interpreter import Interpreter, OpResolverType
from martlet.schema.layout import Decoder, Encoder, Record
from martlet.schema.tflite import IDENTIFIER, SCHEMA

MEMORY_LIMIT = 64 << 20
TIME_LIMIT = 2.0
HANG_SECONDS = 30.0
INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    127,
    255,
    1000,
    65536,
    1 << 24,
    (1 << 31) - 1,
    -(1 << 31),
)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-40, 1e-20, 1e20, 3e38, float("nan"), float("inf"), -5.0)


def bases(paths: Sequence[str] = (), largest: int = 40_000) -> list[bytes]:
    """The files to mutate."""
    if paths:
        return [Path(p).read_bytes() for p in paths]
    found = sorted(Path(__file__).parents[1].glob("examples/**/*.tflite"))
    for part in ("ops", "optests", "exact", "micro", "models"):
        found += sorted((ROOT / part).glob("*.tflite"))
    return [p.read_bytes() for p in found if p.stat().st_size <= largest]


def mutate(base: bytes, rng: random.Random) -> bytes:
    """One file with a few facts or bytes changed."""
    if rng.random() < 0.2:
        return _damage(base, rng)
    root = Decoder(SCHEMA, memoryview(base), "base").root("Model")
    for _ in range(rng.choice((1, 1, 2))):
        for _ in range(20):
            if rng.choice(_MUTATIONS)(root, rng):
                break
    return bytes(Encoder(SCHEMA, {("Buffer", "data"): 16}).encode(root, IDENTIFIER))


def _damage(base: bytes, rng: random.Random) -> bytes:
    data = bytearray(base)
    kind = rng.randrange(5)
    if kind == 0:
        return bytes(data[: rng.randrange(len(data))])
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data))
        if kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            data[at : at + 4] = (rng.choice(INTEGERS) & 0xFFFFFFFF).to_bytes(4, "little")
        else:
            data[at : at + rng.randrange(1, 16)] = bytes(rng.randrange(0, 16))
    return bytes(data)


def _pick(items: Any, rng: random.Random) -> Any:
    return rng.choice(items) if items else None


def _tensor(root: Record, rng: random.Random) -> Any:
    return _pick(rng.choice(root.subgraphs).tensors, rng) if root.subgraphs else None


def _node(root: Record, rng: random.Random) -> Any:
    return _pick(rng.choice(root.subgraphs).operators, rng) if root.subgraphs else None


def _changed_list(values: Any, rng: random.Random, candidates: Sequence[int]) -> np.ndarray:
    items = [] if values is None else list(map(int, values))
    kind = rng.randrange(4)
    if kind == 0 and items:
        items.pop(rng.randrange(len(items)))
    elif kind == 1:
        items.insert(rng.randrange(len(items) + 1), rng.choice(candidates))
    elif items:
        items[rng.randrange(len(items))] = rng.choice(candidates)
    return np.array(items, np.int32)


def _shape(root: Record, rng: random.Random) -> bool:
    tensor = _tensor(root, rng)
    if tensor is not None:
        tensor.shape = _changed_list(tensor.shape, rng, INTEGERS)
    return tensor is not None


def _type(root: Record, rng: random.Random) -> bool:
    tensor = _tensor(root, rng)
    if tensor is not None:
        tensor.type = rng.choice([*range(24), 1, 3, 9, 7, 2])
    return tensor is not None


def _tensor_fact(root: Record, rng: random.Random) -> bool:
    tensor = _tensor(root, rng)
    if tensor is None:
        return False
    kind = rng.randrange(3)
    if kind == 0:
        tensor.buffer = rng.randrange(len(root.buffers or []) + 2)
    elif kind == 1:
        tensor.is_variable = not tensor.is_variable
    else:
        tensor.shape_signature = _changed_list(tensor.shape, rng, INTEGERS)
    return True


def _quantization(root: Record, rng: random.Random) -> bool:
    tensor = _tensor(root, rng)
    if tensor is None:
        return False
    if tensor.quantization is None or rng.random() < 0.1:
        if rng.random() < 0.5:
            tensor.quantization = None
        else:
            tensor.quantization = SCHEMA.record(
                "QuantizationParameters",
                scale=np.array([rng.choice(FLOATS)], np.float32),
                zero_point=np.array([rng.choice(INTEGERS)], np.int64),
            )
        return True
    q = tensor.quantization
    kind = rng.randrange(4)
    if kind == 0 and q.scale is not None and q.scale.size:
        q.scale = q.scale.copy()
        q.scale[rng.randrange(q.scale.size)] = rng.choice(FLOATS)
    elif kind == 1 and q.zero_point is not None and q.zero_point.size:
        q.zero_point = q.zero_point.copy()
        q.zero_point[rng.randrange(q.zero_point.size)] = rng.choice((*INTEGERS, 1 << 40))
    elif kind == 2:
        q.quantized_dimension = rng.choice(INTEGERS)
    else:
        size = rng.choice((0, 1, 2, 3, 8))
        q.scale = np.full(size, 0.1, np.float32)
        q.zero_point = np.zeros(size, np.int64)
    return True


def _wiring(root: Record, rng: random.Random) -> bool:
    node = _node(root, rng)
    if node is None:
        return False
    count = max(len(g.tensors or []) for g in root.subgraphs)
    candidates = [-1, *range(count), *range(count), count, 1 << 30]
    which = rng.choice(("inputs", "inputs", "inputs", "outputs", "intermediates"))
    setattr(node, which, _changed_list(getattr(node, which), rng, candidates))
    return True


def _options(root: Record, rng: random.Random) -> bool:
    node = _node(root, rng)
    if node is None:
        return False
    options = node.builtin_options or node.builtin_options_2
    if options is None:
        if node.custom_options is None or not node.custom_options.size:
            return False
        data = node.custom_options.copy()
        data[rng.randrange(data.size)] = rng.randrange(256)
        node.custom_options = data[: rng.randrange(data.size + 1)] if rng.random() < 0.2 else data
        return True
    if rng.random() < 0.05:
        node.builtin_options = node.builtin_options_2 = None
        return True
    fields = [f for f in SCHEMA.fields(options.table) if f.kept]
    if not fields:
        return False
    field = rng.choice(fields)
    if field.kind == "enum":
        value: Any = rng.choice((*SCHEMA.enums[field.type].values.values(), 99))
    elif field.type == "bool":
        value = not getattr(options, field.name)
    elif field.kind == "scalar" and field.type == "float":
        value = rng.choice(FLOATS)
    elif field.kind == "scalar":
        bits = {"b": 8, "B": 8, "h": 16, "H": 16, "i": 32, "I": 32}.get(field.format, 64)
        low = 0 if field.format.isupper() else -(1 << (bits - 1))
        value = rng.choice([n for n in INTEGERS if low <= n < low + (1 << bits)])
    elif field.kind == "vector" and field.vector_of == "scalar":
        value = _changed_list(getattr(options, field.name), rng, (0, 1, 2, 5, 100))
        value = value.astype("<" + field.format)
    else:
        return False
    setattr(options, field.name, value)
    return True


def _operator_code(root: Record, rng: random.Random) -> bool:
    code = _pick(root.operator_codes, rng)
    if code is None:
        return False
    if rng.random() < 0.3:
        code.version = rng.choice((0, -1, 1, 2, 3, 4, 5, 100))
    else:
        number = rng.randrange(212)
        code.builtin_code, code.deprecated_builtin_code = number, min(number, 127)
        if rng.random() < 0.7:
            for graph in root.subgraphs:
                for node in graph.operators or []:
                    node.builtin_options = node.builtin_options_2 = None
    return True


def _data(root: Record, rng: random.Random) -> bool:
    buffer = _pick([b for b in root.buffers or [] if b.data is not None and b.data.size], rng)
    if buffer is None:
        return False
    data = buffer.data.copy()
    kind = rng.randrange(3)
    if kind == 0:
        data = data[: rng.randrange(data.size)]
    elif kind == 1 and data.size % 4 == 0:
        words = data.view(np.int32)
        words[rng.randrange(words.size)] = rng.choice(INTEGERS)
    else:
        data[rng.randrange(data.size)] = rng.randrange(256)
    buffer.data = data
    return True


def _interface(root: Record, rng: random.Random) -> bool:
    if not root.subgraphs:
        return False
    graph = rng.choice(root.subgraphs)
    which = rng.choice(("inputs", "outputs"))
    candidates = [-1, *range(len(graph.tensors or [])), 1 << 30]
    setattr(graph, which, _changed_list(getattr(graph, which), rng, candidates))
    return True


def _sparsity(root: Record, rng: random.Random) -> bool:
    sparse = [t for g in root.subgraphs or [] for t in g.tensors or [] if t.sparsity is not None]
    tensor = _pick(sparse, rng)
    if tensor is None:
        return False
    sparsity = tensor.sparsity
    kind = rng.randrange(4)
    if kind == 0:
        sparsity.traversal_order = _changed_list(sparsity.traversal_order, rng, INTEGERS)
    elif kind == 1:
        sparsity.block_map = _changed_list(sparsity.block_map, rng, INTEGERS)
    elif sparsity.dim_metadata:
        level = rng.choice(sparsity.dim_metadata)
        if kind == 2:
            level.dense_size = rng.choice(INTEGERS)
        else:
            level.format = rng.choice((0, 1, 2))
    return True


_MUTATIONS = (
    _shape, _shape, _type, _tensor_fact, _quantization, _quantization, _wiring, _wiring,
    _options, _options, _options, _operator_code, _data, _data, _interface, _sparsity,
)  # fmt: skip


def attempt(data: bytes, rng: random.Random) -> str:
    """Load, plan and run a file; returns what came of it. Only a MartletError is caught."""
    stage = "load"
    try:
        interpreter = Interpreter(
            model_content=data,
            memory_limit=MEMORY_LIMIT,
            time_limit=TIME_LIMIT,
            experimental_op_resolver_type=rng.choice(
                (OpResolverType.BUILTIN_REF, OpResolverType.AUTO)
            ),
        )
        stage = "plan"
        interpreter.allocate_tensors()
        stage = "run"
        source = np.random.default_rng(rng.randrange(1 << 30))
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], _values(detail, source))
        interpreter.invoke()
        stage = "read"
        for detail in interpreter.get_output_details():
            interpreter.get_tensor(detail["index"])
    except MartletError:
        return f"refused at {stage}"
    return "ran"


def _values(detail: dict[str, Any], source: np.random.Generator) -> np.ndarray:
    shape, dtype = tuple(map(int, detail["shape"])), np.dtype(detail["dtype"])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        high = source.choice((2, 10, int(info.max)))
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
    for number in numbers:
        pipe.send(("start", number, ""))
        try:
            outcome = attempt(*case(files, seed, number))
        except BaseException:
            outcome = "FAILED\n" + traceback.format_exc(limit=-4)
        pipe.send(("end", number, outcome))
    pipe.send(("done", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, ""))


def run(files: Sequence[bytes], seed: int, count: int, jobs: int) -> collections.Counter[str]:
    """Try `count` mutated files; prints failures and a summary, returns how often what came."""
    outcomes = collections.Counter({"failures": 0})
    started = time.monotonic()
    queue = [range(i, min(i + 500, count)) for i in range(0, count, 500)][::-1]
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
                outcomes["peak MiB"] = max(outcomes["peak MiB"], number // 1024)
                entry[0].join()
                del active[pipe]
            elif kind == "start":
                entry[1], entry[2] = number, time.monotonic()
            else:
                if not text.startswith("FAILED"):
                    outcomes[text] += 1
                else:
                    outcomes["failures"] += 1
                    print(f"file {number}: {text}", flush=True)
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

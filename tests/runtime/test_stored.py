"""Plans that one process stores and the next one runs."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus import cases, run_case
from martlet.dtypes import DType
from martlet.errors import ArgumentError, LimitError, ModelError, RunError
from martlet.graph import Graph, Model, Tensor
from martlet.model import load
from martlet.runtime import image_files, stored, storing
from martlet.runtime.image import host_image, host_targets
from martlet.runtime.interpreter import Interpreter, OpResolverType
from martlet.schema.writer import write
from models import counter, reshaping
from same import differences

if host_image() is None:
    pytest.skip("there is no kernel image for this processor", allow_module_level=True)

SAME = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
SHAPE = (1, 12, 12, 3)
IMAGE = os.environ.get("MARTLET_IMAGE") or str(image_files.cached(host_targets()[0]))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of our own, for files that were written just now."""
    monkeypatch.delenv("MARTLET_PLANS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(storing, "SETTLED", 0)
    return tmp_path / "martlet" / "plans"


def network(seed: int = 0, narrow: bool = False) -> bytes:
    """Two convolutions added to each other, and a product; `narrow` weights are float16."""
    rng = np.random.default_rng(seed)
    graph = Graph()

    def weights(*shape: int) -> int:
        array = rng.normal(size=shape).astype(np.float16 if narrow else np.float32)
        found = graph.constant(array, f"w{len(graph.tensors)}")
        if narrow:
            wide = [Tensor("wide", shape, DType.FLOAT32)]
            found = graph.add("DEQUANTIZE", [found], outputs=wide)
        return found

    def out(*shape: int) -> list[Tensor]:
        return [Tensor(f"t{len(graph.tensors)}", shape, DType.FLOAT32)]

    x = graph.input("x", SHAPE)
    bias = graph.constant(rng.normal(size=16).astype(np.float32), "bias")
    a, b = (
        graph.add(
            "CONV_2D",
            [x, weights(16, n, n, 3), bias],
            SAME,
            options_type="Conv2DOptions",
            outputs=out(1, 12, 12, 16),
        )
        for n in (1, 3)
    )
    y = graph.add("ADD", [a, b], outputs=out(1, 12, 12, 16))
    y = graph.add(
        "RESHAPE", [y, graph.constant(np.array([12, 192], np.int32))], outputs=out(12, 192)
    )
    y = graph.add("FULLY_CONNECTED", [y, weights(96, 192), -1], outputs=out(12, 96))
    graph.output(y, graph.add("TANH", [y], outputs=out(12, 96)))
    return bytes(write(Model([graph])))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The network, planned and stored for one thread."""
    path = tmp_path / "network.tflite"
    path.write_bytes(network())
    Interpreter(path).allocate_tensors()
    return path


def uses_stored(interpreter: Interpreter) -> bool:
    return interpreter._stored is not None


def values(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def run(interpreter: Interpreter, x: np.ndarray | None = None) -> list[np.ndarray]:
    """As programs do; the answers."""
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    interpreter.set_tensor(given["index"], values() if x is None else x)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def planned(model: Path | bytes, **options: Any) -> list[np.ndarray]:
    """The answers of a model that is planned anew."""
    content = model if isinstance(model, bytes) else model.read_bytes()
    return run(Interpreter(model_content=content, **options))


# What a stored plan computes --------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("narrow", [False, True])
def test_answers_are_the_same_to_the_bit(tmp_path: Path, threads: int, narrow: bool) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(network(narrow=narrow))
    first = Interpreter(path, num_threads=threads)
    assert not uses_stored(first)
    expected = run(first)
    del first
    gc.collect()
    second = Interpreter(path, num_threads=threads)
    assert uses_stored(second)
    for _ in range(2):
        assert differences(run(second), expected) == []
    assert differences(run(second, values(2)), planned(path)) != []
    assert uses_stored(second)


@pytest.mark.skipif(not cases(), reason="the corpus is not here")
def test_the_corpus_runs_from_stored_plans(cache: Path) -> None:
    runs = 0
    for case in cases():
        if case.part not in ("ops", "models"):
            continue
        before = len(list(cache.glob("*"))) if cache.exists() else 0
        assert run_case(case, reference=False) == []
        if cache.exists() and len(list(cache.glob("*"))) > before:
            assert uses_stored(Interpreter(case.path)), case
            assert run_case(case, reference=False) == [], case
            runs += 1
    assert runs > 20


def test_a_process_that_finds_one_plans_nothing(path: Path) -> None:
    text = f"""
import sys, numpy, martlet
interpreter = martlet.Interpreter({str(path)!r})
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], numpy.ones({SHAPE}, "f4"))
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[1]["index"]).tobytes().hex())
print(*sorted(m for m in sys.modules if m.startswith(("martlet.ops", "martlet.plan.lowering"))))
"""
    source = Path(stored.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(source), "MARTLET_IMAGE": IMAGE},
    )  # fmt: skip
    answer, modules = done.stdout.split("\n")[:2]
    assert modules == ""
    expected = run(Interpreter(model_content=path.read_bytes()), np.ones(SHAPE, np.float32))[1]
    assert answer == expected.tobytes().hex()


def test_several_share_their_weights_and_may_run_at_once(path: Path) -> None:
    interpreters = [Interpreter(path) for _ in range(4)]
    inputs = [values(seed) for seed in range(4)]
    expected = [run(Interpreter(model_content=path.read_bytes()), x) for x in inputs]
    answers: dict[int, list[np.ndarray]] = {}

    def work(number: int) -> None:
        for _ in range(20):
            answers[number] = run(interpreters[number], inputs[number])

    for interpreter in interpreters:
        interpreter.allocate_tensors()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(uses_stored(i) for i in interpreters)
    assert all(differences(answers[n], expected[n]) == [] for n in range(4))
    packed = [i._stored._held[0] for i in interpreters if i._stored]
    assert {id(array) for array in packed[0]} == {id(array) for array in packed[3]}


# What an Interpreter shows ----------------------------------------------------------------------


def test_details_are_the_same(path: Path) -> None:
    found, expected = Interpreter(path), Interpreter(model_content=path.read_bytes())
    for _ in range(2):
        assert differences(found.get_input_details(), expected.get_input_details()) == []
        assert differences(found.get_output_details(), expected.get_output_details()) == []
        types = [
            {k: getattr(v, "dtype", type(v)) for k, v in d.items()}
            for i in (found, expected)
            for d in i.get_input_details()
        ]
        assert types[0] == types[1]
        found.allocate_tensors()
        expected.allocate_tensors()
    assert uses_stored(found)


def test_whatever_else_is_asked_for_goes_on_with_the_values_there_are(path: Path) -> None:
    interpreter = Interpreter(path)
    answers = run(interpreter)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    assert uses_stored(interpreter)
    assert len(interpreter.get_tensor_details()) > 5
    assert not uses_stored(interpreter)
    assert differences([interpreter.get_tensor(d["index"]) for d in outputs], answers) == []
    assert differences(interpreter.get_tensor(inputs[0]["index"]), values()) == []
    interpreter.invoke()
    assert differences([interpreter.get_tensor(d["index"]) for d in outputs], answers) == []


def test_views_are_held_as_ever(path: Path) -> None:
    interpreter = Interpreter(path)
    run(interpreter)
    view = interpreter.tensor(interpreter.get_output_details()[0]["index"])()
    with pytest.raises(ArgumentError, match="reference to internal data"):
        interpreter.invoke()
    del view
    interpreter.invoke()


def test_another_shape_is_planned_and_not_stored(path: Path, cache: Path) -> None:
    interpreter = Interpreter(path)
    interpreter.resize_tensor_input(0, SHAPE)
    assert uses_stored(interpreter)
    interpreter.resize_tensor_input(0, (1, 24, 12, 3))
    assert not uses_stored(interpreter)
    before = {file: file.read_bytes() for file in cache.iterdir()}
    with pytest.raises(ModelError):
        interpreter.allocate_tensors()  # the RESHAPE says so
    assert {file: file.read_bytes() for file in cache.iterdir()} == before


def test_a_strict_resize_is_checked_as_ever(tmp_path: Path) -> None:
    """Against a signature that does not allow the very shape that the file has."""
    graph = Graph()
    x = graph.input("x", (2, 3))
    graph.tensors[x].signature = (2, 4)
    graph.output(graph.add("NEG", [x]))
    path = tmp_path / "m.tflite"
    path.write_bytes(bytes(write(Model([graph]))))
    Interpreter(path).allocate_tensors()
    interpreter = Interpreter(path)
    assert uses_stored(interpreter)
    with pytest.raises(ArgumentError, match="strict=True only allows"):
        interpreter.resize_tensor_input(0, (2, 3), strict=True)


def test_wrong_values_are_refused_as_ever(path: Path) -> None:
    interpreter = Interpreter(path)
    with pytest.raises(ArgumentError, match="not ready"):
        interpreter.invoke()
    interpreter = Interpreter(path)
    interpreter.allocate_tensors()
    with pytest.raises(ArgumentError, match="Dimension mismatch"):
        interpreter.set_tensor(0, np.zeros((1, 2, 3, 3), np.float32))
    with pytest.raises(ArgumentError, match="intermediate value"):
        interpreter.get_tensor(3)


# When there is none -----------------------------------------------------------------------------


def test_a_file_that_changed_is_planned_anew(path: Path) -> None:
    path.write_bytes(network(seed=2))
    interpreter = Interpreter(path)
    assert not uses_stored(interpreter)
    assert differences(run(interpreter), planned(path)) == []
    assert uses_stored(Interpreter(path))


def test_a_file_that_another_took_the_place_of(path: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.write_bytes(network(seed=3))
    new.rename(path)
    assert not uses_stored(Interpreter(path))
    assert differences(run(Interpreter(path)), planned(path)) == []


def test_a_file_that_changes_while_it_is_open(path: Path) -> None:
    interpreter = Interpreter(path)
    path.write_bytes(network(seed=2))
    os.utime(path, ns=(1, 1))
    with pytest.raises(ModelError, match="changed after it was opened"):
        interpreter.allocate_tensors()


def test_a_file_that_was_just_written_is_not_trusted(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "SETTLED", 60)
    path = tmp_path / "new.tflite"
    path.write_bytes(network())
    Interpreter(path).allocate_tensors()
    assert not cache.exists()


@pytest.mark.parametrize(
    "options",
    [
        {"num_threads": 2},
        {"time_limit": 100.0},
        {"experimental_preserve_all_tensors": True},
        {"experimental_op_resolver_type": OpResolverType.BUILTIN_REF},
        {"custom_ops": {"Mine": lambda x: x}},
        {"experimental_compress_quantization_zero_points": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_a_stored_plan_does_not_have(path: Path, options: dict[str, Any]) -> None:
    interpreter = Interpreter(path, **options)
    assert not uses_stored(interpreter)
    run(interpreter)


def test_nobody_wants_any(path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    for name, value in (("MARTLET_PLANS", "none"), ("MARTLET_DEBUG", "1")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert not uses_stored(Interpreter(path))
    for file in cache.iterdir():
        file.unlink()
    monkeypatch.setenv("MARTLET_PLANS", "none")
    Interpreter(path).allocate_tensors()
    assert not list(cache.iterdir())


def test_limits_are_kept(path: Path) -> None:
    assert uses_stored(Interpreter(path, memory_limit=1 << 20))
    with pytest.raises(LimitError, match="MARTLET_MEMORY_LIMIT"):
        Interpreter(path, memory_limit=1000).allocate_tensors()


def test_other_code_makes_another_plan(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "code_stamp", lambda: b"another version!")
    monkeypatch.setattr(storing, "code_stamp", lambda: b"another version!")
    assert not uses_stored(Interpreter(path))
    run(Interpreter(path))
    assert uses_stored(Interpreter(path))


def test_the_stamp_changes_with_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ops").mkdir()
    (tmp_path / "runtime").mkdir()
    monkeypatch.setattr(stored, "__file__", str(tmp_path / "runtime" / "stored.py"))
    stamp = stored.code_stamp.__wrapped__
    stamps = [stamp()]
    for text in ("1", "22"):
        (tmp_path / "ops" / "a.py").write_text(text)
        stamps.append(stamp())
    os.utime(tmp_path / "ops" / "a.py", ns=(5, 5))
    stamps.append(stamp())
    (tmp_path / "ops" / "a.py").rename(tmp_path / "ops" / "b.py")
    stamps.append(stamp())
    assert len(set(stamps)) == len(stamps)
    assert stamp() == stamps[-1]


def test_a_damaged_file_is_not_used(path: Path, cache: Path) -> None:
    (file,) = cache.iterdir()
    data = file.read_bytes()
    rng = np.random.default_rng(5)
    for at in [0, 9, 41, 57, 70, len(data) - 1, *rng.integers(0, len(data), 60)]:
        changed = bytearray(data)
        changed[at] ^= 1 + int(rng.integers(255))
        file.write_bytes(changed)
        assert not uses_stored(Interpreter(path)), at
    for size in (0, 7, 63, 64, 1000, len(data) - 1):
        file.write_bytes(data[:size])
        assert not uses_stored(Interpreter(path)), size
    run(Interpreter(path))  # writes it anew
    assert uses_stored(Interpreter(path))


def test_a_file_that_others_may_write_is_not_used(path: Path, cache: Path) -> None:
    (file,) = cache.iterdir()
    file.chmod(0o666)
    assert not uses_stored(Interpreter(path))
    file.chmod(0o600)
    cache.parent.chmod(0o777)
    assert not uses_stored(Interpreter(path))


def test_where_nothing_can_be_written_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(network())
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))
    run(Interpreter(path))
    assert not uses_stored(Interpreter(path))


def test_the_oldest_of_many_go(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "KEPT", 3)
    paths = [tmp_path / f"{n}.tflite" for n in range(5)]
    for n, path in enumerate(paths):
        path.write_bytes(network(n))
        Interpreter(path).allocate_tensors()
        for age, file in enumerate(sorted(cache.iterdir(), key=os.path.getmtime, reverse=True)):
            os.utime(file, (1000 - age, 1000 - age))
    assert [uses_stored(Interpreter(path)) for path in paths] == [False, False, True, True, True]


def one_operator(op: str, dtype: DType = DType.FLOAT32) -> bytes:
    graph = Graph()
    x = graph.input("x", (2, 3), dtype)
    graph.output(graph.add(op, [x], outputs=[Tensor("y", (2, 3), dtype)]))
    return bytes(write(Model([graph])))


def gathering() -> bytes:
    """Indices that a run may find at fault."""
    graph = Graph()
    x, at = graph.input("x", (4, 3)), graph.input("at", (2,), DType.INT32)
    graph.output(graph.add("GATHER", [x, at], outputs=[Tensor("y", (2, 3))]))
    return bytes(write(Model([graph])))


@pytest.mark.parametrize("dtype", [DType.INT32, DType.INT64])
def test_integers(tmp_path: Path, dtype: DType) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(one_operator("NEG", dtype))
    x = np.arange(-2, 4).reshape(2, 3).astype(dtype.numpy)
    run(Interpreter(path), x)
    interpreter = Interpreter(path)
    assert np.array_equal(run(interpreter, x)[0], -x)
    assert uses_stored(interpreter)
    with pytest.raises(ArgumentError, match="another type"):
        interpreter.set_tensor(0, x.astype(np.float32))


def test_an_index_out_of_range_is_named_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(gathering())
    x = np.arange(12, dtype=np.float32).reshape(4, 3)

    def gather(interpreter: Interpreter, *at: int) -> Any:
        interpreter.allocate_tensors()
        interpreter.set_tensor(0, x)
        interpreter.set_tensor(1, np.array(at, np.int32))
        interpreter.invoke()
        return interpreter.get_tensor(2)

    gather(Interpreter(path), 0, 1)
    interpreter = Interpreter(path)
    assert np.array_equal(gather(interpreter, 3, 1), x[[3, 1]])
    assert uses_stored(interpreter)
    with pytest.raises(RunError) as planned:
        gather(Interpreter(model_content=path.read_bytes()), 7, 1)
    with pytest.raises(RunError) as found:
        gather(interpreter, 7, 1)
    assert str(found.value) == str(planned.value).replace("<model>", path.name)
    assert np.array_equal(gather(interpreter, 2, 2), x[[2, 2]])


def test_functions_run_from_stored_plans(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(gathering())
    x, at = np.arange(12, dtype=np.float32).reshape(4, 3), [1, 3]
    first = load(path)
    assert np.array_equal(first(x, at), x[at])
    second = load(path)
    for _ in range(2):
        assert np.array_equal(second(x, at), x[at])
    assert uses_stored(second.interpreter)
    with pytest.raises(RunError, match=r"m\.tflite, .*GATHER"):
        second(x, [1, 4])
    assert np.array_equal(second(np.ones((4, 3)), [0, 0]), np.ones((2, 3)))
    assert np.array_equal(load(path)(x[:3], at[:1]), x[[1]])  # other shapes


@pytest.mark.parametrize("model", [counter(), reshaping()], ids=["state", "open shapes"])
def test_plans_that_are_not_stored(tmp_path: Path, cache: Path, model: bytes) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(model)
    interpreter = Interpreter(path)
    interpreter.allocate_tensors()
    assert not cache.exists()

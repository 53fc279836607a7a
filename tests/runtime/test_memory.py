"""The memory of native plans: nothing overlaps, and debug mode sees who writes elsewhere."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import martlet
from martlet.dtypes import DType
from martlet.graph import Graph, Model
from martlet.ops.operator import Spec
from martlet.plan import lowering
from martlet.plan.lowering import Lowering
from martlet.runtime import memory
from martlet.runtime.image import host_image
from martlet.runtime.native import NativePlan
from martlet.runtime.session import Session

DIGITS = Path(__file__).parents[2] / "examples/digits/digits_float.tflite"

pytestmark = pytest.mark.skipif(
    host_image() is None, reason="there is no kernel image for this processor"
)


@pytest.fixture
def debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARTLET_DEBUG", "1")


def negated() -> tuple[Session, np.ndarray]:
    graph = Graph()
    graph.output(graph.add("NEG", [graph.input("x", (3, 5))]))
    return Session(Model([graph], source="m")), np.ones((3, 5), np.float32)


def run(session: Session, x: np.ndarray) -> tuple[np.ndarray, NativePlan]:
    plan = session.plan(0, [Spec(DType.FLOAT32, x.shape)])
    native = session.native(plan)
    assert native is not None
    return session.run(plan, [x])[0], native


def test_debug_mode_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    for value in ("0", "1"):
        monkeypatch.setenv("MARTLET_DEBUG", value)
        interpreter = martlet.Interpreter(str(DIGITS))
        interpreter.allocate_tensors()
        (detail,) = interpreter.get_input_details()
        x = np.random.default_rng(0).normal(size=detail["shape"]).astype(np.float32)
        interpreter.set_tensor(detail["index"], x)
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    np.testing.assert_array_equal(*answers)


def change_neg(monkeypatch: pytest.MonkeyPatch, change: Callable[[Lowering], None]) -> None:
    """Let the lowering of NEG do something else to its steps."""
    original = lowering.registered()["NEG"]

    def changed(work: Lowering) -> bool:
        done = original(work)
        change(work)
        return done

    monkeypatch.setitem(lowering._LOWER, "NEG", changed)


@pytest.mark.parametrize("offset", [-4, 60])
def test_a_write_beside_a_tensor_is_reported(
    monkeypatch: pytest.MonkeyPatch, debugging: None, offset: int
) -> None:
    def shift(work: Lowering) -> None:
        (step,) = work.steps
        target = work.output(0)
        moved = [target.at(offset) if a == target else a for a in step.arguments]
        work.steps[:] = [step._replace(arguments=moved)]

    change_neg(monkeypatch, shift)
    session, x = negated()
    with pytest.raises(AssertionError, match=r"neg_f32, of nodes \(0,\), wrote .* 'neg_0'"):
        run(session, x)


def test_memory_that_was_not_written_holds_no_numbers(
    monkeypatch: pytest.MonkeyPatch, debugging: None
) -> None:
    change_neg(monkeypatch, lambda work: work.steps.clear())
    session, x = negated()
    assert np.isnan(run(session, x)[0]).all()


def test_places_that_overlap_are_refused(monkeypatch: pytest.MonkeyPatch, debugging: None) -> None:
    monkeypatch.setattr(memory, "place", lambda lives: ([0] * len(lives), 256))
    session, x = negated()
    with pytest.raises(AssertionError, match="tensor 0 'x'"):
        run(session, x)


def test_the_arena_lies_between_guard_pages() -> None:
    code = """
import ctypes, sys
from martlet.runtime.memory import _guarded
arena = _guarded(100)
assert arena.size == 100 and (arena == 255).all()
arena[:] = 0
ctypes.memset(arena.ctypes.data + int(sys.argv[1]), 0, 1)
"""
    for place, status in (("99", 0), ("100", -signal.SIGSEGV), ("-4097", -signal.SIGSEGV)):
        done = subprocess.run([sys.executable, "-c", code, place], check=False)
        assert done.returncode == status, place


def test_without_debug_mode_memory_is_shared() -> None:
    graph = Graph()
    x = graph.input("x", (64, 64))
    for _ in range(12):
        x = graph.add("SOFTMAX", [x], {"beta": 1.0})
    graph.output(x)
    model = Model([graph], source="m")
    plan = Session(model).plan(0, [Spec(DType.FLOAT32, (64, 64))])
    shared = Session(model).native(plan)
    apart = Session(model, threads=1)
    apart._debug = True
    separate = apart.native(plan)
    assert shared is not None
    assert separate is not None
    assert shared.arena_bytes < separate.arena_bytes / 3

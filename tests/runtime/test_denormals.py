"""Denormal numbers are 0 while a plan runs, and what they are for the caller before and after."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from emulated import can_emulate, guest
from martlet.graph import Graph, Model
from martlet.kernels.executor import entry_points
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, Builder, Pointer, Value, arguments
from martlet.kernels.slots import BLOCK, COUNT, KERNEL, SLOTS, STEPS, UNITS
from martlet.kernels.targets import TARGETS, Target
from martlet.ops.operator import Spec
from martlet.runtime.image import host_image
from martlet.runtime.session import Session

native = pytest.mark.skipif(
    host_image() is None, reason="there is no kernel image for this processor"
)
TINY = np.float32(1e-39)  # below the normal numbers
LEAST = np.finfo(np.float32).tiny
UNITS_THERE = 4


def decaying(tensors: int = 1) -> Graph:
    """y = x / 2 + (a denormal number)."""
    graph = Graph()
    x = graph.input("x", (tensors, 64))
    half = graph.add("MUL", [x, graph.constant(np.float32(0.5))], options_type="MulOptions")
    graph.output(
        graph.add("ADD", [half, graph.constant(np.array(TINY))], options_type="AddOptions")
    )
    return graph


@native
@pytest.mark.parametrize("threads", [1, 2])
def test_a_decaying_stream_ends_at_zero(threads: int) -> None:
    graph = decaying(256)
    session = Session(Model([graph]), threads=threads)
    state = np.full((256, 64), 1e-30, np.float32)
    plan = session.plan(0, [Spec(graph.tensors[0].dtype, state.shape)])
    for _ in range(200):
        state = session.run(plan, [state])[0].copy()
        assert not np.any((state != 0) & (np.abs(state) < LEAST))
    assert not state.any()


@native
@pytest.mark.parametrize("threads", [1, 2])
def test_the_caller_computes_as_before(threads: int) -> None:
    graph = decaying()
    session = Session(Model([graph]), threads=threads)
    values = np.full((1, 64), TINY)
    session.run(session.plan(0, [Spec(graph.tensors[0].dtype, values.shape)]), [values])
    assert np.all(values / 2 > 0)
    assert np.all(values + values > values)


@native
def test_the_callers_rounding_is_untouched_and_not_used() -> None:
    graph = decaying()
    session = Session(Model([graph]))
    values = np.full((1, 64), 1 / 3, np.float32)
    plan = session.plan(0, [Spec(graph.tensors[0].dtype, values.shape)])
    expected = session.run(plan, [values])[0].copy()
    libm = ctypes.CDLL("libm.so.6")
    before = libm.fegetround()
    upwards = 0x400000 if host_machine() == "aarch64" else 0x800
    try:
        assert libm.fesetround(upwards) == 0
        found = session.run(plan, [values])[0].copy()
        assert libm.fegetround() == upwards
    finally:
        libm.fesetround(before)
    np.testing.assert_array_equal(found, expected)


def host_machine() -> str:
    image = host_image()
    assert image is not None
    return TARGETS[image.image.target].machine


# On another processor ---------------------------------------------------------------------------


def _halve(k: Builder, x: Pointer, y: Pointer, first: Value, last: Value) -> None:
    for i in k.range(first, last):
        k.store(y, i, k.load(x, i, lanes=0) * k.constant(0.5, F32))


HALVE = Kernel("halve", _halve, arguments("x: *float", "y: *float"))


EMULATED = [target for target in TARGETS.values() if can_emulate(target)]


@pytest.mark.parametrize("target", EMULATED, ids=lambda t: t.name)
def test_run_alone_sets_the_control_word_for_its_kernels_alone(target: Target) -> None:
    there = guest(target)
    run_alone = there.function(entry_points()[0], target)  # type: ignore[arg-type]
    halve = there.function(HALVE, target)
    with there.memory(4096) as base:
        pool, step, block, x, y = (base + 512 * i for i in range(5))
        there.fill(x, np.full(UNITS_THERE, TINY).tobytes())
        slots = np.zeros(SLOTS, np.int64)
        slots[[STEPS, COUNT]] = step, 1
        there.fill(pool, slots.tobytes())
        slots[:] = 0
        slots[[KERNEL, BLOCK, UNITS]] = halve, block, UNITS_THERE
        there.fill(step, slots.tobytes())
        there.fill(block, np.array([x, y], np.int64).tobytes())

        def halved() -> np.ndarray:
            return np.frombuffer(there.fetch(y, 4 * UNITS_THERE), np.float32)

        there.call(halve, block, (0, UNITS_THERE))
        assert np.all(halved() == TINY / 2)
        there.call(run_alone, pool, (0, 0))
        assert np.all(halved() == 0)
        there.call(halve, block, (0, UNITS_THERE))
        assert np.all(halved() == TINY / 2)

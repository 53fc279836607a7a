"""Steps that run beside each other: none of them touches what another one writes."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from martlet.kernels.slots import BESIDE
from martlet.plan.lowering import Ref
from martlet.plan.order import Span, Touched, beside, rows
from martlet.runtime import native as runtime
from martlet.runtime.image import host_image
from martlet.runtime.memory import Pairs
from martlet.runtime.native import NativePlan
from martlet.runtime.session import Session
from random_networks import draw_model, specs_of

on_kernels = pytest.mark.skipif(
    host_image() is None, reason="there is no kernel image for this processor"
)
RUNS = int(os.environ.get("MARTLET_ORDER_RUNS", "30"))
A, B, C, D, E = (Span(n, n + 100) for n in range(0, 500, 100))

# By hand ----------------------------------------------------------------------------------------


def step(*reads: Span, to: Span) -> Touched:
    return Touched(list(reads), [to])


def test_a_chain_waits_for_every_step() -> None:
    assert beside([step(A, to=B), step(B, to=C), step(C, to=A)]) == [0, 0, 0]


def test_branches_run_beside_each_other_until_they_meet() -> None:
    branches = [step(A, to=B), step(A, to=C), step(A, to=D), step(B, C, D, to=E)]
    assert beside(branches) == [0, 1, 2, 0]


def test_a_step_waits_for_the_last_that_it_conflicts_with_and_all_before() -> None:
    assert beside([step(A, to=B), step(A, to=C), step(B, to=D), step(B, to=E)]) == [0, 1, 1, 2]


def test_later_steps_wait_for_what_earlier_ones_waited_for() -> None:
    assert beside([step(A, to=B), step(B, to=C), step(A, to=D)]) == [0, 0, 1]


def test_memory_that_is_used_again_is_waited_for() -> None:
    assert beside([step(A, to=B), step(C, to=A)]) == [0, 0]
    assert beside([step(A, to=B), step(C, to=B)]) == [0, 0]
    assert beside([step(A, to=B), step(A, to=C)]) == [0, 1]


def test_bytes_count_not_places() -> None:
    assert beside([step(A, to=Span(200, 260)), step(Span(259, 300), to=D)]) == [0, 0]
    assert beside([step(A, to=Span(200, 260)), step(Span(260, 300), to=D)]) == [0, 1]


@pytest.mark.parametrize(
    ("column", "row", "free"),
    [(0, 16, 1), (32, 32, 1), (12, 8, 0), (28, 8, 0), (20, 4, 0), (48, 32, 1), (48, 40, 0)],
)
def test_columns_of_one_whole_are_apart(column: int, row: int, free: int) -> None:
    """Columns 16 to 32 of lines of 64 bytes, and others, the last of which reach the next line."""
    some, others = (rows(512 + at, n * 5, 64, n) for at, n in ((16, 16), (column, row)))
    assert beside([step(A, to=some), step(A, to=others)]) == [0, free]
    assert beside([step(A, to=others), step(A, to=some)]) == [0, free]


def test_other_pitches_are_compared_by_their_ends() -> None:
    left = rows(512, 16 * 5, 64, 16)
    assert left.stop == 512 + 4 * 64 + 16
    assert beside([step(A, to=left), step(A, to=rows(528, 16 * 5, 32, 16))]) == [0, 0]
    assert beside([step(A, to=left), step(left, to=Span(left.stop, 900))]) == [0, 0]
    assert beside([step(A, to=left), step(A, to=Span(left.stop, 900))]) == [0, 1]


# Of networks ------------------------------------------------------------------------------------


class Laid(NamedTuple):
    """A native plan, and what it was made of."""

    native: NativePlan
    pairs: Pairs

    def touched(self) -> list[tuple[set[int], set[int]]]:
        """The addresses of bytes that each step may read and may write: those of all tensors and
        all scratch of its work, byte by byte."""
        found = []
        memory = self.native._memory
        base = memory.arena.ctypes.data
        for (work, lowering), scratch in zip(self.pairs, memory.scratch, strict=True):
            for step in lowering.steps if lowering is not None else []:
                reads, writes = set(), set()
                given = {
                    a.index for a in step.arguments if isinstance(a, Ref) and a.kind == "tensor"
                }
                for i in given & set(work.inputs):
                    reads |= addresses(self.native.views[i])
                for i in given & set(work.outputs):
                    writes |= addresses(self.native.views[i])
                assert given <= {*work.inputs, *work.outputs}
                for a in step.arguments:
                    if isinstance(a, Ref) and a.kind == "scratch":
                        start = base + scratch[a.index]
                        writes.update(range(start, start + lowering.scratch_bytes[a.index]))
                found.append((reads, writes))
        return found


def addresses(array: np.ndarray) -> set[int]:
    """Of all bytes of an array."""
    places = np.array([array.__array_interface__["data"][0]])
    for n, stride in zip(array.shape, array.strides, strict=True):
        places = np.add.outer(places, stride * np.arange(n)).ravel()
    return set(np.add.outer(places, np.arange(array.itemsize)).ravel().tolist())


def lay(data: st.DataObject, threads: int) -> tuple[Laid, Session, list[np.ndarray]]:
    """A random network, planned for so many threads."""
    model, inputs = draw_model(data, most=20)
    session = Session(model, threads=threads)
    plan = session.plan(0, specs_of(inputs))
    seen: list[Pairs] = []
    lay_out = runtime.lay_out
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            runtime,
            "lay_out",
            lambda p, pairs, *rest: seen.append(pairs) or lay_out(p, pairs, *rest),
        )
        native = session.native(plan)
    assert native is not None
    return Laid(native, seen[0]), session, inputs


@on_kernels
@settings(max_examples=RUNS, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_byte_is_written_by_one_and_touched_by_another(data: st.DataObject) -> None:
    laid, _, _ = lay(data, 2)
    touched = laid.touched()
    ahead = laid.native.records[: len(touched), BESIDE]
    for i, (reads, writes) in enumerate(touched):
        for j in range(i - ahead[i], i):
            others_reads, others_writes = touched[j]
            assert not writes & others_reads
            assert not writes & others_writes
            assert not reads & others_writes


@on_kernels
@settings(max_examples=RUNS, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_order_that_waits_as_told_gives_the_same(data: st.DataObject) -> None:
    laid, session, inputs = lay(data, 2)
    native = laid.native
    expected = [a.copy() for a in session.run(native.plan, inputs)]
    run, first, ahead = native.pool.run, native.records.ctypes.data, native.records[:, BESIDE]

    def run_in_any_order(steps: np.ndarray, begin: int, count: int) -> None:
        """One by one, now and then a late one as soon as it may."""
        assert steps.ctypes.data == first
        left = list(range(begin, begin + count))
        while left:
            able = [i for i in left if left[0] >= i - ahead[i]]
            i = data.draw(st.sampled_from(able))
            run(steps, i, 1)
            left.remove(i)

    native.pool.run = run_in_any_order  # type: ignore[method-assign]
    for a, b in zip(session.run(native.plan, inputs), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@on_kernels
@settings(max_examples=RUNS, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_many_runs_of_many_threads_give_the_same_to_the_bit(data: st.DataObject) -> None:
    model, inputs = draw_model(data, most=20)
    specs = specs_of(inputs)
    alone = Session(model)
    expected = [a.copy() for a in alone.run(alone.plan(0, specs), inputs)]
    for threads in (2, 3, 4):
        session = Session(model, threads=threads)
        plan = session.plan(0, specs)
        for _ in range(30):
            for a, b in zip(session.run(plan, inputs), expected, strict=True):
                assert a.tobytes() == b.tobytes()

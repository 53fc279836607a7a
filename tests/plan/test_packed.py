"""Packed weights: one array for all plans of a file, none for what only looks the same."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

import martlet
from martlet.plan.packed import Job, Packing, Piece, packed
from martlet.runtime.image import host_image
from martlet.schema.file import File, forget, place_of

DIGITS = Path(__file__).parents[2] / "examples/digits/digits_float.tflite"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "weights"
    found.write_bytes(np.arange(1 << 16, dtype=np.float32).tobytes())
    return found


def weights(path: Path) -> np.ndarray:
    return np.frombuffer(File(path).data, np.float32)[8:].reshape(-1, 8)


def test_the_same_part_of_a_file_is_packed_once(path: Path) -> None:
    made = []

    def make() -> np.ndarray:
        made.append(1)
        return np.ones(3)

    first = packed(weights(path), "a", make)
    assert packed(weights(path), "a", make) is first
    assert packed(weights(path), "b", make) is not first
    assert packed(weights(path)[1:], "a", make) is not first
    assert packed(weights(path).T, "a", make) is not first
    assert len(made) == 4
    del first
    gc.collect()
    packed(weights(path), "a", make)
    assert len(made) == 5


def test_a_file_that_was_replaced_is_another(path: Path) -> None:
    first = packed(weights(path), "a", lambda: np.ones(3))
    new = path.with_suffix(".new")
    new.write_bytes(path.read_bytes())
    os.utime(new, ns=(1, 1))
    new.rename(path)
    assert packed(weights(path), "a", lambda: np.ones(3)) is not first


def test_arrays_of_no_file_are_packed_for_each_plan() -> None:
    values = np.ones((4, 8), np.float32)
    first = packed(values, "a", lambda: np.ones(3))
    assert packed(values, "a", lambda: np.ones(3)) is not first
    assert place_of(values) is None


def test_what_kernels_pack_is_there_for_other_plans_when_it_is_published(path: Path) -> None:
    begun: list[Job] = []
    first, second = Packing(begun.append), Packing()

    def packed_by(packing: Packing) -> np.ndarray:
        return packing.packed(weights(path), 8, "pack", 1, 2, size=7, units=3)

    array = packed_by(first)
    assert packed_by(first) is array
    assert packed_by(second) is not array
    (job,) = begun
    assert (job.kernel, job.target is array, job.numbers, job.units) == (
        "pack_f32",
        True,
        (1, 2),
        3,
    )
    assert array.shape == (7,)
    first.publish()
    assert packed_by(Packing()) is array
    del array, job, begun[:], first, second
    gc.collect()
    assert Packing().packed(weights(path), 8, "pack", size=7, units=3).size == 7
    assert packed_by(third := Packing()).size == 7
    assert third.jobs  # nobody held the array any more


def test_joined_weights_are_shared_if_all_are_of_files(path: Path) -> None:
    begun: list[Job] = []

    def joined(packing: Packing, *parts: np.ndarray) -> np.ndarray:
        pieces = [Piece(part, "pack", (n,), 3, 4 * n, 4 * n + 4) for n, part in enumerate(parts)]
        return packing.joined(pieces, "a", 8)

    first, own = Packing(begun.append), np.ones((2, 2), np.float16)
    array = joined(first, weights(path), weights(path)[1:])
    assert joined(first, weights(path), weights(path)[1:]) is array
    assert joined(first, weights(path)[1:], weights(path)) is not array
    assert [job.numbers for job in begun[:2]] == [(0,), (1,)]
    assert [job.target.shape for job in begun[:2]] == [(4,), (4,)]
    assert all(np.shares_memory(job.target, array) for job in begun[:2])
    mixed = joined(first, weights(path), own)
    assert begun[-1].kernel == "pack_f16"
    first.publish()
    second = Packing()
    assert joined(second, weights(path), weights(path)[1:]) is array
    assert joined(second, weights(path), own) is not mixed
    assert len(second.jobs) == 2


def test_float16_is_packed_by_kernels_of_its_own() -> None:
    packing = Packing()
    packing.packed(np.ones((2, 2), np.float16), 8, "pack", size=4, units=1)
    assert packing.jobs[0].kernel == "pack_f16"


def test_forgotten_pages_come_back(path: Path) -> None:
    values = weights(path)
    before = values.copy()
    forget(values)
    np.testing.assert_array_equal(values, before)
    own = np.ones(1 << 16)
    forget(values[::2, 3:5])
    np.testing.assert_array_equal(values, before)
    forget(own)  # of no file: stays
    assert own.all()


def test_interpreters_of_a_file_share_their_weights() -> None:
    if host_image() is None:
        pytest.skip("there is no kernel image for this processor")

    def constants() -> list[np.ndarray]:
        interpreter = martlet.Interpreter(str(DIGITS))
        interpreter.allocate_tensors()
        session = interpreter._session
        (native,) = session._native.values()
        kept.append(interpreter)
        return [array for array in native.constants if array.nbytes > 1024]

    kept: list[martlet.Interpreter] = []
    first, second = constants(), constants()
    assert first
    assert any(a is b for a in first for b in second)

"""Jobs in the background: all done when `finish` returns, with threads and without."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from martlet.plan.packed import Job
from martlet.runtime.background import MUCH, Background
from martlet.runtime.image import LoadedImage, host_image
from martlet.schema.file import File


@pytest.fixture
def image() -> LoadedImage:
    image = host_image()
    if image is None:
        pytest.skip("there is no kernel image for this processor")
    return image


def copy_job(weights: np.ndarray) -> Job:
    """A job whose result is the weights: columns of dot products stay as they are."""
    columns, depth = weights.shape
    target = np.full((columns, depth), np.nan, np.float32)
    numbers = columns, depth, depth, 0, 1, 0, depth, 1
    return Job("pack_dots_f32", weights, target, numbers, columns)


def jobs(count: int, columns: int, depth: int) -> list[Job]:
    random = np.random.default_rng(count)
    return [copy_job(random.random((columns, depth), np.float32)) for _ in range(count)]


def check(image: LoadedImage, jobs: list[Job]) -> list[str]:
    """Do them; returns the names of the threads that were there before the end."""
    background = Background(image)
    for job in jobs:
        background.do(job)
    names = [thread.name for thread in background._threads]
    background.finish()
    assert not background._threads
    for job in jobs:
        np.testing.assert_array_equal(job.target, job.weights)
    return names


def test_nothing_to_do(image: LoadedImage) -> None:
    check(image, [])
    check(image, jobs(2, 0, 4))


def test_little_is_done_without_threads(image: LoadedImage) -> None:
    assert not check(image, jobs(20, 3, 5))


@pytest.mark.parametrize("count", [1, 2, 7, 200])
def test_much_is_done_by_threads(
    count: int, image: LoadedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    assert len(check(image, jobs(count, max(1, 4 * MUCH // 400 // count), 100))) == min(3, count)


def test_one_processor_needs_no_threads(
    image: LoadedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert not check(image, jobs(4, 1000, 1000))


def test_a_system_without_threads(image: LoadedImage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    assert not check(image, jobs(4, 1000, 1000))


def test_denormal_weights_stay(image: LoadedImage) -> None:
    check(image, [copy_job(np.full((3, 9), 1e-40, np.float32))])


def test_pages_of_the_file_are_given_back(image: LoadedImage, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(np.arange(1 << 20, dtype=np.float32).tobytes())
    file = File(path)
    weights = np.frombuffer(file.data, np.float32).reshape(-1, 64)

    def resident() -> int:
        """KiB of the file that are in this process."""
        lines = iter(Path("/proc/self/smaps").read_text().splitlines())
        for line in lines:
            if line.endswith(str(path)):
                return next(int(row.split()[1]) for row in lines if row.startswith("Rss:"))
        raise AssertionError("the file is not mapped")

    check_sum = float(weights.sum(dtype=np.float64))
    assert resident() >= 4096
    background = Background(image)
    job = copy_job(weights)
    background.do(job)
    background.finish()
    assert resident() <= 8
    assert float(job.target.sum(dtype=np.float64)) == check_sum

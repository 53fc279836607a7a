"""Threads that share steps: the same results whatever happens around them, and no trace of them.

What ends a process is tried in processes of their own.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from martlet.kernels.slots import GRAIN
from martlet.runtime.image import LoadedImage
from martlet.runtime.threads import Pool
from steps import Steps, build_image

HERE = Path(__file__).parent
DURATIONS = {"5us": 50, "50us": 500, "500us": 5000}  # rounds of 64 units, about


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("threads") / "steps.image"
    build_image(path)
    return path


@pytest.fixture(scope="module")
def image(path: Path) -> LoadedImage:
    return LoadedImage(path)


@pytest.fixture
def busy() -> Iterator[None]:
    """A process that keeps a processor busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield
    process.kill()
    process.wait()


def workers() -> int:
    return sum(thread.name == "martlet" for thread in threading.enumerate())


def settles(count: int) -> bool:
    """Whether no more than so many workers are left soon."""
    for _ in range(500):
        if workers() <= count:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture(autouse=True)
def _nobody_leaves() -> None:
    """Workers of pools that other tests left behind end before the counting begins."""
    gc.collect()
    last = -1
    while workers() != last:
        last = workers()
        time.sleep(0.2)


def run(pool: Pool, steps: Steps, seed: int = 0) -> bool:
    steps.start(seed)
    pool.run(steps.records, 0, steps.count)
    return steps.right()


# Results ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("rounds", DURATIONS.values(), ids=DURATIONS)
def test_a_hundred_steps_give_the_same_to_the_bit(
    image: LoadedImage, rounds: int, threads: int
) -> None:
    pool, steps = Pool(image, threads), Steps(image, 100, rounds)
    assert all(run(pool, steps, seed) for seed in range(5))
    pool.close()


@pytest.mark.parametrize("chains", [2, 3, 7])
@pytest.mark.parametrize("threads", [2, 3, 8])
def test_steps_that_run_beside_each_other(image: LoadedImage, threads: int, chains: int) -> None:
    pool, steps = Pool(image, threads), Steps(image, 40, 30, chains)
    for seed in range(100):
        steps.records[:, GRAIN] = 1 + seed % 40  # some threads find nothing to do
        assert run(pool, steps, seed)
    pool.close()


def test_a_call_waits_for_none_of_the_steps_before_its_first(image: LoadedImage) -> None:
    pool, steps = Pool(image, 2), Steps(image, 12, 30, chains=5)
    steps.start(0)
    for first in range(0, 12, 3):
        pool.run(steps.records, first, 3)
    assert steps.right()
    pool.close()


@pytest.mark.parametrize("rounds", DURATIONS.values(), ids=DURATIONS)
def test_beside_a_busy_process(image: LoadedImage, rounds: int, busy: None) -> None:
    pool, steps = Pool(image, 2), Steps(image, 100, rounds)
    assert all(run(pool, steps, seed) for seed in range(5))
    pool.close()


def test_a_thousand_runs_without_a_pause(image: LoadedImage) -> None:
    """Workers of one run are still leaving while the next begins."""
    pool, steps = Pool(image, 3), Steps(image, 3, 1)
    assert all(run(pool, steps, seed) for seed in range(1000))
    pool.close()


def test_runs_after_workers_fell_asleep(image: LoadedImage) -> None:
    pool, steps = Pool(image, 3), Steps(image, 10, 300)
    for seed in range(20):
        time.sleep(0.005)
        assert run(pool, steps, seed)
    pool.close()


def test_part_of_the_steps(image: LoadedImage) -> None:
    pool, steps = Pool(image, 2), Steps(image, 10, 30)
    steps.start(0)
    for first in range(0, 10, 2):
        pool.run(steps.records, first, 2)
    assert steps.right()
    pool.run(steps.records, 0, 0)
    pool.close()


def test_steps_of_fewer_units_than_threads(image: LoadedImage) -> None:
    pool, steps = Pool(image, 8), Steps(image, 20, 3)
    steps.records[:, GRAIN] = 1000  # one piece each
    assert run(pool, steps)
    pool.close()


def test_a_system_that_gives_no_threads(
    image: LoadedImage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    pool, steps = Pool(image, 4), Steps(image, 10, 30)
    assert run(pool, steps)
    assert run(pool, steps)
    assert caplog.messages == ["can't start new thread: 1 threads compute"]
    pool.close()


# Many at once -----------------------------------------------------------------------------------


def test_fifty_pools_at_once(image: LoadedImage) -> None:
    pools = [(Pool(image, 3), Steps(image, 20, 30)) for _ in range(50)]
    assert all(run(pool, steps) for pool, steps in pools)
    mine = [worker for pool, _ in pools for worker in pool._workers]
    assert len(mine) == 100
    results: list[bool] = []

    def use(some: list[tuple[Pool, Steps]]) -> None:
        results.extend(run(pool, steps, seed) for seed in range(5) for pool, steps in some)

    users = [threading.Thread(target=use, args=(pools[i::4],)) for i in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert results == [True] * 250
    for pool, _ in pools:
        pool.close()
    assert not any(worker.is_alive() for worker in mine)


def test_one_pool_used_by_several_threads(image: LoadedImage) -> None:
    """One run waits for the other."""
    pool = Pool(image, 2)
    results: list[bool] = []

    def use() -> None:
        steps = Steps(image, 20, 30)
        results.extend(run(pool, steps, seed) for seed in range(50))

    users = [threading.Thread(target=use) for _ in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert results == [True] * 200
    pool.close()


# Workers come and go ----------------------------------------------------------------------------


def test_workers_start_with_the_first_run(image: LoadedImage) -> None:
    before = workers()
    pool = Pool(image, 4)
    assert workers() == before
    assert run(pool, Steps(image, 1, 1))
    assert workers() == before + 3
    pool.close()


def test_one_thread_starts_nobody(image: LoadedImage) -> None:
    before = workers()
    assert run(Pool(image, 1), Steps(image, 1, 1))
    assert workers() == before


def test_a_closed_pool_has_no_threads_and_starts_them_again(image: LoadedImage) -> None:
    before = workers()
    pool, steps = Pool(image, 3), Steps(image, 10, 30)
    for _ in range(3):
        assert run(pool, steps)
        assert workers() == before + 2
        pool.close()
        assert settles(before)
    pool.close()


def test_collected_pools_end_their_threads(image: LoadedImage) -> None:
    before = workers()
    pools = [Pool(image, 3) for _ in range(10)]
    assert all(run(pool, Steps(image, 1, 1)) for pool in pools)
    del pools
    gc.collect()
    assert settles(before)


def test_idle_workers_use_no_processor(image: LoadedImage) -> None:
    pool, steps = Pool(image, 5), Steps(image, 10, 30)
    assert run(pool, steps)
    time.sleep(0.1)
    start = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - start < 0.05  # four spinning workers would take a second
    pool.close()


# What ends a process ----------------------------------------------------------------------------


def script(path: Path, text: str) -> subprocess.Popen[str]:
    """A process with a pool that has run, which then does what the text says."""
    head = f"""
import os, signal, sys, threading, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let background jobs ignore it
sys.path.insert(0, {str(HERE)!r})
from steps import Steps
from martlet.runtime.image import LoadedImage
from martlet.runtime.threads import Pool
image = LoadedImage(Path({str(path)!r}))
pool, steps = Pool(image, 3), Steps(image, 20, 300)
def run():
    steps.start(0)
    pool.run(steps.records, 0, steps.count)
    return steps.right()
assert run()
"""
    return subprocess.Popen(
        [sys.executable, "-c", head + text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """(exit status, what it printed, what it complained)."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_the_end_of_the_program(path: Path) -> None:
    assert outcome(script(path, "print('end')")) == (0, "end\n", "")


def test_exit_with_a_status(path: Path) -> None:
    assert outcome(script(path, "sys.exit(7)")) == (7, "", "")


def test_exit_from_within_a_forgotten_thread(path: Path) -> None:
    """A daemon thread is in a run while the program ends."""
    text = """
def forever():
    while True: run()
threading.Thread(target=forever, daemon=True).start()
time.sleep(0.05)
"""
    assert outcome(script(path, text)) == (0, "", "")


def test_an_exception(path: Path) -> None:
    status, _, complaint = outcome(script(path, "raise OSError('of the program')"))
    assert status == 1
    assert complaint.endswith("OSError: of the program\n")


def test_ctrl_c_ends_the_program(path: Path) -> None:
    process = script(path, "print('running', flush=True)\nwhile True: run()")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    status, _, complaint = outcome(process)
    assert status == -signal.SIGINT
    assert complaint.endswith("KeyboardInterrupt\n")


def test_after_ctrl_c_the_pool_runs_again(path: Path) -> None:
    text = """
for _ in range(20):
    try:
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
        while True: run()
    except KeyboardInterrupt:
        pass
    assert run()
print('well')
"""
    assert outcome(script(path, text)) == (0, "well\n", "")


FORK = """
def child(action):
    pid = os.fork()
    if not pid:
        action()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def test_a_child_of_fork_makes_threads_of_its_own(path: Path) -> None:
    text = """
def use():
    good = run() and threading.active_count() == 3
    pool.close()
    os._exit(5 if good and threading.active_count() == 1 else 1)
print([child(use) for _ in range(5)], run())
"""
    assert outcome(script(path, FORK + text))[:2] == (0, "[5, 5, 5, 5, 5] True\n")


def test_a_child_of_fork_has_all_slots_free(path: Path) -> None:
    """Another thread of the parent may be in a kernel that holds one."""
    text = """
pool.slots[8] = 1
print(child(lambda: os._exit(int(pool.slots.any()))), pool.slots.sum())
"""
    assert outcome(script(path, FORK + text))[:2] == (0, "0 1\n")


def test_a_child_of_fork_that_ends_as_programs_do(path: Path) -> None:
    text = "print(child(lambda: run() and sys.exit(6)), child(lambda: sys.exit(7)), run())"
    assert outcome(script(path, FORK + text))[:2] == (0, "6 7 True\n")


def test_fork_amid_a_run_of_another_thread(path: Path) -> None:
    text = """
done = []
def forever():
    while not done: run()
user = threading.Thread(target=forever)
user.start()
def use():
    mine = Steps(image, 5, 30)
    mine.start(1)
    pool.run(mine.records, 0, 5)
    os._exit(5 if mine.right() else 1)
print([child(use) for _ in range(10)])
done.append(True)
user.join()
print(run())
"""
    assert outcome(script(path, FORK + text))[:2] == (0, f"{[5] * 10}\nTrue\n")

"""How much faster two threads run a plan of a hundred short steps than one does.

    python benchmarks/threads.py [--threads 2] [--steps 100] [--repeat 400] [--json]

The steps compute nothing but take 5, 50 and 500 microseconds on one thread, over 64 units. Runs
with one thread and with several take turns, alone and beside a process that keeps one processor
busy; what counts is the fastest of all repetitions (and the median, where others disturb).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from martlet.kernels.builder import build
from martlet.kernels.executor import entry_points
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import I64, Builder, Pointer, Value, arguments
from martlet.kernels.slots import BLOCK, GRAIN, KERNEL, SLOTS, UNITS
from martlet.runtime.image import LoadedImage, host_targets
from martlet.runtime.threads import Pool, aligned

STEPS = 100
UNITS_PER_STEP = 64
MICROSECONDS = (5, 50, 500)


def _spend(k: Builder, y: Pointer, rounds: Value, first: Value, last: Value) -> None:
    """A chain of multiplications for each unit."""
    value = k.variable(k.constant(1, I64))
    for i in k.range(first, last):
        value.value = i
        for _ in k.range(0, rounds):
            value.value = value.value * 6364136223846793005 + 1
        k.store(y, i, value.value)


SPEND = Kernel("spend", _spend, arguments("y: *i64", "rounds: i64"))


def load_image() -> LoadedImage:
    target = host_targets()[0]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "spend.image"
        path.write_bytes(build(target, [*entry_points(), SPEND]))
        path.chmod(0o600)
        return LoadedImage(path)


class Steps:
    """The steps of a plan, each of so many rounds a unit."""

    def __init__(self, image: LoadedImage, rounds: int) -> None:
        self._y = aligned(UNITS_PER_STEP)
        self._block = np.array([self._y.ctypes.data, rounds])
        self.records = aligned(SLOTS * STEPS).reshape(-1, SLOTS)
        self.records[:, KERNEL] = image.address("spend")
        self.records[:, BLOCK] = self._block.ctypes.data
        self.records[:, UNITS] = UNITS_PER_STEP
        self.records[:, GRAIN] = 4  # as plans have it for two threads


def seconds(pool: Pool, steps: Steps, count: int) -> float:
    """Seconds a step."""
    start = time.perf_counter()
    pool.run(steps.records, 0, count)
    return (time.perf_counter() - start) / count


def rounds_for(image: LoadedImage, alone: Pool, microseconds: float) -> int:
    """How many rounds a unit make a step of that duration."""
    trial = Steps(image, 100)  # short, so that some trials are undisturbed
    fastest = min(seconds(alone, trial, 5) for _ in range(500))
    return max(1, round(100 * microseconds * 1e-6 / fastest))


def measure(image: LoadedImage, threads: int, count: int, repeat: int) -> list[dict[str, float]]:
    alone, shared = Pool(image, 1), Pool(image, threads)
    rows = []
    for microseconds in MICROSECONDS:
        steps = Steps(image, rounds_for(image, alone, microseconds))
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(max(5, repeat * 5 // microseconds)):
            for pool, mine in zip((alone, shared), times, strict=True):
                mine.append(seconds(pool, steps, count) * 1e6)
        fastest, middle = ([f(t) for t in times] for f in (min, statistics.median))
        rows.append(
            {
                "microseconds": microseconds,
                "one_thread": round(fastest[0], 2),
                "threads": round(fastest[1], 2),
                "ratio": round(fastest[0] / fastest[1], 2),
                "ratio_of_medians": round(middle[0] / middle[1], 2),
            }
        )
    shared.close()
    return rows


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=STEPS, help="fewer where others disturb")
    parser.add_argument("--repeat", type=int, default=400, help="runs of the shortest steps")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    image = load_image()
    report = {"processor": processor(), "threads": options.threads}
    report["alone"] = measure(image, options.threads, options.steps, options.repeat)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        report["beside_a_busy_process"] = measure(
            image, options.threads, options.steps, options.repeat
        )
    finally:
        busy.kill()
        busy.wait()
    if options.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{report['processor']}, {options.threads} threads")
    for case in ("alone", "beside_a_busy_process"):
        print(case.replace("_", " "))
        for row in report[case]:
            print("  " + "  ".join(f"{key} {value:g}" for key, value in row.items()))


if __name__ == "__main__":
    main()

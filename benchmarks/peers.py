"""Compare Martlet with other engines on the zoo, in one run that is the same for all.

    python benchmarks/peers.py --zoo ZOO                  everything, some ten minutes
    python benchmarks/peers.py --zoo ZOO --models mobilenet_v1 --threads 1 --rounds 2 --no-write

Times on one machine drift from minute to minute, so engines are never measured one after the
other: for a model and a number of threads, each engine is a process that holds it ready, and in
every round each of them runs for a short while, in turns, the others being stopped. An engine
whose answer is not that of Keras is named and not compared. Cold starts (import, load and first
run, in a process of their own) take turns, too. A small model, whose run is a few microseconds,
is measured by `small.py`.

The result goes into `benchmarks/results/`, one file a processor, and `document.py` makes
`docs/benchmarks.md` of all of them. Needs `pip install -e '.[bench]'`; the zoo is described in
`engines.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import document
import numpy as np
import small
from engines import PACKAGES, PEERS
from rich.console import Console
from rich.progress import Progress

import kernels
import martlet
from martlet.runtime.image import host_image

MODELS = (
    "mobilenet_v1", "mobilenet_v2", "squeezenet", "resnet50", "densenet121", "inception_v3",
    "inception_v4",
)  # fmt: skip
COLD_MODELS = ("mobilenet_v1", "inception_v3")
COLD_STARTS = 3
LARGEST_ERROR = 0.05  # of the range of Keras' answers; further off, something else was computed
# Installed packages have bytecode; a checkout must be allowed to keep its own.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
# Every start of the second kind plans the model; all but the very first of the other kind find
# the plan that the first one stored.
PLANNING = "martlet_planning"
SCRIPT = Path(__file__).with_name("engines.py")


class Process:
    """An engine with a model in a process of its own, stopped but while it is asked something."""

    def __init__(self, engine: str, zoo: Path, model: str, threads: int) -> None:
        self.engine = engine
        environment = dict(ENVIRONMENT)
        if engine == PLANNING:
            engine, environment["MARTLET_PLANS"] = "martlet", "none"
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), engine, str(zoo), model, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.started: dict[str, float] = self._answer()

    def __enter__(self) -> Process:
        self._process.send_signal(signal.SIGSTOP)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.communicate()

    def ask(self, command: str) -> Any:
        """Its answer to a command of `engines.py`."""
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        print(command, file=self._process.stdin, flush=True)
        answer = self._answer()
        self._process.send_signal(signal.SIGSTOP)
        return answer

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate()
            last = errors.strip().splitlines()[-1:] or [f"exit status {self._process.returncode}"]
            raise RuntimeError(last[0])
        return json.loads(line)


def compare(
    zoo: Path, model: str, threads: int, engines: Sequence[str], rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Rows of one model: each engine's times, and how far its answer is from that of Keras."""
    rows, others = [], Others()
    with ExitStack() as stack:
        ready: list[tuple[Process, dict[str, Any], list[list[float]]]] = []
        for engine in engines:
            row: dict[str, Any] = {"model": model, "threads": threads, "engine": engine}
            rows.append(row)
            try:
                process = stack.enter_context(Process(engine, zoo, model, threads))
                row["error"] = process.ask("check")
            except RuntimeError as error:
                row["problem"] = str(error)
                continue
            if row["error"] > LARGEST_ERROR:
                row["problem"] = "another answer than that of Keras"
                continue
            ready.append((process, row, []))
        for number in range(rounds):
            # Whoever comes first comes last in the next round.
            for process, row, times in ready[:: -1 if number % 2 else 1]:
                try:
                    times.append(process.ask(f"burst {seconds}"))
                except RuntimeError as error:
                    row["problem"] = str(error)
            ready = [entry for entry in ready if "problem" not in entry[1]]
        for _, row, times in ready:
            row["min_ms"] = min(map(min, times))
            row["median_ms"] = float(np.median(np.concatenate(times)))
            row["runs"] = sum(map(len, times))
            row["rounds_ms"] = [min(t) for t in times]
    busy = others.busy()
    return [{**row, "others": busy} for row in rows]


class Others:
    """How many processors other programs (or other guests of the machine) kept busy meanwhile."""

    def __init__(self) -> None:
        self._start = self._read()

    def busy(self) -> float:
        """Since the start. Children count once they have ended."""
        wall, all_, own = (b - a for a, b in zip(self._start, self._read(), strict=True))
        return round(max(0.0, all_ - own) / wall, 2)

    def _read(self) -> tuple[float, float, float]:
        user, nice, system, _, _, *rest = (
            int(n) / os.sysconf("SC_CLK_TCK")
            for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        )
        return time.monotonic(), user + nice + system + sum(rest), sum(os.times()[:4])


def cold_starts(zoo: Path, model: str, engines: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of one model: seconds until the first answer and resident memory then, one thread."""
    found: dict[str, list[dict[str, float]]] = {engine: [] for engine in [*engines, PLANNING]}
    with Process("martlet", zoo, model, 1):
        pass  # stores the plan
    for _ in range(COLD_STARTS):
        for engine in found:
            try:
                with Process(engine, zoo, model, 1) as process:
                    found[engine].append(process.started)
            except RuntimeError:
                continue
    return [
        {
            "model": model,
            "engine": engine,
            "seconds": [s["cold_s"] for s in starts],
            "rss_mb": min(s["rss_mb"] for s in starts),
        }
        for engine, starts in found.items()
        if starts
    ]


def processor() -> str:
    """Its name, and its family and model where the name leaves them out, as clouds like to do."""
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    if "model name" not in facts:
        return os.uname().machine
    return f"{facts['model name']} (family {facts['cpu family']}, model {facts['model']})"


def machine(engines: Sequence[str]) -> dict[str, Any]:
    """What is measured on, and with what."""
    image = host_image()
    if image is None:
        sys.exit("There is no kernel image: martlet build-image makes one.")
    versions = {"martlet": martlet.__version__, "numpy": np.__version__}
    for engine in engines:
        for package in (PACKAGES[engine], f"{PACKAGES[engine]}-cpu"):
            try:
                versions.setdefault(engine, version(package))
            except PackageNotFoundError:
                continue
    return {
        "processor": processor(),
        "processors": len(os.sched_getaffinity(0)),
        "target": image.image.target,
        "date": date.today().isoformat(),
        "versions": versions,
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All that the options ask for."""
    engines = ["martlet", *options.engines]
    found: dict[str, Any] = {**machine(engines), "latency": [], "cold": [], "kernels": []}
    cold = [] if options.no_cold else [m for m in COLD_MODELS if m in options.models]
    with Progress(console=Console(stderr=True), transient=True) as bar:
        total = len(options.models) * (len(options.threads) + 1) + len(cold) + 1
        task = bar.add_task("", total=total)
        for model in options.models:
            for threads in options.threads:
                bar.update(task, description=f"{model}, {threads} threads")
                rows = compare(
                    options.zoo, model, threads, engines, options.rounds, options.seconds
                )
                found["latency"] += rows
                bar.console.print(document.summary(rows), highlight=False, soft_wrap=True)
                bar.advance(task)
        for model in cold:
            bar.update(task, description=f"{model}, cold start")
            others = [e for e in engines if e != "tensorflow"]  # nobody would start it for one run
            found["cold"] += cold_starts(options.zoo, model, others)
            bar.advance(task)
        for model in options.models:
            bar.update(task, description=f"{model}, kernels")
            found["kernels"].append(kernels.measure(options.zoo, model))
            bar.advance(task)
        bar.update(task, description="small model")
        found["small"] = small.measure() if "litert" in engines else None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True, help="the folder of the models")
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument(
        "--engines", nargs="*", default=list(PEERS), choices=sorted({*PACKAGES} - {"martlet"})
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each engine in a round")
    parser.add_argument("--no-cold", action="store_true", help="leave cold starts out")
    parser.add_argument("--no-write", action="store_true", help="show the figures only")
    options = parser.parse_args()
    found = measure(options)
    if options.no_write:
        print(document.tables(found))
        return
    name = re.sub(r"[^a-z0-9]+", "-", f"{found['processor']} {found['target']}".lower()).strip("-")
    path = document.RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    document.main()


if __name__ == "__main__":
    main()

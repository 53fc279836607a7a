"""`martlet benchmark`: how long a model takes, and with --profile where the time goes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as Bar
from rich.table import Table

from martlet.cli.inputs import random_values
from martlet.report.benchmark import Progress, distribution, latencies, start
from martlet.report.profile import profile

COLUMNS = (
    "nodes", "operator", "kernel", "output", "ms", "median", "share", "MFLOP", "GFLOP/s",
    "of peak", "MB", "GB/s",
)  # fmt: skip
TEXT = COLUMNS[:4]
WIDTH = 150  # a narrower terminal wraps lines, which is better than figures cut off


def run(path: Path, threads: int, runs: int | None, profiled: bool, as_json: bool) -> None:
    """Measure and show."""
    source = np.random.default_rng(0)
    interpreter, report = start(path, threads, lambda detail: random_values(detail, source))
    report = {"model": str(path), "threads": threads, **report}
    with _progress("runs") as progress:
        report["run_ms"] = distribution(latencies(interpreter, runs, progress))
    if profiled:
        with _progress("steps") as progress:
            report["profile"] = profile(interpreter, runs, progress)
    if as_json:
        print(json.dumps(report, indent=2))
        return
    _show(report)


@contextmanager
def _progress(title: str) -> Iterator[Progress]:
    """A bar on the terminal, where there is one."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1)
        yield lambda done: bar.update(task, completed=done)


def _show(report: dict[str, Any]) -> None:
    console = Console(highlight=False)
    threads = report["threads"]
    console.print(
        f"[bold]{escape(Path(report['model']).name)}[/]  {threads} thread{'s' * (threads > 1)}"
    )
    console.print(
        f"load {report['load_ms']:.1f} ms, plan {report['plan_ms']:.1f} ms, "
        f"first run {report['first_run_ms']:.1f} ms"
    )
    runs = report["run_ms"]
    console.print(
        f"{runs['runs']} runs: min [bold]{_ms(runs['min'])}[/], median {_ms(runs['median'])}, "
        f"p90 {_ms(runs['p90'])}, p99 {_ms(runs['p99'])}, max {_ms(runs['max'])} ms, "
        f"spread {runs['spread']:.0%}"
    )
    if "profile" in report:
        _show_profile(console, report["profile"], runs["min"])


def _show_profile(console: Console, found: dict[str, Any], whole: float) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in TEXT else "right", no_wrap=True)
    for row in found["steps"]:
        table.add_row(*_cells(row))
        if len({part["kernel"] for part in row["kernels"]}) > 1:
            for part in row["kernels"]:
                name = f"  {part['kernel']}"
                table.add_row(
                    "", "", f"[dim]{escape(name)}[/]", "", f"[dim]{_ms(part['min_ms'])}[/]"
                )
    wide = Console(highlight=False, width=max(console.width, WIDTH), soft_wrap=True)
    wide.print(table)
    console.print(
        f"all steps {_ms(found['steps_ms'])} ms of {_ms(whole)} ms a run "
        f"(minima; {found['runs']} profiled runs)"
    )
    if found["peak_gflops"] is not None:
        console.print(f"peak {found['peak_gflops']:.1f} GFLOP/s, measured on as many threads")
    if any(row["effective"] for row in found["steps"]):
        console.print("[dim]*: effective, these steps multiply less than the direct algorithm[/]")
    numpy = sorted({row["op"] for row in found["steps"] if not row["kernels"]})
    if numpy:
        console.print(
            f"[yellow]NumPy[/] runs {escape(', '.join(numpy))}: no kernel for "
            f"{'these operators' if len(numpy) > 1 else 'this operator'}, in the types that this "
            "model has"
        )


def _cells(row: dict[str, Any]) -> list[str]:
    names = [part["kernel"] for part in row["kernels"]]
    kernel = "[yellow]NumPy[/]" if not names else escape(names[0])
    if len(names) > 1:
        kernel = f"{len(names)} × {kernel}" if len(set(names)) == 1 else f"{len(names)} kernels"
    rate = row["gflops"]
    return [
        ",".join(map(str, row["nodes"])),
        escape(row["op"]),
        kernel,
        "?" if row["shape"] is None else "×".join(map(str, row["shape"])),
        _ms(row["min_ms"]),
        _ms(row["median_ms"]),
        f"{row['share']:.1%}",
        f"{row['flops'] / 1e6:.2f}" if row["flops"] else "",
        "" if rate is None else f"{rate:.1f}{'*' * row['effective']}",
        "" if row["of_peak"] is None else f"{row['of_peak']:.0%}",
        f"{row['bytes'] / 1e6:.2f}",
        "" if row["gbytes_per_s"] is None else f"{row['gbytes_per_s']:.1f}",
    ]


def _ms(milliseconds: float) -> str:
    """To a tenth of a microsecond, or four digits of larger times."""
    return f"{milliseconds:.4f}" if milliseconds < 1 else f"{milliseconds:.4g}"

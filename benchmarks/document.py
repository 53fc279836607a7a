"""All results -> docs/benchmarks.md: every row of every machine, the worst included.

    python benchmarks/document.py

What is a ratio, and of what, stands in the document itself, which this writes from the files in
`benchmarks/results/`; nothing in it is typed by hand.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
NAMES = {
    "martlet": "Martlet", "mnn": "MNN", "openvino": "OpenVINO", "onnxruntime": "ONNX Runtime",
    "litert": "LiteRT", "ncnn": "ncnn", "tensorflow": "TensorFlow",
    "martlet_planning": "Martlet, first time",
}  # fmt: skip

QUIET = 0.15
"""Processors that others may keep busy before the figures are called hints."""

HEAD = """\
# Benchmarks

Written by `benchmarks/document.py` from `benchmarks/results/`; made again by

```sh
make benchmarks ZOO=folder
```

Batch 1, float32. For each model and number of threads, all engines hold the model ready, each in
its own process, and run for a short while in turns, several rounds, so that whatever slows the
machine down meets all of them. A time is the least of all runs, in milliseconds; the median is in
parentheses. **Ratio** is the best time among the others by Martlet's: above 1, Martlet is faster
than every other engine. Its spread is the lowest and the highest ratio of a single round. A row
with † is a hint only: other programs used the machine meanwhile.

An engine whose answer is further from that of Keras than 5 % of its range is not compared; how far
all of them are off is listed below. (Random weights magnify what is rounded: on squeezenet all
answers lie within 3e-7, so that one bit of them is 4e-4 of their range.)
"""

KERNELS = """\
One thread. **Products**: steps of at least 20 MFLOP that multiply as often as the formula says, by
their share of the peak of multiply-adds, and how many of them reach 90 % of it. **Winograd**:
layers with maps of at least 28 x 28 that run by it; the time of the direct product by that of
Winograd's, transforms included, each layer alone. **Arena**: of one or two
threads, whichever is larger, by the largest sum of live tensors.

"""
GOOD = 0.9
"""Of the peak, for products."""


def speed_up(rows: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """How much faster Martlet is than the best of the others, over all rounds and in each."""
    timed = [row for row in rows if "min_ms" in row]
    ours = [row for row in timed if row["engine"] == "martlet"]
    others = [row for row in timed if row["engine"] not in ("martlet", "tensorflow")]
    if not ours or not others:
        return None
    best = min(others, key=lambda row: row["min_ms"])
    rounds = [
        min(row["rounds_ms"][i] for row in others) / time
        for i, time in enumerate(ours[0]["rounds_ms"])
    ]
    return {
        "ratio": best["min_ms"] / ours[0]["min_ms"],
        "best": best["engine"],
        "low": min(rounds),
        "high": max(rounds),
    }


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def summary(rows: list[dict[str, Any]]) -> str:
    """One line for one model and number of threads."""
    line = f"{rows[0]['model']:13}{rows[0]['threads']} "
    for row in rows:
        time = f"{row['min_ms']:.2f}" if "min_ms" in row else row["problem"]
        line += f" {row['engine']} {time}"
    found = speed_up(rows)
    if found is not None:
        line += f"  ratio {found['ratio']:.2f}"
    return line + " †" * (rows[0]["others"] > QUIET)


def groups(found: dict[str, Any]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The latency rows by model and threads."""
    result: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in found["latency"]:
        result.setdefault((row["model"], row["threads"]), []).append(row)
    return result


def tables(found: dict[str, Any], picture: str = "") -> str:
    """The section of one machine, with a picture if there is one."""
    cores = found["processors"]
    text = f"\n## {found['processor']}, {cores} processors ({found['target']})\n\n{found['date']}. "
    text += ", ".join(
        f"{NAMES.get(name, name)} {version}" for name, version in found["versions"].items()
    )
    text += ".\n"
    if picture:
        text += f"\n![How many times faster than the best other engine]({picture})\n"
    for threads in sorted({row["threads"] for row in found["latency"]}):
        text += f"\n### {threads} thread{'s' * (threads > 1)}\n\n" + _latency(found, threads)
    text += "\n### Largest error, by the range of Keras' answers\n\n" + _errors(found)
    if found["cold"]:
        text += (
            "\n### Cold start\n\nA process of its own, 1 thread: import, load, first run. Seconds, "
            "the least and the most of a few starts / resident MB after the first run. The first "
            "process that opens a file with Martlet plans the model and stores the plan; the "
            "others find it.\n\n"
        ) + _cold(found["cold"])
    if found.get("kernels"):
        text += "\n### Kernels and memory\n\n" + KERNELS + _kernels(found["kernels"])
    small = found["small"]
    if small is not None:
        text += (
            "\n### A small model\n\n`set_tensor`, `invoke` and `get_tensor` on three dense layers "
            f"(1, 16, 16, 1): Martlet {small['martlet_us']:.1f} µs, LiteRT "
            f"{small['litert_us']:.1f} µs.\n"
        )
    return text


def _latency(found: dict[str, Any], threads: int) -> str:
    models = {model: rows for (model, n), rows in groups(found).items() if n == threads}
    engines = list(dict.fromkeys(row["engine"] for rows in models.values() for row in rows))
    table = _row("model", *(NAMES[e] for e in engines), "ratio", "spread", "best other")
    table += _row("---", *["---:"] * len(engines), "---:", "---", "---")
    ratios, problems = [], []
    for model, rows in models.items():
        cells = []
        best = min((row["min_ms"] for row in rows if "min_ms" in row), default=0.0)
        for engine in engines:
            row = next(row for row in rows if row["engine"] == engine)
            if "min_ms" not in row:
                cells.append("–")
                problems.append(f"{NAMES[engine]} on {model}: {row['problem']}.")
                continue
            time = f"{row['min_ms']:.2f}"
            time = f"**{time}**" if row["min_ms"] == best else time
            cells.append(f"{time} ({row['median_ms']:.2f})")
        ratio = speed_up(rows)
        if ratio is None:
            table += _row(model, *cells, "–", "", "")
            continue
        if rows[0]["others"] > QUIET:
            model += " †"
        ratios.append(ratio["ratio"])
        spread = f"{ratio['low']:.2f}–{ratio['high']:.2f}"
        table += _row(model, *cells, f"{ratio['ratio']:.2f}", spread, NAMES[ratio["best"]])
    if ratios:
        table += f"\nGeometric mean of the ratios: **{geometric_mean(ratios):.2f}**, "
        table += f"lowest {min(ratios):.2f}.\n"
    return (
        table
        + _by_tensorflow(models)
        + "".join(f"\nNot compared: {problem}\n" for problem in problems)
    )


def _by_tensorflow(models: dict[str, list[dict[str, Any]]]) -> str:
    """How many times faster than TensorFlow itself, where that was measured."""
    ratios = []
    for model, rows in models.items():
        times = {row["engine"]: row["min_ms"] for row in rows if "min_ms" in row}
        if {"martlet", "tensorflow"} <= times.keys():
            ratios.append(f"{model} {times['tensorflow'] / times['martlet']:.1f}")
    return f"\nTensorFlow's time by Martlet's: {', '.join(ratios)}.\n" if ratios else ""


def _errors(found: dict[str, Any]) -> str:
    rows = [row for row in found["latency"] if row["threads"] == found["latency"][0]["threads"]]
    return _grid(rows, lambda row: f"{row['error']:.0e}" if "error" in row else "–")


def _cold(rows: list[dict[str, Any]]) -> str:
    def cell(row: dict[str, Any]) -> str:
        low, high = min(row["seconds"]), max(row["seconds"])
        return f"{low:.2f}–{high:.2f} / {row['rss_mb']:.0f}"

    return _grid(rows, cell)


def _kernels(models: list[dict[str, Any]]) -> str:
    table = _row("model", "products", "at 90 %", "median", "least", "Winograd", "arena")
    table += _row("---", *["---:"] * 6)
    below: list[str] = []
    for found in models:
        shares = sorted(row["of_peak"] for row in found["products"])
        gains = [row["speed_up"] for row in found["winograd"]]
        table += _row(
            found["model"],
            str(len(shares)),
            str(sum(share >= GOOD for share in shares)),
            f"{shares[len(shares) // 2]:.0%}" if shares else "–",
            f"{shares[0]:.0%}" if shares else "–",
            f"{min(gains):.1f}–{max(gains):.1f}" if gains else "–",
            f"{found['arena_bytes'] / found['live_bytes']:.2f}",
        )
        worst = [row for row in found["products"] if row["of_peak"] < GOOD - 0.05]
        below += [
            f"{found['model']} to {'x'.join(map(str, row['shape']))} {row['of_peak']:.0%} "
            f"(`{row['kernel']}`)"
            for row in worst
        ]
    if below:
        table += f"\nBelow 85 %: {', '.join(below)}.\n"
    return table


def _grid(rows: list[dict[str, Any]], cell: Callable[[dict[str, Any]], str]) -> str:
    """A line for each model, a column for each engine."""
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    cells = {(row["model"], row["engine"]): cell(row) for row in rows}
    table = _row("model", *(NAMES[e] for e in engines)) + _row("---", *["---:"] * len(engines))
    for model in dict.fromkeys(row["model"] for row in rows):
        table += _row(model, *(cells.get((model, engine), "–") for engine in engines))
    return table


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def draw(found: dict[str, Any], path: Path) -> None:
    """The ratios of one machine as bars, a group for each model, a bar for each thread count."""
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "martlet"  # the same figures give the same bytes
    ratios = {key: speed_up(rows) for key, rows in groups(found).items()}
    models = list(dict.fromkeys(model for model, _ in ratios))
    counts = sorted({threads for _, threads in ratios})
    figure, axes = pyplot.subplots(figsize=(8, 3))
    for number, threads in enumerate(counts):
        place = [i + (number - (len(counts) - 1) / 2) * 0.38 for i in range(len(models))]
        heights = [(ratios.get((m, threads)) or {"ratio": 0.0})["ratio"] for m in models]
        bars = axes.bar(place, heights, 0.36, label=f"{threads} thread{'s' * (threads > 1)}")
        axes.bar_label(bars, fmt="%.2f", fontsize=8)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(models)), models, fontsize=8)
    axes.set_ylabel("best other / Martlet")
    axes.set_title(f"float32, {found['processor']}", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    text = HEAD
    for path in sorted(RESULTS.glob("*.json")):
        found = json.loads(path.read_text())
        picture = path.with_suffix(".svg")
        draw(found, picture)
        text += tables(found, f"../{picture.relative_to(ROOT).as_posix()}")
    DOCUMENT.write_text(text)


if __name__ == "__main__":
    main()

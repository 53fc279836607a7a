"""`benchmarks/document.py` writes every row, the worst included, and what was not compared."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "document.py"


@pytest.fixture(scope="module")
def document() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_document", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(engine: str, *rounds: float, model: str = "net", threads: int = 1) -> dict[str, Any]:
    return {
        "model": model, "threads": threads, "engine": engine, "error": 1e-6, "others": 0.0,
        "min_ms": min(rounds), "median_ms": max(rounds), "rounds_ms": list(rounds),
    }  # fmt: skip


def test_the_ratio_is_that_of_the_best_other(document: Any) -> None:
    found = document.speed_up([row("martlet", 10, 12), row("mnn", 15, 18), row("ncnn", 20, 17)])
    assert (found["ratio"], found["best"]) == (1.5, "mnn")
    assert (found["low"], found["high"]) == (17 / 12, 1.5)


def test_tensorflow_is_shown_but_sets_no_bar(document: Any) -> None:
    rows = [row("martlet", 10), row("tensorflow", 35)]
    assert document.speed_up(rows) is None
    assert "TensorFlow's time by Martlet's: net 3.5." in document._by_tensorflow({"net": rows})
    assert document._by_tensorflow({"net": rows[:1]}) == ""


def test_every_row_is_written(document: Any) -> None:
    dead = {"model": "slow", "threads": 2, "engine": "mnn", "problem": "died", "others": 0.0}
    found = {
        "processor": "Some CPU", "processors": 2, "target": "x86-64-avx2", "date": "2026-01-01",
        "versions": {"martlet": "1"}, "cold": [],
        "small": {"martlet_us": 6.0, "litert_us": 5.0},
        "latency": [
            row("martlet", 10), row("mnn", 20),
            row("martlet", 10, model="slow", threads=2), dead,
            row("litert", 9, model="slow", threads=2),
        ],
    }  # fmt: skip
    found["latency"][2]["others"] = 1.0
    text = document.tables(found)
    assert "| net | **10.00** (10.00) | 20.00 (20.00) | 2.00 | 2.00–2.00 | MNN |" in text
    assert "| slow † | 10.00 (10.00) | – | **9.00** (9.00) | 0.90 | 0.90–0.90 | LiteRT |" in text
    assert "MNN on slow: died" in text
    assert "Martlet 6.0 µs, LiteRT 5.0 µs" in text

"""`martlet benchmark`, used as a person and as a program would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from martlet.cli.app import app

FLOAT = str(Path(__file__).parents[2] / "examples" / "digits" / "digits_float.tflite")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["benchmark", *arguments], env={"COLUMNS": "80"})


def test_a_table_for_people() -> None:
    result = call(FLOAT, "--runs", "3", "--profile")
    assert result.exit_code == 0, result.output
    for part in ("1 thread", "3 runs", "median", "first run", "CONV_2D", "all steps", "peak"):
        assert part in result.stdout
    assert "…" not in result.stdout


def test_steps_of_numpy_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("martlet.runtime.session.host_image", lambda: None)
    assert "NumPy runs CONV_2D" in call(FLOAT, "--runs", "3", "--profile").stdout


def test_json_for_programs() -> None:
    result = call(FLOAT, "--runs", "3", "--threads", "2", "--profile", "--json")
    report = json.loads(result.stdout)
    assert report["threads"] == 2
    assert report["run_ms"]["runs"] == report["profile"]["runs"] == 3
    assert report["run_ms"]["min"] <= report["run_ms"]["median"] <= report["run_ms"]["max"]
    assert all(row["min_ms"] > 0 for row in report["profile"]["steps"])


def test_help_shows_examples_and_mistakes_get_a_message() -> None:
    assert "martlet benchmark model.tflite --profile" in call("--help").stdout
    result = call("no.tflite")
    assert result.exit_code == 1
    assert "Could not open 'no.tflite'" in result.stderr.replace("\n", " ")

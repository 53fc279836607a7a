"""`martlet build-image`: where the image goes and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from martlet.cli.app import app
from martlet.kernels.image import pack, parse, source_hash
from martlet.kernels.targets import TARGETS, Target
from martlet.runtime import image_building
from martlet.runtime.image import host_targets


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds images of one kernel that does nothing, and has a cache of its own."""

    def build(target: Target, path: Path, progress: Callable[[int, int, str], None]) -> None:
        progress(1, 1, "nothing")
        path.write_bytes(pack(target, b"\xc3" * 64, {"nothing": 0}, source_hash()))

    monkeypatch.setattr(image_building, "build", build)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["build-image", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_for_this_processor_into_the_cache(tmp_path: Path) -> None:
    status, out, _ = invoke("--json")
    facts = json.loads(out)
    target = host_targets()[0]
    path = tmp_path / "cache" / "martlet" / f"{target.name}-{source_hash()}.image"
    assert status == 0
    assert facts["target"] == target.name
    assert facts["file"] == str(path)
    assert facts["kernels"] == 1
    assert facts["bytes"] == path.stat().st_size
    assert facts["sources"] == source_hash()
    assert facts["needs"] == sorted(target.needs)


@pytest.mark.parametrize("name", TARGETS)
def test_for_another_processor_into_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "an.image"
    status, out, _ = invoke("--target", name, "--output", str(path))
    assert status == 0
    assert f"1 kernels for {name}" in out
    assert parse(memoryview(path.read_bytes()), "an.image").target == name


def test_a_target_that_does_not_exist() -> None:
    status, _, complaint = invoke("--target", "z80")
    assert status == 1
    assert "no such target" in complaint
    assert "aarch64-neon" in complaint


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    status, _, complaint = invoke("--output", str(tmp_path / "nowhere" / "x.image"))
    assert status == 1
    assert "no such directory" in complaint


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_building, "can_build", lambda: False)
    status, _, complaint = invoke()
    assert status == 1
    assert "pip install 'martlet[compiler]'" in " ".join(complaint.split())

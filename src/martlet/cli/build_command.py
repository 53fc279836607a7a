"""`martlet build-image`: kernels of a target -> an image file."""

from __future__ import annotations

import json
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from martlet.errors import ArgumentError, MartletError
from martlet.kernels.image import parse
from martlet.kernels.targets import TARGETS, Target
from martlet.runtime import image_building, image_files
from martlet.runtime.image import host_targets


def run(target_name: str | None, output: Path | None, as_json: bool) -> None:
    """Build the image, into the cache if no file is named, and say what came out."""
    target = _target(target_name)
    if not image_building.can_build():
        raise MartletError(
            "building kernel images needs llvmlite and pyelftools",
            hint="Install them with: pip install 'martlet[compiler]'",
        )
    path = Path(image_files.cached(target)) if output is None else output
    if not path.parent.is_dir():
        raise ArgumentError("there is no such directory", found=str(path.parent))
    start = time.perf_counter()
    with image_building.progress_bar(f"kernels for {target.name}") as progress:
        image_building.build(target, path, progress)
    seconds = time.perf_counter() - start
    data = path.read_bytes()
    image = parse(memoryview(data), str(path))
    facts = {
        "target": target.name,
        "file": str(path),
        "bytes": len(data),
        "code_bytes": image.code_size,
        "kernels": len(image.offsets),
        "needs": image.needs,
        "sources": image.sources,
        "seconds": round(seconds, 2),
    }
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    Console(highlight=False, soft_wrap=True).print(
        f"[bold]{escape(str(path))}[/]  {len(image.offsets)} kernels for {target.name}, "
        f"{len(data) / 1024:.0f} KiB, {seconds:.1f} s"
    )


def _target(name: str | None) -> Target:
    if name is None:
        fitting = host_targets()
        if not fitting:
            raise MartletError(
                "no target fits this processor", hint=f"Name one: --target {', '.join(TARGETS)}"
            )
        return fitting[0]
    if name not in TARGETS:
        raise ArgumentError(
            "there is no such target", expected=f"one of {', '.join(TARGETS)}", found=repr(name)
        )
    return TARGETS[name]

"""What the plan chooses for convolutions, beside all that it could have chosen: the tuning run.

    python benchmarks/tune.py [--write] [--seconds 0.05]

Tiles, blocks and algorithms are chosen by cost models (`plan/blocking.py`, `plan/lowering/
winograd.py`, `strassen.py`; `docs/costs.md` tells how they came about) whose constants are data by
the width of vectors. This times every tile and algorithm that a layer can have, alone, one thread,
in turns, and shows what the choice loses to the fastest. Where it loses much, the constants are
wrong for this processor. `--write` keeps the figures in `benchmarks/results/` and makes
`docs/tuning.md` of all that are there.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import document
from peers import processor

from kernels import layer, least
from martlet.kernels.forms import TILES, Tile
from martlet.plan.lowering import convolution, strassen, winograd
from martlet.plan.lowering.winograd import Choice
from martlet.runtime.image import host_image
from martlet.runtime.native import NativePlan

TURNS = 5
KERNELS = {
    "chosen": "", "direct": ("gemm", "conv"), "strassen": "strassen", "winograd": "winograd",
}  # fmt: skip
DOCUMENT = document.ROOT / "docs" / "tuning.md"


class Layer(NamedTuple):
    """A convolution of an image (size x size), SAME."""

    taps: tuple[int, int]
    size: int
    depth: int
    channels: int
    stride: int = 1

    def __str__(self) -> str:
        stride = f" / {self.stride}" if self.stride > 1 else ""
        taps = "x".join(map(str, self.taps))
        return f"{taps}{stride}, {self.size}x{self.size}, {self.depth}→{self.channels}"

    def plan(self) -> NativePlan:
        """It alone, as the plan would have it at present."""
        places = -(-self.size // self.stride)
        return layer(
            (1, self.size, self.size, self.depth),
            (self.channels, *self.taps, self.depth),
            (1, places, places, self.channels),
            {"padding": "SAME", "stride_h": self.stride, "stride_w": self.stride},
        )


LAYERS = (
    *(Layer((1, 1), *sizes) for sizes in (
        (112, 32, 64), (56, 64, 128), (56, 256, 64), (28, 128, 256), (28, 512, 128), (14, 96, 576),
        (14, 512, 512), (7, 320, 1280), (7, 1024, 1024), (1, 1024, 1000),
    )),
    *(Layer((3, 3), *sizes) for sizes in (
        (147, 32, 64), (56, 64, 64), (35, 96, 96), (28, 128, 32), (14, 256, 256), (13, 64, 256),
        (7, 512, 512),
    )),
    Layer((3, 3), 224, 3, 32, 2), Layer((3, 3), 56, 128, 128, 2), Layer((7, 7), 224, 3, 64, 2),
    Layer((5, 5), 35, 48, 64), Layer((1, 7), 17, 192, 192), Layer((7, 1), 17, 160, 192),
    Layer((1, 3), 8, 384, 384),
)  # fmt: skip


@contextmanager
def direct(tile: Tile | None) -> Iterator[None]:
    """Plans that are made meanwhile multiply directly, in this tile or the one that is chosen."""
    blocking = convolution.blocking
    chosen = blocking if tile is None else partial(_blocking, blocking, tile)
    with (
        patch.object(convolution, "winograd", lambda *_: False),
        patch.object(convolution, "strassen", lambda *_: False),
        patch.object(convolution, "stem", lambda *_: False),
        patch.object(convolution, "blocking", chosen),
    ):
        yield


def _blocking(original: Any, tile: Tile, *sizes: Any, **options: Any) -> Any:
    if tile not in (options.get("tiles") or [tile]):
        raise ValueError("there is no such kernel")
    return original(*sizes, **{**options, "tiles": (tile,)})


def candidates(one: Layer, lanes: int) -> Iterator[tuple[str, NativePlan]]:
    """All that the layer could be, by name; the plan's own choice is the first."""
    yield "chosen", one.plan()
    for tile in TILES[lanes]:
        try:
            with direct(tile):
                yield f"direct {tile.name}", one.plan()
        except ValueError:
            continue
    with (
        patch.object(convolution, "winograd", lambda *_: False),
        patch.object(strassen, "pays", lambda rows, columns, depth, lanes: depth % 2 == 0),
    ):
        yield "strassen", one.plan()
    forms: list[Choice] = []
    choices = winograd._choices

    def note(axes: Any, batches: int) -> Iterator[Choice]:
        forms.extend(choices(axes, batches))
        return iter(())

    with patch.object(winograd, "_choices", note):
        one.plan()
    for form in forms:
        with patch.object(winograd, "choose", lambda *_, form=form: form):
            yield f"winograd {form.form.name}{' turned' * form.swapped}", one.plan()


def measure(one: Layer, lanes: int, seconds: float) -> dict[str, Any]:
    """The milliseconds of all candidates; those that came out as the same kernel once."""
    plans: dict[str, tuple[str, NativePlan]] = {}
    for name, native in candidates(one, lanes):
        kernel, arguments = native.steps[-1].kernel, native.steps[-1].arguments
        numbers = [a for a in arguments if isinstance(a, (int, float))]
        if not kernel.startswith(KERNELS[name.split()[0]]):
            continue  # it cannot be that
        plans.setdefault(f"{kernel} {numbers}", (name, native))
    times: dict[str, float] = {}
    for _ in range(TURNS):
        for name, native in plans.values():
            times[name] = min(times.get(name, 1e9), 1e3 * least(native, seconds))
    chosen = next(iter(plans.values()))[1].steps[-1].kernel
    best = min(times, key=lambda name: times[name])
    return {
        "layer": str(one), "kernel": chosen, "ms": times.pop("chosen"), "others": times,
        "best": best,
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """The section of one machine."""
    text = f"\n## {found['processor']} ({found['target']})\n\n{found['date']}.\n\n"
    text += "| layer | chosen | ms | fastest other | ms | loss |\n|---|---|---:|---|---:|---:|\n"
    losses = []
    for row in found["layers"]:
        name, time = min(row["others"].items(), key=lambda item: item[1], default=("–", row["ms"]))
        losses.append(max(0.0, row["ms"] / time - 1))
        text += (
            f"| {row['layer']} | `{row['kernel']}` | {row['ms']:.3f} | {name} | {time:.3f} | "
            f"{losses[-1]:.0%} |\n"
        )
    mean = sum(losses) / len(losses)
    return text + f"\nMean loss {mean:.1%}, largest {max(losses):.0%}.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.05, help="of each candidate in a turn")
    parser.add_argument("--write", action="store_true", help="keep the figures and the document")
    options = parser.parse_args()
    image = host_image()
    assert image is not None, "there is no kernel image"
    found: dict[str, Any] = {
        "processor": processor(), "target": image.image.target, "date": date.today().isoformat(),
        "layers": [],
    }  # fmt: skip
    for one in LAYERS:
        found["layers"].append(measure(one, image.lanes, options.seconds))
        row = found["layers"][-1]
        others = ", ".join(f"{n} {t:.3f}" for n, t in sorted(row["others"].items()))
        print(f"{row['layer']}: {row['kernel']} {row['ms']:.3f} ms; {others}", flush=True)
    print(table(found))
    if options.write:
        name = re.sub(r"[^a-z0-9]+", "-", f"{found['processor']} {found['target']}".lower())
        folder = document.RESULTS / "tuning"
        folder.mkdir(exist_ok=True)
        (folder / f"{name.strip('-')}.json").write_text(json.dumps(found, indent=1) + "\n")
        text = f"# Tuning\n\n{HEAD}" + "".join(
            table(json.loads(path.read_text())) for path in sorted(Path(folder).glob("*.json"))
        )
        DOCUMENT.write_text(text)


HEAD = """\
Written by `benchmarks/tune.py --write`: for convolutions as networks have them, what the plan
chooses and the fastest of all else that the layer could be, each alone on one thread. A loss of a
few percent is noise.
"""

if __name__ == "__main__":
    main()

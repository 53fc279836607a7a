"""The tuning run: what the plan chooses for convolutions, beside all that it could have chosen.

    python benchmarks/tune.py [--kept] [--fit] [--write]

Tiles, blocks and algorithms are chosen by a cost model (`docs/costs.md`) whose constants are data
of each target (`martlet/plan/costs.py`). This times every tile and algorithm that a layer can have,
one thread, in turns, and shows what the choice loses to the fastest: where it loses much, the
constants are wrong for this processor. As in a network, weights come from memory, and all else from
the cache.

`--fit` finds the constants that lose least. `--write` keeps the figures in
`benchmarks/results/tuning/`, writes the constants that were fitted into `costs.py`, and makes
`docs/tuning.md` of all figures that are there. `--kept` takes those of this processor instead of
measuring again.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import document
import numpy as np
from convolutions import LAYERS, Layer, model_of
from fit import BLOCKS, Row, axes_of, block_times, choice, fit, mean_loss, winograd_name, written
from peers import processor
from rich.progress import track

from martlet.kernels.forms import TILES, Tile
from martlet.plan import costs as table
from martlet.plan.blocking import blocking
from martlet.plan.costs import COSTS, Costs
from martlet.plan.lowering import convolution, strassen, winograd
from martlet.plan.planner import declared_specs
from martlet.runtime.image import host_image
from martlet.runtime.native import NativePlan
from martlet.runtime.session import Session

TURNS = 8
RUNS = 4  # in a turn
ELSEWHERE = np.ones(4 << 20)
"""32 MB: whoever has read this has nothing else in the cache. (Zeros would all be one page.)"""
RANDOM = np.random.default_rng(0)
FOLDER = document.RESULTS / "tuning"
DOCUMENT = document.ROOT / "docs" / "tuning.md"


def planned(layer: Layer) -> NativePlan:
    """It alone, as the plan would have it at present."""
    model = model_of(layer)
    session = Session(model)
    native = session.native(session.plan(0, declared_specs(model.main)))
    assert native is not None
    image = native.views[model.main.inputs[0]]
    image[...] = np.random.default_rng(1).standard_normal(image.shape, np.float32)
    return native


@contextmanager
def direct(tile: Tile) -> Iterator[None]:
    """Plans that are made meanwhile multiply directly, in this tile."""
    with (
        patch.object(convolution, "winograd", lambda *_: False),
        patch.object(convolution, "strassen", lambda *_: False),
        patch.object(convolution, "stem", lambda *_: False),
        patch.object(convolution, "blocking", partial(_blocking, blocking, tile)),
    ):
        yield


def _blocking(original: Any, tile: Tile, *sizes: Any, **options: Any) -> Any:
    if tile not in (options.get("tiles") or [tile]):
        raise ValueError("there is no such kernel")
    return original(*sizes, **{**options, "tiles": (tile,)})


def candidates(layer: Layer, costs: Costs) -> Iterator[tuple[str, NativePlan]]:
    """All that the layer could be, by name."""
    if choice(layer, costs) == "stem":
        yield "stem", planned(layer)
    for tile in TILES[costs.lanes]:
        try:
            with direct(tile):
                yield f"direct {tile.name}", planned(layer)
        except ValueError:
            continue
    if layer.taps == (1, 1) and layer.stride == 1 and layer.depth % 2 == 0 and layer.size > 1:
        with patch.object(strassen, "pays", lambda *_: True):
            yield "strassen", planned(layer)
    forms = list(winograd.choices(axes_of(layer), 1))
    for form in forms:
        if form.swapped and form._replace(swapped=False) in forms:
            continue  # the same work
        with patch.object(winograd, "choose", lambda *_, form=form: form):
            yield winograd_name(form), planned(layer)


def blocked(layer: Layer, target: str, name: str) -> dict[str, NativePlan]:
    """It with each size of blocks, by the size; nothing if they are all the same."""
    found = {}
    for value in {*BLOCKS[name], getattr(COSTS[target], name)}:
        with patch.dict(COSTS, {target: COSTS[target]._replace(**{name: value})}):
            found[str(value)] = planned(layer)
    return found if len({str(_numbers(native)) for native in found.values()}) > 1 else {}


def _numbers(native: NativePlan) -> list[Any]:
    """What tells its last step from others."""
    step = native.steps[-1]
    return [step.kernel, *(a for a in step.arguments if isinstance(a, (int, float)))]


def take_turn(row: Row, target: str) -> None:
    """Time all that the layer could be, and what the plan makes of it with other sizes of blocks.

    In every turn the plans are made again, in other memory: where it lies can matter more than what
    is done there. Beside something of random size, they do not get the pages of the last turn.
    """
    beside = np.ones(RANDOM.integers(1 << 20))
    shorten(row.times, dict(candidates(row.layer, COSTS[target])))
    for name, times in row.blocks.items():
        shorten(times, blocked(row.layer, target, name))
    del beside


def shorten(times: dict[str, float], plans: dict[str, NativePlan]) -> None:
    """Run the plans; the times become the least that was met so far, in milliseconds."""
    for name, native in plans.items():
        found = 1e3 * min(once(native) for _ in range(RUNS))
        times[name] = round(min(times.get(name, found), found), 4)


def once(native: NativePlan) -> float:
    """Seconds of a run whose image, results and scratch are in the cache, as far as they fit, and
    nothing else."""
    ELSEWHERE.sum()
    native.arena.sum()
    begin = time.perf_counter()
    native.run_alone()
    return time.perf_counter() - begin


def measured(target: str) -> list[Row]:
    """All layers, in turns, so that whatever slows the machine down meets all of them."""
    rows = [Row(layer, {}, {name: {} for name in BLOCKS}) for layer in LAYERS]
    for row in track(rows * TURNS, "Measuring layers"):
        take_turn(row, target)
    return rows


def section(found: dict[str, Any]) -> str:
    """What was found on one machine."""
    rows, costs = rows_of(found), COSTS[found["target"]]
    text = f"\n## {found['processor']} ({found['target']})\n\n{found['date']}.\n\n"
    text += "| layer | chosen | ms | fastest other | ms | loss |\n|---|---|---:|---|---:|---:|\n"
    losses = []
    for row in rows:
        chosen = choice(row.layer, costs)
        losses.append(row.loss(chosen))
        others = {name: ms for name, ms in row.times.items() if name != chosen}
        name, ms = min(others.items(), key=lambda item: item[1], default=("–", row.times[chosen]))
        text += (
            f"| {row.layer} | {chosen} | {row.times[chosen]:.3f} | {name} | {ms:.3f} | "
            f"{losses[-1]:.0%} |\n"
        )
    text += f"\nMean loss {mean_loss(rows, costs):.1%}, largest {max(losses):.0%}.\n\n"
    text += "| size of blocks | mean time, by that of the size in use |\n|---|---|\n"
    for name in BLOCKS:
        times = ", ".join(f"{v}: {t:.3f}" for v, t in block_times(rows, costs, name).items())
        text += f"| {name} | {times} |\n"
    return text


def rows_of(found: dict[str, Any]) -> list[Row]:
    return [
        Row(Layer(tuple(layer[0]), *layer[1:]), times, blocks)
        for layer, times, blocks in found["rows"]
    ]


def path_of(processor: str, target: str) -> Path:
    """Where the figures of a machine are kept."""
    name = re.sub(r"[^a-z0-9]+", "-", f"{processor} {target}".lower())
    return FOLDER / f"{name.strip('-')}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kept", action="store_true", help="take the figures that were kept")
    parser.add_argument("--fit", action="store_true", help="find the constants that lose least")
    parser.add_argument("--write", action="store_true", help="keep what was found")
    options = parser.parse_args()
    image = host_image()
    assert image is not None, "there is no kernel image"
    target = image.image.target
    path = path_of(processor(), target)
    if options.kept:
        found = json.loads(path.read_text())
    else:
        found = {
            "processor": processor(), "target": target, "date": date.today().isoformat(),
            "rows": measured(target),
        }  # fmt: skip
    if options.write:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(compact(found))
    if options.fit:
        fit_and_write(found, options.write)
    print(section(found))
    if options.write:
        sections = [section(json.loads(each.read_text())) for each in sorted(FOLDER.glob("*.json"))]
        DOCUMENT.write_text(f"# Tuning\n\n{HEAD}{''.join(sections)}")


def fit_and_write(found: dict[str, Any], write: bool) -> None:
    """Fit the constants of a machine's target, say what that gains, and write it if asked to."""
    rows, target = rows_of(found), found["target"]
    old = COSTS[target]
    new = fit(rows, old)._replace(found=f"{found['processor']}, fitted {found['date']}")
    for name, value in new._asdict().items():
        if value != getattr(old, name):
            print(f"{name}: {getattr(old, name)} -> {value}")
    print(f"Mean loss {mean_loss(rows, old):.2%} -> {mean_loss(rows, new):.2%}")
    COSTS[target] = new
    if write:
        source = Path(table.__file__)
        source.write_text(written(source.read_text(), target, new))


def compact(found: dict[str, Any]) -> str:
    """As JSON, a line for each layer."""
    rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in found["rows"])
    head = json.dumps({**found, "rows": []}, indent=1, ensure_ascii=False)
    return head.replace('"rows": []', f'"rows": [\n{rows}\n ]') + "\n"


HEAD = """\
Written by `benchmarks/tune.py --write` (`make tune`): for convolutions as networks have them, what
the plan chooses and the fastest of all else that the layer could be, each on one thread, with
weights from memory. A loss of a few percent is noise. Larger losses that are meant: what is chosen
does not depend on the number of threads, and for 3x3 windows on 7x7 and 8x8 it is what two threads
need, which share the memory that weights come from; for 1x1 on 7x7, Strassen's algorithm needs so
many channels that threads can share them ([costs.md](costs.md)).
"""

if __name__ == "__main__":
    main()

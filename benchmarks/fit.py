"""The constants of the cost model that lose least on layers that were measured.

In: rows of the tuning run (`tune.py`): a layer and the milliseconds of all that it could be. Out:
costs (`martlet/plan/costs.py`).

1. What the plan makes of each layer by some costs (`choice`) has a time, and so a loss: by how much
   it is slower than the fastest.
2. The constants of the model of time are moved, one by one and two at once, wherever that makes the
   mean loss less, until nothing does. What does not help stays: moving costs something, too.
3. Sizes of blocks are not in the model. They were timed themselves, and the best is taken.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import cache
from itertools import combinations, product
from typing import Any, NamedTuple

from convolutions import Layer, call_of

from martlet.kernels.forms import CHANNELS, STEMS
from martlet.ops.sliding_window import Axis
from martlet.plan.blocking import blocking
from martlet.plan.costs import COSTS, Costs
from martlet.plan.lowering import Lowering
from martlet.plan.lowering.convolution import window_blocking
from martlet.plan.lowering.strassen import pays
from martlet.plan.lowering.winograd import Choice, choose

FITTED = (
    "latency", "load", "load_b", "lane_sum", "run", "strassen_begin", "strassen_begin_one",
    "strassen_sums", "winograd_sum", "winograd_transform",
)  # fmt: skip
"""The constants of the model of time that layers of one thread can tell. `winograd_memory` is none:
threads share the memory, and what is chosen must not depend on how many there are."""
FACTORS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3.3)
FEW_FACTORS = (0.5, 0.75, 1.33, 2)  # where two constants move at once
NOISE = 0.03  # a loss below is none
MOST = 0.1  # that the loss of one layer counts, so that what went wrong once moves nothing
PENALTY = 0.003  # of loss, for a constant that is doubled or halved
BLOCKS = {
    "cache_part": (1 << 16, 1 << 17, 1 << 18, 1 << 19),
    "strassen_cache_part": (1 << 17, 1 << 18, 1 << 19, 1 << 20),
    "winograd_block": (1, 2, 3, 4, 6),
    "winograd_deep_block": (2, 3, 4, 6),
}
"""Sizes of blocks, and what they could be."""
GAIN = 0.01  # less is no reason to change the size of blocks


class Row(NamedTuple):
    """What was measured of a layer.

    times: milliseconds, by what it could be. blocks: the same, by the name of a size of blocks
    (`BLOCKS`) and its value; of those alone by which the plan changes.
    """

    layer: Layer
    times: dict[str, float]
    blocks: dict[str, dict[str, float]]

    def loss(self, name: str) -> float:
        """By how much that takes longer than the fastest."""
        return self.times[name] / min(self.times.values()) - 1


def choice(layer: Layer, costs: Costs) -> str:
    """What the plan makes of a layer by these costs."""
    taps, depth, channels = layer.taps, layer.depth, layer.channels
    axes = axes_of(layer)
    form = choose(axes, 1, depth, channels, costs)
    if form is not None:
        return winograd_name(form)
    if depth == CHANNELS and taps[0] == taps[1] and (taps[0], layer.stride) in STEMS:
        return "stem"
    if taps != (1, 1) or layer.stride > 1:
        lowering = Lowering(call_of(layer), costs, threads=1)
        return f"direct {window_blocking(lowering, axes, 1, channels, depth, True).tile.name}"
    if pays(layer.places, channels, depth, costs):
        return "strassen"
    return f"direct {blocking(layer.places, channels, depth, costs, 1).tile.name}"


@cache
def axes_of(layer: Layer) -> list[Axis]:
    return Lowering(call_of(layer), next(iter(COSTS.values())), threads=1).image_axes(layer.taps)


def winograd_name(form: Choice) -> str:
    return f"winograd {form.form.name}{' turned' * form.swapped}"


def mean_loss(rows: Sequence[Row], costs: Costs) -> float:
    """Of what the plan makes of these layers."""
    return sum(row.loss(choice(row.layer, costs)) for row in rows) / len(rows)


def _robust_loss(rows: Sequence[Row], costs: Costs) -> float:
    losses = [row.loss(choice(row.layer, costs)) for row in rows]
    return sum(min(loss, MOST) for loss in losses if loss > NOISE) / len(rows)


def fit(rows: Sequence[Row], costs: Costs) -> Costs:
    """The costs that lose least."""
    best, least, moved = costs, _robust_loss(rows, costs), True
    while moved:
        moved = False
        for names in (*combinations(FITTED, 1), *combinations(FITTED, 2)):
            for factors in product(FACTORS if len(names) == 1 else FEW_FACTORS, repeat=len(names)):
                tried = _moved(best, dict(zip(names, factors, strict=True)))
                found = PENALTY * _distance(tried, costs)
                if found < least:
                    found += _robust_loss(rows, tried)
                if found < least:
                    best, least, moved = tried, found, True
    return best._replace(**fitted_blocks(rows, costs))


def _moved(costs: Costs, factors: dict[str, float]) -> Costs:
    values: dict[str, Any] = {n: float(f"{getattr(costs, n) * f:.3g}") for n, f in factors.items()}
    return costs._replace(**values)


def _distance(costs: Costs, start: Costs) -> float:
    """How often constants were doubled or halved, all together."""
    return sum(abs(math.log2(getattr(costs, n) / getattr(start, n))) for n in FITTED)


def block_times(rows: Sequence[Row], costs: Costs, name: str) -> dict[int, float]:
    """Mean time by the value of a size of blocks; that of the costs' own is 1."""
    own = str(getattr(costs, name))
    found = [row.blocks[name] for row in rows if own in row.blocks.get(name, ())]
    alike = len(rows) - len(found)
    return {
        value: (alike + sum(times[str(value)] / times[own] for times in found)) / len(rows)
        for value in sorted({*BLOCKS[name], int(own)})
    }


def fitted_blocks(rows: Sequence[Row], costs: Costs) -> dict[str, Any]:
    """The sizes of blocks that take least time, where another one gains anything."""
    changed = {}
    for name in BLOCKS:
        times = block_times(rows, costs, name)
        best = min(times, key=lambda value: times[value])
        if times[best] < 1 - GAIN:
            changed[name] = best
    return changed


def written(source: str, target: str, costs: Costs) -> str:
    """The source of `costs.py` with these for a target."""
    lines = (
        f"        {name}={json.dumps(value, ensure_ascii=False)},\n"
        for name, value in costs._asdict().items()
    )
    entry = f'    "{target}": Costs(\n{"".join(lines)}    ),\n'
    pattern = re.compile(rf'^    "{re.escape(target)}": Costs\(\n.*?^    \),\n', re.S | re.M)
    text, count = pattern.subn(lambda _: entry, source)
    if count != 1:
        raise ValueError(f"there is no entry {target} to replace")
    return text

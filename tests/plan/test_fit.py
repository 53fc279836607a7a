"""`benchmarks/fit.py` finds constants that lose nothing on timings that others would have made."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from martlet.kernels.forms import FORMS, TILES
from martlet.plan import costs as table
from martlet.plan.costs import COSTS, Costs
from martlet.plan.lowering import Lowering
from martlet.plan.lowering.convolution import conv_2d
from martlet.plan.lowering.winograd import Choice

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
AVX2 = COSTS["x86-64-avx2"]
OTHER = AVX2._replace(latency=9, load=2.5, strassen_sums=40, winograd_transform=20)
"""A processor with slow loads."""


@pytest.fixture(scope="module")
def fit() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("fit")


@pytest.fixture(scope="module")
def layers(fit: Any) -> list[Any]:
    return list(importlib.import_module("convolutions").LAYERS[::5])


def rows(fit: Any, layers: list[Any], costs: Costs, slower: float = 1.3) -> list[Any]:
    """Timings where what these costs choose is the fastest."""
    names = {f"direct {tile.name}" for tile in TILES[costs.lanes]} | {"strassen", "stem"}
    names |= {fit.winograd_name(Choice(form, turned, 1)) for form in FORMS for turned in (0, 1)}
    return [
        fit.Row(layer, {n: 1.0 if n == fit.choice(layer, costs) else slower for n in names}, {})
        for layer in layers
    ]


def test_the_choice_is_what_the_plan_makes(fit: Any, layers: list[Any]) -> None:
    for costs in (*COSTS.values(), OTHER):
        for layer in layers:
            lowering = Lowering(importlib.import_module("convolutions").call_of(layer), costs, 1)
            assert conv_2d(lowering)
            way, *form = fit.choice(layer, costs).split()
            starts = {"direct": ("gemm_f32", "conv_f32")}.get(way, (f"{way}_f32",))
            kernel = lowering.steps[-1].kernel
            assert kernel.startswith(starts)
            assert kernel.endswith(tuple(form[:1]) or "")


def test_made_up_timings_lose_nothing_in_the_end(fit: Any, layers: list[Any]) -> None:
    timings = rows(fit, layers, OTHER)
    assert fit.mean_loss(timings, AVX2) > 0.03
    assert fit.mean_loss(timings, fit.fit(timings, AVX2)) < 0.005


def test_what_loses_nothing_stays(fit: Any, layers: list[Any]) -> None:
    assert fit.fit(rows(fit, layers, AVX2), AVX2) == AVX2


def test_noise_changes_nothing(fit: Any, layers: list[Any]) -> None:
    assert fit.fit(rows(fit, layers, OTHER, slower=1.01), AVX2) == AVX2


@pytest.mark.parametrize(("other", "gains"), [(0.9, True), (0.999, False)])
def test_the_best_size_of_blocks_is_taken(
    fit: Any, layers: list[Any], other: float, gains: bool
) -> None:
    sizes = {str(size): 1.0 for size in fit.BLOCKS["cache_part"]}
    assert str(AVX2.cache_part) in sizes
    sizes[str(2 * AVX2.cache_part)] = other
    timings = [row._replace(blocks={"cache_part": sizes}) for row in rows(fit, layers[:5], AVX2)]
    assert fit.fitted_blocks(timings, AVX2) == (
        {"cache_part": 2 * AVX2.cache_part} if gains else {}
    )


def test_what_is_written_is_the_table_with_another_entry(fit: Any) -> None:
    source = Path(table.__file__).read_text()
    for target, costs in COSTS.items():
        assert fit.written(source, target, costs) == source
    changed = fit.written(source, "x86-64-avx2", AVX2._replace(load=1.75, found='a "chip"'))
    names: dict[str, Any] = {"__name__": "written"}
    exec(compile(changed, "costs.py", "exec"), names)
    assert tuple(names["COSTS"]["x86-64-avx2"]) == tuple(AVX2._replace(load=1.75, found='a "chip"'))
    assert tuple(names["COSTS"]["aarch64-neon"]) == tuple(COSTS["aarch64-neon"])

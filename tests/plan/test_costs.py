"""Every target has costs, and what is chosen by them can be run there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from martlet.kernels.forms import FORMS, TILES
from martlet.kernels.targets import TARGETS, Target
from martlet.ops.sliding_window import Axis
from martlet.plan.blocking import blocking
from martlet.plan.costs import COSTS, Costs
from martlet.plan.lowering.strassen import blocks, pays
from martlet.plan.lowering.winograd import choose

each = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
SIZES = st.integers(1, 5000)


def test_every_target_has_costs() -> None:
    assert COSTS.keys() == TARGETS.keys()


@each
def test_costs_are_of_the_targets_vectors(target: Target) -> None:
    assert COSTS[target.name].lanes == target.lanes


@each
def test_costs_are_positive_and_say_where_they_come_from(target: Target) -> None:
    costs = COSTS[target.name]._asdict()
    assert costs.pop("found")
    assert all(value > 0 for value in costs.values())
    kinds = Costs.__annotations__
    assert all(isinstance(value, int) for name, value in costs.items() if kinds[name] == "int")


@each
@given(rows=SIZES, columns=SIZES, depth=SIZES, threads=st.integers(1, 4))
def test_products_have_tiles_that_there_are_kernels_for(
    target: Target, rows: int, columns: int, depth: int, threads: int
) -> None:
    plan = blocking(rows, columns, depth, COSTS[target.name], threads)
    assert plan.tile in TILES[target.lanes]
    assert plan.block >= 1
    assert 1 <= plan.group <= -(-columns // plan.width)
    assert plan.units >= 1


@each
@given(rows=SIZES, columns=SIZES, half=SIZES, threads=st.integers(1, 4))
def test_strassen_has_work_for_its_blocks(
    target: Target, rows: int, columns: int, half: int, threads: int
) -> None:
    costs = COSTS[target.name]
    assert not pays(rows, columns, 2 * half + 1, costs)
    if pays(rows, columns, 2 * half, costs):
        block, group, units = blocks(1, rows, columns, 2 * half, costs, threads)
        assert min(block, group, units) >= 1


@each
@given(
    size=st.integers(1, 60), taps=st.sampled_from([(3, 3), (5, 5), (1, 7), (7, 1)]), depth=SIZES,
    channels=SIZES,
)  # fmt: skip
def test_winograd_forms_fit_the_window(
    target: Target, size: int, taps: tuple[int, int], depth: int, channels: int
) -> None:
    axes = [Axis(size, n, 1, 1, size, n // 2) for n in taps]
    choice = choose(axes, 1, depth, channels, COSTS[target.name])
    if choice is not None:
        assert choice.form in FORMS
        window = taps[::-1] if choice.swapped else taps
        assert window == tuple(along.taps for along in choice.form)

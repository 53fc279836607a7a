"""BATCH_MATMUL on machine code means what it means in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import const
from lowered_node import compute, is_lowered
from martlet.kernels.forms import TILES, Tile
from martlet.kernels.targets import Target
from martlet.plan.lowering import packing
from native import targets
from pitched_node import compute_pitched

on_targets = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
random = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def matrices(batch: tuple[int, ...], rows: int, columns: int, swapped: bool) -> np.ndarray:
    return normal(*batch, *((columns, rows) if swapped else (rows, columns)))


def check(
    target: Target, x: Any, y: Any, adj_x: bool, adj_y: bool, split: int | None = None
) -> np.ndarray:
    options = {"adj_x": adj_x, "adj_y": adj_y}
    (found,), (expected,) = compute(target, "BATCH_MATMUL", [x, y], options, split)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max(initial=0)))
    return found


@on_targets
@given(
    batches=st.sampled_from(
        [((), ()), ((3,), (3,)), ((3,), ()), ((), (3,)), ((1,), (3,)), ((3,), (1,)),
         ((1, 1), (1,)), ((2, 1), (1, 3)),
         ((2, 3), (3,)), ((3, 2), (3, 1)), ((2, 1, 2), (2, 3, 1))]
    ),
    rows=st.integers(1, 20),
    depth=st.integers(1, 20),
    columns=st.integers(1, 40),
    adj_x=st.booleans(),
    adj_y=st.booleans(),
    known=st.sampled_from(["", "x", "y"]),
    split=st.sampled_from([None, 1, 2]),
)  # fmt: skip
def test_stacks_of_any_matrices(
    batches: tuple[tuple[int, ...], tuple[int, ...]], rows: int, depth: int, columns: int,
    adj_x: bool, adj_y: bool, known: str, split: int | None, target: Target,
) -> None:  # fmt: skip
    x: Any = matrices(batches[0], rows, depth, adj_x)
    y: Any = matrices(batches[1], depth, columns, adj_y)
    check(
        target, const(x) if known == "x" else x, const(y) if known == "y" else y, adj_x, adj_y,
        split,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("target", "tile"), [(t, tile) for t in targets() for tile in TILES[t.lanes]],
    ids=lambda item: item.name,
)  # fmt: skip
@pytest.mark.parametrize("adj_y", [False, True])
def test_every_tile(
    target: Target, tile: Tile, adj_y: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "TILES", {target.lanes: (tile,)})
    width = tile.width(target.lanes)
    for columns in {1, width - 1, width, 2 * width + 1} - {0}:
        check(target, normal(2, 7, 9), matrices((2,), 9, columns, adj_y), False, adj_y)


@on_targets
def test_a_few_rows_meet_matrices_as_they_are(target: Target) -> None:
    lanes = target.lanes
    for columns in (1, lanes - 1, 3 * lanes, 7 * lanes + 1, 8 * lanes, 15 * lanes + 3):
        for rows, depth in ((1, 5), (3, 1), (4, 6)):
            for split in (None, 1):
                check(
                    target, normal(2, rows, depth), normal(2, depth, columns), False, False, split
                )
    for wider in ((0, 0), (3, 5)):
        found, expected, names = compute_pitched(
            target, "BATCH_MATMUL", [normal(1, 2, 3, 4), normal(1, 2, 4, 9)], wider=wider
        )
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert names == ["few_rows_f32"]


@on_targets
@pytest.mark.parametrize("adj_x", [False, True])
def test_rows_that_lie_among_others(target: Target, adj_x: bool) -> None:
    for adj_y in (False, True):
        x, y = matrices((2, 3), 6, 5, adj_x), matrices((2, 3), 5, 18, adj_y)
        found, expected, _ = compute_pitched(
            target, "BATCH_MATMUL", [x, y], {"adj_x": adj_x, "adj_y": adj_y}, wider=(3, 2),
            threads=2,
        )  # fmt: skip
        np.testing.assert_allclose(found, expected, atol=1e-5)


@on_targets
def test_infinities_and_what_is_no_number_stay(target: Target) -> None:
    x = np.array([[np.inf, 1], [-np.inf, 1], [np.nan, 1], [3e38, 3e38]], np.float32)
    found = check(target, x[:, :1], np.ones((1, 3), np.float32), False, False)
    np.testing.assert_array_equal(found, np.repeat(x[:, :1], 3, 1))


def test_empty_matrices() -> None:
    target = targets()[0]
    for x, y in (((0, 3, 4), (0, 4, 5)), ((2, 0, 4), (2, 4, 5)), ((2, 3, 4), (2, 4, 0))):
        check(target, np.zeros(x, np.float32), np.zeros(y, np.float32), False, False)
    nothing = [np.zeros((2, 3, 0), np.float32), np.zeros((2, 0, 5), np.float32)]
    assert not is_lowered("BATCH_MATMUL", nothing)  # all zeros: left to NumPy


def test_integers_are_left_to_numpy() -> None:
    from martlet.graph import Quantization

    q = Quantization(np.ones(1, np.float32), np.zeros(1, np.int64))
    y = const(np.ones((4, 5), np.int8), q=q)
    assert not is_lowered("BATCH_MATMUL", [normal(3, 4), y])

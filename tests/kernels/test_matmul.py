"""BATCH_MATMUL on machine code means what it means in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import const, one_node
from lowered_node import compute, is_lowered
from martlet.dtypes import DType
from martlet.kernels.forms import TILES, Tile
from martlet.kernels.targets import Target
from martlet.ops.operator import Spec
from martlet.plan.costs import COSTS
from martlet.plan.lowering import Fused, Lowering, packing
from martlet.plan.lowering.matmul import batch_matmul
from martlet.runtime.session import Session
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
@pytest.mark.parametrize("known", [False, True])
def test_neighbours_add_and_clamp(target: Target, known: bool) -> None:
    for rows, columns in ((6, 18), (1 if known else 5, 7), (9, 1)):
        for batch in ((2, 3), (1, 1)):  # a product of its own for each matrix, and one for all
            x, y = normal(2, 3, rows, 5), normal(*batch, 5, columns)
            row, scalar, whole = normal(columns), normal(1, 1), normal(2, 3, rows, columns)
            for shift, residual in ((row, None), (scalar, None), (None, whole)):
                for split in (None, 1):
                    found, expected, names = compute_pitched(
                        target, "BATCH_MATMUL", [x, const(y) if known else y], wider=(3, 2),
                        shift=shift, residual=residual, activation="RELU6", threads=2, split=split,
                    )  # fmt: skip
                    np.testing.assert_allclose(found, expected, atol=1e-5)
                    assert names[-1].startswith("gemm")


def lowers_beside(fused: Fused, pitches: dict[int, int], *batch: int, rows: int = 9) -> bool:
    """Whether (2, rows, 5) times a computed (batch, 5, 7) is lowered with such neighbours."""
    model, arrays = one_node("BATCH_MATMUL", [normal(2, rows, 5), normal(*batch, 5, 7)])
    specs = [Spec(DType.FLOAT32, array.shape) for array in arrays]
    (step,) = Session(model).plan(0, specs).steps
    lowering = Lowering(step.call, COSTS["x86-64-avx2"], 1, fused._replace(output=98), pitches)
    return batch_matmul(lowering)


def test_which_neighbours_can_join() -> None:
    residual, same, other = Fused(residual=99), {98: 9, 99: 9}, {98: 9}
    assert lowers_beside(residual, same)
    assert lowers_beside(residual, same, 2)
    assert lowers_beside(residual, other)
    assert not lowers_beside(residual, other, 2)
    assert lowers_beside(Fused(shift=normal(1, 7), activation="NONE"), other, 2)
    assert not lowers_beside(Fused(shift=normal(2, 1, 7), activation="NONE"), other, 2)
    assert not lowers_beside(residual._replace(activation="TANH"), same)
    assert not lowers_beside(Fused(activation="RELU"), other, 2, rows=1)


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

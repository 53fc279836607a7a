"""STABLEHLO_GATHER and STABLEHLO_SCATTER on machine code mean what they mean in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowered_node import compute, compute_model, is_lowered, lower
from martlet.kernels.targets import Target
from native import targets
from region_models import scatter_model

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
DTYPES = (np.bool_, np.int8, np.int16, np.float32, np.int64, np.complex64)
X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def numbers(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-90, 90, shape).astype(dtype)


def window(sizes: Any, offsets: Any, collapsed: Any, starts: Any, dim: int) -> dict[str, Any]:
    return {
        "slice_sizes": np.array(sizes, np.int64), "offset_dims": np.array(offsets, np.int64),
        "collapsed_slice_dims": np.array(collapsed, np.int64),
        "start_index_map": np.array(starts, np.int64), "index_vector_dim": dim,
    }  # fmt: skip


@each
@given(st.data())
def test_gathered_windows_are_moved_inside(target: Target, data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    rank, draw = len(shape), data.draw
    sizes = [draw(st.integers(1, n)) for n in shape]
    ones = [axis for axis in range(rank) if sizes[axis] == 1]
    collapsed = sorted(draw(st.sets(st.sampled_from(ones)))) if ones else []
    starts = draw(st.permutations(range(rank)))[: draw(st.integers(0, rank))]
    batch = tuple(draw(st.lists(st.integers(0, 3), max_size=2)))
    first = draw(st.integers(0, rank - len(collapsed)))  # where the batch goes in the output
    kept = rank - len(collapsed)
    offsets = [d if d < first else d + len(batch) for d in range(kept)]
    vectors = (*batch, len(starts)) if len(starts) != 1 or draw(st.booleans()) else batch
    indices = np.random.default_rng(len(vectors)).integers(-3, 8, vectors)
    inputs = [
        numbers(shape, draw(st.sampled_from(DTYPES))),
        indices.astype(draw(st.sampled_from([np.int32, np.int64]))),
    ]
    options = window(sizes, offsets, collapsed, starts, len(batch))
    split = draw(st.sampled_from([None, 3]))
    (found,), (expected,) = compute(target, "STABLEHLO_GATHER", inputs, options, split)
    np.testing.assert_array_equal(found, expected)


def test_gathers_that_are_left_to_numpy() -> None:
    first, last = np.zeros((2, 3), np.int32), np.zeros((3, 2), np.int32)
    starts = [0, 1]
    assert is_lowered("STABLEHLO_GATHER", [X, last], window([1, 2, 4], [1, 2], [0], starts, 1))
    assert not is_lowered("STABLEHLO_GATHER", [X, first], window([1, 2, 4], [1, 2], [0], starts, 0))
    apart = window([1, 2, 4], [1], [0, 2], [0, 1], 2)
    apart["slice_sizes"] = np.array([1, 2, 1])
    assert not is_lowered("STABLEHLO_GATHER", [X, np.zeros((3, 5, 2), np.int32)], apart)
    strings = np.full((2, 3), b"a", object)
    assert not is_lowered("STABLEHLO_GATHER", [strings, last], window([1, 3], [1], [0], starts, 1))


def dims(
    window: list[int], inserted: list[int], named: list[int], index_vector: int
) -> dict[str, Any]:
    """Dimensions of windows in the updates, those inserted, those that index vectors name."""
    return {
        "update_window_dims": window, "inserted_window_dims": inserted,
        "scatter_dims_to_operand_dims": named, "index_vector_dim": index_vector,
    }  # fmt: skip


@each
@given(st.data())
def test_what_is_scattered_outside_is_left_out(target: Target, data: st.DataObject) -> None:
    draw = data.draw
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    outer = draw(st.integers(0, len(shape)))
    named = draw(st.permutations(range(outer)))[: draw(st.integers(0, outer))]
    batch = tuple(draw(st.lists(st.integers(0, 3), max_size=2)))
    row = list(shape[outer:])
    if row:
        row[0] = draw(st.integers(0, row[0]))
    combine = draw(st.sampled_from([None, "STABLEHLO_ADD"]))
    summed = (np.float32, np.int32, np.int64)
    dtype = draw(st.sampled_from(DTYPES if combine is None else summed))
    vectors = np.random.default_rng(outer).integers(-2, 6, (*batch, len(named)))
    options = dims(
        list(range(len(batch), len(batch) + len(row))), list(range(outer)), named, len(batch)
    )
    index = draw(st.sampled_from([np.int32, np.int64]))
    model, arrays = scatter_model(
        numbers(shape, dtype), vectors.astype(index), numbers((*batch, *row), dtype, 1), combine,
        **options,
    )  # fmt: skip
    split = draw(st.sampled_from([None, 1]))
    (found,), (expected,) = compute_model(target, model, arrays, split)
    np.testing.assert_array_equal(found, expected)


def test_scatters_that_are_left_to_numpy() -> None:
    indices = np.zeros((3, 1), np.int32)

    def lowered(updates: tuple[int, ...], *how: Any, combine: str | None = None) -> bool:
        values = np.zeros(updates, np.float32)
        model, arrays = scatter_model(X, indices, values, combine, **dims(*how))
        return lower(model, arrays) is not None

    assert lowered((3, 3, 4), [1, 2], [0], [0], 1)
    assert lowered((3, 2, 4), [1, 2], [0], [0], 1)
    assert not lowered((3, 3, 2), [1, 2], [0], [0], 1)  # rows with gaps
    assert not lowered((3, 2, 4), [1, 2], [1], [1], 1)
    assert not lowered((3, 1, 3, 4), [1, 2, 3], [], [0], 1)  # windows that may hang over
    assert not lowered((3, 3, 4), [1, 2], [0], [0], 1, combine="STABLEHLO_MULTIPLY")

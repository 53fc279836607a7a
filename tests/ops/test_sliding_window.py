"""Positions, padding and overlaps of sliding windows, against counting by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from martlet.ops.sliding_window import BLOCK_BYTES, Axis, blocks, taps


class Ticking:
    """Stands for a call: counts its ticks."""

    ticks = 0

    def tick(self) -> None:
        self.ticks += 1


numbers = st.integers(1, 9)


@given(numbers, numbers, numbers, numbers, st.integers(0, 9), st.integers(0, 9), st.data())
def test_taps_meet_exactly_the_elements_under_them(
    size: int,
    count: int,
    stride: int,
    dilation: int,
    positions: int,
    before: int,
    data: st.DataObject,
) -> None:
    axis = Axis(size, count, stride, dilation, positions, before)
    first = data.draw(st.integers(0, positions))
    where = range(first, data.draw(st.integers(first, positions)))
    start = data.draw(st.integers(0, size))
    image = range(start, data.draw(st.integers(start, size)))
    met = {
        (p, tap, p * stride + tap * dilation - before)
        for p in where
        for tap in range(count)
        if p * stride + tap * dilation - before in image
    }
    found = {
        (p, tap[0], element)
        for tap, at, under in taps([axis], [where], [image])
        for p, element in zip(where[at[0]], image[under[0]], strict=True)
    }
    assert found == met


def test_a_huge_dilation_costs_nothing() -> None:
    axis = Axis(5, 3, 1, 1 << 30, 5, 1 << 30)
    assert [tap for tap, *_ in taps([axis], [range(5)], [range(5)])] == [(1,)]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=4), st.integers(1, BLOCK_BYTES))
def test_blocks_cover_every_place_once_within_their_limit(
    shape: list[int], bytes_each: int
) -> None:
    seen = np.zeros(shape, int)
    call = Ticking()
    for number, block in enumerate(blocks(call, shape, bytes_each), start=1):  # type: ignore[arg-type]
        part = seen[tuple(slice(r.start, r.stop) for r in block)]
        part += 1
        assert part.size == 1 or part.size * bytes_each <= BLOCK_BYTES
        assert call.ticks == number
    assert (seen == 1).all()

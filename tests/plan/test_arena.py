"""Places in the arena: no two live values share a byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from martlet.cache_lines import ALIGNMENT
from martlet.plan.arena import GUARD, Life, longer, overlaps, place

lives = st.lists(
    st.builds(
        lambda nbytes, first, length: Life(nbytes, first, first + length),
        st.integers(0, 5000),
        st.integers(0, 12),
        st.integers(0, 6),
    ),
    max_size=20,
)


@given(lives)
def test_values_that_live_together_never_share_a_byte(values: list[Life]) -> None:
    offsets, size = place(values)
    assert overlaps(values, offsets) == []
    assert all(o % ALIGNMENT == 0 for o in offsets)
    assert all(o + v.nbytes <= size - GUARD for o, v in zip(offsets, values, strict=True))


@given(lives)
def test_the_arena_is_no_smaller_than_what_lives_at_once(values: list[Life]) -> None:
    _, size = place(values)
    steps = range(20)
    live = max(sum(v.nbytes for v in values if v.first <= s <= v.last) for s in steps)
    assert size - GUARD >= live


def test_a_chain_takes_turns() -> None:
    """Each value is read by the next step only: two places serve any length."""
    chain = [Life(1024, i, i + 1) for i in range(10)]
    _, size = place(chain)
    assert size == 2 * 1024 + GUARD


def test_the_lowest_gap_that_fits_is_taken() -> None:
    values = [Life(640, 0, 9), Life(128, 0, 3), Life(64, 4, 9)]
    offsets, size = place(values)
    assert offsets == [0, 640, 640]
    assert size == 640 + 128 + GUARD


@given(lives)
def test_longer_lives_begin_as_before_and_end_a_step_later_at_most(values: list[Life]) -> None:
    for value, kept in zip(values, longer(values), strict=True):
        assert kept in (value, value._replace(last=value.last + 1))


def test_lives_are_longer_only_where_memory_is_not_short() -> None:
    large, small = Life(10_000, 0, 1), [Life(1024, i, i + 1) for i in range(1, 5)]
    kept = longer([large, *small])
    assert kept[:3] == [large, *small[:2]]  # beside the large one, or would be if it lived longer
    assert kept[3:] == [life._replace(last=life.last + 1) for life in small[2:]]
    assert place(kept)[1] == place([large, *small])[1]


def test_an_overlap_is_reported() -> None:
    values = [Life(100, 0, 2), Life(100, 2, 3), Life(100, 3, 4)]
    assert overlaps(values, [0, 50, 0]) == [(0, 1), (1, 2)]


def test_nothing_takes_only_the_guard() -> None:
    assert place([]) == ([], GUARD)

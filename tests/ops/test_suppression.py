"""NON_MAX_SUPPRESSION_V4, NON_MAX_SUPPRESSION_V5."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import const, run
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError
from martlet.ops.suppression import intersection_over_union
from oracle import agree

BOXES = np.float32([[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, -0.1, 1, 0.9], [0, 10, 1, 11]])
SCORES = np.float32([0.9, 0.75, 0.6, 0.95])
V4, V5 = [DType.INT32, DType.INT32], [DType.INT32, DType.FLOAT32, DType.INT32]


def inputs(limit=4, overlap=0.5, score=0.0, sigma=None, boxes=BOXES, scores=SCORES):
    numbers = [overlap, score] + ([] if sigma is None else [sigma])
    return [
        boxes,
        scores,
        const(np.array(limit, np.int32)),
        *[const(np.float32(n)) for n in numbers],
    ]


def test_overlap_by_hand():
    overlap = intersection_over_union(BOXES[0], np.float32([[0, 0.5, 1, 1.5], [0, 0, 0, 9]]))
    np.testing.assert_allclose(overlap, [1 / 3, 0])


def test_the_best_of_what_overlaps_stays_and_the_rest_is_0():
    indices, count = agree("NON_MAX_SUPPRESSION_V4", inputs(), outputs=V4)
    assert indices.tolist() == [3, 0, 0, 0]
    assert count == 2


def test_soft_suppression_lowers_scores():
    indices, scores, count = agree(
        "NON_MAX_SUPPRESSION_V5", inputs(overlap=1.0, sigma=0.5), tolerance=1e-5, outputs=V5
    )
    assert sorted(indices.tolist()) == [0, 1, 2, 3]
    assert count == 4
    assert scores[3] < 0.6


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_boxes_and_ties_are_litert_s(data):
    count = data.draw(st.integers(1, 30))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    boxes = rng.integers(0, 4, (count, 4)).astype(np.float32)  # many are empty
    scores = rng.integers(0, 4, count).astype(np.float32) / 4
    limit = data.draw(st.integers(0, count + 2))
    overlap = data.draw(st.sampled_from((0.1, 0.5, 1.0, 1.5)))
    facts = {"boxes": boxes, "scores": scores, "limit": limit, "overlap": overlap}
    agree("NON_MAX_SUPPRESSION_V4", inputs(**facts), outputs=V4)
    sigma = data.draw(st.sampled_from((0.0, 0.3)))
    agree("NON_MAX_SUPPRESSION_V5", inputs(sigma=sigma, **facts), tolerance=1e-5, outputs=V5)


def test_no_boxes():
    facts = {"boxes": BOXES[:0], "scores": SCORES[:0]}
    assert run("NON_MAX_SUPPRESSION_V4", inputs(**facts), outputs=V4)[1] == 0


def test_what_is_checked():
    with pytest.raises(ModelError, match="max_output_size is negative"):
        run("NON_MAX_SUPPRESSION_V4", inputs(limit=-1), outputs=V4)
    with pytest.raises(ModelError, match="not one score a box"):
        run("NON_MAX_SUPPRESSION_V4", inputs(scores=SCORES[:2]), outputs=V4)
    with pytest.raises(RunError, match="sigma is negative"):
        run("NON_MAX_SUPPRESSION_V5", inputs(sigma=-1.0), outputs=V5)

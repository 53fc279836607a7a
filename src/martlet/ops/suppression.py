"""NON_MAX_SUPPRESSION_V4 and _V5: boxes by falling score, without those that overlap too much.

A box is (y1, x1, y2, x2), any two opposite corners. V5 has "soft" suppression (Bodla et al.,
arXiv 1704.04503): a box loses exp(-iou^2 / (2 sigma)) of its score for each chosen box that it
overlaps, and waits again with what is left.

1. Boxes above the score threshold wait in a heap by score.
2. The best one is compared with the boxes chosen since it was last compared, the latest first:
   it is dropped where the overlap reaches the threshold, else its score decays.
3. It is chosen if its score is still what it was, and waits again if it is above the threshold;
   so a chosen box meets itself next.
"""

from __future__ import annotations

import math

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call, Spec, register
from martlet.records import NamedTuple


def intersection_over_union(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of one (ymin, xmin, ymax, xmax) with each row of `others`, in float32; 0 for empty boxes."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    zero = np.float32(0)
    height = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    width = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    shared = np.maximum(height, zero) * np.maximum(width, zero)
    overlap: np.ndarray = shared / (area + areas - shared)
    return np.where((area <= 0) | (areas <= 0), zero, overlap)


class _Candidate(NamedTuple):
    score: np.float32
    box: int
    compared: int  # with how many of the chosen boxes


class _Heap:
    """A binary max-heap by score that keeps equal scores in the order in which C++'s do.

    `std::priority_queue` says nothing of equal scores; what GNU's library does is observable:
    taking the best lets the hole sink to a leaf, always to the greater child (the right one if
    equal), and the last element rises from there.
    """

    def __init__(self) -> None:
        self.items: list[_Candidate] = []

    def push(self, item: _Candidate) -> None:
        self.items.append(item)
        self._rise(len(self.items) - 1, item)

    def pop(self) -> _Candidate:
        items = self.items
        best, last = items[0], items.pop()
        if items:
            hole, size = 0, len(items)
            while (child := 2 * hole + 2) <= size:
                if child == size or items[child].score < items[child - 1].score:
                    child -= 1
                items[hole] = items[child]
                hole = child
            self._rise(hole, last)
        return best

    def _rise(self, hole: int, item: _Candidate) -> None:
        items = self.items
        while hole > 0 and items[(hole - 1) // 2].score < item.score:
            items[hole] = items[(hole - 1) // 2]
            hole = (hole - 1) // 2
        items[hole] = item


def _spec(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32)
    call.check_dtype(1, DType.FLOAT32)
    count, _ = boxes = call.check_rank(0, 2)
    call.check(boxes[1] == 4, "a box is not four numbers", "[boxes, 4]", str(list(boxes)))
    call.check(
        call.shape(1) == (count,), "there is not one score a box", str(count), str(call.shape(1))
    )
    for i in range(3, call.inputs):
        call.check_dtype(i, DType.FLOAT32)
        call.check_one(i)
    limit = call.integer(2, (DType.INT32,))
    call.check((limit or 0) >= 0, "max_output_size is negative", found=str(limit))
    shape = None if limit is None else (limit,)
    specs = [Spec(DType.INT32, shape), Spec(DType.FLOAT32, shape), Spec(DType.INT32, ())]
    return specs if call.op.endswith("V5") else [specs[0], specs[2]]


def _suppress(
    call: Call,
    boxes: np.ndarray,
    scores: np.ndarray,
    limit: np.ndarray,
    overlap: np.ndarray,
    threshold: np.ndarray,
    sigma: np.ndarray | None = None,
) -> list[np.ndarray]:
    soft = 0.0 if sigma is None else float(sigma.item())
    if soft < 0:
        call.fail_run("sigma is negative", found=str(soft))
    size = int(limit.item())
    indices, kept = np.zeros(size, np.int32), np.zeros(size, np.float32)
    lower, highest = np.float32(threshold.item()), np.float32(overlap.item())
    decay = np.float32(-0.5 / soft) if soft > 0 and math.isfinite(soft) else None
    corners = np.concatenate(
        [np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1
    )
    waiting = _Heap()
    for i in np.flatnonzero(scores > lower):
        waiting.push(_Candidate(scores[i], int(i), 0))
    wanted = min(len(waiting.items), size)
    chosen = 0
    while chosen < wanted and waiting.items:
        call.tick()
        score, box, compared = waiting.pop()
        others = corners[indices[compared:chosen][::-1]]
        left = _weakened(
            intersection_over_union(corners[box], others), score, highest, lower, decay
        )
        if left is None:
            continue
        before = chosen
        if left == score:
            indices[chosen], kept[chosen] = box, score
            chosen += 1
        if left > lower:
            waiting.push(_Candidate(left, box, before))
    count = np.array(chosen, np.int32)
    return [indices, count] if sigma is None else [indices, kept, count]


def _weakened(
    overlaps: np.ndarray,
    score: np.float32,
    highest: np.float32,
    lower: np.float32,
    decay: np.float32 | None,
) -> np.float32 | None:
    """The score after these overlaps, in their order; None where one drops the box for good."""
    hard = np.flatnonzero(overlaps >= highest)
    if decay is None:
        return None if hard.size else score
    weights = np.exp(decay * overlaps * overlaps)
    steps = np.multiply.accumulate(np.concatenate([[score], weights]), dtype=np.float32)[1:]
    low = np.flatnonzero(steps <= lower)
    if hard.size and (not low.size or hard[0] <= low[0]):
        return None
    if low.size:
        return np.float32(steps[low[0]])
    return np.float32(steps[-1]) if steps.size else score


for _version, _inputs, _outputs in ((4, 5, 2), (5, 6, 3)):
    register(
        f"NON_MAX_SUPPRESSION_V{_version}", infer=_spec, evaluate=_suppress, inputs=_inputs,
        outputs=_outputs, options=f"NonMaxSuppressionV{_version}Options",
    )  # fmt: skip

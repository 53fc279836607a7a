"""PosenetDecoderOp: from PoseNet's and BodyPix's maps to poses (Google Coral's operator).

The networks give, at every position of a coarse grid and for 17 keypoints (nose, eyes, … ankles):
a heat map of scores (logits), short offsets to the exact place of the keypoint, middle offsets
along the 16 edges of the skeleton in both directions, and, in BodyPix, long offsets from every
pixel of a person to that person's keypoints. The decoder (Papandreou et al., "PersonLab",
arXiv 1803.08225):

1. Local maxima of the heat maps above the threshold are candidates, the best first.
2. A candidate near the same keypoint of a pose that was found already is dropped.
3. From the others, the skeleton is walked along the middle offsets, each landing refined five
   times by the short offsets; the pose is kept if its mean score reaches the threshold.
4. Poses are scored again without keypoints that lie on those of better poses, and sorted.
5. With long offsets: each position belongs to the pose whose keypoints its offsets meet best.

The skeleton is a tree, so where a keypoint lands depends on its parent alone and many candidates
are walked at once. Coordinates are (y, x), in units of the grid until the end. All arithmetic is
float32. What comes after the poses that were found is 0.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from martlet.dtypes import DType
from martlet.ops import custom_options
from martlet.ops.operator import Call, Spec, register
from martlet.records import dataclass

KEYPOINTS = 17
EDGES = 16
_SHORT_STEPS = 5
_LONG_STEPS = 3
# (parent, child) in the order of the channels of the middle offsets. Keypoints: nose 0, then left
# and right of eyes 1 2, ears 3 4, shoulders 5 6, elbows 7 8, wrists 9 10, hips 11 12, knees 13 14,
# ankles 15 16.
_SKELETON = (
    (0, 1), (1, 3), (0, 2), (2, 4), (0, 5), (5, 7), (7, 9), (5, 11), (11, 13), (13, 15), (0, 6),
    (6, 8), (8, 10), (6, 12), (12, 14), (14, 16),
)  # fmt: skip


@cache
def _walks() -> np.ndarray:
    """For each root, 16 steps (parent, child, channel of the y offset), parents before children.

    The channels are y and x of the forward edges, then y and x of the backward ones, 16 each.
    """
    steps = [(a, b, k) for k, (a, b) in enumerate(_SKELETON)]
    steps += [(b, a, 2 * EDGES + k) for k, (a, b) in enumerate(_SKELETON)]
    walks = []
    for root in range(KEYPOINTS):
        walk, reached = [], [root]
        for parent in reached:
            for step in steps:
                if step[0] == parent and step[1] not in reached:
                    reached.append(step[1])
                    walk.append(step)
        walks.append(walk)
    return np.array(walks)


@dataclass
class _Settings:
    max_detections: int
    score_threshold: np.float32
    stride: int
    nms_radius: np.float32


def _settings(call: Call) -> _Settings:
    values = custom_options.options(call)
    return _Settings(
        custom_options.integer(call, values, "max_detections", low=0),
        np.float32(custom_options.number(call, values, "score_threshold")),
        custom_options.integer(call, values, "stride", low=1),
        np.float32(custom_options.number(call, values, "nms_radius")),
    )


def _infer(call: Call) -> list[Spec]:
    masks = call.inputs == 4
    if call.outputs != call.inputs + 1:
        call.fail("poses have the wrong outputs", f"{call.inputs + 1}", f"{call.outputs}")
    channels = (KEYPOINTS, 2 * KEYPOINTS, 4 * EDGES, 2 * KEYPOINTS)
    for i in range(call.inputs):
        if call.check_dtype(i, DType.UINT8, DType.FLOAT32) is DType.UINT8:
            call.scale(i)
        batch, _, _, depth = call.check_rank(i, 4)
        if batch != 1 or depth != channels[i]:
            call.fail(
                f"input {i} has the wrong shape",
                f"1 × height × width × {channels[i]}",
                str(list(call.shape(i))),
            )
        if i < 3 and call.shape(i)[1:3] != call.shape(0)[1:3]:
            call.fail(
                f"input {i} is of another size than the heat maps",
                str(list(call.shape(0)[1:3])),
                str(list(call.shape(i)[1:3])),
            )
    n = _settings(call).max_detections
    shapes = [(1, n, KEYPOINTS, 2), (1, n, KEYPOINTS), (1, n), (1,)]
    if masks:
        shapes.append((1, n, *call.shape(3)[1:3]))
    return [Spec(DType.FLOAT32, shape) for shape in shapes]


def _real(call: Call, i: int, x: np.ndarray, divisor: int) -> np.ndarray:
    """Input i as float32 of shape (height, width, channels), divided by the stride."""
    factor = np.float32(1.0 / divisor)
    if call.dtype(i) is DType.UINT8:
        factor = np.float32(call.scale(i)) * factor
        x = x.astype(np.float32) - np.float32(call.zero_point(i))
    return np.asarray(x[0] * factor)


def _clamp(x: np.ndarray, size: int) -> np.ndarray:
    clamped: np.ndarray = np.clip(x, np.float32(0), np.float32(size - 1))
    return clamped


def _sample(field: np.ndarray, points: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Bilinear values of `channels` (count, k) of a field at points (count, 2): (count, k)."""
    corners, weights = [], []
    for axis in range(2):
        place = points[:, axis]
        inside = np.nan_to_num(_clamp(place, field.shape[axis]))
        low = np.floor(inside)
        corners.append((low.astype(np.int64)[:, None], np.ceil(inside).astype(np.int64)[:, None]))
        weights.append((place - low)[:, None])
    (top, bottom), (left, right) = corners
    fy, fx = weights
    one = np.float32(1)
    upper = (one - fx) * field[top, left, channels] + fx * field[top, right, channels]
    lower = (one - fx) * field[bottom, left, channels] + fx * field[bottom, right, channels]
    return np.asarray((one - fy) * upper + fy * lower)


def _displace(field: np.ndarray, points: np.ndarray, channel_y: np.ndarray, gap: int) -> np.ndarray:
    """Points moved by the offsets found there; those of x are `gap` channels after those of y."""
    offsets = _sample(field, points, np.stack([channel_y, channel_y + gap], axis=1))
    moved = points + offsets
    height, width = field.shape[:2]
    return np.stack([_clamp(moved[:, 0], height), _clamp(moved[:, 1], width)], axis=1)


class _Queue:
    """A heap that gives the best score first, and equal scores in the order of C++'s.

    Scores of 8 bits are often equal; which comes first decides which pose is found. The order is
    that of the usual binary heap with `std::push_heap` and `std::pop_heap`: the last element
    fills the hole that the better children leave on its way down, and rises from there.
    """

    def __init__(self, scores: np.ndarray) -> None:
        self._scores: list[float] = scores.tolist()
        self._heap: list[int] = []
        for i in range(len(self._scores)):
            self._heap.append(i)
            self._rise(i, i)

    def __len__(self) -> int:
        return len(self._heap)

    def _rise(self, hole: int, item: int) -> None:
        heap, scores = self._heap, self._scores
        while hole and scores[heap[(hole - 1) // 2]] < scores[item]:
            heap[hole] = heap[(hole - 1) // 2]
            hole = (hole - 1) // 2
        heap[hole] = item

    def pop(self) -> int:
        """The index of the best score that is left."""
        heap, scores = self._heap, self._scores
        best, item = heap[0], heap.pop()
        if heap:
            hole = 0
            while (child := 2 * hole + 2) <= len(heap):
                if child == len(heap) or scores[heap[child]] < scores[heap[child - 1]]:
                    child -= 1
                heap[hole] = heap[child]
                hole = child
            self._rise(hole, item)
        return best


def _candidates(
    heat: np.ndarray, short: np.ndarray, least: np.float32
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local maxima of 3 × 3: refined points (count, 2), keypoint numbers, scores; row by row."""
    height, width = heat.shape[:2]
    padded = np.pad(np.where(np.isnan(heat), -np.inf, heat), ((1, 1), (1, 1), (0, 0)),
                    constant_values=-np.inf)  # fmt: skip
    peak = heat
    for dy in range(3):
        for dx in range(3):
            peak = np.fmax(peak, padded[dy : dy + height, dx : dx + width])
    y, x, kind = np.nonzero((heat >= least) & (heat >= peak))
    moved_y = y.astype(np.float32) + short[y, x, kind]
    moved_x = x.astype(np.float32) + short[y, x, kind + KEYPOINTS]
    points = np.stack([_clamp(moved_y, height), _clamp(moved_x, width)], axis=1)
    return points, kind, heat[y, x, kind]


def _walk(
    heat: np.ndarray, short: np.ndarray, middle: np.ndarray, roots: np.ndarray, kinds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Poses grown from candidates: points (count, 17, 2) and scores, as probabilities."""
    count = len(roots)
    every = np.arange(count)
    points = np.zeros((count, KEYPOINTS, 2), np.float32)
    points[every, kinds] = roots
    for parent, child, channel in np.moveaxis(_walks()[kinds], 0, -1):
        place = _displace(middle, points[every, parent], channel, EDGES)
        for _ in range(_SHORT_STEPS):
            place = _displace(short, place, child, KEYPOINTS)
        points[every, child] = place
    channels = np.tile(np.arange(KEYPOINTS), count)[:, None]
    logits = _sample(heat, points.reshape(-1, 2), channels).reshape(count, KEYPOINTS)
    one = np.float32(1)
    return points, one / (one + np.exp(-logits))


def _mean_score(scores: np.ndarray, counted: np.ndarray) -> np.float32:
    """Mean over all keypoints, of those that count; summed from the best one down."""
    order = np.argsort(-scores, kind="stable")
    total = np.cumsum(np.where(counted, scores, np.float32(0))[order], dtype=np.float32)[-1]
    return np.float32(total / np.float32(KEYPOINTS))


def _squared_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    gap = b - a
    return np.asarray(gap[..., 0] * gap[..., 0] + gap[..., 1] * gap[..., 1])


def _find_poses(
    call: Call, heat: np.ndarray, short: np.ndarray, middle: np.ndarray, settings: _Settings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps 1 to 4: points (count, 17, 2), their scores (count, 17), scores of the poses."""
    threshold = settings.score_threshold
    radius = settings.nms_radius / np.float32(settings.stride)
    near = radius * radius
    least = np.float32(-np.log(1.0 / (np.float64(threshold) + 1e-6) - 1.0))
    points, kinds, logits = _candidates(heat, short, least)
    queue = _Queue(logits)
    found = np.zeros((0, KEYPOINTS, 2), np.float32)
    found_scores = np.zeros((0, KEYPOINTS), np.float32)
    instance: list[np.float32] = []

    def apart(i: int) -> bool:
        kind = kinds[i]
        return not (_squared_distance(points[i], found[:, kind]) <= near).any()

    batch = 16
    while len(queue) and len(instance) < settings.max_detections:
        call.tick()
        picked = [i for i in (queue.pop() for _ in range(min(batch, len(queue)))) if apart(i)]
        batch = min(2 * batch, 4096)
        poses, scores = _walk(heat, short, middle, points[picked], kinds[picked])
        for i, pose, score in zip(picked, poses, scores, strict=True):
            if len(instance) == settings.max_detections:
                break
            mean = _mean_score(score, np.ones(KEYPOINTS, bool))
            if mean >= threshold and apart(i):
                found = np.concatenate([found, pose[None]])
                found_scores = np.concatenate([found_scores, score[None]])
                instance.append(mean)
    # Keypoints that lie on the same keypoint of a better pose do not count any more.
    order = np.argsort(-np.array(instance, np.float32), kind="stable")
    final = np.zeros(len(order), np.float32)
    for rank, i in enumerate(order):
        better = found[order[:rank]]
        hidden = np.any(_squared_distance(found[i], better) <= near, axis=0)
        final[i] = _mean_score(found_scores[i], np.logical_not(hidden))
    order = np.argsort(-final, kind="stable")
    order = order[: np.count_nonzero(np.logical_and.accumulate(final[order] >= threshold))]
    return found[order] * np.float32(settings.stride), found_scores[order], final[order]


def _masks(call: Call, long: np.ndarray, poses: np.ndarray, stride: int) -> np.ndarray:
    """Step 5: which positions belong to which pose, (poses, height, width)."""
    height, width = long.shape[:2]
    grid = np.argwhere(np.ones((height, width), bool)).astype(np.float32)
    call.session.reserve(48 * len(grid) * (1 + len(poses)), f"{call.place}, its masks")
    distance = np.zeros((len(grid), len(poses)), np.float32)
    for kind in range(KEYPOINTS):
        call.tick()
        place = grid
        for _ in range(_LONG_STEPS):
            place = _displace(long, place, np.full(len(grid), kind), KEYPOINTS)
        place = place * np.float32(stride)
        distance += _squared_distance(place[:, None], poses[None, :, kind])
    owner = distance.argmin(axis=1).reshape(height, width)
    return np.asarray(owner == np.arange(len(poses))[:, None, None], np.float32)


def _evaluate(call: Call, *inputs: np.ndarray) -> list[np.ndarray]:
    settings = _settings(call)
    heat, *offsets = (
        _real(call, i, x, settings.stride if i else 1) for i, x in enumerate(inputs)
    )  # fmt: skip
    short, middle, *long = offsets
    points, scores, instance = _find_poses(call, heat, short, middle, settings)
    results = [np.zeros(s.shape or (), np.float32) for s in _infer(call)]
    count = len(instance)
    for result, value in zip(results, (points, scores, instance), strict=False):
        result[0, :count] = value
    results[3][0] = count
    if long and count:
        results[4][0, :count] = _masks(call, long[0], points, settings.stride)
    return results


register(
    "PosenetDecoderOp", infer=_infer, evaluate=_evaluate, inputs=(3, 4), outputs=(4, 5),
    custom=True,
)  # fmt: skip

"""TFLite_Detection_PostProcess: from an SSD's box codes and class scores to detections.

In: box codes [1, boxes, 4 or more], scores [1, boxes, classes (+ 1 for the background)], anchors
[boxes, 4]; float32, or uint8 with scales. Out: boxes (ymin, xmin, ymax, xmax), classes and
scores, `max_detections` × `max_classes_per_detection` of each, then how many there are.

1. A code (y, x, h, w) moves its anchor's centre and scales its size: in double, rounded to
   float32 at the centre and the half size.
2. "Fast" suppression takes each box once, by its best class; "regular" takes each class by
   itself and keeps the best of all. Equal scores stay in the order of the boxes.
"""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.custom_options import boolean, integer, number, options
from martlet.ops.operator import Call, Spec, register
from martlet.ops.suppression import intersection_over_union
from martlet.records import NamedTuple


class _Settings(NamedTuple):
    detections: int
    classes_per_detection: int
    detections_per_class: int
    classes: int
    regular: bool
    score_threshold: np.float32
    overlap_threshold: np.float32
    scales: np.ndarray


def _settings(call: Call) -> _Settings:
    values = options(call)
    overlap = number(call, values, "nms_iou_threshold")
    call.check(
        0 < overlap <= 1, "option nms_iou_threshold is out of range", "above 0, to 1", str(overlap)
    )
    names = ("y_scale", "x_scale", "h_scale", "w_scale")
    return _Settings(
        integer(call, values, "max_detections", low=0),
        integer(call, values, "max_classes_per_detection", low=1),
        integer(call, values, "detections_per_class", 100, low=1),
        integer(call, values, "num_classes", low=1),
        boolean(call, values, "use_regular_nms"),
        np.float32(number(call, values, "nms_score_threshold")),
        np.float32(overlap),
        np.array([number(call, values, name) for name in names], np.float32),
    )


def _spec(call: Call) -> list[Spec]:
    settings = _settings(call)
    codes, scores = call.check_rank(0, 3), call.check_rank(1, 3)
    for i in range(3):
        if call.check_dtype(i, DType.FLOAT32, DType.UINT8) is DType.UINT8:
            call.scale(i)
    call.check_same_dtype(0, 2)
    boxes = codes[1]
    call.check(
        codes[0] == 1 and codes[2] >= 4,
        "the box codes have the wrong shape",
        "[1, boxes, 4 or more]",
        str(list(codes)),
    )
    call.check(
        scores[:2] == (1, boxes) and scores[2] - settings.classes in (0, 1),
        "the scores have the wrong shape",
        f"[1, {boxes}, {settings.classes} or {settings.classes + 1}]",
        str(list(scores)),
    )
    anchors = call.check_rank(2, 2)
    call.check(
        anchors[0] >= boxes and anchors[1] == 4,
        "the anchors have the wrong shape",
        f"[{boxes}, 4]",
        str(list(anchors)),
    )
    count = settings.detections * settings.classes_per_detection
    flat = Spec(DType.FLOAT32, (1, count))
    return [Spec(DType.FLOAT32, (1, count, 4)), flat, flat, Spec(DType.FLOAT32, (1,))]


def _real(call: Call, i: int, x: np.ndarray) -> np.ndarray:
    if x.dtype == np.float32:
        return x
    return (x.astype(np.float32) - np.float32(call.zero_point(i))) * np.float32(call.scale(i))


def _decode(codes: np.ndarray, anchors: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """(ymin, xmin, ymax, xmax) of each box. All three hold (y, x, height, width)."""
    wide, anchor = codes.astype(np.float64) / scales.astype(np.float64), anchors.astype(np.float64)
    centre = (wide[:, :2] * anchor[:, 2:] + anchor[:, :2]).astype(np.float32)
    half = (0.5 * np.exp(wide[:, 2:]) * anchor[:, 2:]).astype(np.float32)
    return np.concatenate([centre - half, centre + half], 1)


def _select(
    call: Call, boxes: np.ndarray, scores: np.ndarray, settings: _Settings, most: int
) -> list[int]:
    """Boxes by falling score, without those that overlap a chosen one too much."""
    good = np.flatnonzero(scores >= settings.score_threshold)
    waiting = good[np.argsort(-scores[good], kind="stable")]
    chosen: list[int] = []
    while waiting.size and len(chosen) < most:
        call.tick()
        best, waiting = int(waiting[0]), waiting[1:]
        chosen.append(best)
        overlap = intersection_over_union(boxes[best], boxes[waiting])
        waiting = waiting[~(overlap > settings.overlap_threshold)]
    return chosen


def _detect(
    call: Call, codes: np.ndarray, scores: np.ndarray, anchors: np.ndarray
) -> list[np.ndarray]:
    settings = _settings(call)
    count = codes.shape[1]
    boxes = _decode(
        _real(call, 0, codes)[0, :, :4], _real(call, 2, anchors)[:count], settings.scales
    )
    if (boxes[:, :2] > boxes[:, 2:]).any():
        call.fail_run("a decoded box has a negative size")
    # Without the background, which comes first.
    classes = _real(call, 1, scores)[0, :, scores.shape[2] - settings.classes :]
    find = _regular if settings.regular else _fast
    places, which, kinds, found = find(call, boxes, classes, settings)
    size = settings.detections * settings.classes_per_detection
    results = [np.zeros((1, size, 4), np.float32), *np.zeros((2, 1, size), np.float32)]
    results[0][0, places] = boxes[which]
    results[1][0, places] = kinds
    results[2][0, places] = classes[which, kinds]
    return [*results, np.array([found], np.float32)]


Found = tuple[np.ndarray, np.ndarray, np.ndarray, int]


def _regular(call: Call, boxes: np.ndarray, classes: np.ndarray, settings: _Settings) -> Found:
    """(where in the outputs, which box, which class) of the detections, and their number."""
    each = min(settings.detections_per_class, settings.detections)
    which, kinds = [], []
    for kind in range(settings.classes):
        chosen = _select(call, boxes, classes[:, kind], settings, each)
        which += chosen
        kinds += [kind] * len(chosen)
    rows, columns = np.array(which, np.int64), np.array(kinds, np.int64)
    best = np.argsort(-classes[rows, columns], kind="stable")[: settings.detections]
    return np.arange(best.size), rows[best], columns[best], best.size


def _fast(call: Call, boxes: np.ndarray, classes: np.ndarray, settings: _Settings) -> Found:
    """As `_regular`; a box fills `max_classes_per_detection` places and counts once."""
    each = min(settings.classes_per_detection, settings.classes)
    order = np.argsort(-classes, axis=1, kind="stable")[:, :each]
    top = np.take_along_axis(classes, order[:, :1], 1)[:, 0]
    chosen = np.array(_select(call, boxes, top, settings, settings.detections), np.int64)
    first = np.arange(chosen.size) * settings.classes_per_detection
    places = (first[:, None] + np.arange(each)).ravel()
    return places, np.repeat(chosen, each), order[chosen].ravel(), chosen.size


register(
    "TFLite_Detection_PostProcess", infer=_spec, evaluate=_detect, inputs=3, outputs=4, custom=True
)

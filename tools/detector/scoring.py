"""From the network's outputs to boxes, and average precision by the COCO rules, in numpy alone.

Sets here have no crowd boxes, so the rules for them are left out; test_detector.py compares with pycocotools.
"""

import numpy as np

from suppression import intersection_over_union, suppress

LEAST_SCORE = 0.001
OVERLAP = 0.65
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


def detections(scores, boxes, side, width, height):
    """Boxes [n, 4], scores [n] and kinds [n] of one picture, best first, from scores [A, kinds] and boxes [A, 4].

    Boxes come in pixels of the input, `side` square, and leave in those of the picture that was stretched to it.
    """
    place, kind = np.nonzero(scores > LEAST_SCORE)
    limits, certain = np.array([width, height] * 2, np.float64), scores[place, kind]
    found = (boxes[place] * (limits / side)).clip(0, limits)
    kept = suppress(found, certain, kind, OVERLAP)
    return found[kept], certain[kept], kind[kept]


def matches(found, truth):
    """[10, n]: whether each box of one kind in one picture is a find, at each threshold. `found` has the best first."""
    hits = np.zeros((len(THRESHOLDS), len(found)), bool)
    if not len(truth) or not len(found):
        return hits
    shares = intersection_over_union(found, truth)
    for row, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(truth), bool)
        for place, share in enumerate(shares):
            # The last of equals, as pycocotools takes it.
            best = len(truth) - 1 - int(np.argmax(np.where(free, share, -1)[::-1]))
            if free[best] and share[best] >= min(threshold, 1 - 1e-10):
                hits[row, place], free[best] = True, False
    return hits


def interpolated(hits, positives):
    """The mean over 101 recalls of the best precision at that recall or beyond; `hits` [n] from the best down."""
    true = np.cumsum(hits)
    precision = true / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(true / positives, RECALLS, side="left")
    return np.append(precision, 0)[place].mean()


def average_precision(found, truth):
    """AP [kinds, 10] at each threshold from `found`, [(boxes, scores, kinds)], and `truth`, [(boxes, kinds)], one a picture.

    A kind that is nowhere in `truth` has not a number.
    """
    kinds = max((int(group.max()) for _, group in truth if len(group)), default=-1) + 1
    return np.array([precision_of(kind, found, truth) for kind in range(kinds)]).reshape(kinds, len(THRESHOLDS))


def precision_of(kind, found, truth):
    positives = sum(int((kinds == kind).sum()) for _, kinds in truth)
    if not positives:
        return np.full(len(THRESHOLDS), np.nan)
    hits, certain = [], []
    for (boxes, scores, kinds), (true_boxes, true_kinds) in zip(found, truth):
        own = kinds == kind
        hits.append(matches(boxes[own], true_boxes[true_kinds == kind]))
        certain.append(scores[own])
    order = np.argsort(-np.concatenate(certain), kind="stable")
    hits = np.concatenate(hits, 1)[:, order]
    return [interpolated(row, positives) for row in hits]


def summary(found, truth, names):
    """AP, AP50 and AP of each kind, as `trtforge eval` names them."""
    table = average_precision(found, truth)
    per_kind = {name: float(row.mean()) for name, row in zip(names, table) if not np.isnan(row).any()}
    return {"ap": float(np.nanmean(table)), "ap50": float(np.nanmean(table[:, 0])), "per_class": per_kind}

"""Suppression of weaker boxes of the same class, in numpy."""

import numpy as np


def suppress(boxes, scores, classes, overlap, most_candidates=1000, most=100):
    """Indices that greedy suppression within a class keeps, best first. An IoU above `overlap` is too much."""
    order = np.argsort(-scores, kind="stable")[:most_candidates]
    shares = intersection_over_union(boxes[order]) * (classes[order, None] == classes[None, order])
    dead, kept = np.zeros(len(order), bool), []
    for place in range(len(order)):
        if not dead[place] and len(kept) < most:
            kept.append(place)
            dead |= shares[place] > overlap
    return order[kept]


def intersection_over_union(boxes, others=None):
    """[n, m] of corners [n, 4] and [m, 4], or of the first with themselves."""
    others = boxes if others is None else others
    areas, other_areas = ((group[:, 2:] - group[:, :2]).clip(0).prod(1) for group in (boxes, others))
    low, high = np.maximum(boxes[:, None, :2], others[None, :, :2]), np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = (high - low).clip(0).prod(2)
    union = areas[:, None] + other_areas[None] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)

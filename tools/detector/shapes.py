"""Signed distances to plane shapes, in the units of `u` and `v`: negative inside, exact near the outline.

`u` runs to the right and `v` down; both are arrays of one shape, as is every result.
"""

import math

import numpy as np


def ellipse(u, v, x, y, radius_x, radius_y):
    return (np.sqrt(((u - x) / radius_x) ** 2 + ((v - y) / radius_y) ** 2) - 1) * min(radius_x, radius_y)


def rectangle(u, v, left, top, right, bottom):
    across = np.abs(u - (left + right) / 2) - (right - left) / 2
    return np.maximum(across, np.abs(v - (top + bottom) / 2) - (bottom - top) / 2)


def convex(u, v, corners):
    """A convex polygon; the corners go round it clockwise as seen."""
    distance = None
    for (x, y), (next_x, next_y) in zip(corners, corners[1:] + corners[:1]):
        length = math.hypot(next_x - x, next_y - y)
        normal_x, normal_y = (next_y - y) / length, (x - next_x) / length
        side = u * normal_x + v * normal_y - (x * normal_x + y * normal_y)
        distance = side if distance is None else np.maximum(distance, side)
    return distance


def stroke(u, v, start, end, width):
    """A line with round ends."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    share = ((u - start[0]) * along_x + (v - start[1]) * along_y) / max(along_x**2 + along_y**2, 1e-9)
    share = share.clip(0, 1)
    return np.sqrt((u - start[0] - share * along_x) ** 2 + (v - start[1] - share * along_y) ** 2) - width / 2


def star(u, v, tips, inner):
    """Tips at radius 1, the first one up, and notches at radius `inner`."""
    turn = math.pi / tips
    notches = [point(inner, (2 * tip + 1) * turn) for tip in range(tips)]
    distance = convex(u, v, notches)
    for tip in range(tips):
        end, before, after = point(1, 2 * tip * turn), notches[tip - 1], notches[tip]
        # The sides go on into the body, so that no seam is left along the notches.
        base = [(corner[0] + (corner[0] - end[0]) * 0.25, corner[1] + (corner[1] - end[1]) * 0.25) for corner in (after, before)]
        distance = np.minimum(distance, convex(u, v, [end, *base]))
    return distance


def point(radius, angle):
    """A point by its angle from straight up, clockwise."""
    return radius * math.sin(angle), -radius * math.cos(angle)


def union(*distances):
    return np.minimum.reduce(distances)


def without(distance, hole):
    return np.maximum(distance, -hole)

"""The ten kinds of object and the shapes that are no object: each a list of layers, a distance and a paint.

An object lies in the square from -1 to 1. What is drawn over the whole kind (its outline) makes its box; colour says
nothing about the kind.
"""

import math

import numpy as np

from .shapes import convex, ellipse, point, rectangle, star, stroke, union, without


class Paints:
    """The colours, light and texture of one object."""

    TEXTURES = ("plain", "plain", "plain", "stripes", "checks")

    def __init__(self, dice):
        self.dice = dice
        self.colours = [dice.colour() for _ in range(3)]
        self.texture, self.frequency = dice.pick(self.TEXTURES), dice.between(1.5, 4)
        self.contrast = dice.between(0.15, 0.5)
        self.light = point(dice.between(0, 0.35), dice.between(0, 2 * math.pi))

    def paint(self, u, v, colour=0, share=1.0, textured=False):
        """[height, width, 3]: colour number `colour`, dimmed to `share`, under the object's light."""
        value = share + (share * self.light[0]) * u + (share * self.light[1]) * v
        if textured and self.texture != "plain":
            value = value * (1 - self.contrast * self.pattern(u * self.frequency, v * self.frequency))
        return value[..., None] * np.array(self.colours[colour], np.float32)

    def pattern(self, u, v):
        """0 or 1."""
        cells = np.floor(u) if self.texture == "stripes" else np.floor(u) + np.floor(v)
        return cells % 2


def ball(u, v, dice, paints):
    """A ball of two colours in bands, always shaded as a sphere."""
    width, angle = dice.between(0.25, 0.45), dice.between(0, math.pi)
    across = u * math.cos(angle) + v * math.sin(angle)
    height = np.sqrt((1 - u * u - v * v).clip(0))
    light = (0.35 + 0.65 * (u * paints.light[0] * 2 + v * paints.light[1] * 2 + height))[..., None].clip(0.15, 1.2)
    outline = ellipse(u, v, 0, 0, 0.97, 0.97)
    band = np.maximum(outline, np.abs(across) - width * (0.4 + 0.6 * height))
    colours = [np.array(colour, np.float32) for colour in paints.colours]
    return [(outline, light * colours[0]), (band, light * colours[1])]


def cube(u, v, dice, paints):
    """Three faces seen from a corner, each with its own brightness."""
    ring = [point(0.97, number * math.pi / 3) for number in range(6)]
    shares = [1.0, dice.between(0.6, 0.8), dice.between(0.3, 0.5)]
    turn = dice.whole(0, 2)
    faces = [[ring[2 * side - 1], ring[2 * side], ring[2 * side + 1], (0, 0)] for side in range(3)]
    outline = convex(u, v, ring)
    layers = [(outline, paints.paint(u, v, 0, shares[turn]))]
    layers += [(convex(u, v, face), paints.paint(u, v, 0, shares[(side + turn) % 3], True)) for side, face in enumerate(faces)]
    return layers


def five_point_star(u, v, dice, paints):
    outline = star(u, v, 5, dice.between(0.4, 0.52))
    return [(outline, paints.paint(u, v, 0, textured=True))]


def ring(u, v, dice, paints):
    outline = without(ellipse(u, v, 0, 0, 0.97, 0.97), ellipse(u, v, 0, 0, *[dice.between(0.45, 0.68)] * 2))
    return [(outline, paints.paint(u, v, 0, textured=True))]


def arrow(u, v, dice, paints):
    """It points up."""
    half, neck, wing = dice.between(0.14, 0.28), dice.between(-0.3, 0.1), dice.between(0.5, 0.75)
    head = convex(u, v, [(0, -0.97), (wing, neck), (-wing, neck)])
    return [(union(head, rectangle(u, v, -half, neck - 0.1, half, 0.97)), paints.paint(u, v, 0, textured=True))]


def mug(u, v, dice, paints):
    """A cylinder seen from a little above, its handle at the right."""
    right, rim = dice.between(0.25, 0.45), dice.between(0.12, 0.22)
    middle, half = (right - 0.95) / 2, (right + 0.95) / 2
    reach = 0.97 - right
    outer, inner = ellipse(u, v, right, 0.05, reach, 0.55), ellipse(u, v, right, 0.05, reach * 0.62, 0.33)
    body = union(rectangle(u, v, -0.95, -0.75, right, 0.72), ellipse(u, v, middle, 0.72, half, rim), ellipse(u, v, middle, -0.75, half, rim))
    opening = ellipse(u, v, middle, -0.75, half * 0.86, rim * 0.8)
    return [
        (without(outer, inner), paints.paint(u, v, 0, 0.8)),
        (body, paints.paint(u, v, 0, textured=True)),
        (opening, paints.paint(u, v, 1, 0.5)),
    ]


def car(u, v, dice, paints):
    """Seen from the side."""
    roof, back, front = dice.between(-0.6, -0.45), dice.between(-0.75, -0.5), dice.between(0.35, 0.6)
    cabin = [(back + 0.2, roof), (front - 0.25, roof), (front, 0.02), (back, 0.02)]
    window = [(back + 0.27, roof + 0.1), (front - 0.3, roof + 0.1), (front - 0.14, -0.04), (back + 0.12, -0.04)]
    radius = dice.between(0.2, 0.27)
    body = union(rectangle(u, v, -0.97, -0.08, 0.97, 0.4), convex(u, v, cabin))
    layers = [(body, paints.paint(u, v, 0, textured=True)), (convex(u, v, window), paints.paint(u, v, 1))]
    for x in (-0.53, 0.55):
        layers += [(ellipse(u, v, x, 0.4, radius, radius), paints.paint(u, v, 2, 0.35)), (ellipse(u, v, x, 0.4, radius * 0.45, radius * 0.45), paints.paint(u, v, 1))]
    return layers


def house(u, v, dice, paints):
    eaves, door = dice.between(-0.3, 0.0), dice.between(-0.5, 0.2)
    roof = convex(u, v, [(0, -0.97), (0.97, eaves), (-0.97, eaves)])
    return [
        (rectangle(u, v, -0.78, eaves - 0.05, 0.78, 0.95), paints.paint(u, v, 0, textured=True)),
        (roof, paints.paint(u, v, 1, 0.9)),
        (rectangle(u, v, door, 0.35, door + 0.32, 0.95), paints.paint(u, v, 2, 0.6)),
        (rectangle(u, v, -0.55 if door > -0.15 else 0.2, eaves + 0.18, -0.2 if door > -0.15 else 0.55, eaves + 0.5), paints.paint(u, v, 2)),
    ]


def fish(u, v, dice, paints):
    """It swims to the left."""
    height, tail = dice.between(0.4, 0.58), dice.between(0.35, 0.55)
    body = ellipse(u, v, -0.22, 0, 0.75, height)
    fin = convex(u, v, [(0.3, 0), (0.97, -tail), (0.97, tail)])
    return [
        (fin, paints.paint(u, v, 1, 0.9)),
        (body, paints.paint(u, v, 0, textured=True)),
        (ellipse(u, v, -0.65, -0.1, 0.11, 0.11), paints.paint(u, v, 2)),
        (ellipse(u, v, -0.67, -0.1, 0.05, 0.05), paints.paint(u, v, 2, 0.1)),
    ]


def tree(u, v, dice, paints):
    """A trunk under three tiers."""
    half, trunk = dice.between(0.08, 0.16), dice.between(0.5, 0.65)
    tops, bottoms, widths = (-0.97, -0.55, -0.15), (-0.3, 0.1, trunk), (0.45, 0.62, 0.8)
    tiers = union(*(convex(u, v, [(0, top), (wide, bottom), (-wide, bottom)]) for top, bottom, wide in zip(tops, bottoms, widths)))
    return [
        (rectangle(u, v, -half, trunk - 0.1, half, 0.97), paints.paint(u, v, 1, 0.7)),
        (tiers, paints.paint(u, v, 0, textured=True)),
    ]


# name: layers, and the largest turn from upright in radians
KINDS = {
    "ball": (ball, math.pi),
    "cube": (cube, math.pi),
    "star": (five_point_star, math.pi),
    "ring": (ring, math.pi),
    "arrow": (arrow, math.pi),
    "mug": (mug, 0.5),
    "car": (car, 0.4),
    "house": (house, 0.4),
    "fish": (fish, 0.7),
    "tree": (tree, 0.4),
}
NAMES = tuple(KINDS)


# --- shapes that are no object -----------------------------------------------------------------------


def triangle(u, v, dice, paints):
    corners = [point(0.97, dice.between(-0.4, 0.4) + turn) for turn in (0, 2.1, 4.2)]
    return [(convex(u, v, corners), paints.paint(u, v, 0, textured=True))]


def block(u, v, dice, paints):
    return [(rectangle(u, v, -0.97, -dice.between(0.3, 0.97), 0.97, 0.9), paints.paint(u, v, 0, textured=True))]


def half_disc(u, v, dice, paints):
    cut = np.maximum(ellipse(u, v, 0, 0, 0.97, 0.97), v - dice.between(-0.3, 0.3))
    return [(cut, paints.paint(u, v, 0, textured=True))]


def bar(u, v, dice, paints):
    start, end = (-0.9, dice.between(-0.8, 0.8)), (0.9, dice.between(-0.8, 0.8))
    return [(stroke(u, v, start, end, dice.between(0.04, 0.2)), paints.paint(u, v, 0))]


def hook(u, v, dice, paints):
    knee = (dice.between(-0.6, 0.6), 0.8)
    width = dice.between(0.08, 0.25)
    lines = union(stroke(u, v, (-0.8, -0.8), knee, width), stroke(u, v, knee, (0.8, dice.between(-0.5, 0.5)), width))
    return [(lines, paints.paint(u, v, 0))]


def blob(u, v, dice, paints):
    lobes = [(dice.between(-0.5, 0.5), dice.between(-0.5, 0.5), dice.between(0.2, 0.45)) for _ in range(3)]
    return [(union(*(ellipse(u, v, x, y, radius, radius * 0.8) for x, y, radius in lobes)), paints.paint(u, v, 0, textured=True))]


def plus(u, v, dice, paints):
    half = dice.between(0.15, 0.35)
    return [(union(rectangle(u, v, -half, -0.97, half, 0.97), rectangle(u, v, -0.97, -half, 0.97, half)), paints.paint(u, v, 0))]


def frame(u, v, dice, paints):
    inner = dice.between(0.5, 0.8)
    hollow = without(rectangle(u, v, -0.97, -0.97, 0.97, 0.97), rectangle(u, v, -inner, -inner, inner, inner))
    return [(hollow, paints.paint(u, v, 0))]


DISTRACTORS = (triangle, block, half_disc, bar, bar, hook, blob, plus, frame)

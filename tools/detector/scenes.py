"""One generated photograph: cluttered ground, distractors, objects and what a camera does to them.

Where things are, what they are and whether they stay is decided by `Dice` alone, so labels depend on nothing but the
seed; numpy's generator only makes noise. A box is the extent of what is seen of an object. An object of which too
little would be seen is not there at all, so nothing in the picture is without a label that should have one.
"""

import functools
import math
from dataclasses import dataclass, field

import numpy as np

from .dice import Dice
from .objects import DISTRACTORS, KINDS, NAMES, Paints

SIZES = ((320, 320), (352, 288), (288, 352), (384, 288), (288, 384), (384, 256))
LEAST_SEEN = 0.55
LEAST_SIDE = 8
REACH = 1.02


@dataclass
class Canvas:
    """Pixels [height, width, 3] from 0 to 1 and, for each, the number of the object seen there or -1."""

    pixels: np.ndarray
    owner: np.ndarray
    whole: list = field(default_factory=list)
    kinds: list = field(default_factory=list)

    @property
    def seen(self):
        return np.bincount(self.owner[self.owner >= 0].ravel(), minlength=len(self.whole))

    def boxes(self):
        """Corners [n, 4] of what is seen of each object, in pixels, and the kinds [n]."""
        found = []
        for number in range(len(self.whole)):
            mask = self.owner == number
            columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            found.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        return np.array(found, np.float32).reshape(-1, 4), np.array(self.kinds, np.int64)


# --- one thing on the canvas -------------------------------------------------------------------------


def pose(dice, width, height, size, turn):
    """3 x 3, from an object's square to the picture: perspective, stretch, turn and place."""
    tilt_x, tilt_y = dice.between(-0.2, 0.2), dice.between(-0.2, 0.2)
    stretch, angle = dice.log_between(0.75, 1.33), dice.between(-turn, turn)
    mirrored = -1 if dice.chance(0.5) else 1
    wide, high = mirrored * size / 2 * math.sqrt(stretch), size / 2 / math.sqrt(stretch)
    x, y = dice.between(0.03, 0.97) * width, dice.between(0.03, 0.97) * height
    a, b = math.cos(angle) * wide, -math.sin(angle) * high
    c, d = math.sin(angle) * wide, math.cos(angle) * high
    return np.array([[a + x * tilt_x, b + x * tilt_y, x], [c + y * tilt_x, d + y * tilt_y, y], [tilt_x, tilt_y, 1]])


def inverse(m):
    """By cofactors, so that it is the same on every machine."""
    rows = [[m[(j + 1) % 3, (i + 1) % 3] * m[(j + 2) % 3, (i + 2) % 3] - m[(j + 1) % 3, (i + 2) % 3] * m[(j + 2) % 3, (i + 1) % 3] for j in range(3)] for i in range(3)]
    return np.array(rows) / (m[0] * [rows[i][0] for i in range(3)]).sum()


class Patch:
    """The pixels around one thing: its window in the picture, coordinates in its square, pixels per unit."""

    def __init__(self, matrix):
        ends = np.array([[x, y, 1.0] for x in (-REACH, REACH) for y in (-REACH, REACH)]) @ matrix.T
        ends = ends[:, :2] / ends[:, 2:]
        self.left, self.top = (int(math.floor(end)) - 1 for end in ends.min(0))
        right, bottom = (int(math.ceil(end)) + 1 for end in ends.max(0))
        x = np.arange(self.left, right, dtype=np.float32)[None] + np.float32(0.5)
        y = np.arange(self.top, bottom, dtype=np.float32)[:, None] + np.float32(0.5)
        back = inverse(matrix).astype(np.float32)
        depth = back[2, 0] * x + back[2, 1] * y + back[2, 2]
        self.u = (back[0, 0] * x + back[0, 1] * y + back[0, 2]) / depth
        self.v = (back[1, 0] * x + back[1, 1] * y + back[1, 2]) / depth
        slopes = matrix[:2, :2] - np.outer(matrix[:2, 2], matrix[2, :2])
        self.pixels_per_unit = math.sqrt(abs(slopes[0, 0] * slopes[1, 1] - slopes[0, 1] * slopes[1, 0]))

    def window(self, width, height):
        """Slices of the picture and of the patch for what is inside the picture."""
        rows, columns = self.u.shape
        top, bottom = max(0, -self.top), min(rows, height - self.top)
        left, right = max(0, -self.left), min(columns, width - self.left)
        if top >= bottom or left >= right:
            return None, None
        inside = (slice(top, bottom), slice(left, right))
        return (slice(top + self.top, bottom + self.top), slice(left + self.left, right + self.left)), inside


def draw(canvas, matrix, make, dice, kind=None):
    """Draws what `make` makes unless too little would be seen of it or of what is there. Distractors have no kind."""
    patch = Patch(matrix)
    layers = make(patch.u, patch.v, dice, Paints(dice))
    window, inside = patch.window(canvas.pixels.shape[1], canvas.pixels.shape[0])
    if window is None:
        return
    covered = np.minimum.reduce([distance for distance, _ in layers]) < 0
    hidden = canvas.owner[window][covered[inside]]
    left = canvas.seen - np.bincount(hidden[hidden >= 0], minlength=len(canvas.whole))
    if any(seen < LEAST_SEEN * whole for seen, whole in zip(left, canvas.whole)):
        return
    whole = int(covered.sum())
    if kind is not None and not is_seen(covered[inside], whole):
        return
    for distance, paint in layers:
        share = (0.5 - distance[inside] * patch.pixels_per_unit).clip(0, 1)[..., None]
        canvas.pixels[window] += share * (paint[inside] - canvas.pixels[window])
    canvas.owner[window][covered[inside]] = -1 if kind is None else len(canvas.whole)
    if kind is not None:
        canvas.whole.append(whole)
        canvas.kinds.append(kind)


def is_seen(mask, whole):
    return whole > 0 and mask.sum() >= LEAST_SEEN * whole and min(mask.any(0).sum(), mask.any(1).sum()) >= LEAST_SIDE


# --- the ground and the camera -----------------------------------------------------------------------


def stretched(coarse, height, width):
    """A coarse grid [channels, rows, columns] drawn out to [channels, height, width], linear between its points."""
    return weights(height, coarse.shape[1]) @ coarse @ weights(width, coarse.shape[2]).T


@functools.cache
def weights(count, points):
    """[count, points]: the share of each of `points` equidistant points at each of `count` places."""
    place = np.linspace(0, points - 1, count, dtype=np.float32)[:, None]
    return (1 - np.abs(place - np.arange(points, dtype=np.float32))).clip(0)


def ground(dice, noise, width, height):
    """A gradient between four colours with noise of several sizes, at times a regular pattern."""
    corners = np.array([dice.colour() for _ in range(4)], np.float32).T.reshape(3, 2, 2)
    pixels = stretched(corners, height, width)
    for cells in (4, 9, 24, 64):
        strength = dice.between(0, 0.22) * dice.next()
        grid = noise.standard_normal((3 if dice.chance(0.4) else 1, cells, cells), dtype=np.float32)
        pixels += stretched(np.float32(strength) * grid, height, width)
    if dice.chance(0.4):
        angle, frequency, strength = dice.between(0, math.pi), dice.between(0.02, 0.12), dice.between(0.05, 0.3)
        x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
        pattern = np.floor((x * math.cos(angle) + y * math.sin(angle)) * frequency) % 2
        if dice.chance(0.5):
            pattern = (pattern + np.floor((y * math.cos(angle) - x * math.sin(angle)) * frequency)) % 2
        pixels += np.float32(strength) * (pattern - np.float32(0.5))
    return np.ascontiguousarray(pixels.transpose(1, 2, 0)).clip(0.02, 1)


def blurred(pixels, sigma):
    radius = max(1, int(2 * sigma + 0.5))
    weights = [math.exp(-(offset**2) / (2 * sigma**2)) for offset in range(-radius, radius + 1)]
    for axis in (0, 1):
        padding = [(radius, radius) if axis == side else (0, 0) for side in range(3)]
        padded, length = np.pad(pixels, padding, mode="edge"), pixels.shape[axis]
        shifted = (padded[(slice(None),) * axis + (slice(start, start + length),)] for start in range(2 * radius + 1))
        pixels = sum(np.float32(weight / sum(weights)) * part for weight, part in zip(weights, shifted))
    return pixels


def photographed(dice, noise, pixels):
    """Blur, light, colour cast, dark corners and sensor noise, as 8 bits."""
    height, width, _ = pixels.shape
    if dice.chance(0.5):
        pixels = blurred(pixels, dice.between(0.4, 1.5))
    gains = np.array([dice.between(0.8, 1.2) for _ in range(3)], np.float32) * dice.between(0.6, 1.2)
    pixels = pixels * gains + dice.between(-0.05, 0.1)
    if dice.chance(0.3):
        x, y = np.linspace(-1, 1, width, dtype=np.float32)[None], np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        pixels *= (1 - dice.between(0.1, 0.35) * (x * x + y * y))[..., None]
    pixels += noise.standard_normal((height, width, 1), dtype=np.float32) * np.float32(dice.between(0, 0.035))
    return (pixels * 255 + 0.5).clip(0, 255).astype(np.uint8)


def render(seed):
    """Pixels uint8 [height, width, 3], corners float32 [n, 4] in pixels and kinds int64 [n] of the scene of `seed`."""
    dice, noise = Dice(seed), np.random.default_rng(seed)
    width, height = dice.pick(SIZES)
    canvas = Canvas(ground(dice, noise, width, height), np.full((height, width), -1, np.int16))
    side = math.sqrt(width * height)

    def put(make, turn, largest, kind=None):
        draw(canvas, pose(dice, width, height, dice.log_between(0.07, largest) * side, turn), make, dice, kind)

    for _ in range(dice.whole(2, 12)):
        put(dice.pick(DISTRACTORS), math.pi, 0.6)
    crowding = dice.between(0.35, 0.65)
    for _ in range(dice.whole(2, 12)):
        kind = dice.whole(0, len(NAMES) - 1)
        put(*KINDS[NAMES[kind]], crowding, kind)
    for _ in range(dice.whole(0, 4)):
        put(dice.pick(DISTRACTORS), math.pi, 0.3)
    return photographed(dice, noise, canvas.pixels), *canvas.boxes()

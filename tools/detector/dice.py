"""Random choices that stay the same for a seed in every version of Python: all come from `random.Random.random`."""

import colorsys
import random


class Dice:
    """One stream of choices."""

    def __init__(self, seed):
        self.next = random.Random(seed).random

    def between(self, low, high):
        return low + (high - low) * self.next()

    def log_between(self, low, high):
        return low * (high / low) ** self.next()

    def whole(self, low, high):
        """A whole number from `low` to `high`, both included."""
        return low + int((high - low + 1) * self.next())

    def chance(self, share):
        return self.next() < share

    def pick(self, choices):
        return choices[int(len(choices) * self.next())]

    def colour(self):
        """Red, green and blue from 0 to 1; no hue, dark or light, is left out."""
        return colorsys.hsv_to_rgb(self.next(), self.between(0.05, 1), self.between(0.2, 1))

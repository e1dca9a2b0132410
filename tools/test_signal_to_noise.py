"""Tests of signal_to_noise.py: decibels of known energies."""

import math
import unittest

try:
    import numpy as np

    import signal_to_noise
except ImportError as error:
    raise unittest.SkipTest(f"{error}; `make venv` has it") from error


class SignalToNoiseTest(unittest.TestCase):
    def ratios(self, candidate):
        """Two runs, one output of energy 200, against `candidate` each time."""
        runs = ([[np.array(values, np.float32)]] * 2 for values in ([10, 0], candidate))
        return signal_to_noise.ratios(["scores"], *runs)["scores"]

    def test_known_energies(self):
        self.assertAlmostEqual(self.ratios([9.0, 0.0]), 20)
        self.assertAlmostEqual(self.ratios([10.0, 10.0]), 0)

    def test_equal_is_infinite_and_not_a_number_is_all_noise(self):
        self.assertEqual(self.ratios([10.0, 0.0]), math.inf)
        self.assertEqual(self.ratios([math.nan, 0.0]), -math.inf)


if __name__ == "__main__":
    unittest.main()

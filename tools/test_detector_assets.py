"""Test of assets/detector: the committed model is there whole, and small enough for a clone."""

import unittest
from pathlib import Path

MODEL = Path(__file__).resolve().parents[1] / "assets/detector/detector.onnx"


class SizeTest(unittest.TestCase):
    def test_the_model_is_there_and_small(self):
        size = MODEL.stat().st_size
        self.assertGreater(size, 3_000_000)  # 0.77 M weights of 4 bytes; a pointer or a stump is less
        self.assertLess(size, 4_000_000)


if __name__ == "__main__":
    unittest.main()

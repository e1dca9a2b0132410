"""Tests of assets/detector: the committed model is there whole, small enough for a clone, and named by its configuration."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "assets/detector/detector.onnx"


class SizeTest(unittest.TestCase):
    def test_the_model_is_there_and_small(self):
        size = MODEL.stat().st_size
        self.assertGreater(size, 3_000_000)  # 0.77 M weights of 4 bytes; a pointer or a stump is less
        self.assertLess(size, 4_000_000)


class ConfigurationTest(unittest.TestCase):
    def test_all_that_the_configuration_names_is_there(self):
        named = re.findall(r"\.\./assets/[^,}\s]+", (ROOT / "configs/detector.yaml").read_text())
        self.assertEqual(len(named), 3)  # model, calibration, classes
        for path in named:
            self.assertTrue((ROOT / "configs" / path).exists(), path)


if __name__ == "__main__":
    unittest.main()

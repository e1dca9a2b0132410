"""Tests of detectors.py: planted boxes come back, and photographs become what the networks were trained on."""

import math
import tempfile
import unittest
from pathlib import Path

try:
    import numpy as np
    from PIL import Image

    import detectors
    from suppression import intersection_over_union, suppress
except ImportError as error:
    raise unittest.SkipTest(f"{error}; `make venv` has it") from error


def inverse_sigmoid(share):
    return math.log(share / (1 - share))


class TensorTest(unittest.TestCase):
    def tensor(self, network, size, color):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "photograph.png"
            Image.new("RGB", size, color).save(path)
            return detectors.NETWORKS[network].tensor(path)

    def test_letterbox_fills_from_the_top_left_and_swaps_channels(self):
        tensor = self.tensor("yolox", (832, 416), (10, 20, 30))
        self.assertEqual((tensor.shape, tensor.dtype), ((1, 3, 416, 416), np.float32))
        self.assertEqual(tensor[0, :, 0, 0].tolist(), [30, 20, 10])
        self.assertEqual(tensor[0, :, 207, 415].tolist(), [30, 20, 10])
        self.assertEqual(tensor[0, :, 208, 0].tolist(), [114, 114, 114])

    def test_a_centred_letterbox_has_padding_on_both_sides(self):
        tensor = self.tensor("ppocr", (64, 32), (255, 0, 0))
        self.assertTrue(np.allclose(tensor[0, 0, 160:480], (1 - 0.485) / 0.229, atol=1e-5))
        for padded in (tensor[0, 1, :160], tensor[0, 1, 480:]):
            self.assertTrue(np.allclose(padded, (114 / 255 - 0.456) / 0.224, atol=1e-5))

    def test_scale_comes_before_mean_and_deviation(self):
        self.assertTrue(np.allclose(self.tensor("fastestdet", (8, 8), (255, 0, 0))[0, :, 5, 5], [0, 0, 1]))
        face = self.tensor("ultraface", (8, 8), (255, 127, 0))
        self.assertEqual(face.shape, (1, 3, 240, 320))
        self.assertTrue(np.allclose(face[0, :, 5, 5], [1, 0, -127 / 128]))
        self.assertEqual(self.tensor("damoyolo", (8, 8), (1, 2, 3))[0, :, 639, 639].tolist(), [1, 2, 3])


class DecodeTest(unittest.TestCase):
    def test_yolox_box_of_the_middle_level(self):
        cell = 52 * 52 + 3 * 26 + 7
        output = np.zeros((1, 3549, 85), np.float32)
        output[0, cell, :5] = [0.5, 0.25, math.log(2), math.log(4), 0.8]
        output[0, cell, 5 + 17] = 0.5
        boxes, scores, classes = detectors.detections("yolox", output, 832, 416)
        # The photograph is twice as wide as the input: centre 120, 52 and size 32 x 64 become 240, 104 and 64 x 128.
        self.assertTrue(np.allclose(boxes, [[208, 40, 272, 168]]))
        self.assertTrue(np.allclose(scores, [0.4]))
        self.assertEqual(classes.tolist(), [17])

    def test_fastestdet_box(self):
        output = np.zeros((1, 85, 22, 22), np.float32)
        output[0, :5, 11, 4] = [0.9, math.atanh(0.5), math.atanh(-0.5), inverse_sigmoid(0.25), inverse_sigmoid(0.5)]
        output[0, 5 + 3, 11, 4] = 0.4
        boxes, scores, classes = detectors.detections("fastestdet", output, 220, 440)
        self.assertTrue(np.allclose(boxes, [[45 - 27.5, 210 - 110, 45 + 27.5, 210 + 110]], atol=1e-3))
        self.assertTrue(np.allclose(scores, [0.9**0.6 * 0.4**0.4]))
        self.assertEqual(classes.tolist(), [3])

    def test_an_output_of_not_a_number_gives_no_box(self):
        boxes, _, _ = detectors.detections("yolox", np.full((1, 3549, 85), np.nan, np.float32), 416, 416)
        self.assertEqual(len(boxes), 0)


class SuppressTest(unittest.TestCase):
    BOXES = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [100, 0, 110, 10]], np.float32)

    def test_the_better_box_of_a_class_stays(self):
        kept = suppress(self.BOXES, np.array([0.5, 0.9, 0.1]), np.array([1, 1, 1]), 0.5)
        self.assertEqual(kept.tolist(), [1, 2])

    def test_other_classes_and_less_overlap_stay(self):
        scores = np.array([0.5, 0.9, 0.1])
        self.assertEqual(suppress(self.BOXES, scores, np.array([1, 2, 1]), 0.5).tolist(), [1, 0, 2])
        self.assertEqual(suppress(self.BOXES, scores, np.array([1, 1, 1]), 0.9).tolist(), [1, 0, 2])

    def test_overlap(self):
        shares = intersection_over_union(self.BOXES)
        self.assertTrue(np.allclose(shares, [[1, 90 / 110, 0], [90 / 110, 1, 0], [0, 0, 1]]))


if __name__ == "__main__":
    unittest.main()

"""Tests of coco_average_precision.py: what is perfect scores 1, what is missed or elsewhere scores less."""

import copy
import unittest

try:
    import numpy as np
    import pycocotools  # noqa: F401

    import coco_average_precision as scoring
except ImportError as error:
    raise unittest.SkipTest(f"{error}; `make venv` has it") from error

TRUTH = {
    "info": {},
    "images": [{"id": 1, "width": 100, "height": 100}, {"id": 2, "width": 100, "height": 100}],
    "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 0, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 1, "bbox": [50, 50, 20, 20], "area": 400, "iscrowd": 0},
    ],
}
FOUND = [[1, 10, 10, 40, 40, 0.9, 0], [2, 50, 50, 20, 20, 0.4, 1]]


class AveragePrecisionTest(unittest.TestCase):
    def precision(self, rows):
        return scoring.average_precision(copy.deepcopy(TRUTH), np.array(rows, np.float64).reshape(-1, 7))

    def test_everything_found_is_one(self):
        for figure in self.precision(FOUND):
            self.assertAlmostEqual(figure, 1)

    def test_one_class_missed_is_half_and_nothing_found_is_zero(self):
        self.assertAlmostEqual(self.precision(FOUND[:1])[0], 0.5)
        self.assertEqual(self.precision([]), (0.0, 0.0))

    def test_the_wrong_class_or_image_is_not_found(self):
        self.assertEqual(self.precision([[1, 10, 10, 40, 40, 0.9, 1]])[0], 0)
        self.assertEqual(self.precision([[2, 10, 10, 40, 40, 0.9, 0]])[0], 0)

    def test_a_shifted_box_counts_at_the_thresholds_it_reaches(self):
        # 40 x 40 shifted by 8: 32 / 48 of the union in common, so 4 of the 10 thresholds, .50 to .65.
        whole, half = self.precision([[1, 18, 10, 40, 40, 0.9, 0], FOUND[1]])
        self.assertAlmostEqual(whole, (0.4 + 1) / 2)
        self.assertAlmostEqual(half, 1)

    def test_a_false_alarm_above_the_find_halves_its_class(self):
        self.assertAlmostEqual(self.precision([[2, 0, 0, 9, 9, 0.95, 0], *FOUND])[0], 0.75)


class AgreementTest(unittest.TestCase):
    def test_a_model_agrees_with_itself_whatever_the_truth(self):
        rows = np.array([[1, 70, 70, 10, 10, 0.8, 1], [2, 1, 1, 30, 30, 0.31, 0]], np.float64)
        self.assertAlmostEqual(scoring.score(rows, copy.deepcopy(TRUTH), rows)["agreement"], 1)
        self.assertEqual(scoring.score(rows, copy.deepcopy(TRUTH), rows)["ap"], 0)

    def test_what_the_reference_was_not_sure_of_is_no_truth(self):
        reference = np.array([*FOUND, [1, 60, 60, 20, 20, 0.29, 0]], np.float64)
        truth = scoring.as_truth(TRUTH, reference)
        self.assertEqual([annotation["bbox"] for annotation in truth["annotations"]], [[10, 10, 40, 40], [50, 50, 20, 20]])
        self.assertEqual(len({annotation["id"] for annotation in truth["annotations"]}), 2)


if __name__ == "__main__":
    unittest.main()

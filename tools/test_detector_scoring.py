"""Tests of detector/scoring.py: equal to pycocotools on random cases, and boxes go back to the photograph."""

import unittest

try:
    import numpy as np

    from detector import scoring
    from detector.evaluate import truth_of
except ImportError as error:
    raise unittest.SkipTest(f"{error}; `make venv` has it") from error


def random_case(seed, pictures=12, kinds=3):
    """Truth, and finds: some beside it, some anywhere, with scores that repeat."""
    dice = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(pictures):
        count = dice.integers(0, 6)
        corners, sizes = dice.uniform(0, 80, (count, 2)), dice.uniform(25, 80, (count, 2))
        boxes, own = np.concatenate([corners, corners + sizes], 1), dice.integers(0, kinds, count)
        copies = np.repeat(boxes, 2, 0) + dice.normal(0, 3, (2 * count, 4))
        anywhere = np.tile(dice.uniform(0, 60, (3, 2)), (1, 2)) + [0, 0, 25, 25]
        scores = dice.integers(1, 20, 2 * count + 3) / 20
        order = np.argsort(-scores, kind="stable")
        truth.append((boxes, own))
        labels = np.concatenate([np.repeat(own, 2), dice.integers(0, kinds, 3)])
        found.append((np.concatenate([copies, anywhere])[order], scores[order], labels[order]))
    return found, truth


class AveragePrecisionTest(unittest.TestCase):
    def test_equal_to_pycocotools(self):
        try:
            from coco_average_precision import average_precision
        except ImportError as error:
            self.skipTest(f"{error}; `make venv` has it")
        for seed in range(20):
            found, truth = random_case(seed)
            images = [{"id": image, "width": 200, "height": 200} for image in range(1, len(truth) + 1)]
            annotations, rows = [], []
            for image, ((boxes, kinds), (places, scores, labels)) in enumerate(zip(truth, found), 1):
                for box, kind in zip(boxes, kinds):
                    sides = box[2:] - box[:2]
                    annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": int(kind), "bbox": [*box[:2], *sides], "area": float(sides.prod()), "iscrowd": 0})
                rows += [[image, *box[:2], *(box[2:] - box[:2]), score, label] for box, score, label in zip(places, scores, labels)]
            known = {"info": {}, "images": images, "annotations": annotations, "categories": [{"id": kind} for kind in range(3)]}
            result = scoring.summary(found, truth, ["a", "b", "c"])
            expected = average_precision(known, np.array(rows))
            self.assertAlmostEqual(result["ap"], expected[0], 9)
            self.assertAlmostEqual(result["ap50"], expected[1], 9)

    def test_everything_found_is_one_and_nothing_found_is_zero(self):
        truth = [(np.array([[0, 0, 9, 9.0]]), np.array([1]))]
        self.assertAlmostEqual(scoring.summary([(truth[0][0], np.array([0.3]), np.array([1]))], truth, "ab")["ap"], 1)
        nothing = (np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
        self.assertEqual(scoring.summary([nothing], truth, "ab"), {"ap": 0, "ap50": 0, "per_class": {"b": 0}})


class DetectionsTest(unittest.TestCase):
    def test_boxes_are_those_of_the_photograph_and_the_weaker_goes(self):
        boxes = np.array([[16, 16, 48, 48], [17, 16, 48, 48], [16, 16, 48, 48], [300, 300, 400, 400]], np.float32)
        scores = np.array([[0, 0.5], [0, 0.9], [0.3, 0], [0, 0.0005]], np.float32)
        found, certain, kinds = scoring.detections(scores, boxes, 320, 640, 160)
        self.assertEqual(kinds.tolist(), [1, 0])
        self.assertTrue(np.allclose(certain, [0.9, 0.3]))
        self.assertTrue(np.allclose(found, [[34, 8, 96, 24], [32, 8, 96, 24]]))

    def test_truth_is_read_as_corners(self):
        labels = {"images": [{"id": 4}, {"id": 2}], "annotations": [{"image_id": 2, "category_id": 7, "bbox": [1, 2, 3, 4]}]}
        (none, _), (boxes, kinds) = truth_of(labels)
        self.assertEqual((none.shape, boxes.tolist(), kinds.tolist()), ((0, 4), [[1, 2, 4, 6]], [7]))


if __name__ == "__main__":
    unittest.main()

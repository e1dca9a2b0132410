"""Tests of views.py: what a view does to a photograph it does to the boxes in it."""

import unittest

try:
    import numpy as np
    from PIL import Image

    from views import VIEWS, View
except ImportError as error:
    raise unittest.SkipTest(f"{error}; `make venv` has it") from error

WIDTH, HEIGHT, BOX = 200, 100, [20, 40, 60, 30]


def photograph():
    """White inside the box, black outside."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    x, y, width, height = BOX
    pixels[y : y + height, x : x + width] = 255
    return Image.fromarray(pixels)


def truth():
    box = {"id": 1, "image_id": 7, "category_id": 0, "bbox": list(BOX), "area": 1800, "iscrowd": 0}
    return {"images": [{"id": 7, "width": WIDTH, "height": HEIGHT}], "annotations": [box]}


class ViewTest(unittest.TestCase):
    def test_the_box_goes_where_its_pixels_go(self):
        for name, view in VIEWS.items():
            with self.subTest(name):
                seen = view.of_truth(truth())
                pixels = np.asarray(view.of_photograph(photograph()))[..., 0] > 180
                self.assertEqual(pixels.shape[::-1], (seen["images"][0]["width"], seen["images"][0]["height"]))
                rows, columns = np.nonzero(pixels)
                found = [columns.min(), rows.min(), columns.max() + 1 - columns.min(), rows.max() + 1 - rows.min()]
                for expected, figure in zip(seen["annotations"][0]["bbox"], found):
                    self.assertLessEqual(abs(expected - figure), 1)

    def test_areas_shrink_with_the_photograph(self):
        self.assertAlmostEqual(View(scale=0.5).of_truth(truth())["annotations"][0]["area"], 450)

    def test_the_truth_given_stays_as_it_is(self):
        given = truth()
        VIEWS["bordered"].of_truth(given)
        self.assertEqual(given, truth())


if __name__ == "__main__":
    unittest.main()

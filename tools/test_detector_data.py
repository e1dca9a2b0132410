"""Tests of detector/: scenes are the same for a seed, a box holds what is seen, and the committed labels are those of the seeds."""

import json
import unittest
from pathlib import Path

try:
    import numpy as np

    from detector import data, scenes, shapes
    from detector.objects import KINDS, NAMES
except ImportError as error:
    raise unittest.SkipTest(f"{error}; `make venv` has it") from error

COMMITTED = Path(__file__).resolve().parents[1] / "assets/detector"


def grid(side=200):
    """`u` and `v` over the square from -1.2 to 1.2."""
    line = (np.arange(side, dtype=np.float32) + 0.5) / side * 2.4 - 1.2
    return np.broadcast_to(line, (side, side)), np.broadcast_to(line[:, None], (side, side))


class ShapeTest(unittest.TestCase):
    def area(self, distance):
        return float((distance < 0).mean() * 2.4**2)

    def test_areas(self):
        u, v = grid()
        self.assertAlmostEqual(self.area(shapes.ellipse(u, v, 0.1, 0, 0.8, 0.5)), np.pi * 0.4, delta=0.02)
        self.assertAlmostEqual(self.area(shapes.rectangle(u, v, -1, -0.5, 0.5, 0.5)), 1.5, delta=0.03)
        self.assertAlmostEqual(self.area(shapes.convex(u, v, [(0, -1), (1, 1), (-1, 1)])), 2, delta=0.03)
        self.assertAlmostEqual(self.area(shapes.stroke(u, v, (-0.5, 0), (0.5, 0), 0.4)), 0.4 + np.pi * 0.04, delta=0.02)

    def test_a_star_is_its_tips_and_notches(self):
        # Ten triangles with sides 1 and 0.45 and an angle of 36 degrees between them.
        u, v = grid(400)
        self.assertAlmostEqual(self.area(shapes.star(u, v, 5, 0.45)), 5 * 0.45 * np.sin(np.pi / 5), delta=0.02)

    def test_every_kind_fills_its_square(self):
        u, v = grid()
        for name, (make, _) in KINDS.items():
            with self.subTest(name):
                dice = scenes.Dice(5)
                outline = np.minimum.reduce([distance for distance, _ in make(u, v, dice, scenes.Paints(dice))])
                self.assertLess(max(np.abs(u[outline < 0]).max(), np.abs(v[outline < 0]).max()), 1)
                self.assertGreater(v[outline < 0].max() - v[outline < 0].min(), 0.85)
                self.assertGreater(self.area(outline), 0.3)


class SceneTest(unittest.TestCase):
    def test_a_seed_is_a_scene(self):
        for first, second, other in zip(scenes.render(7), scenes.render(7), scenes.render(8)):
            self.assertTrue(np.array_equal(first, second))
            self.assertFalse(np.array_equal(first, other))

    def test_boxes_lie_in_the_picture_and_have_a_size(self):
        for seed in range(40):
            pixels, boxes, kinds = scenes.render(seed)
            height, width, _ = pixels.shape
            self.assertEqual((len(boxes), pixels.dtype), (len(kinds), np.uint8))
            self.assertTrue((boxes >= 0).all() and (boxes <= [width, height, width, height]).all())
            self.assertLessEqual(len(boxes), data.MOST_OBJECTS)
            self.assertTrue(((0 <= kinds) & (kinds < len(NAMES))).all())

    def test_training_meets_many_encodings_and_nothing_else_does(self):
        met = [data.encoding("training", seed) for seed in range(200)]
        self.assertEqual({settings["subsampling"] for settings in met}, {0, 2})
        self.assertEqual((min(settings["quality"] for settings in met), max(settings["quality"] for settings in met)), (60, 95))
        self.assertEqual(met[7], data.encoding("training", 7))
        self.assertEqual(data.encoding("validation", 7), data.JPEG)

    def placed(self, x, size):
        return np.array([[size / 2, 0, x], [0, size / 2, 50], [0, 0, 1.0]])

    def canvas(self, *places):
        canvas = scenes.Canvas(np.full((100, 200, 3), 0.5, np.float32), np.full((100, 200), -1, np.int16))
        for number, (x, size, kind) in enumerate(places):
            scenes.draw(canvas, self.placed(x, size), KINDS["ball"][0], scenes.Dice(number), kind)
        return canvas

    def test_a_box_is_what_is_seen(self):
        boxes, kinds = self.canvas((50, 60, 3), (70, 40, 4)).boxes()
        self.assertEqual(kinds.tolist(), [3, 4])
        self.assertLess(np.abs(boxes - [[21, 21, 72, 79], [51, 31, 89, 69]]).max(), 1.01)

    def test_what_would_hide_an_object_is_not_drawn(self):
        for kind in (4, None):
            canvas = self.canvas((50, 60, 3), (52, 60, kind))
            self.assertEqual(canvas.kinds, [3])
            self.assertGreater(canvas.seen[0], 0.95 * canvas.whole[0])

    def test_what_is_mostly_outside_is_not_drawn(self):
        self.assertEqual(self.canvas((-10, 60, 3)).kinds, [])
        self.assertEqual(self.canvas((-500, 60, 3)).kinds, [])


class CommittedTest(unittest.TestCase):
    def test_scenes_in_memory_are_the_photographs_stretched(self):
        try:
            from PIL import Image  # noqa: F401
        except ImportError as error:
            self.skipTest(f"{error}; `make venv` has it")
        committed = json.loads((COMMITTED / "evaluation.json").read_text())
        made = data.Scenes("evaluation", 3, 320)
        made.fill_share(0, 1)
        for number, image in enumerate(committed["images"][:3]):
            photograph = data.stretched(COMMITTED / "evaluation" / image["file_name"], 320)
            self.assertLess(np.abs(made.pixels[number].astype(float) - photograph).mean(), 1)
            labels = [label for label in committed["annotations"] if label["image_id"] == number]
            corners = np.array([[x, y, x + width, y + height] for x, y, width, height in (label["bbox"] for label in labels)])
            natural = made.boxes[number, : len(labels)] * ([image["width"] / 320, image["height"] / 320] * 2)
            self.assertLess(np.abs(natural - corners).max(), 1e-3)
            self.assertEqual(made.kinds[number].tolist(), [label["category_id"] for label in labels] + [-1] * (data.MOST_OBJECTS - len(labels)))

    def test_labels_are_those_of_the_seeds(self):
        committed = json.loads((COMMITTED / "evaluation.json").read_text())
        self.assertEqual(data.labels("evaluation", data.COMMITTED["evaluation"]), committed)
        self.assertEqual((COMMITTED / "classes.txt").read_text().split(), list(NAMES))

    def test_photographs_are_there_and_small(self):
        size = 0
        for split, count in data.COMMITTED.items():
            files = sorted(path.name for path in (COMMITTED / split).iterdir())
            self.assertEqual(files, [data.file_name(number) for number in range(count)])
            size += sum(path.stat().st_size for path in (COMMITTED / split).iterdir())
        self.assertLess(size, 4_000_000)

    def test_photographs_show_the_scenes_of_the_seeds(self):
        try:
            from PIL import Image
        except ImportError as error:
            self.skipTest(f"{error}; `make venv` has it")
        for split in data.COMMITTED:
            pixels, _, _ = scenes.render(data.FIRST_SEED[split] + 5)
            with Image.open(COMMITTED / split / data.file_name(5)) as photograph:
                difference = np.abs(np.asarray(photograph, np.float32) - pixels)
            self.assertLess(difference.mean(), 12)


if __name__ == "__main__":
    unittest.main()

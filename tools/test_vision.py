"""Tests of vision.py: ratios of medians against goals, and boxes that differ are no measurement."""

import unittest

from measuring import ToolFailed
from vision import rows


def answers(preprocess, postprocess, kept=500):
    return [{"preprocess_ms": a, "postprocess_ms": b, "kept": kept} for a, b in zip(preprocess, postprocess)]


class RowsTest(unittest.TestCase):
    def test_medians_are_compared(self):
        found = rows("peer 1.0", answers([2, 9, 2.1], [1, 1, 1]), answers([3, 3.5, 99], [1.9, 1.9, 1.9]))
        self.assertEqual([row.cells()[1:] for row in found], [
            ["2.10 ms", "3.50 ms", "0.60 x", "<= 0.70 x", "ok"],
            ["1.00 ms", "1.90 ms", "0.53 x", "<= 0.50 x", "NOT REACHED"],
        ])  # fmt: skip

    def test_a_peer_may_do_one_task_only(self):
        found = rows("peer", answers([2], [1]), [{"postprocess_ms": 4.0, "kept": 500}])
        self.assertEqual([row.value for row in found], [0.25])

    def test_other_boxes_are_another_task(self):
        with self.assertRaises(ToolFailed):
            rows("peer", answers([2], [1]), answers([2], [1], kept=499))


if __name__ == "__main__":
    unittest.main()

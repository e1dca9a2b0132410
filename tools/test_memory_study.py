"""Tests of memory_study.py: what is asked for, and what a table says of it."""

import unittest
from argparse import Namespace

from memory_study import MIB, page, pick, splits


def study(totals):
    """Rows by (precision, batch, stages) that take so many MiB."""
    figures = {"weights_bytes": 0, "activation_bytes": MIB, "io_bytes": MIB, "lower_bound_bytes": 3 * MIB}
    return {key: figures | {"total_bytes": total * MIB} for key, total in totals.items()}


class MemoryStudyTest(unittest.TestCase):
    rows = study({("fp32", 1, 1): 90, ("fp32", 4, 1): 200, ("fp32", 1, 4): 40, ("fp16", 1, 1): 50, ("int8", 1, 1): 30})

    def test_stages_are_asked_for_at_their_batches_only(self):
        arguments = Namespace(batches=[1, 4], staged_batches=[1], stages=[1, 2, 4])
        self.assertEqual(splits(arguments), [([1, 4], [1]), ([1], [2, 4])])
        arguments.stages = [1]
        self.assertEqual(splits(arguments), [([1, 4], [1])])

    def test_the_largest_batch_that_fits_is_picked_and_stages_where_they_hold_more(self):
        self.assertEqual(pick(self.rows, 200 * MIB), "fp32 ×4<br>fp16 ×1<br>int8 ×1")
        self.assertEqual(pick(self.rows, 45 * MIB), "fp32 ×1 in 4 stages<br>int8 ×1")
        more = self.rows | study({("fp32", 4, 2): 90, ("fp32", 4, 4): 80})
        self.assertEqual(pick(more, 95 * MIB), "fp32 ×1, ×4 in 2 stages<br>fp16 ×1<br>int8 ×1")
        self.assertEqual(pick(self.rows, 10 * MIB), "nothing")

    def test_savings_are_of_one_engine_in_fp32(self):
        arguments = Namespace(batches=[1, 4], staged_batches=[1], stages=[1, 4], reserve=256)
        text = page({"s": (self.rows, "damoyolo-s")}, arguments)
        self.assertIn("| S | 90.0 | 50.0 (−44 %) | 30.0 (−67 %) | 40.0 (−56 %) |  |  |", text)
        self.assertIn("| fp32 | 1 | 4 | 0.0 | 1.0 |  | 1.0 | 40.0 | 44 % |", text)
        self.assertIn("batch 1, 4 as one engine; in 4 stages batch 1.", text)
        self.assertNotIn("a stage in INT8 takes more", text)

    def test_it_is_said_where_int8_takes_more_in_stages(self):
        arguments = Namespace(batches=[1], staged_batches=[1], stages=[1, 4], reserve=256)
        rows = self.rows | study({("fp16", 1, 4): 20, ("int8", 1, 4): 21})
        text = page({"ns": (rows, "damoyolo-ns")}, arguments)
        self.assertIn("Of Ns a stage in INT8 takes more than one in FP16", text)
        self.assertIn("in 4 stages the same.", text)


if __name__ == "__main__":
    unittest.main()

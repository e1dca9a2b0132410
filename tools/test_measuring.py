"""Tests of measuring.py: a goal can be missed from both sides, and a failed child is no measurement."""

import sys
import unittest

from measuring import MB, Row, Run, ToolFailed


class RowTest(unittest.TestCase):
    def test_a_limit_from_above(self):
        self.assertTrue(Row("", "", "", 0.005, 0.005, "AP").reached())
        self.assertEqual(Row("lost", "", "", 0.0051, 0.005, "AP").cells(), ["lost", "", "", "0.0051", "<= 0.0050", "NOT REACHED"])

    def test_a_limit_from_below(self):
        self.assertEqual(Row("share", "", "", 0.9, 0.9, "%", at_least=True).cells(), ["share", "", "", "90.0 %", ">= 90.0 %", "ok"])
        self.assertFalse(Row("", "", "", 0.89, 0.9, "%", at_least=True).reached())

    def test_without_a_goal_nothing_is_missed(self):
        self.assertEqual(Row("peak", "", "", 700 * MB, None, "MB").cells()[3:], ["700.0 MB", "", ""])


class RunTest(unittest.TestCase):
    def test_a_child_is_measured_and_answers(self):
        run = Run([sys.executable, "-c", "block = bytearray(64 << 20); print('noise'); print('{\"seconds\": 2}')"])
        self.assertEqual(run.answer(), {"seconds": 2})
        self.assertGreater(run.peak_bytes, 64 << 20)
        self.assertGreater(run.wall_s, 0)

    def test_a_failure_keeps_code_and_words(self):
        with self.assertRaises(ToolFailed) as caught:
            Run([sys.executable, "-c", "import sys; print('error: no such thing'); print('hint: none'); sys.exit(4)"])
        self.assertEqual((caught.exception.code, caught.exception.last_words()), (4, "error: no such thing"))


if __name__ == "__main__":
    unittest.main()

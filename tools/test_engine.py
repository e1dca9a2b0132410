"""Tests of engine.sh: which build `make engine` asks for. A program that prints its arguments stands for trtforge."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
EMPTY = dict.fromkeys(("MODEL", "CONFIG", "PRECISION", "WORKSPACE", "CALIBRATION", "TRTFORGE_TEST_DATA"), "")
CONFIG = "model: ../models/net.onnx\nprecision: int8 # best\n"


class Engine(unittest.TestCase):
    def setUp(self):
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        for name in ("tools", "configs", "data/models", "data/images/calibration"):
            (self.root / name).mkdir(parents=True)
        shutil.copy(TOOLS / "engine.sh", self.root / "tools")
        self.binary = self.root / "trtforge"
        self.binary.write_text('#!/bin/bash\necho "$*"\n')
        self.binary.chmod(0o755)
        (self.root / "configs/net.yaml").write_text(CONFIG)
        (self.root / "data/models/net.onnx").touch()
        self.data = str(self.root / "data")

    def run_engine(self, **variables):
        environment = os.environ | EMPTY | {"TRTFORGE_BIN": str(self.binary)} | variables
        return subprocess.run([self.root / "tools/engine.sh"], env=environment, capture_output=True, text=True)

    def build(self, **variables):
        return self.run_engine(**variables).stdout.splitlines()[-1]

    def test_without_arguments_the_small_detector_is_built(self):
        calibration = "calibration: {images: ../assets/detector/calibration}\n"
        detector = "model: ../assets/detector/detector.onnx\nprecision: int8\n" + calibration
        (self.root / "configs/detector.yaml").write_text(detector)
        (self.root / "assets/detector").mkdir(parents=True)
        (self.root / "assets/detector/detector.onnx").touch()
        int8 = "build configs/detector.yaml --precision int8 -o engines/detector-int8.engine"
        self.assertEqual(self.build(), int8)
        self.assertEqual(self.build(TRTFORGE_TEST_DATA=self.data), int8)
        self.assertEqual(self.build(PRECISION="fp16"), int8.replace("int8", "fp16"))

    def test_a_model_of_the_zoo_that_is_not_there_is_generated(self):
        (self.root / "configs/damoyolo-t.yaml").write_text("model: ../models/damoyolo-t.onnx\n")
        lines = self.run_engine(CONFIG="configs/damoyolo-t.yaml").stderr.splitlines()
        self.assertEqual(lines[0], "zoo damoyolo-t -o configs/../models/damoyolo-t.onnx")

    def test_int8_takes_the_photographs_of_the_test_data(self):
        photographs = f" --calibration {self.data}/images/calibration"
        self.assertTrue(self.build(CONFIG="configs/net.yaml", PRECISION="int8", TRTFORGE_TEST_DATA=self.data).endswith(photographs))
        self.assertTrue(self.build(CONFIG="configs/net.yaml", PRECISION="auto", TRTFORGE_TEST_DATA=self.data).endswith(photographs))
        self.assertNotIn("--calibration", self.build(CONFIG="configs/net.yaml", PRECISION="fp16", TRTFORGE_TEST_DATA=self.data))

    def test_photographs_are_not_given_to_a_model_that_nothing_describes(self):
        self.assertNotIn("--calibration", self.build(MODEL="a.onnx", PRECISION="int8", TRTFORGE_TEST_DATA=self.data))

    def test_what_is_named_wins(self):
        built = self.build(CONFIG="configs/net.yaml", PRECISION="int8", CALIBRATION="photos", TRTFORGE_TEST_DATA=self.data)
        self.assertTrue(built.endswith("--calibration photos"))
        (self.root / "configs/net.yaml").write_text(CONFIG + "calibration: {images: photos}\n")
        self.assertNotIn("--calibration", self.build(CONFIG="configs/net.yaml", TRTFORGE_TEST_DATA=self.data))

    def test_a_configuration_settles_model_and_precision(self):
        built = self.build(CONFIG="configs/net.yaml")
        self.assertEqual(built, "build configs/net.yaml --precision int8 -o engines/net-int8.engine")
        built = self.build(CONFIG="configs/net.yaml", TRTFORGE_TEST_DATA=self.data)
        self.assertIn(f"build {self.data}/models/net.onnx --precision int8", built)
        self.assertIn("--config configs/net.yaml", built)

    def test_a_model_goes_before_the_configurations(self):
        built = self.build(CONFIG="configs/net.yaml", MODEL="other/a.onnx", PRECISION="fp16")
        self.assertEqual(built, "build other/a.onnx --precision fp16 -o engines/a-fp16.engine --config configs/net.yaml")

    def test_a_missing_configuration_is_wrong_usage(self):
        done = self.run_engine(CONFIG="configs/none.yaml")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no such file", done.stderr)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""Quantize a model to INT8 with another tool, on the calibration photographs, and say how long the tool took.

    tools/quantize_with_peer.py onnxruntime MinMax|Percentile|Entropy NETWORK MODEL.onnx OUT.onnx [--photographs N]
    tools/quantize_with_peer.py modelopt    max|entropy               NETWORK MODEL.onnx OUT.onnx [--photographs N]
    tools/quantize_with_peer.py forward     passes                    NETWORK MODEL.onnx -        [--photographs N]

Each tool in the form that TensorRT takes: Q/DQ pairs, symmetric int8 activations, int8 weights per channel, bias in
float; everything else at the tool's own defaults. Photographs are read one at a time while the tool asks for them, as
a user's reader would. `forward` quantizes nothing: it is the same number of inferences on two threads, the floor of
any calibration. Imports are not timed. Prints one line of JSON.
"""

import argparse
import importlib.machinery
import json
import os
import sys
import tempfile
import time
import types
from pathlib import Path

from onnxruntime.quantization import CalibrationDataReader

from detectors import NETWORKS

PER_CHANNEL_OPSET = 13


class Photographs(CalibrationDataReader):
    """The calibration photographs in the order of their names, as the network wants them."""

    def __init__(self, name, model, count):
        import onnx

        self.network = NETWORKS[name]
        self.entry = onnx.load(model, load_external_data=False).graph.input[0].name
        folder = Path(os.environ["TRTFORGE_TEST_DATA"]) / "images/calibration"
        self.paths = sorted(folder.glob("*.jpg"))[:count]
        self.rewind()

    def rewind(self):
        self.left = iter(self.paths)

    def get_next(self):
        path = next(self.left, None)
        return None if path is None else {self.entry: self.network.tensor(path)}

    def get_first(self):
        """One input without moving on; Model-Optimizer looks at it before it calibrates."""
        return {self.entry: self.network.tensor(self.paths[0])}

    def __len__(self):
        return len(self.paths)


def with_axes(source, target):
    """The model in an operator set where DequantizeLinear has an axis, which scales per channel need."""
    import onnx.version_converter

    model = onnx.load(source)
    version = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if version >= PER_CHANNEL_OPSET:
        return source
    onnx.save(onnx.version_converter.convert_version(model, PER_CHANNEL_OPSET), target)
    return target


def quantize_with_onnxruntime(method, photographs, source, target):
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        raised = with_axes(source, Path(folder) / "raised.onnx")
        quant_pre_process(str(raised), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            photographs,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, method),
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
    return time.perf_counter() - started


def stand_in(name):
    """An empty module of that name. Model-Optimizer imports torch for FP8 and cppimport for INT4; INT8 needs neither."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    sys.modules[name] = module


def quantize_with_modelopt(method, photographs, source, target):
    import onnxruntime.tools.symbolic_shape_infer  # noqa: F401  it looks for torch itself, so it comes before the stand-in

    for name in ("torch", "cppimport"):
        stand_in(name)
    from modelopt.onnx.quantization import quantize

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        quantize(
            str(source),
            calibration_data_reader=photographs,
            calibration_method=method,
            calibration_eps=["cpu"],
            output_path=str(target),
            log_level="ERROR",
            log_file=str(Path(folder) / "log"),
        )
    return time.perf_counter() - started


def forward(_, photographs, source, __):
    from coco_average_precision import session

    runner = session(source, optimised=True, threads=2)
    entry = photographs.get_first()
    started = time.perf_counter()
    for _ in range(len(photographs)):
        runner.run(None, entry)
    return time.perf_counter() - started


PEERS = {"onnxruntime": quantize_with_onnxruntime, "modelopt": quantize_with_modelopt, "forward": forward}


def main():
    parser = argparse.ArgumentParser(description="Quantize with another tool.")
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("method")
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--photographs", type=int, metavar="N", help="only the first N")
    arguments = parser.parse_args()
    photographs = Photographs(arguments.network, arguments.model, arguments.photographs)
    seconds = PEERS[arguments.peer](arguments.method, photographs, arguments.model, arguments.output)
    print(json.dumps({"seconds": seconds, "photographs": len(photographs)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

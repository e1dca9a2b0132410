"""The trained network as ONNX: `python -m detector.export CHECKPOINT.pt MODEL.onnx`.

Dynamic batch, opset 17, batch normalisation folded, parallel convolutions made one, boxes decoded in the graph.
"""

import argparse
import warnings
from pathlib import Path

import onnx
import torch

from .model import SIDE, STRIDES, Deployed, Detector
from .objects import NAMES

OPSET = 17


def export(detector, path):
    """Writes the model under a temporary name and renames it."""
    deployed = Deployed(detector).cpu().eval()
    partial = path.with_suffix(".partial")
    with warnings.catch_warnings():
        # The exporter that needs nothing but torch calls itself deprecated.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            deployed, (torch.zeros(2, 3, SIDE, SIDE),), str(partial), dynamo=False, opset_version=OPSET,
            input_names=["images"], output_names=["scores", "boxes"],
            dynamic_axes={name: {0: "batch"} for name in ("images", "scores", "boxes")},
        )  # fmt: skip
    state_shapes(partial)
    partial.rename(path)


def state_shapes(path):
    """Writes the shapes of the outputs, which the exporter leaves open, into the model."""
    model = onnx.load(path)
    for output, last in zip(model.graph.output, (len(NAMES), 4)):
        count = sum((SIDE // stride) ** 2 for stride in STRIDES)
        for dimension, size in zip(output.type.tensor_type.shape.dim[1:], (count, last)):
            dimension.dim_value = size
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main():
    parser = argparse.ArgumentParser(description="Export the averaged weights of a checkpoint.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("model", type=Path)
    arguments = parser.parse_args()
    detector = Detector()
    detector.load_state_dict(torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)["average"])
    export(detector.eval(), arguments.model)
    print(f"{arguments.model}: {arguments.model.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

"""Average precision of exported detectors on the evaluation photographs, on ONNX Runtime.

    python -m detector.evaluate MODEL.onnx [INT8.onnx ...] [--data assets/detector] [--json FILE]

Graph optimisation is off, so a quantized model is scored as it is written. With several models each is compared with
the first. Exit 1 where `--least-ap` or `--most-lost` is not met.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from .data import stretched
from .scoring import detections, summary


def session(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def tensor(path, side):
    """A photograph stretched to the input: float32 [1, 3, side, side], red, green, blue from 0 to 255."""
    return np.ascontiguousarray(stretched(path, side).astype(np.float32).transpose(2, 0, 1)[None])


def truth_of(labels):
    """Corners and kinds of each picture, from COCO's form."""
    found = {image["id"]: ([], []) for image in labels["images"]}
    for label in labels["annotations"]:
        left, top, width, height = label["bbox"]
        boxes, kinds = found[label["image_id"]]
        boxes.append([left, top, left + width, top + height])
        kinds.append(label["category_id"])
    return [(np.array(boxes, np.float64).reshape(-1, 4), np.array(kinds, np.int64)) for boxes, kinds in found.values()]


def score(model, data):
    labels = json.loads((data / "evaluation.json").read_text())
    runner = session(model)
    entry, side = runner.get_inputs()[0].name, runner.get_inputs()[0].shape[3]
    found = []
    for image in labels["images"]:
        scores, boxes = runner.run(["scores", "boxes"], {entry: tensor(data / "evaluation" / image["file_name"], side)})
        found.append(detections(scores[0], boxes[0], side, image["width"], image["height"]))
    return summary(found, truth_of(labels), [category["name"] for category in labels["categories"]])


def table(results):
    first = next(iter(results.values()))
    lines = [f"{'MODEL':<32} {'AP':>7} {'AP50':>7} {'AP LOST':>8}"]
    lines += [f"{name:<32} {result['ap']:7.4f} {result['ap50']:7.4f} {first['ap'] - result['ap']:+8.4f}" for name, result in results.items()]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="COCO average precision of exported detectors.")
    parser.add_argument("models", type=Path, nargs="+", help="the first is what the others are compared with")
    parser.add_argument("--data", type=Path, default=Path("assets/detector"), help="folder of evaluation/ and evaluation.json")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--least-ap", type=float, default=0.0, metavar="AP", help="of the first model")
    parser.add_argument("--most-lost", type=float, default=1.0, metavar="AP", help="of each other model against the first")
    arguments = parser.parse_args()
    results = {model.name: score(model, arguments.data) for model in arguments.models}
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    reached = [result["ap"] for result in results.values()]
    if reached[0] < arguments.least_ap or reached[0] - min(reached) > arguments.most_lost:
        print(f"evaluate: wanted an AP of {arguments.least_ap} and at most {arguments.most_lost} lost", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

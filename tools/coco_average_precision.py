#!/usr/bin/env python3
"""Average precision of a trained detector on the evaluation photographs, by the COCO rules, on ONNX Runtime.

    tools/coco_average_precision.py yolox FP32.onnx --keep FP32.npz
    tools/coco_average_precision.py yolox MODEL.onnx [--reference FP32.npz] [--photographs N] [--views]

Graph optimisation is off, so a quantized model is scored as it is written. AP is the mean over IoU .50 to .95; the
evaluation is pycocotools'. With `--reference`, the detections that `--keep` wrote for another model, comes the
*agreement*: the same AP with that model's own detections of score 0.3 and more as the truth. It says how much of what
the reference finds is found again in the same place, and is less a matter of chance on few photographs than the
difference of two scores. With `--views` the photographs are scored mirrored, smaller and with a border as well, and the
mean over the views is told: AP moves by about .01 from one view to the next by chance.

Prints one line of JSON. Photographs and boxes are looked for in TRTFORGE_TEST_DATA.
"""

import argparse
import contextlib
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime

from detectors import NETWORKS, detections
from views import VIEWS

SURE_SCORE = 0.3


def test_data():
    return Path(os.environ["TRTFORGE_TEST_DATA"])


def session(model, optimised=False, threads=0):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def outputs(name, model, paths, view=None):
    """All outputs for each photograph, one photograph at a time."""
    runner = session(model)
    entry = runner.get_inputs()[0].name
    for path in paths:
        yield runner.run(None, {entry: NETWORKS[name].tensor(path, view)})


# --- average precision ---------------------------------------------------------------------------


def detect(name, model, truth, view=VIEWS["plain"]):
    """Rows [image, x, y, width, height, score, class] over the images of `truth`, which are those of the view."""
    paths = [test_data() / "images/evaluation" / image["file_name"] for image in truth["images"]]
    rows = []
    for image, (output, *_) in zip(truth["images"], outputs(name, model, paths, view)):
        for box, score, label in zip(*detections(name, output, image["width"], image["height"])):
            rows.append([image["id"], box[0], box[1], box[2] - box[0], box[3] - box[1], score, label])
    return np.array(rows, np.float64).reshape(-1, 7)


def average_precision(truth, rows):
    """AP and AP50 of detections against boxes in COCO's form."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not len(rows):
        return 0.0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = truth
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def as_truth(truth, rows):
    """A model's sure detections in the form of annotations; the images and classes stay."""
    sure = rows[rows[:, 5] >= SURE_SCORE]
    return {**truth, "annotations": [annotation(number, *row) for number, row in enumerate(sure.tolist(), 1)]}


def annotation(number, image, x, y, width, height, _, label):
    box = {"bbox": [x, y, width, height], "area": width * height, "iscrowd": 0}
    return {"id": number, "image_id": int(image), "category_id": int(label), **box}


def truth_of(count=None):
    """The evaluation photographs in the order of their names, and their boxes."""
    truth = json.loads((test_data() / "images/evaluation.json").read_text())
    truth.setdefault("info", {})
    truth["images"] = sorted(truth["images"], key=lambda image: image["file_name"])[:count]
    kept = {image["id"] for image in truth["images"]}
    truth["annotations"] = [box for box in truth["annotations"] if box["image_id"] in kept]
    return truth


def score(rows, truth, reference=None):
    precision, at_half = average_precision(truth, rows)
    result = {"ap": precision, "ap50": at_half, "photographs": len(truth["images"])}
    if reference is not None:
        result["agreement"] = average_precision(as_truth(truth, reference), rows)[0]
    return result


def mean_of(scores):
    """Means of AP and, where there is one, agreement over the views."""
    figures = [figure for figure in ("ap", "agreement") if all(figure in score for score in scores)]
    return {figure: sum(score[figure] for score in scores) / len(scores) for figure in figures}


def main():
    parser = argparse.ArgumentParser(description="COCO average precision of a trained detector.")
    parser.add_argument("network", choices=["yolox", "fastestdet"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--keep", type=Path, metavar="FILE.npz", help="write the detections")
    parser.add_argument("--reference", type=Path, metavar="FILE.npz", help="detections that agreement is measured with")
    parser.add_argument("--photographs", type=int, metavar="N", help="only the first N")
    parser.add_argument("--views", action="store_true", help="score other views of the photographs as well")
    arguments = parser.parse_args()
    if "TRTFORGE_TEST_DATA" not in os.environ:
        print("coco_average_precision: TRTFORGE_TEST_DATA is not set", file=sys.stderr)
        return 3
    truth = truth_of(arguments.photographs)
    reference = np.load(arguments.reference) if arguments.reference else {}
    rows, scores = {}, {}
    for name, view in VIEWS.items() if arguments.views else [("plain", VIEWS["plain"])]:
        seen = view.of_truth(truth)
        rows[name] = detect(arguments.network, arguments.model, seen, view)
        scores[name] = score(rows[name], seen, reference[name] if reference else None)
    if arguments.keep:
        np.savez(arguments.keep, **rows)
    answer = scores["plain"]
    if arguments.views:
        answer = {**answer, "views": {name: score["ap"] for name, score in scores.items()}, "mean": mean_of(list(scores.values()))}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())

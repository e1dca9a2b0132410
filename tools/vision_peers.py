#!/usr/bin/env python3
"""Time what surrounds a detector's network beside OpenCV and torchvision: `vision_peers.py [--seconds N] [--json FILE]`.

* 1920x1080 pixels to a 640 tensor: OpenCV's resize, cvtColor and blobFromImage.
* 8,400 anchors of 80 classes to at most 500 boxes (score 0.05, IoU 0.7): scores compared in numpy, then
  NMSBoxesBatched; the same in torch with torchvision's batched_nms, where torch is installed.

All get the same arrays and as many threads as there are processors. Rounds take turns, so that whatever else the machine
does falls on all alike; the median round counts. Ends with 1 when a goal is missed. Needs numpy and
opencv-python-headless; `cargo build --release -p trtforge-vision --example measure` builds our side.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
SCORE, OVERLAP, MOST = 0.05, 0.7, 500
GOALS = {"preprocess": 0.7, "postprocess": 0.5}


def arrays():
    """A photograph-like image, and the outputs of a detector that finds some sixty objects, each by many anchors."""
    random = np.random.default_rng(7)
    pixels = cv2.GaussianBlur(random.integers(0, 256, (1080, 1920, 3), dtype=np.uint8), (0, 0), 2)
    scores = random.random((8400, 80), dtype=np.float32) ** 400 * 0.5
    centres = random.random((8400, 2), dtype=np.float32) * 640
    sides = (20 + random.random((8400, 2)) * 100).astype(np.float32)
    for _ in range(60):
        label, place, size = random.integers(80), random.random(2) * 600 + 20, random.random(2) * 150 + 20
        near = random.integers(0, 8400, 40)
        centres[near] = place + random.normal(0, 3, (40, 2))
        sides[near] = size * (1 + random.normal(0, 0.05, (40, 2)))
        scores[near, label] = random.random(40) * 0.9 + 0.05
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1).astype(np.float32)
    return pixels, scores, boxes


def median_ms(task, seconds):
    for _ in range(3):
        task()
    start, times = time.perf_counter(), []
    while not times or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        task()
        times.append(time.perf_counter() - before)
    return statistics.median(times) * 1e3


def opencv_preprocess(pixels):
    small = cv2.resize(pixels, (640, 640), interpolation=cv2.INTER_LINEAR)
    return cv2.dnn.blobFromImage(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), 1 / 255)


def opencv_postprocess(scores, boxes):
    anchors, labels = np.nonzero(scores >= SCORE)
    chosen = boxes[anchors]
    corners = np.concatenate([chosen[:, :2], chosen[:, 2:] - chosen[:, :2]], 1)
    return cv2.dnn.NMSBoxesBatched(corners, scores[anchors, labels], labels, SCORE, OVERLAP, top_k=0)[:MOST]


def torch_postprocess():
    try:
        import torch
        from torchvision.ops import batched_nms
    except ImportError:
        return None

    def task(scores, boxes):
        anchors, labels = torch.nonzero(scores >= SCORE, as_tuple=True)
        chosen, certainty = boxes[anchors], scores[anchors, labels]
        return batched_nms(chosen, certainty, labels, OVERLAP)[:MOST]

    return lambda scores, boxes: task(torch.from_numpy(scores), torch.from_numpy(boxes))


def measure(program, seconds):
    pixels, scores, boxes = arrays()
    torch_task = torch_postprocess()
    rows = {"preprocess": {"trtforge": [], "opencv": []}, "postprocess": {"trtforge": [], "opencv": []}}
    if torch_task:
        rows["postprocess"]["torchvision"] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, array in [("pixels.u8", pixels), ("scores.f32", scores), ("boxes.f32", boxes)]:
            array.tofile(Path(folder) / name)
        for _ in range(ROUNDS):
            ours = json.loads(subprocess.run([program, folder, str(seconds)], check=True, capture_output=True, text=True).stdout)
            rows["preprocess"]["trtforge"].append(ours["preprocess_ms"])
            rows["postprocess"]["trtforge"].append(ours["postprocess_ms"])
            rows["preprocess"]["opencv"].append(median_ms(lambda: opencv_preprocess(pixels), seconds))
            rows["postprocess"]["opencv"].append(median_ms(lambda: opencv_postprocess(scores, boxes), seconds))
            if torch_task:
                rows["postprocess"]["torchvision"].append(median_ms(lambda: torch_task(scores, boxes), seconds))
    kept = {"trtforge": ours["kept"], "opencv": len(opencv_postprocess(scores, boxes))}
    if torch_task:
        kept["torchvision"] = len(torch_task(scores, boxes))
    return {task: {tool: statistics.median(times) for tool, times in tools.items()} for task, tools in rows.items()}, ours["candidates"], kept


def main():
    parser = argparse.ArgumentParser(description="Time image and box processing beside OpenCV and torchvision.")
    parser.add_argument("--program", default=ROOT / "target/release/examples/measure", type=Path)
    parser.add_argument("--seconds", default=0.5, type=float, help="for each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    medians, candidates, kept = measure(arguments.program, arguments.seconds)
    met = True
    for task, tools in medians.items():
        for tool, milliseconds in tools.items():
            ratio = tools["trtforge"] / milliseconds
            missed = tool != "trtforge" and ratio > GOALS[task]
            met = met and not missed
            verdict = "" if tool == "trtforge" else f"  ours takes {ratio:.2f} of it, goal {GOALS[task]}{' MISSED' if missed else ''}"
            print(f"{task:12} {tool:12} {milliseconds:8.3f} ms{verdict}")
    print(f"boxes: {candidates} candidates, kept {kept}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"median_ms": medians, "candidates": candidates, "kept": kept, "goals": GOALS, "met": met}, indent=2))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

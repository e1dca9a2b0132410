#!/usr/bin/env python3
"""What surrounds a detector's network, done by another library: a child of vision.py. Prints one JSON object.

    vision_with_peer.py arrays FOLDER               the arrays that everybody gets
    vision_with_peer.py opencv FOLDER SECONDS       times in milliseconds: resize, cvtColor and blobFromImage; NMSBoxesBatched
    vision_with_peer.py torchvision FOLDER SECONDS  batched_nms

Anchors are chosen by their scores in numpy or torch, which is the quickest there is in either.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

SCORE, OVERLAP, MOST = 0.05, 0.7, 500


def arrays(folder):
    """A photograph-like image, and the outputs of a detector that finds some sixty objects, each by many anchors."""
    import cv2

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
    for name, array in [("pixels.u8", pixels), ("scores.f32", scores), ("boxes.f32", boxes)]:
        array.tofile(folder / name)
    return {}


def detections(folder):
    return [np.fromfile(folder / name, np.float32).reshape(8400, -1) for name in ("scores.f32", "boxes.f32")]


def median_ms(task, seconds):
    for _ in range(3):
        task()
    start, times = time.perf_counter(), []
    while not times or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        task()
        times.append(time.perf_counter() - before)
    return statistics.median(times) * 1e3


def opencv(folder, seconds):
    import cv2

    # After this glibc keeps blocks of such a size, as in a process that has run for a while. Without, each tensor is new
    # memory from the system, which triples the time.
    np.ones(30 << 20, np.uint8)
    pixels = np.fromfile(folder / "pixels.u8", np.uint8).reshape(1080, 1920, 3)
    scores, boxes = detections(folder)

    def preprocess():
        small = cv2.resize(pixels, (640, 640), interpolation=cv2.INTER_LINEAR)
        return cv2.dnn.blobFromImage(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), 1 / 255)

    def postprocess():
        anchors, labels = np.nonzero(scores >= SCORE)
        chosen = boxes[anchors]
        corners = np.concatenate([chosen[:, :2], chosen[:, 2:] - chosen[:, :2]], 1)
        return cv2.dnn.NMSBoxesBatched(corners, scores[anchors, labels], labels, SCORE, OVERLAP, top_k=0)[:MOST]

    return {
        "preprocess_ms": median_ms(preprocess, seconds),
        "postprocess_ms": median_ms(postprocess, seconds),
        "kept": len(postprocess()),
        "version": cv2.__version__,
    }


def torchvision(folder, seconds):
    import torch
    from torchvision import __version__
    from torchvision.ops import batched_nms

    scores, boxes = map(torch.from_numpy, detections(folder))

    def postprocess():
        anchors, labels = torch.nonzero(scores >= SCORE, as_tuple=True)
        return batched_nms(boxes[anchors], scores[anchors, labels], labels, OVERLAP)[:MOST]

    return {"postprocess_ms": median_ms(postprocess, seconds), "kept": len(postprocess()), "version": __version__}


if __name__ == "__main__":
    task, folder, *rest = sys.argv[1:]
    answer = {"arrays": arrays, "opencv": opencv, "torchvision": torchvision}[task](Path(folder), *map(float, rest))
    print(json.dumps(answer))

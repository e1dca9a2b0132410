"""Sets of scenes: in memory for training, and as the photographs and labels that are committed.

    python -m detector.data --out assets/detector

writes calibration/, evaluation/, evaluation.json (COCO's form) and classes.txt. Every set has seeds of its own.
"""

import argparse
import io
import json
import mmap
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np

from .dice import Dice
from .objects import NAMES
from .scenes import render

FIRST_SEED = {"training": 0, "validation": 10_000_000, "calibration": 20_000_000, "evaluation": 30_000_000}
COMMITTED = {"calibration": 64, "evaluation": 128}
MOST_OBJECTS = 16
JPEG = {"quality": 76, "subsampling": 2, "optimize": True}


# --- photographs -------------------------------------------------------------------------------------


def encoding(split, seed):
    """How a scene is encoded as JPEG. Training sees many encodings, with colour at half the detail (2) or at all of it (0)."""
    if split != "training":
        return JPEG
    dice = Dice(f"encoding {seed}")
    return {"quality": dice.whole(60, 95), "subsampling": 2 if dice.chance(0.75) else 0}


def encoded(pixels, settings):
    """The bytes of a JPEG."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "jpeg", **settings)
    return stream.getvalue()


def stretched(photograph, side):
    """The pixels uint8 [side, side, 3] of a JPEG, a path or a stream, stretched to the network's input."""
    from PIL import Image

    with Image.open(photograph) as opened:
        return np.asarray(opened.convert("RGB").resize((side, side), Image.BILINEAR))


# --- in memory ---------------------------------------------------------------------------------------


class Scenes:
    """Photographs stretched to a square: pixels uint8 [n, side, side, 3], corners float32 [n, 16, 4], kinds int64 [n, 16], -1 for none."""

    def __init__(self, split, count, side):
        def shared(shape, kind):
            size = int(np.prod(shape)) * np.dtype(kind).itemsize
            return np.frombuffer(mmap.mmap(-1, size), kind).reshape(shape)

        self.split, self.side = split, side
        self.pixels = shared((count, side, side, 3), np.uint8)
        self.boxes = shared((count, MOST_OBJECTS, 4), np.float32)
        self.kinds = shared((count, MOST_OBJECTS), np.int64)

    def __len__(self):
        return len(self.pixels)

    def fill(self, number):
        seed = FIRST_SEED[self.split] + number
        pixels, boxes, kinds = render(seed)
        height, width, _ = pixels.shape
        self.pixels[number] = stretched(io.BytesIO(encoded(pixels, encoding(self.split, seed))), self.side)
        self.kinds[number] = -1
        self.boxes[number, : len(boxes)] = boxes * np.array([self.side / width, self.side / height] * 2)
        self.kinds[number, : len(kinds)] = kinds

    def fill_share(self, start, step):
        for number in range(start, len(self), step):
            self.fill(number)


def make(split, count, side, say=print):
    """A set made by all cores at once; the memory is shared with the processes that fill it."""
    started, scenes = time.monotonic(), Scenes(split, count, side)
    fork, workers = multiprocessing.get_context("fork"), len(os.sched_getaffinity(0))
    running = [fork.Process(target=scenes.fill_share, args=(start, workers)) for start in range(workers)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    if any(process.exitcode for process in running):
        raise SystemExit("detector: a process that made scenes failed; what it said stands above")
    say(f"{count} scenes of {split} in {time.monotonic() - started:.0f} s by {workers} processes")
    return scenes


# --- as files ----------------------------------------------------------------------------------------


def file_name(number):
    return f"{number:04}.jpg"


def labels(split, count):
    """The photographs of a set in COCO's form, drawn anew from their seeds."""
    images, annotations = [], []
    for number in range(count):
        pixels, boxes, kinds = render(FIRST_SEED[split] + number)
        height, width, _ = pixels.shape
        images.append({"id": number, "file_name": file_name(number), "width": width, "height": height})
        for box, kind in zip(boxes, kinds):
            left, top, right, bottom = (int(side) for side in box)
            shape = {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top), "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": int(kind), **shape})
    categories = [{"id": kind, "name": name} for kind, name in enumerate(NAMES)]
    info = {"description": f"generated scenes, set {split}: tools/detector"}
    return {"info": info, "images": images, "categories": categories, "annotations": annotations}


def write_photographs(split, count, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        seed = FIRST_SEED[split] + number
        path = folder / file_name(number)
        path.with_suffix(".partial").write_bytes(encoded(render(seed)[0], encoding(split, seed)))
        path.with_suffix(".partial").rename(path)


def write_text(path, text):
    path.with_suffix(".partial").write_text(text)
    path.with_suffix(".partial").rename(path)


def dumped(truth):
    """JSON with one record a line, so that a difference can be read."""
    parts = []
    for key, value in truth.items():
        records = [json.dumps(record) for record in value] if isinstance(value, list) else None
        parts.append(f'"{key}": ' + (json.dumps(value) if records is None else "[\n" + ",\n".join(records) + "\n]"))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main():
    parser = argparse.ArgumentParser(description="Write the committed photographs and labels.")
    parser.add_argument("--out", type=Path, required=True)
    folder = parser.parse_args().out
    for split, count in COMMITTED.items():
        write_photographs(split, count, folder / split)
    write_text(folder / "evaluation.json", dumped(labels("evaluation", COMMITTED["evaluation"])))
    write_text(folder / "classes.txt", "".join(f"{name}\n" for name in NAMES))
    written = sum(path.stat().st_size for split in COMMITTED for path in (folder / split).iterdir())
    print(f"{sum(COMMITTED.values())} photographs, {written / 1e6:.2f} MB, in {folder}")


if __name__ == "__main__":
    main()

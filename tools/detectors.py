"""The trained detectors and the networks measured: how a photograph becomes their input, and their output boxes.

The shapes and formulas are those of the models' own projects (YOLOX, FastestDet, Ultra-Light-Fast-Generic-Face-Detector,
DAMO-YOLO, PaddleOCR). Nothing here is read from trtforge, so a fault in its own reading of images shows in the scores.
"""

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image

from suppression import suppress

LEAST_SCORE = 0.001
LARGEST_EXPONENT = 20.0


@dataclass(frozen=True)
class Network:
    """A network and its preprocessing. `overlap` is the IoU above which the weaker of two boxes of a class goes."""

    width: int
    height: int
    order: str = "rgb"
    fit: str = "stretch"
    pad: int = 0
    scale: float = 1.0
    mean: float | tuple = 0.0
    deviation: float | tuple = 1.0
    overlap: float = 0.0

    def tensor(self, path, view=None):
        """A photograph as float32 [1, 3, height, width]: (pixel * scale - mean) / deviation; as a view shows it."""
        with Image.open(path) as photograph:
            photograph = photograph.convert("RGB")
            pixels = self.fitted(view.of_photograph(photograph) if view else photograph)
        if self.order == "bgr":
            pixels = pixels[..., ::-1]
        scale, mean, deviation = (np.asarray(figure, np.float32) for figure in (self.scale, self.mean, self.deviation))
        values = (pixels.astype(np.float32) * scale - mean) / deviation
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None])

    def fitted(self, photograph):
        if self.fit == "stretch":
            return np.asarray(photograph.resize((self.width, self.height), Image.BILINEAR))
        ratio = min(self.width / photograph.width, self.height / photograph.height)
        width, height = int(photograph.width * ratio), int(photograph.height * ratio)
        canvas = np.full((self.height, self.width, 3), self.pad, np.uint8)
        centred = self.fit == "letterbox"
        top, left = ((self.height - height) // 2, (self.width - width) // 2) if centred else (0, 0)
        canvas[top : top + height, left : left + width] = np.asarray(photograph.resize((width, height), Image.BILINEAR))
        return canvas


NETWORKS = {
    "yolox": Network(416, 416, order="bgr", fit="letterbox-top-left", pad=114, overlap=0.65),
    "fastestdet": Network(352, 352, order="bgr", scale=1 / 255, overlap=0.45),
    "ultraface": Network(320, 240, mean=127, deviation=128),
    "damoyolo": Network(640, 640),
    "ppocr": Network(640, 640, fit="letterbox", pad=114, scale=1 / 255, mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225)),
}


# --- outputs to boxes --------------------------------------------------------------------------------


def detections(name, output, width, height):
    """Boxes [n, 4] as corners in pixels of the photograph, scores and classes, after suppression, best first."""
    boxes, scores, classes = DECODERS[name](np.asarray(output, np.float32), width, height)
    boxes = np.clip(np.nan_to_num(boxes), 0, [width, height, width, height])
    kept = suppress(boxes, scores, classes, NETWORKS[name].overlap)
    return boxes[kept], scores[kept], classes[kept]


@functools.cache
def yolox_grid(side):
    """Cell corners [n, 2] and strides [n, 1] of a square input, the finest level first."""
    cells, strides = [], []
    for stride in (8, 16, 32):
        count = side // stride
        rows, columns = np.mgrid[:count, :count]
        cells.append(np.stack([columns, rows], -1).reshape(-1, 2))
        strides.append(np.full((count * count, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decode_yolox(output, width, height):
    """[1, n, 85]: centre and size relative to the cell, objectness, 80 classes. Every class of a cell may be a box."""
    network = NETWORKS["yolox"]
    cells, strides = yolox_grid(network.width)
    output = output.reshape(len(cells), -1)
    centres = (output[:, :2] + cells) * strides
    sizes = np.exp(np.minimum(output[:, 2:4], LARGEST_EXPONENT)) * strides
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1) / min(network.width / width, network.height / height)
    scores = output[:, 4:5] * output[:, 5:]
    cell, label = np.nonzero(scores > LEAST_SCORE)
    return boxes[cell], scores[cell, label], label


def decode_fastestdet(output, width, height):
    """[1, 85, h, w]: objectness, offsets (tanh), sizes (sigmoid), 80 classes. Only the best class of a cell counts."""
    _, _, rows, columns = output.shape
    output = output.reshape(85, -1)
    row, column = np.divmod(np.arange(rows * columns), columns)
    x, y = (column + np.tanh(output[1])) / columns, (row + np.tanh(output[2])) / rows
    half_width, half_height = (0.5 / (1 + np.exp(-output[axis])) for axis in (3, 4))
    boxes = np.stack([(x - half_width) * width, (y - half_height) * height, (x + half_width) * width, (y + half_height) * height], 1)
    scores = output[0].clip(0) ** 0.6 * output[5:].clip(0) ** 0.4
    label = scores.argmax(0)
    best = scores[label, np.arange(rows * columns)]
    taken = best > LEAST_SCORE
    return boxes[taken], best[taken], label[taken]


DECODERS = {"yolox": decode_yolox, "fastestdet": decode_fastestdet}

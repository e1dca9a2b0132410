"""Ways to look at the same photographs: a score on few of them is one draw of chance, over several views it is less so.

Each view changes the photograph and its labelled boxes alike, so that the truth stays the truth.
"""

import copy
from dataclasses import dataclass

from PIL import Image

GREY = (114, 114, 114)


@dataclass(frozen=True)
class View:
    """Mirrored or not, shrunk by `scale` towards the upper left corner, inside a border of a share of each side."""

    mirrored: bool = False
    scale: float = 1.0
    border: float = 0.0

    def size(self, width, height):
        return int(width * (1 + 2 * self.border)), int(height * (1 + 2 * self.border))

    def of_photograph(self, photograph):
        """The photograph as this view shows it."""
        if self.mirrored:
            photograph = photograph.transpose(Image.FLIP_LEFT_RIGHT)
        if self == View(self.mirrored):
            return photograph
        width, height = photograph.size
        canvas = Image.new("RGB", self.size(width, height), GREY)
        shrunk = photograph.resize((int(width * self.scale), int(height * self.scale)), Image.BILINEAR)
        canvas.paste(shrunk, (int(width * self.border), int(height * self.border)))
        return canvas

    def of_truth(self, truth):
        """Images and boxes in COCO's form, moved to where this view shows them."""
        truth = copy.deepcopy(truth)
        sizes = {image["id"]: (image["width"], image["height"]) for image in truth["images"]}
        for box in truth["annotations"]:
            box["bbox"] = self.of_box(box["bbox"], *sizes[box["image_id"]])
            box["area"] = box.get("area", box["bbox"][2] * box["bbox"][3]) * self.scale**2
            box.pop("segmentation", None)
        for image in truth["images"]:
            image["width"], image["height"] = self.size(image["width"], image["height"])
        return truth

    def of_box(self, box, width, height):
        x, y, box_width, box_height = box
        if self.mirrored:
            x = width - x - box_width
        x, y, box_width, box_height = (self.scale * figure for figure in (x, y, box_width, box_height))
        return [x + int(width * self.border), y + int(height * self.border), box_width, box_height]


VIEWS = {
    "plain": View(),
    "mirrored": View(mirrored=True),
    "smaller": View(scale=0.75),
    "bordered": View(mirrored=True, border=0.08),
}

#!/usr/bin/env python3
"""Write random detection tasks and pycocotools' scores of them: `make_cases.py > cases.json`.

The tasks have what makes scoring hard: crowds, areas that are not the box's, equal scores, exact overlaps, classes and
images without objects, more than a hundred detections in an image, sides of zero. Needs pycocotools 2.0.11 and numpy.
"""

import contextlib
import io
import json
import random
import sys

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def box(random, side):
    width, height = (round(random.choice([random.uniform(1, 30), random.uniform(20, 200)]), 2) for _ in range(2))
    return [round(random.uniform(0, side), 2), round(random.uniform(0, side), 2), width, height]


def near(random, bbox):
    amount = random.choice([0, 0.02, 0.1, 0.3])
    moved = [value + random.uniform(-amount, amount) * size for value, size in zip(bbox, [bbox[2], bbox[3], bbox[2], bbox[3]])]
    return [round(value, 2) for value in moved[:2]] + [max(0, round(value, 2)) for value in moved[2:]]


def task(random, images, categories, objects, crowds, strays):
    truth = {"info": {}, "images": [{"id": 7 + 3 * index, "file_name": f"{index}.jpg"} for index in range(images)]}
    truth["categories"] = [{"id": 1 + 2 * index, "name": f"class {index}"} for index in range(categories)]
    annotations, found = [], []
    for image in truth["images"]:
        for _ in range(random.randint(0, objects)):
            bbox = box(random, 300)
            category = random.choice(truth["categories"][: max(1, categories - 1)])["id"]
            area = round(bbox[2] * bbox[3] * random.choice([1, random.uniform(0.3, 1)]), 3)
            crowd = int(random.random() < crowds)
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], "category_id": category, "bbox": bbox, "area": area, "iscrowd": crowd})
            for _ in range(random.choice([0, 1, 1, 2, 5 if crowd else 1])):
                score = round(random.random(), random.choice([1, 2, 6]))
                label = category if random.random() < 0.9 else random.choice(truth["categories"])["id"]
                found.append({"image_id": image["id"], "category_id": label, "bbox": near(random, bbox), "score": score})
        for _ in range(random.randint(0, strays)):
            found.append({"image_id": image["id"], "category_id": random.choice(truth["categories"])["id"], "bbox": box(random, 300), "score": round(random.random() / 2, 3)})
    random.shuffle(found)
    return {**truth, "annotations": annotations}, found


def score(truth, found):
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = truth
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes([dict(row) for row in found]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    per_class = []
    for index, category in enumerate(evaluation.params.catIds):
        precision = evaluation.eval["precision"][:, :, index, 0, 2]
        at_half = evaluation.eval["precision"][0, :, index, 0, 2]
        per_class.append([int(category), float(precision.mean()), float(at_half.mean()), float(evaluation.eval["recall"][0, index, 0, 2])])
    return {"stats": [float(value) for value in evaluation.stats], "per_class": per_class}


def main():
    shapes = [
        (1, 1, 1, 0, 0), (1, 1, 3, 0, 1), (2, 2, 4, 0.3, 2), (3, 3, 5, 0.2, 3), (6, 4, 6, 0.1, 4), (5, 2, 5, 0.9, 2), (4, 3, 0, 0, 3),
        (2, 1, 8, 0.2, 230), (10, 5, 4, 0.15, 3), (8, 6, 3, 0, 0), (3, 2, 12, 0.5, 1), (12, 3, 5, 0.1, 6),
    ]  # fmt: skip
    cases = []
    for seed, shape in enumerate(shapes):
        truth, found = task(random.Random(seed), *shape)
        if found:
            cases.append({"truth": truth, "found": found, **score(truth, found)})
    json.dump(cases, sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()

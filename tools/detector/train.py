"""Trains the small detector on generated scenes and exports it.

    python -m detector.train --out FOLDER [--minutes 50] [--resume]

writes checkpoint.pt (every minute), model.onnx and metrics.json. On a GPU the scenes lie in its memory and the network
runs in bfloat16. The schedule ends with `--steps` or with `--minutes`, which count from the start of the process,
whichever comes first: a slow machine trains for fewer steps and still ends with a small learning rate.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import torch

from .data import make
from .export import export
from .loss import loss
from .model import SIDE, Detector, boxes_of, places
from .objects import NAMES
from .rounding import round_inputs
from .scoring import detections, summary

RATE, LAST_RATE, WARM_UP = 2e-3, 0.01, 0.03
DECAY, AVERAGING, LARGEST_GRADIENT = 0.05, 0.9995, 10.0
ROUNDING_FROM = 0.5
RESERVE_S, SAVE_EVERY_S, SAY_EVERY_S = 25, 60, 10


class Batches:
    """Batches of a set in a new order each time through; pixels on the device where they fit into half of its memory."""

    def __init__(self, scenes, size, device):
        self.size, self.device = size, device
        fits = device.type == "cuda" and scenes.pixels.nbytes < torch.cuda.mem_get_info()[0] / 2
        self.tensors = [torch.from_numpy(part) for part in (scenes.pixels, scenes.boxes, scenes.kinds)]
        if fits:
            self.tensors = [part.to(device) for part in self.tensors]

    def __iter__(self):
        while True:
            for which in torch.randperm(len(self.tensors[0])).split(self.size):
                if len(which) == self.size:
                    yield self.batch(which)

    def batch(self, which):
        which = which.to(self.tensors[0].device)
        return [part[which].to(self.device, non_blocking=True) for part in self.tensors]


def altered(pixels, boxes, kinds):
    """Pictures float32 [B, 3, side, side] from uint8 [B, side, side, 3]: half of them mirrored, each with other colours."""
    pictures = pixels.permute(0, 3, 1, 2).float()
    mirrored = torch.rand(len(pictures), device=pictures.device) < 0.5
    pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
    other_side = torch.stack([SIDE - boxes[..., 2], boxes[..., 1], SIDE - boxes[..., 0], boxes[..., 3]], 2)
    boxes = torch.where(mirrored[:, None, None], other_side, boxes)
    gains = torch.empty(len(pictures), 3, 1, 1, device=pictures.device).uniform_(0.85, 1.15)
    pictures = (pictures * gains).clamp(0, 255)
    return pictures.contiguous(memory_format=torch.channels_last), boxes, kinds


class Training:
    """The network, its average over the last steps, and how far training is."""

    def __init__(self, device, steps):
        self.device, self.steps, self.step, self.share = device, steps, 0, 0.0
        self.network = Detector().to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).eval()
        round_inputs(self.network, lambda: self.share >= ROUNDING_FROM)
        matrices = [weight for weight in self.network.parameters() if weight.ndim > 1]
        others = [weight for weight in self.network.parameters() if weight.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=RATE, fused=device.type == "cuda")
        self.points, self.strides = (part.to(device) for part in places())
        states = [part.state_dict().values() for part in (self.average, self.network)]
        self.followed = [[value for value in state if value.is_floating_point()] for state in states]

    def state(self):
        parts = {"network": self.network, "average": self.average, "optimizer": self.optimizer}
        return {**{name: part.state_dict() for name, part in parts.items()}, "step": self.step, "share": self.share}

    def restore(self, state):
        for name in ("network", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.share = state["step"], state["share"]

    def rate(self):
        """Linear up, then half a cosine down."""
        down = (self.share - WARM_UP) / (1 - WARM_UP)
        return RATE * min(self.share / WARM_UP + 0.01, LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * down)) / 2)

    def learn(self, pixels, boxes, kinds):
        """One step; gives the three losses."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        pictures, boxes, kinds = altered(pixels, boxes, kinds)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.network(pictures)
        whole, parts = loss(*logits, self.points, self.strides, boxes, kinds)
        self.optimizer.zero_grad()
        whole.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.step += 1
        self.follow()
        return parts

    @torch.no_grad()
    def follow(self):
        """Moves the average towards the network, faster at first."""
        torch._foreach_lerp_(*self.followed, 1 - min(AVERAGING, (1 + self.step) / (10 + self.step)))

    @torch.no_grad()
    def validate(self, scenes):
        """AP of the average on scenes of their own."""
        found, truth = [], []
        for start in range(0, len(scenes), 64):
            part = slice(start, start + 64)
            pictures = torch.from_numpy(scenes.pixels[part]).to(self.device).permute(0, 3, 1, 2).float()
            kinds, bins = self.average(pictures)
            boxes = boxes_of(bins, self.points, self.strides).cpu().numpy()
            found += [detections(*pair, SIDE, SIDE, SIDE) for pair in zip(kinds.sigmoid().cpu().numpy(), boxes)]
        for boxes, kinds in zip(scenes.boxes, scenes.kinds):
            truth.append((boxes[kinds >= 0].astype(float), kinds[kinds >= 0]))
        return summary(found, truth, NAMES)


def train(training, batches, seconds, folder, validation):
    """Learns until the schedule is over, saving and saying how it goes."""
    started, first_share, first_step = time.monotonic(), training.share, training.step
    saved = said = started
    said_step, halfway = training.step, training.share >= 0.5
    for batch in batches:
        now = time.monotonic()
        done = max((training.step - first_step) / max(training.steps - first_step, 1), (now - started) / seconds)
        training.share = first_share + (1 - first_share) * min(done, 1)
        if training.share >= 1:
            break
        parts = training.learn(*batch)
        if now - said > SAY_EVERY_S:
            pace = (training.step - said_step) * batches.size / (now - said)
            kind, box, bins = parts.tolist()
            print(f"{training.share:6.1%} step {training.step}: kind {kind:.3f} box {box:.3f} bins {bins:.3f}, {pace:.0f} scenes/s", flush=True)
            said, said_step = now, training.step
        if now - saved > SAVE_EVERY_S:
            saved = now
            save(training, folder)
        if training.share >= 0.5 and not halfway:
            halfway = True
            print(f"halfway AP {training.validate(validation)['ap']:.4f}", flush=True)
    save(training, folder)


def save(training, folder):
    partial = folder / "checkpoint.partial"
    torch.save(training.state(), partial)
    partial.rename(folder / "checkpoint.pt")


def arguments():
    parser = argparse.ArgumentParser(description="Train the small detector.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=50, help="the whole run, making scenes included")
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--scenes", type=int, default=None, help="of 0.3 MB of memory each (40000 with a GPU, 8000 without)")
    parser.add_argument("--validation", type=int, default=256, help="scenes")
    parser.add_argument("--batch", type=int, default=None, help="128 with a GPU, 16 without")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", type=Path, nargs="?", const=True, metavar="FILE", help="go on from a checkpoint (FOLDER/checkpoint.pt)")
    parser.add_argument("--rewind", type=float, metavar="SHARE", help="with --resume: as if this share of the schedule were done")
    return parser.parse_args()


def main():
    started, given = time.monotonic(), arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    # Processes that make scenes are forked, so before the GPU is touched.
    graphics = torch.cuda.device_count() > 0
    scenes = make("training", given.scenes or (40000 if graphics else 8000), SIDE)
    validation = make("validation", given.validation, SIDE)
    torch.manual_seed(given.seed)
    device = torch.device("cuda" if graphics else "cpu")
    torch.backends.cudnn.benchmark = True
    training = Training(device, given.steps)
    if given.resume:
        checkpoint = given.out / "checkpoint.pt" if given.resume is True else given.resume
        training.restore(torch.load(checkpoint, map_location=device, weights_only=True))
        training.share = training.share if given.rewind is None else given.rewind
    batches = Batches(scenes, given.batch or (128 if graphics else 16), device)
    seconds = given.minutes * 60 - RESERVE_S - (time.monotonic() - started)
    train(training, batches, max(seconds, 1), given.out, validation)
    result = training.validate(validation)
    export(training.average, given.out / "model.onnx")
    facts = {
        "validation": result, "steps": training.step, "batch": batches.size, "scenes": len(scenes), "seed": given.seed,
        "parameters": sum(weight.numel() for weight in training.network.parameters()), "seconds": round(time.monotonic() - started),
        "device": torch.cuda.get_device_name() if graphics else "cpu", "torch": torch.__version__,
    }  # fmt: skip
    (given.out / "metrics.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(f"AP {result['ap']:.4f}, AP50 {result['ap50']:.4f} on {len(validation)} scenes after {training.step} steps")


if __name__ == "__main__":
    main()

"""Which places answer for which object, and how wrong they are.

Assignment: task-aligned, TOOD (arXiv:2108.07755): of the places inside a box, the ten whose score and overlap together
are best. Kinds: binary cross-entropy towards that alignment. Boxes: generalised IoU (arXiv:1902.09630) and
distribution focal loss (arXiv:2006.04388). Boxes are corners in pixels; all is computed in 32 bits.
"""

import torch
from torch.nn import functional

from .model import BINS, boxes_of

CANDIDATES = 10
SCORE_POWER, OVERLAP_POWER = 0.5, 6.0
KIND_WEIGHT, BOX_WEIGHT, BIN_WEIGHT = 0.5, 7.5, 1.5
SMALL = 1e-9


def overlaps(first, second):
    """IoU and generalised IoU of boxes [..., 4], by broadcasting."""
    low, high = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    common = (high - low).clamp(min=0).prod(-1)
    area = (first[..., 2:] - first[..., :2]).prod(-1) + (second[..., 2:] - second[..., :2]).prod(-1)
    union = area - common + SMALL
    low, high = torch.minimum(first[..., :2], second[..., :2]), torch.maximum(first[..., 2:], second[..., 2:])
    hull = (high - low).clamp(min=0).prod(-1) + SMALL
    return common / union, common / union - (hull - union) / hull


@torch.no_grad()
def assign(scores, boxes, points, true_boxes, true_kinds):
    """For each place: whether it answers for an object [B, A], for which [B, A], and its target score [B, A].

    scores [B, A, kinds] and boxes [B, A, 4] as predicted, points [A, 2], true boxes [B, M, 4], true kinds [B, M], -1
    where there is none.
    """
    exists = true_kinds >= 0
    overlap, _ = overlaps(true_boxes[:, :, None], boxes[:, None])
    own_scores = scores.transpose(1, 2).gather(1, true_kinds.clamp(min=0)[:, :, None].expand(-1, -1, scores.shape[1]))
    offsets = torch.cat([points - true_boxes[:, :, None, :2], true_boxes[:, :, None, 2:] - points], 3)
    inside = (offsets.amin(3) > 0) & exists[:, :, None]
    alignment = own_scores**SCORE_POWER * overlap.clamp(min=0) ** OVERLAP_POWER * inside
    best = alignment.topk(CANDIDATES, 2)
    chosen = torch.zeros_like(inside).scatter(2, best.indices, True) & inside
    # A place chosen by several objects answers for the one it overlaps most.
    taken = torch.zeros_like(inside).scatter(1, overlap.masked_fill(~chosen, -1).argmax(1, keepdim=True), True)
    chosen = chosen & taken
    alignment = alignment * chosen
    strongest, closest = alignment.amax(2, keepdim=True), (overlap * chosen).amax(2, keepdim=True)
    target = (alignment / (strongest + SMALL) * closest).amax(1)
    return chosen.any(1), chosen.float().argmax(1), target


def loss(kinds, bins, points, strides, true_boxes, true_kinds):
    """The sum of the three losses, and each of them. Logits [B, A, kinds] and [B, A, 4, bins] as `Detector` gives them."""
    kinds, bins = kinds.float(), bins.float()
    boxes = boxes_of(bins, points, strides)
    positive, which, target = assign(kinds.sigmoid(), boxes.detach(), points, true_boxes, true_kinds)
    own_kinds = true_kinds.gather(1, which).clamp(min=0)
    targets = torch.zeros_like(kinds).scatter(2, own_kinds[:, :, None], (target * positive)[:, :, None])
    whole = targets.sum().clamp(min=1)
    kind_loss = functional.binary_cross_entropy_with_logits(kinds, targets, reduction="sum") / whole
    weight = target[positive]
    own_boxes = true_boxes.gather(1, which[:, :, None].expand(-1, -1, 4))[positive]
    box_loss = ((1 - overlaps(boxes[positive], own_boxes)[1]) * weight).sum() / whole
    cell, stride = points.expand(len(kinds), -1, -1)[positive], strides.expand(len(kinds), -1, -1)[positive]
    distances = torch.cat([cell - own_boxes[:, :2], own_boxes[:, 2:] - cell], 1) / stride
    bin_loss = (bin_cross_entropy(bins[positive], distances) * weight).sum() / whole
    parts = torch.stack([kind_loss * KIND_WEIGHT, box_loss * BOX_WEIGHT, bin_loss * BIN_WEIGHT])
    return parts.sum(), parts.detach()


def bin_cross_entropy(bins, distances):
    """[n]: towards the two bins beside each distance [n, 4], the nearer the more; the mean over the four sides."""
    distances = distances.clamp(0, BINS - 1 - 0.01)
    lower = distances.long()
    share = distances - lower
    logits = bins.log_softmax(2)
    below, above = (logits.gather(2, (lower + step)[:, :, None]).squeeze(2) for step in (0, 1))
    return -(below * (1 - share) + above * share).mean(1)

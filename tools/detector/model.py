"""The network: a TinyNAS-like backbone, Efficient RepGFPN and ZeroHead after DAMO-YOLO, in small.

Source of the architecture: DAMO-YOLO, arXiv:2211.15444. Input float32 [B, 3, 320, 320], red, green, blue from 0 to 255;
outputs `scores` [B, 2100, 10] and `boxes` [B, 2100, 4], corners in pixels of the input. A level's places go row by row.
"""

import copy

import torch
from torch import nn
from torch.nn import functional

from .blocks import Down, Focus, Fuse, Inverted, Pooling, Residual, fuse
from .objects import NAMES

SIDE = 320
STRIDES = (8, 16, 32)
WIDTHS = (48, 80, 112)
BINS = 8
PIXEL_RANGE = 255.0


class Backbone(nn.Module):
    """Three stages of residual blocks, two of depthwise ones. Gives the tensors of strides 8, 16 and 32."""

    def __init__(self):
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.stem = Focus(16)
        self.stage1 = Residual(16, 32, 16, 2)
        self.stage2 = nn.Sequential(Residual(32, fine, 24, 2), Residual(fine, fine, 32, 1))
        self.stage3 = nn.Sequential(Residual(fine, middle, 48, 2), Residual(middle, middle, 48, 1))
        self.stage4 = Inverted(middle, middle, 3)
        self.stage5 = nn.Sequential(Inverted(middle, coarse, 3, 2), Pooling(coarse), Inverted(coarse, coarse, 3))

    def forward(self, x):
        fine = self.stage2(self.stage1(self.stem(x)))
        middle = self.stage4(self.stage3(fine))
        return fine, middle, self.stage5(middle)


class Neck(nn.Module):
    """Efficient RepGFPN with one block a stage."""

    def __init__(self):
        super().__init__()
        a, c, d = WIDTHS
        self.down_middle, self.down_fine = Down(c), Down(a)
        self.down_out, self.down_merged, self.down_last = Down(a), Down(c), Down(c)
        self.coarse, self.middle, self.fine = Fuse(d + c, d, 1), Fuse(c + a + d, c, 1), Fuse(a + c, a, 1)
        self.out_middle, self.out_coarse = Fuse(c + a, c, 1), Fuse(d + c + c, d, 1)

    def forward(self, levels):
        fine, middle, coarse = levels
        coarse = self.coarse([coarse, self.down_middle(middle)])
        middle = self.middle([middle, self.down_fine(fine), enlarged(coarse)])
        out_fine = self.fine([fine, enlarged(middle)])
        out_middle = self.out_middle([middle, self.down_out(out_fine)])
        out_coarse = self.out_coarse([coarse, self.down_merged(middle), self.down_last(out_middle)])
        return out_fine, out_middle, out_coarse


def enlarged(x):
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Head(nn.Module):
    """ZeroHead: one 3 x 3 convolution for the kinds and one for the distances, beside each other."""

    RARE = -4.6  # the sigmoid is 0.01 before anything is learnt

    def __init__(self):
        super().__init__()
        self.kinds = nn.ModuleList(nn.Conv2d(width, len(NAMES), 3, padding=1) for width in WIDTHS)
        self.sides = nn.ModuleList(nn.Conv2d(width, 4 * BINS, 3, padding=1) for width in WIDTHS)
        for conv in (*self.kinds, *self.sides):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.constant_(conv.bias, self.RARE if conv in self.kinds else 0)

    def forward(self, levels):
        """Logits of kinds [B, A, 10] and of bins [B, A, 4, 8]: left, top, right, bottom."""
        kinds = [conv(level).flatten(2).transpose(1, 2) for conv, level in zip(self.kinds, levels)]
        sides = [conv(level).reshape(-1, 4, BINS, level.shape[2] * level.shape[3]) for conv, level in zip(self.sides, levels)]
        return torch.cat(kinds, 1), torch.cat([side.permute(0, 3, 1, 2) for side in sides], 1)


class Detector(nn.Module):
    """Trained as it is; `deployed` gives what is exported. Pixels from 0 to 255 are divided by 255 first."""

    def __init__(self):
        super().__init__()
        self.backbone, self.neck, self.head = Backbone(), Neck(), Head()

    def forward(self, images):
        levels = self.neck(self.backbone(images / PIXEL_RANGE))
        with torch.autocast(images.device.type, enabled=False):
            return self.head([level.float() for level in levels])


class Deployed(nn.Module):
    """Convolutions fused, the division by 255 in the first one's weights, sigmoid and box arithmetic at the end."""

    def __init__(self, detector):
        super().__init__()
        detector = fuse(copy.deepcopy(detector).float())
        self.backbone, self.neck, self.head = detector.backbone, detector.neck, detector.head
        self.backbone.stem.conv.weight.data /= PIXEL_RANGE
        points, strides = places()
        self.register_buffer("points", points)
        self.register_buffer("strides", strides)
        self.register_buffer("bins", torch.arange(BINS, dtype=torch.float32)[:, None])

    def forward(self, images):
        levels = self.neck(self.backbone(images))
        scores, distances = [], []
        for level, stride, kinds, sides in zip(levels, STRIDES, self.head.kinds, self.head.sides):
            # Counts that are known leave no arithmetic on shapes in the exported graph.
            count = (SIDE // stride) ** 2
            scores.append(kinds(level).sigmoid().reshape(-1, len(NAMES), count).transpose(1, 2))
            distances.append(sides(level).reshape(-1, 4, BINS, count).softmax(2).permute(0, 3, 1, 2))
        # [B, A, 4, 8] x [8, 1]: the expected distance of each side in cells.
        distance = torch.matmul(torch.cat(distances, 1), self.bins).squeeze(3) * self.strides
        boxes = torch.cat([self.points - distance[..., :2], self.points + distance[..., 2:]], 2)
        return torch.cat(scores, 1), boxes


def places(side=SIDE):
    """The point of each place [A, 2] in pixels, a cell's upper left corner, and its stride [A, 1]."""
    points, strides = [], []
    for stride in STRIDES:
        count = side // stride
        row, column = torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij")
        points.append(torch.stack([column, row], 2).reshape(-1, 2) * float(stride))
        strides.append(torch.full((count * count, 1), float(stride)))
    return torch.cat(points), torch.cat(strides)


def boxes_of(bins, points, strides):
    """Corners [B, A, 4] in pixels from logits of bins [B, A, 4, 8]."""
    distance = (bins.softmax(3) * torch.arange(BINS, device=bins.device)).sum(3) * strides
    return torch.cat([points - distance[..., :2], points + distance[..., 2:]], 2)

"""The parts of the network. A part that is trained as several layers has `fused()`, the same function as fewer.

Activations are ReLU but in the pooling block, which has SiLU, as in DAMO-YOLO T.
"""

import torch
from torch import nn
from torch.nn import functional


class ConvNorm(nn.Module):
    """Convolution and batch normalisation; fused, a convolution with a bias."""

    def __init__(self, into, out, kernel=1, stride=1, depthwise=False):
        super().__init__()
        groups = into if depthwise else 1
        self.conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=1e-3, momentum=0.03)

    def forward(self, x):
        return self.norm(self.conv(x))

    def fused(self):
        return with_bias(self.conv, *folded(self.conv.weight, self.norm))


class RepConv(nn.Module):
    """A 3 x 3 and a 1 x 1 convolution side by side; fused, one 3 x 3 convolution. No activation."""

    def __init__(self, into, out, stride=1):
        super().__init__()
        self.wide = ConvNorm(into, out, 3, stride)
        self.narrow = ConvNorm(into, out, 1, stride)

    def forward(self, x):
        return self.wide(x) + self.narrow(x)

    def fused(self):
        weight, bias = folded(self.wide.conv.weight, self.wide.norm)
        centre, shift = folded(self.narrow.conv.weight, self.narrow.norm)
        return with_bias(self.wide.conv, weight + functional.pad(centre, [1, 1, 1, 1]), bias + shift)


def folded(weight, norm):
    """The weight and bias of a convolution that does the normalisation as well."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


def with_bias(conv, weight, bias):
    """A convolution of the shape of `conv`."""
    fused = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, groups=conv.groups, bias=True
    ).to(weight.device)
    fused.weight.data, fused.bias.data = weight.detach().clone(), bias.detach().clone()
    return fused


def fuse(module):
    """Replaces every part inside `module` that can be fused, and gives it back for use without training."""
    for name, child in module.named_children():
        setattr(module, name, child.fused() if hasattr(child, "fused") else fuse(child))
    return module.eval()


class Focus(nn.Module):
    """Space to depth by 2 in the order of DAMO-YOLO: (row, column) 00, 10, 01, 11; then 3 x 3."""

    def __init__(self, out):
        super().__init__()
        self.conv = ConvNorm(12, out, 3)

    def forward(self, x):
        parts = [x[..., row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
        return functional.relu(self.conv(torch.cat(parts, 1)))


class Residual(nn.Module):
    """1 x 1 to the bottleneck, RepConv 3 x 3 out of it; the input is added where the shape stays."""

    def __init__(self, into, out, bottleneck, stride):
        super().__init__()
        self.reduce = ConvNorm(into, bottleneck)
        self.expand = RepConv(bottleneck, out, stride)
        self.adds = stride == 1 and into == out

    def forward(self, x):
        y = self.expand(functional.relu(self.reduce(x)))
        return functional.relu(x + y if self.adds else y)


class Inverted(nn.Module):
    """1 x 1 to more channels, depthwise 5 x 5, 1 x 1 back; no activation after the sum."""

    def __init__(self, into, out, ratio, stride=1):
        super().__init__()
        inner = int(out * ratio) // 8 * 8
        self.widen = ConvNorm(into, inner)
        self.spatial = ConvNorm(inner, inner, 5, stride, depthwise=True)
        self.narrow = ConvNorm(inner, out)
        self.adds = stride == 1 and into == out

    def forward(self, x):
        y = functional.relu(self.spatial(functional.relu(self.widen(x))))
        y = self.narrow(y)
        return x + y if self.adds else y


class Pooling(nn.Module):
    """Spatial pyramid pooling: maxima over 5, 9 and 13 beside the tensor itself."""

    def __init__(self, channels):
        super().__init__()
        self.reduce = ConvNorm(channels, channels // 2)
        self.merge = ConvNorm(channels * 2, channels)

    def forward(self, x):
        x = functional.silu(self.reduce(x))
        pooled = [functional.max_pool2d(x, size, 1, size // 2) for size in (5, 9, 13)]
        return functional.silu(self.merge(torch.cat([x, *pooled], 1)))


class Down(nn.Module):
    """Half the size: depthwise 3 x 3 with stride 2, then 1 x 1."""

    def __init__(self, channels):
        super().__init__()
        self.spatial = ConvNorm(channels, channels, 3, 2, depthwise=True)
        self.mix = ConvNorm(channels, channels)

    def forward(self, x):
        return functional.relu(self.mix(functional.relu(self.spatial(x))))


class FuseBlock(nn.Module):
    """RepConv 3 x 3, then 3 x 3; the input is added, with no activation after the sum."""

    def __init__(self, channels):
        super().__init__()
        self.first = RepConv(channels, channels)
        self.second = ConvNorm(channels, channels, 3)

    def forward(self, x):
        return x + functional.relu(self.second(functional.relu(self.first(x))))


class Fuse(nn.Module):
    """A fusion stage of RepGFPN: two 1 x 1 branches, blocks on the second, everything joined by 1 x 1."""

    def __init__(self, into, out, blocks):
        super().__init__()
        half = out // 2
        self.shortcut, self.main = ConvNorm(into, half), ConvNorm(into, half)
        self.blocks = nn.ModuleList(FuseBlock(half) for _ in range(blocks))
        self.join = ConvNorm((blocks + 1) * half, out)

    def forward(self, parts):
        x = torch.cat(parts, 1)
        joined, y = [functional.relu(self.shortcut(x))], functional.relu(self.main(x))
        for block in self.blocks:
            y = block(y)
            joined.append(y)
        return functional.relu(self.join(torch.cat(joined, 1)))

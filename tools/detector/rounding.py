"""Rounding of activations to 8 bits while training, so that the network does not lean on differences INT8 cannot hold.

The gradient goes through as if nothing were rounded (straight-through estimator, arXiv:1308.3432). Only training does
this: what is exported has no rounding in it and is calibrated and quantized as any other model.
"""

import torch
from torch import nn

LARGEST = 127


def rounded(x):
    """`x` in 255 equal steps between plus and minus its largest magnitude; the gradient is that of `x`."""
    with torch.no_grad():
        step = x.abs().amax().float().clamp(min=1e-12) / LARGEST
        difference = (x / step).round() * step - x
    return x + difference.to(x.dtype)


def round_inputs(network, wanted):
    """Rounds the input of every convolution of `network` whenever `wanted()` holds."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0]),) if wanted() else None)

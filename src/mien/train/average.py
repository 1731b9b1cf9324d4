"""A running mean of a network's weights: steadier on validation than the weights of any one step."""

from __future__ import annotations

import math

import torch
from torch import nn

__all__ = ["update_average"]

UPDATE_EVERY = 8  # steps: each update touches every weight once more


@torch.no_grad()
def update_average(averaged: nn.Module, network: nn.Module, decay: float, *, epoch: int, done: int, steps: int) -> None:
    """Move the averaged weights towards the network's, after every eighth step of an epoch and after its last.

    The first updates of a run reach further than the decay says, so that little is left of the fresh weights after a
    short one.  Running statistics are averaged like weights, so that the two fit together.
    epoch, done: counted from 1.  steps: in an epoch.
    """
    if done % UPDATE_EVERY and done != steps:
        return
    earlier = (epoch - 1) * math.ceil(steps / UPDATE_EVERY) + (done - 1) // UPDATE_EVERY
    reach = 1 - min(decay, (1 + earlier) / (10 + earlier))
    torch._foreach_lerp_(list(averaged.parameters()), list(network.parameters()), reach)
    for kept, current in zip(averaged.buffers(), network.buffers(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(current, reach)
        else:
            kept.copy_(current)

"""Losses over soft labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from mien.train.models.layers import COSINE_SCALE

__all__ = ["cross_entropy", "distillation", "widen"]


def cross_entropy(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy between predicted and expected distributions, a scalar.

    logits: (N, L).  targets: (N, L), rows that sum to 1: one-hot labels or shares of votes; a row of zeros asks for
    nothing and adds nothing.
    smoothing: the share of each target that is spread evenly (Szegedy et al. 2016, section 7).
    Source: the paper, equation 6, as a mean over the batch where the paper sums.
    """
    smoothed = targets * (1 - smoothing) + smoothing / targets.shape[1] * targets.sum(dim=1, keepdim=True)
    return -(smoothed * functional.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()


def distillation(logits: Tensor, taught: Tensor, *, temperature: float) -> Tensor:
    """Return the mean cross-entropy between softened predictions and a teacher's, a scalar.

    logits: (N, L).  taught: (N, L) the teacher's probabilities at the same temperature, each row times its weight.
    Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2, with its factor of
    temperature squared, which keeps the gradients of the size of those of the labels.
    """
    softened = functional.log_softmax(logits.float() / temperature, dim=1)
    return -(taught * softened).sum(dim=1).mean() * temperature**2


def widen(logits: Tensor, targets: Tensor, *, margin: float) -> Tensor:
    """Return logits with those of the expected labels as if their direction were farther off by a margin.

    logits: (N, L) of a last layer of directions alone.  targets: (N, L), as for `cross_entropy`; of a soft target each
    label is moved in its share; weighed targets, which sum to more than 1, move no farther.  margin: radians.
    Source: Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", equation 3.
    """
    cosines = (logits.float() / COSINE_SCALE).clamp(-1 + 1e-6, 1 - 1e-6)  # at 1 the angle has no derivative
    farther = torch.cos((torch.acos(cosines) + margin).clamp(max=math.pi))
    shares = targets / targets.sum(dim=1, keepdim=True).clamp(min=1)
    return COSINE_SCALE * (cosines + shares * (farther - cosines))

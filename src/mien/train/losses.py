"""Losses over soft labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["cross_entropy"]


def cross_entropy(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy between predicted and expected distributions, a scalar.

    logits: (N, L).  targets: (N, L), rows that sum to 1: one-hot labels or shares of votes.
    smoothing: the share of each target that is spread evenly (Szegedy et al. 2016, section 7).
    Source: the paper, equation 6, as a mean over the batch where the paper sums.
    """
    smoothed = targets * (1 - smoothing) + smoothing / targets.shape[1]
    return -(smoothed * functional.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()

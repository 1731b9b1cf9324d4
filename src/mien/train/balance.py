"""What is done about expressions that are rarer than others: weights in the loss, or other shares of an epoch."""

from __future__ import annotations

import numpy as np
import torch

from mien.types import FloatArray, IntArray

__all__ = ["BALANCES", "draw_order", "sample_weights"]

#: "none"; "loss": rare labels weigh more; "sampling": each label is drawn equally often, as many crops as before;
#: "copies": all crops, and the rare labels' again, moved anew, until each label has as many as the most frequent.
BALANCES = ("none", "loss", "sampling", "copies")


def sample_weights(labels: IntArray, balance: str) -> FloatArray:
    """Return what each sample's loss is multiplied with, (N,), 1 on average; ones where balance is not "loss".

    labels: (N,).  A label's weight goes against its frequency.
    """
    if balance != "loss":
        return np.ones(len(labels), np.float32)
    counts = np.bincount(labels)
    weights: FloatArray = (len(labels) / (np.count_nonzero(counts) * counts[labels])).astype(np.float32)
    return weights


def draw_order(labels: IntArray, balance: str, *, generator: torch.Generator) -> IntArray:
    """Return the rows of an epoch in the order in which they are learned: each once, or as the balance wants it.

    labels: (N,).
    """
    count = len(labels)
    if balance == "sampling":
        rarity = 1.0 / np.bincount(labels)[labels]
        return torch.multinomial(torch.from_numpy(rarity), count, replacement=True, generator=generator).numpy()
    rows = torch.arange(count)
    if balance == "copies":
        of_label = [torch.from_numpy(np.flatnonzero(labels == label)) for label in np.unique(labels)]
        most = max(map(len, of_label))
        rows = torch.cat([_repeated(own, most, generator) for own in of_label])
    order: IntArray = rows[torch.randperm(len(rows), generator=generator)].numpy()
    return order


def _repeated(rows: torch.Tensor, wanted: int, generator: torch.Generator) -> torch.Tensor:
    """Return rows as often as it takes for so many: each equally often, but for a last, incomplete round."""
    rounds = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-wanted // len(rows)))]
    return torch.cat(rounds)[:wanted]

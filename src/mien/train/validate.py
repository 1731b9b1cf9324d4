"""What a network says of a table of crops, and how sure it may be of it."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from mien.metrics import log_loss
from mien.train.dataset import CropTable
from mien.train.devices import autocast
from mien.train.network import Predictor
from mien.types import FloatArray

__all__ = ["fit_temperature", "mean_probabilities", "predict_views"]

VALIDATION_BATCH = 256


@torch.no_grad()
def predict_views(predictor: Predictor, table: CropTable, device: torch.device, *, mirror: bool) -> FloatArray:
    """Return the logits (V, N, L) of a table's crops: one view, or two where the mirror image is read as well."""
    predictor.eval()
    views: list[list[Tensor]] = [[] for _ in range(2 if mirror else 1)]
    for start in range(0, len(table), VALIDATION_BATCH):
        crops, _ = table.batch(np.arange(start, min(start + VALIDATION_BATCH, len(table))))
        crops = crops.to(device)
        with autocast(device):
            for view, seen in zip(views, (crops, crops.flip(2)), strict=False):
                view.append(predictor.logits(seen).float().cpu())
    return np.stack([torch.cat(view).numpy() for view in views])


def mean_probabilities(views: FloatArray, temperature: float) -> FloatArray:
    """Return the probabilities (N, L), averaged over the views, of logits (V, N, L)."""
    return torch.softmax(torch.from_numpy(views) / temperature, dim=2).mean(dim=0).numpy()


def fit_temperature(views: FloatArray, targets: FloatArray) -> float:
    """Return the temperature, 0.2 to 5, whose probabilities have the least log loss; 1 where none has less.

    views: logits (V, N, L).  targets: (N, L) rows that sum to 1.
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2.
    """

    def loss_at(temperature: float) -> float:
        return log_loss(mean_probabilities(views, temperature), targets)

    found = round(float(minimize_scalar(loss_at, bounds=(0.2, 5.0), method="bounded").x), 4)
    return min((1.0, found), key=loss_at)

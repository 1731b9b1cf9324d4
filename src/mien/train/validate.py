"""What a network says of a table of crops, and how sure it may be of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from mien.metrics import log_loss
from mien.train.answers import Answer
from mien.train.dataset import CropTable
from mien.train.devices import autocast
from mien.train.network import Predictor
from mien.types import BoolArray, FloatArray

__all__ = ["asked", "fit_temperature", "fit_temperatures", "mean_probabilities", "predict_views"]

VALIDATION_BATCH = 256


@torch.no_grad()
def predict_views(predictor: Predictor, table: CropTable, device: torch.device, *, mirror: bool) -> FloatArray:
    """Return the logits (V, N, columns) of a table's crops: one view, or two where the mirror image is read as well."""
    predictor.eval()
    views: list[list[Tensor]] = [[] for _ in range(2 if mirror else 1)]
    for start in range(0, len(table), VALIDATION_BATCH):
        crops, _ = table.batch(np.arange(start, min(start + VALIDATION_BATCH, len(table))))
        crops = crops.to(device)
        with autocast(device):
            for view, seen in zip(views, (crops, crops.flip(2)), strict=False):
                view.append(predictor.logits(seen).float().cpu())
    return np.stack([torch.cat(view).numpy() for view in views])


def mean_probabilities(views: FloatArray, answer: Answer) -> FloatArray:
    """Return an answer's probabilities (N, L), averaged over the views, to logits (V, N, columns)."""
    probabilities: Tensor = answer(torch.from_numpy(views)).mean(dim=0)
    return probabilities.numpy()


def fit_temperature(views: FloatArray, targets: FloatArray, answer: Answer) -> float:
    """Return the temperature, 0.2 to 5, at which an answer has the least log loss; 1 where none has less.

    views: logits (V, N, columns).  targets: (N, L) rows that sum to 1.
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2.
    """
    scores = answer.scores(torch.from_numpy(views))

    def loss_at(temperature: float) -> float:
        return log_loss(torch.softmax(scores / temperature, dim=2).mean(dim=0).numpy(), targets)

    found = round(float(minimize_scalar(loss_at, bounds=(0.2, 5.0), method="bounded").x), 4)
    return min((1.0, found), key=loss_at)


def fit_temperatures(
    answers: dict[str, Answer], views: FloatArray, table: CropTable, *, kept: Mapping[str, float]
) -> None:
    """Give each answer the temperature that suits it on a table's crops, or the one that is to be kept, by name.

    views: logits (V, N, columns) of the crops.
    """
    # The joined answer comes first by name and last here: it is made of the others at their temperatures.
    for name, answer in reversed(answers.items()):
        rows, expected = asked(answer, table)
        answer.temperature = kept[name] if name in kept else fit_temperature(views[:, rows], expected, answer)


def asked(answer: Answer, table: CropTable) -> tuple[BoolArray, FloatArray]:
    """Return (which rows (N,) of a table ask the answer for something, what those ask for (n, L))."""
    expected = answer.expected(torch.from_numpy(table.targets)).numpy()
    rows = expected.sum(axis=1) > 0.5
    return rows, expected[rows]

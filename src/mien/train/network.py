"""What stands around a network: pixels to its input, its logits to probabilities.  In training and export alike."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mien.spec import CropSpec
from mien.train.answers import Answer

__all__ = ["Predictor", "normalise", "to_input"]

FER2013_MEAN, FER2013_STD = 0.5077, 0.2550  # of all Training pixels, 0 to 1
SMALLEST_DEVIATION = 1e-2  # of a crop from 0 to 1: a constant one is divided by this and not by nothing


def to_input(crops: Tensor) -> Tensor:
    """Return uint8 crops (N, S, S) or (N, S, S, 3) as floats (N, C, S, S) from 0 to 1."""
    planes = crops.unsqueeze(1) if crops.ndim == 3 else crops.permute(0, 3, 1, 2)
    return planes.float() / 255


def normalise(inputs: Tensor, spec: CropSpec) -> Tensor:
    """Return the input, (N, C, S, S) from 0 to 1, as the spec's normalisation wants it."""
    if spec.normalisation == "fixed":
        return (inputs - FER2013_MEAN) / FER2013_STD
    if spec.normalisation == "per_crop":
        mean = inputs.mean(dim=(1, 2, 3), keepdim=True)
        centred = inputs - mean
        deviation = torch.sqrt((centred * centred).mean(dim=(1, 2, 3), keepdim=True))
        return centred / torch.clamp(deviation, min=SMALLEST_DEVIATION)
    return inputs


class Predictor(nn.Module):
    """Crops to probabilities: uint8 (N, S, S) or (N, S, S, 3) to one float32 (N, L) an answer, rows that sum to 1."""

    def __init__(self, network: nn.Module, crop: CropSpec, answers: Mapping[str, Answer]) -> None:
        """Wrap a network whose crops are as the spec says; its logits are read by the answers, the main one first."""
        super().__init__()
        self.network = network
        self.crop = crop
        self.answers = nn.ModuleDict(dict(answers))

    def answer(self, name: str = "") -> Answer:
        """Return the answer of a name, the main one where none is said."""
        found = self.answers[name or next(iter(self.answers))]
        assert isinstance(found, Answer)
        return found

    def logits(self, crops: Tensor) -> Tensor:
        """Return the network's logits (N, columns of all heads), float32."""
        logits: Tensor = self.network(normalise(to_input(crops), self.crop)).float()
        return logits

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Return the probabilities (N, L) of each answer."""
        logits = self.logits(crops)
        return tuple(answer(logits) for answer in self.answers.values())

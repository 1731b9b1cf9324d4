"""What stands around a network: pixels to its input, its logits to probabilities.  In training and export alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.spec import CropSpec

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
    """Crops to probabilities: uint8 (N, S, S) or (N, S, S, 3) to float32 (N, L), rows that sum to 1."""

    def __init__(self, network: nn.Module, spec: CropSpec, *, temperature: float = 1.0) -> None:
        """Wrap a network whose crops are as the spec says."""
        super().__init__()
        self.network = network
        self.spec = spec
        self.temperature = temperature

    def logits(self, crops: Tensor) -> Tensor:
        """Return the network's logits (N, L), float32."""
        logits: Tensor = self.network(normalise(to_input(crops), self.spec)).float()
        return logits

    def forward(self, crops: Tensor) -> Tensor:
        """Return probabilities (N, L) (the paper, equation 5)."""
        return torch.softmax(self.logits(crops) / self.temperature, dim=1)

"""What the networks of the zoo are put together from; batch normalisation stands where export can fold it away."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import RecipeError

__all__ = [
    "COSINE_SCALE",
    "CosineLinear",
    "check_stages",
    "convolution",
    "full_connection",
    "full_connections",
    "initialise",
    "last_layer",
]

COSINE_SCALE = 16.0  # ArcFace's 64 is for many thousand classes; with ten, logits of 16 and -16 say all there is to say


def check_stages(
    widths: tuple[int, ...], depths: tuple[int, ...], *, size_px: int, halvings: int, least_px: int
) -> None:
    """Raise RecipeError where widths and depths are not of one length, or a crop halved so often has too few pixels."""
    if len(widths) != len(depths):
        raise RecipeError(f"{len(widths)} widths for {len(depths)} depths; expected one of each a stage")
    if size_px >> halvings < least_px:
        raise RecipeError(f"{len(widths)} stages leave too little of crops of {size_px} pixels")


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    batch_norm: bool = False,
    activation: bool = True,
) -> list[nn.Module]:
    """Return a convolution with its activation; the bias goes where batch normalisation brings its own."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=not batch_norm)
    return [layer, *([nn.BatchNorm2d(outputs)] if batch_norm else []), *([nn.ReLU()] if activation else [])]


def full_connection(inputs: int, outputs: int, *, dropout: float, batch_norm: bool = False) -> list[nn.Module]:
    """Return a full connection with its activation and dropout; the bias goes where batch normalisation has its own."""
    layer = nn.Linear(inputs, outputs, bias=not batch_norm)
    return [layer, *([nn.BatchNorm1d(outputs)] if batch_norm else []), nn.ReLU(), nn.Dropout(dropout)]


def full_connections(inputs: int, nodes: tuple[int, ...], *, dropout: float, batch_norm: bool) -> list[nn.Module]:
    """Return hidden full connections one after the other, of so many nodes each."""
    return [
        layer
        for before, after in pairwise((inputs, *nodes))
        for layer in full_connection(before, after, dropout=dropout, batch_norm=batch_norm)
    ]


class CosineLinear(nn.Module):
    """A full connection of directions alone: logits are the cosines to each label's direction, scaled.

    Source: Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", section 3.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        """Build it with fresh directions."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, outputs) between -COSINE_SCALE and COSINE_SCALE."""
        cosines = functional.linear(functional.normalize(inputs), functional.normalize(self.weight))
        return COSINE_SCALE * cosines


def last_layer(inputs: int, outputs: int, *, cosine: bool) -> nn.Linear | CosineLinear:
    """Return the layer that gives the logits: a full connection, or one of directions alone, which a margin wants."""
    return CosineLinear(inputs, outputs) if cosine else nn.Linear(inputs, outputs)


def initialise(network: nn.Module, last: nn.Linear | CosineLinear) -> None:
    """Draw the weights afresh (He et al. 2015, "Delving Deep into Rectifiers"), small ones in the last layer.

    A small last layer starts the loss at that of guessing.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if isinstance(last, nn.Linear):
        nn.init.normal_(last.weight, std=0.01)

"""LeNet-5 whose earlier pooled maps are joined to its full connection, after Li, Lin and Jiang 2018."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.errors import RecipeError
from mien.train.models.layers import convolution, full_connections, initialise

__all__ = ["CrossLeNet"]

KERNEL = 5
WIDTHS = (6, 16)  # LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition"
NODES = (120, 84)


class CrossLeNet(nn.Module):
    """Two 5x5 convolutions, each with 2x2 pooling; the full connection reads both pooled maps.

    Source: Li, Lin and Jiang 2018, "Facial Expression Recognition with Cross-connect LeNet-5 Network" (Acta Automatica
    Sinica 44(1), in Chinese): whom the paper's Figure 6 is taken to mean by "the Li et al. model", as it does not say.

    What is known, and what was decided:

    * Known: LeNet-5 is the base, and low-level features are combined with high-level ones for the classifier, in that
      the pooled maps of the earlier layer reach the full connection beside those of the later one.
    * Widths and nodes are LeNet-5's own; its crops of 32 pixels became FER2013's 48.
    * Its sigmoids became ReLUs and its mean pooling maximum pooling, as in the network that it is compared with here;
      hidden full connections have dropout, and batch normalisation where the recipe asks for it.
    """

    def __init__(
        self, *, channels: int = 1, labels: int = 7, size_px: int = 48, dropout: float = 0.4, batch_norm: bool = False
    ) -> None:
        """Build the network with fresh weights from torch's current random state.

        Raises RecipeError where the crops are too small.
        """
        super().__init__()
        early = [*convolution(channels, WIDTHS[0], KERNEL, batch_norm=batch_norm), nn.MaxPool2d(2)]
        late = [*convolution(WIDTHS[0], WIDTHS[1], KERNEL, batch_norm=batch_norm), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*early, *late)
        self.joined_from = len(early)  # what stands before it is read twice
        sides = [size_px]
        for _ in WIDTHS:
            sides.append((sides[-1] - KERNEL + 1) // 2)
        if sides[-1] < 1:
            raise RecipeError(f"cross-lenet: two convolutions and poolings leave nothing of crops of {size_px} pixels")
        inputs = sum(width * side**2 for width, side in zip(WIDTHS, sides[1:], strict=True))
        hidden = full_connections(inputs, NODES, dropout=dropout, batch_norm=batch_norm)
        last = nn.Linear(NODES[-1], labels)
        self.classifier = nn.Sequential(*hidden, last)
        initialise(self, last)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, labels) of normalised crops (N, C, S, S) of the size that it was built for."""
        maps, joined = inputs, []
        for number, layer in enumerate(self.features, start=1):
            maps = layer(maps)
            if number in (self.joined_from, len(self.features)):
                joined.append(maps.flatten(1))
        logits: Tensor = self.classifier(torch.cat(joined, dim=1))
        return logits

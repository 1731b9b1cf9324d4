"""A small plain network in the place of that of Lu et al., which the paper compares with."""

from __future__ import annotations

from torch import Tensor, nn

from mien.errors import RecipeError
from mien.train.models.layers import convolution, full_connections, initialise

__all__ = ["Lu"]

KERNEL = 5
WIDTHS = (32, 32, 64)
NODES = (64,)


class Lu(nn.Module):
    """Three padded 5x5 convolutions, each with 2x2 pooling, one hidden full connection.

    What is known, and what was decided:

    * Known: the paper's text gives "Lu et al." as its reference [80], its Table II as one of [7], [8] and [14].  [80]
      is about video ("Video-based neonatal pain expression recognition with cross-stream attention", 2024): a network
      of two streams that cannot read single pictures.  Of [7], [8] and [14] none is a network for expressions.
    * Likely: the same first author's network for single pictures (Lu, He, Yan and Li 2016, "A convolutional neural
      network for facial expression recognition", Journal of Nanjing University of Posts and Telecommunications 36(1),
      in Chinese), which learns features and classes at once, with dropout and augmented training pictures.  Its layer
      sizes were not to be had.
    * Decided: the plain network that was usual for small pictures at that time, Krizhevsky's for CIFAR-10, as Caffe's
      example "CIFAR-10 quick" has it (5x5 convolutions of 32, 32 and 64 kernels, 64 hidden nodes), with maximum pooling
      and the dropout of the network that it is compared with.
    """

    def __init__(
        self, *, channels: int = 1, labels: int = 7, size_px: int = 48, dropout: float = 0.4, batch_norm: bool = False
    ) -> None:
        """Build the network with fresh weights from torch's current random state.

        Raises RecipeError where the crops are too small.
        """
        super().__init__()
        side = size_px >> len(WIDTHS)
        if side < 1:
            raise RecipeError(f"lu: {len(WIDTHS)} poolings leave nothing of crops of {size_px} pixels")
        layers: list[nn.Module] = []
        inputs = channels
        for width in WIDTHS:
            layers += convolution(inputs, width, KERNEL, padding=KERNEL // 2, batch_norm=batch_norm)
            layers.append(nn.MaxPool2d(2))
            inputs = width
        self.features = nn.Sequential(*layers)
        hidden = full_connections(inputs * side**2, NODES, dropout=dropout, batch_norm=batch_norm)
        last = nn.Linear(NODES[-1], labels)
        self.classifier = nn.Sequential(nn.Flatten(), *hidden, last)
        initialise(self, last)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, labels) of normalised crops (N, C, S, S) of the size that it was built for."""
        logits: Tensor = self.classifier(self.features(inputs))
        return logits

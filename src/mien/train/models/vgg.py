"""A plain network of 3x3 convolutions in stages, after Simonyan and Zisserman 2015."""

from __future__ import annotations

from torch import Tensor, nn

from mien.train.models.layers import check_stages, convolution, full_connection, initialise

__all__ = ["Vgg"]

GRID = 3  # the last map is pooled to so many cells a side: where in the face something is stays known
HIDDEN = 256


class Vgg(nn.Module):
    """Stages of 3x3 convolutions with 2x2 pooling between them, a 3x3 grid, one hidden full connection.

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    with batch normalisation and far narrower, as Khaireddin and Chen 2021 do for FER2013.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        labels: int = 7,
        size_px: int = 48,
        dropout: float = 0.4,
        batch_norm: bool = True,
        widths: tuple[int, ...] = (32, 64, 128, 256),
        depths: tuple[int, ...] = (2, 2, 2, 2),
    ) -> None:
        """Build the network with fresh weights from torch's current random state.

        widths, depths: channels and convolutions of each stage.  Raises RecipeError where they are not of one length.
        """
        super().__init__()
        check_stages(widths, depths, size_px=size_px, halvings=len(widths) - 1, least_px=GRID)
        layers: list[nn.Module] = []
        inputs = channels
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if stage:
                layers.append(nn.MaxPool2d(2))
            for _ in range(depth):
                layers += convolution(inputs, width, 3, padding=1, batch_norm=batch_norm)
                inputs = width
        self.features = nn.Sequential(*layers)
        last = nn.Linear(HIDDEN, labels)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(GRID),
            nn.Flatten(),
            nn.Dropout(dropout),
            *full_connection(inputs * GRID**2, HIDDEN, dropout=dropout, batch_norm=batch_norm),
            last,
        )
        initialise(self, last)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, labels) of normalised crops (N, C, S, S) of any S that its poolings leave something of."""
        logits: Tensor = self.classifier(self.features(inputs))
        return logits

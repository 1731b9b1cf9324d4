"""What residual networks of the zoo have in common: a stem that keeps the crop's size, stages of blocks, a mean."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from mien.train.models.layers import check_stages, convolution, initialise, last_layer

__all__ = ["Staged"]

STEM = 32

#: (channels in, channels out, stride) to a block.
MakeBlock = Callable[[int, int, int], nn.Module]


class Staged(nn.Module):
    """A 3x3 stem with stride 1, pooling, stages of blocks that halve the map between them, the mean over the map.

    The stem keeps all 48 pixels, where ImageNet's 7x7 stem with stride 2 and pooling would leave a map of 12.
    """

    def __init__(
        self,
        make_block: MakeBlock,
        *,
        channels: int = 1,
        labels: int = 7,
        size_px: int = 48,
        dropout: float = 0.4,
        batch_norm: bool,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        cosine: bool = False,
    ) -> None:
        """Build the network with fresh weights from torch's current random state.

        widths, depths: channels and blocks of each stage.  cosine: see `last_layer`.
        Raises RecipeError where widths and depths are not of one length, or leave nothing of the crops.
        """
        super().__init__()
        check_stages(widths, depths, size_px=size_px, halvings=len(widths), least_px=1)
        layers = [*convolution(channels, STEM, 3, padding=1, batch_norm=batch_norm), nn.MaxPool2d(2)]
        inputs = STEM
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for number in range(depth):
                layers.append(make_block(inputs, width, 2 if stage and not number else 1))
                inputs = width
        self.features = nn.Sequential(*layers)
        last = last_layer(inputs, labels, cosine=cosine)
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), last)
        initialise(self, last)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, labels) of normalised crops (N, C, S, S) of any S that the stages leave something of."""
        logits: Tensor = self.classifier(self.features(inputs))
        return logits

"""A network of depthwise convolutions for small crops, after Sandler et al. 2018."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mien.train.models.layers import convolution
from mien.train.models.staged import Staged

__all__ = ["MobileNet"]

EXPANSION = 4


class InvertedResidual(nn.Module):
    """A 1x1 convolution to more channels, a 3x3 one in each of them, a 1x1 back to few."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, batch_norm: bool) -> None:
        """Build a block; where the shape stays, its input is added."""
        super().__init__()
        wide = inputs * EXPANSION
        self.body = nn.Sequential(
            *convolution(inputs, wide, 1, batch_norm=batch_norm),
            *convolution(wide, wide, 3, stride=stride, padding=1, groups=wide, batch_norm=batch_norm),
            *convolution(wide, outputs, 1, batch_norm=batch_norm, activation=False),
        )
        self.adds = inputs == outputs and stride == 1

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps (N, outputs, H / stride, W / stride)."""
        changed: Tensor = self.body(maps)
        return maps + changed if self.adds else changed


class MobileNet(Staged):
    """Stages of inverted residual blocks.

    Source: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks".
    """

    def __init__(
        self,
        *,
        batch_norm: bool = True,
        widths: tuple[int, ...] = (48, 96, 192),
        depths: tuple[int, ...] = (2, 3, 3),
        cosine: bool = False,
        **common: Any,
    ) -> None:
        """Build the network; see Staged for the rest."""

        def make_block(inputs: int, outputs: int, stride: int) -> nn.Module:
            return InvertedResidual(inputs, outputs, stride=stride, batch_norm=batch_norm)

        super().__init__(make_block, batch_norm=batch_norm, widths=widths, depths=depths, cosine=cosine, **common)

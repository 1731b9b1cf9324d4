"""A residual network for small crops, after He et al. 2016."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from mien.train.models.layers import convolution
from mien.train.models.staged import Staged

__all__ = ["ResNet"]


class Attention(nn.Module):
    """Each channel scaled by what all channels' means say of it."""

    def __init__(self, channels: int) -> None:
        """Build it for so many channels.  Source: Hu et al. 2018, "Squeeze-and-Excitation Networks"."""
        super().__init__()
        fewer = max(1, channels // 8)
        self.scale = nn.Sequential(nn.Linear(channels, fewer), nn.ReLU(), nn.Linear(fewer, channels), nn.Sigmoid())

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps (N, C, H, W), scaled."""
        scaled: Tensor = maps * self.scale(maps.mean(dim=(2, 3)))[:, :, None, None]
        return scaled


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, batch_norm: bool, attention: bool) -> None:
        """Build a block; the shortcut is a 1x1 convolution where the shape changes."""
        super().__init__()
        self.body = nn.Sequential(
            *convolution(inputs, outputs, 3, stride=stride, padding=1, batch_norm=batch_norm),
            *convolution(outputs, outputs, 3, padding=1, batch_norm=batch_norm, activation=False),
            *([Attention(outputs)] if attention else []),
        )
        same = inputs == outputs and stride == 1
        projection = convolution(inputs, outputs, 1, stride=stride, batch_norm=batch_norm, activation=False)
        self.shortcut = nn.Sequential() if same else nn.Sequential(*projection)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps (N, outputs, H / stride, W / stride)."""
        return functional.relu(self.body(maps) + self.shortcut(maps))


class ResNet(Staged):
    """Stages of residual blocks.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition".
    """

    def __init__(
        self,
        *,
        batch_norm: bool = True,
        widths: tuple[int, ...] = (64, 128, 256),
        depths: tuple[int, ...] = (2, 2, 2),
        attention: bool = False,
        cosine: bool = False,
        **common: Any,
    ) -> None:
        """Build the network; see Staged for the rest.  attention: squeeze-and-excitation in each block."""

        def make_block(inputs: int, outputs: int, stride: int) -> nn.Module:
            return Block(inputs, outputs, stride=stride, batch_norm=batch_norm, attention=attention)

        super().__init__(make_block, batch_norm=batch_norm, widths=widths, depths=depths, cosine=cosine, **common)

"""A small vision transformer, after Dosovitskiy et al. 2021."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import RecipeError

__all__ = ["VisionTransformer"]

PATCH_PX = 6  # of 48: 64 patches
HEAD_WIDTH = 32  # of each attention head
WIDER = 2  # the hidden layer of a block's full connections, where larger transformers have 4


class Block(nn.Module):
    """Attention between all places of a map, then full connections at each, both beside a shortcut."""

    def __init__(self, width: int, *, dropout: float) -> None:
        """Build it for maps of so many channels."""
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.before = nn.LayerNorm(width)
        self.asked = nn.Linear(width, 3 * width)
        self.told = nn.Linear(width, width)
        self.connections = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, WIDER * width),
            nn.GELU(),
            nn.Linear(WIDER * width, width),
            nn.Dropout(dropout),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape, (N, C, H, W)."""
        places = maps.flatten(2).transpose(1, 2)
        asked = self.asked(self.before(places)).unflatten(2, (3, self.heads, HEAD_WIDTH))
        query, key, value = asked.permute(2, 0, 3, 1, 4)
        # Written out: of so few places PyTorch's own attention takes longer on a processor, back through it above all.
        shares = functional.softmax(query @ key.transpose(2, 3) * HEAD_WIDTH**-0.5, dim=3)
        found = shares @ value
        places = places + self.dropout(self.told(found.transpose(1, 2).flatten(2)))
        places = places + self.connections(places)
        told: Tensor = places.transpose(1, 2).reshape(maps.shape)
        return told


class Places(nn.Module):
    """What is learned of each place of a map, added to it."""

    def __init__(self, width: int, side: int) -> None:
        """Build it for maps of so many channels and places a side."""
        super().__init__()
        self.learned = nn.Parameter(torch.randn(1, width, side, side) * 0.02)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps (N, C, H, W) with what is learned added."""
        return maps + self.learned


class VisionTransformer(nn.Module):
    """Patches of 6x6 pixels, blocks of attention, the mean over all patches.

    Source: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words"; the mean in place of its class token, and a width
    and depth for some ten thousand pictures.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        labels: int = 7,
        size_px: int = 48,
        dropout: float = 0.1,
        batch_norm: bool = False,
        widths: tuple[int, ...] = (192,),
        depths: tuple[int, ...] = (6,),
    ) -> None:
        """Build the network with fresh weights from torch's current random state.

        widths, depths: one of each: channels, in steps of 32, and blocks.  Raises RecipeError for others, and where the
        crops are no whole number of patches or batch normalisation is asked for: it has layer normalisation.
        """
        super().__init__()
        if batch_norm:
            raise RecipeError("vit has layer normalisation; set model.batch_norm = false")
        if len(widths) != 1 or len(depths) != 1 or widths[0] % HEAD_WIDTH:
            raise RecipeError(
                f"vit wants one width, in steps of {HEAD_WIDTH}, and one depth; got {widths} and {depths}"
            )
        if size_px % PATCH_PX:
            raise RecipeError(f"vit reads crops in patches of {PATCH_PX} pixels; {size_px} is not a multiple")
        (width,), (depth,) = widths, depths
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, PATCH_PX, PATCH_PX),
            Places(width, size_px // PATCH_PX),
            *(Block(width, dropout=dropout) for _ in range(depth)),
        )
        last = nn.Linear(width, labels)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(width), nn.Dropout(dropout), last
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, labels) of normalised crops (N, C, S, S) of the size that it was built for."""
        logits: Tensor = self.classifier(self.features(inputs))
        return logits

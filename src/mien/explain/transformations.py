"""One face under each kind of augmentation (the paper, Figure 3)."""

from __future__ import annotations

from dataclasses import replace

import torch
from matplotlib.figure import Figure

from mien.train.augment import degrade, mix, move
from mien.train.config import AugmentConfig
from mien.train.network import to_input
from mien.types import ImageArray

__all__ = ["TRANSFORMATIONS", "draw_transformations"]

STILL = AugmentConfig(rotation_deg=0, shift=0, zoom=0, flip=False, brightness=0, contrast=0)

#: Each by itself, stronger than in training.
TRANSFORMATIONS: dict[str, AugmentConfig] = {
    "as it is": STILL,
    "rotation": replace(STILL, rotation_deg=20.0),
    "shift": replace(STILL, shift=0.12),
    "zoom": replace(STILL, zoom=0.2),
    "mirror image": replace(STILL, flip=True),
    "brightness": replace(STILL, brightness=0.3),
    "contrast": replace(STILL, contrast=1.0),
    "other cameras": replace(STILL, camera=1.0),
    "hidden parts": replace(STILL, erase=1.0),
    "mixed with its mirror image": replace(STILL, mixup=8.0),
}
SHOWN = 5  # of each


def draw_transformations(crop: ImageArray, *, seed: int = 1) -> Figure:
    """Return a figure with a row for each transformation of a grey crop (S, S), drawn at random five times."""
    generator = torch.Generator().manual_seed(seed)
    pixels = to_input(torch.from_numpy(crop.copy())[None])
    figure = Figure(figsize=(1.25 * SHOWN + 2.2, 1.3 * len(TRANSFORMATIONS)), layout="constrained")
    grid = figure.subplots(len(TRANSFORMATIONS), SHOWN)
    for row, (title, config) in zip(grid, TRANSFORMATIONS.items(), strict=True):
        for number, axes in enumerate(row):
            moved = move(pixels, config, generator=generator)
            if config.mixup:
                pair = torch.cat([moved, moved.flip(3)])
                while bool((mixed := mix(pair, pair[:, 0, 0], config, generator=generator)[0])[0].equal(pair[0])):
                    pass  # mixed with itself
                moved = mixed[:1]
            axes.imshow(degrade(moved, config, generator=generator)[0, 0].numpy(), cmap="gray", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
            if not number:
                axes.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
    return figure

"""The zoo: the name of a network to its builder."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from mien.errors import RecipeError
from mien.spec import CropSpec
from mien.train.config import ModelConfig
from mien.train.models.paper_cnn import PaperCnn

__all__ = ["MODELS", "build"]

MODELS: dict[str, Callable[..., nn.Module]] = {"paper-cnn": PaperCnn}


def build(config: ModelConfig, *, labels: int, crop: CropSpec) -> nn.Module:
    """Return the network that a recipe names, (N, C, S, S) to logits (N, labels), with fresh weights.

    Raises RecipeError where no network has that name.
    """
    if config.name not in MODELS:
        raise RecipeError(f"unknown model {config.name!r}; known: {', '.join(sorted(MODELS))}")
    return MODELS[config.name](
        channels=crop.channels,
        labels=labels,
        size_px=crop.size_px,
        dropout=config.dropout,
        batch_norm=config.batch_norm,
    )

"""The zoo: the name of a network to its builder."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import nn

from mien.errors import RecipeError
from mien.spec import CropSpec
from mien.train.config import ModelConfig
from mien.train.models.cross_lenet import CrossLeNet
from mien.train.models.lu import Lu
from mien.train.models.mobilenet import MobileNet
from mien.train.models.paper_cnn import PaperCnn
from mien.train.models.resnet import ResNet
from mien.train.models.vgg import Vgg
from mien.train.models.vit import VisionTransformer

__all__ = ["MODELS", "build"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "cross-lenet": CrossLeNet,
    "lu": Lu,
    "mobilenet": MobileNet,
    "paper-cnn": PaperCnn,
    "resnet": ResNet,
    "vgg": Vgg,
    "vit": VisionTransformer,
}

#: Settings that some networks have and others have not; empty ones are left to the network.
SHAPES = ("widths", "depths", "kernels", "nodes", "attention", "cosine")


def build(config: ModelConfig, *, labels: int, crop: CropSpec) -> nn.Module:
    """Return the network that a recipe names, (N, C, S, S) to logits (N, labels), with fresh weights.

    Raises RecipeError where no network has that name, or the network no such setting.
    """
    if config.name not in MODELS:
        raise RecipeError(f"unknown model {config.name!r}; known: {', '.join(sorted(MODELS))}")
    builder = MODELS[config.name]
    known = inspect.signature(builder).parameters
    shape = {key: value for key in SHAPES if (value := getattr(config, key))}
    if foreign := sorted(shape.keys() - known):
        raise RecipeError(f"model.{foreign[0]}: {config.name} has no such setting")
    return builder(
        channels=crop.channels,
        labels=labels,
        size_px=crop.size_px,
        dropout=config.dropout,
        batch_norm=config.batch_norm,
        **shape,
    )

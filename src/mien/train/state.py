"""What changes from epoch to epoch of a run, and how it begins."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from mien.errors import RecipeError
from mien.labels import FER2013
from mien.spec import CropSpec
from mien.train.answers import count_logits
from mien.train.config import OptimiserConfig, Recipe
from mien.train.curves import Row
from mien.train.devices import find_layout
from mien.train.models.registry import build
from mien.train.start import start_from
from mien.train.teach import Teacher
from mien.types import FloatArray

__all__ = ["State", "check_sizes", "start"]

ADAM_BETA = 0.999  # the second, PyTorch's own
EVEN = np.full(len(FER2013), 1 / len(FER2013), np.float32)


@dataclass(slots=True)
class State:
    """What changes from epoch to epoch, and the teachers, which do not."""

    network: nn.Module
    averaged: nn.Module  # the network itself where no average is kept
    optimiser: torch.optim.Optimizer
    teachers: list[Teacher] = field(default_factory=list)
    taught_by: list[str] = field(default_factory=list)  # their files' SHA-256
    started_from: str = ""  # the SHA-256 of the file whose weights were the first; empty: they were fresh
    kept_temperatures: dict[str, float] = field(default_factory=dict)  # of heads, by name: see `start`
    rows: list[Row] = field(default_factory=list)
    best: Row | None = None
    strikes: int = 0  # epochs in a row that were worse than the best in accuracy and in loss
    finished: bool = False


def start(
    recipe: Recipe, crop: CropSpec, device: torch.device, *, prior: FloatArray = EVEN, begun: bool = False
) -> State:
    """Return the state before the first epoch.

    prior: (7,) shares of the expressions in training, for a recipe that starts from a model.
    begun: the weights will be those of a run that went on already, not those of the model that it started from.
    Raises RecipeError where the network cannot read a size of the recipe's, or not start from the recipe's model.
    """
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True  # so that a resumed run repeats an uninterrupted one
    torch.manual_seed(recipe.seed)
    network = build(recipe.model, labels=count_logits(recipe), crop=crop)
    check_sizes(network, recipe, crop)
    if recipe.model.start and not begun:
        start_from(network, recipe, crop, prior)
    network = network.to(device=device, memory_format=find_layout(device))  # type: ignore[call-overload]  # with a layout
    averaged = copy.deepcopy(network) if recipe.optimiser.average else network
    return State(network, averaged, _optimiser(network, recipe.optimiser))


def check_sizes(network: nn.Module, recipe: Recipe, crop: CropSpec) -> None:
    """Raise RecipeError where a recipe's network cannot read crops of the sides that it is to be trained on."""
    for side in recipe.optimiser.sizes_px:
        try:
            network.eval()(torch.zeros(1, crop.channels, side, side))
        except RuntimeError as error:
            raise RecipeError(
                f"recipe {recipe.name!r}: {recipe.model.name} cannot read crops of {side} pixels"
            ) from error


def _optimiser(network: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """Return what changes the weights."""
    momentum, decay = config.momentum, config.weight_decay
    if config.method == "adamw":
        betas = (momentum, ADAM_BETA)
        return torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, betas=betas, weight_decay=decay, fused=True
        )
    return torch.optim.SGD(
        network.parameters(), lr=config.learning_rate, momentum=momentum, nesterov=momentum > 0, weight_decay=decay,
        fused=True,
    )  # fmt: skip

"""What a run would stop at, found out before it is begun."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import torch

from mien.train.config import Recipe
from mien.train.dataset import load
from mien.train.devices import memory_told
from mien.train.state import start
from mien.train.teach import load_teachers

__all__ = ["check"]


def check(recipe: Recipe, device: torch.device, *, to_come: Collection[Path] = ()) -> str:
    """Return the SHA-256 of a recipe's data, joined by "+" where there are several.

    to_come: files that will be there once the run begins, which cannot be looked at yet.
    Raises DataError for the datasets, and RecipeError where the recipe's network cannot be built or cannot read their
    crops, or a teacher or the model that it starts from does not fit.
    """
    teachers = tuple(model for model in recipe.teacher.models if Path(model).resolve() not in to_come)
    model = recipe.model
    if model.start and Path(model.start).resolve() in to_come:
        model = replace(model, start="")
    now = replace(recipe, model=model, teacher=replace(recipe.teacher, models=teachers))
    data = load(recipe.data)
    with memory_told(recipe.name):
        start(now, data.crop, device)
        load_teachers(now, data.crop, device)
    return data.manifest_sha256

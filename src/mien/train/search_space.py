"""What a search may vary: the [search] section of a recipe's file.

    [search]
    "optimiser.batch_size" = [32, 64, 128]
    "optimiser.learning_rate" = { low = 0.001, high = 0.1, log = true }
    "model.kernels" = [[1, 5, 3, 3], [1, 3, 3, 3]]

A list holds all choices; a table is an interval, of whole numbers where both ends are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from optuna.trial import Trial

from mien.errors import InputError, RecipeError
from mien.spec import CropSpec
from mien.train.config import SEARCH, Recipe, read_toml, with_values
from mien.train.models.registry import build

__all__ = ["Choices", "Interval", "Space", "read_space"]


@dataclass(frozen=True, slots=True)
class Choices:
    """One of some values, which need no order: numbers, texts, truths or lists."""

    values: tuple[object, ...]

    def suggest(self, trial: Trial, key: str) -> object:
        """Return what a trial is to take, as a recipe's value.  Optuna knows texts, and no lists."""
        return json.loads(trial.suggest_categorical(key, [json.dumps(value) for value in self.values]))

    def grid(self, _points: int) -> list[object]:
        """Return all values as Optuna knows them."""
        return [json.dumps(value) for value in self.values]

    def ends(self) -> list[object]:
        """Return the values that a recipe must be able to take."""
        return list(self.values)

    def decode(self, found: object) -> object:
        """Return a value that Optuna keeps as a recipe's."""
        return json.loads(str(found))


@dataclass(frozen=True, slots=True)
class Interval:
    """Any number from `low` to `high`; log: as likely between 1 and 10 as between 10 and 100."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Return whether it holds whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def suggest(self, trial: Trial, key: str) -> object:
        """Return what a trial is to take, as a recipe's value."""
        if self.whole:
            return trial.suggest_int(key, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)

    def grid(self, points: int) -> list[object]:
        """Return so many values at even distances, both ends among them."""
        spaced = (np.geomspace if self.log else np.linspace)(self.low, self.high, points)
        spaced[0], spaced[-1] = self.low, self.high  # which rounding may have left by a hair
        if self.whole:
            return sorted({round(float(value)) for value in spaced})
        return sorted({float(value) for value in spaced})

    def ends(self) -> list[object]:
        """Return the values that a recipe must be able to take."""
        return [self.low, self.high]

    def decode(self, found: object) -> object:
        """Return a value that Optuna keeps as a recipe's."""
        return found


Space = Mapping[str, Choices | Interval]


def read_space(path: str | Path, recipe: Recipe) -> Space:
    """Return what the [search] section of a recipe's file opens, by dotted key.

    Raises RecipeError where there is no such section, a range is none, or the recipe's network cannot have an end of it
    (a kernel larger than its map, a negative learning rate).
    """
    section = read_toml(Path(path)).get(SEARCH)
    if not isinstance(section, dict) or not section:
        raise RecipeError(f'{path}: no [search] section; it opens settings, as "model.dropout" = [0.2, 0.4]')
    space = {key: _range(path, key, value) for key, value in section.items()}
    for key, values in space.items():
        for value in values.ends():
            try:
                candidate = with_values(recipe, {key: value}, name=recipe.name)
                build(candidate.model, labels=7, crop=CropSpec())
            except InputError as error:
                raise RecipeError(f"{path}: search.{key}: {value} cannot be: {error}") from error
    return space


def _range(path: str | Path, key: str, value: object) -> Choices | Interval:
    """Return one entry of the section."""
    if isinstance(value, list) and value:
        return Choices(tuple(value))
    if isinstance(value, dict) and {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
        low, high, log = value["low"], value["high"], value.get("log", False)
        numbers = all(type(end) in (int, float) for end in (low, high)) and type(log) is bool
        if numbers and low < high and np.isfinite([low, high]).all() and not (log and low <= 0):
            return Interval(low, high, log)
    raise RecipeError(
        f"{path}: search.{key} is {value!r}; expected a list of choices, or {{ low = 0.001, high = 0.1, log = true }} "
        "with low below high, above 0 where log is true"
    )

"""What a search may vary: the [search] section of a recipe's file.

    [search]
    "optimiser.batch_size" = [32, 64, 128]
    "optimiser.learning_rate" = { low = 0.001, high = 0.1, log = true }
    "model.kernels" = [[1, 5, 3, 3], [1, 3, 3, 3]]

A list holds all choices; a table is an interval, of whole numbers where the setting is one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from optuna.trial import Trial

from mien.errors import InputError, RecipeError
from mien.spec import CropSpec
from mien.train.checkpoint import first_line
from mien.train.config import SEARCH, Recipe, flatten, read_toml, with_values
from mien.train.models.registry import build
from mien.train.start import hash_of_start
from mien.train.state import check_sizes
from mien.train.teach import hashes_of_teachers

__all__ = ["ENDS", "Choices", "Interval", "Space", "hashes_opened", "make_space", "read_space"]

#: What else there is in a recipe changes nothing in training, or what validation measures.
SEARCHED = (
    "model", "augment", "optimiser", "stop", "teacher", "seed",
    "data.balance", "data.contrast", "data.normalisation",
)  # fmt: skip
SHAPES = ("model", "optimiser.sizes_px")  # what a network's shapes hang on
FILES = ("model.start", "teacher.models")
ENDS = {"low", "high", "log"}
EXPECTED = 'it opens settings, as "model.dropout" = [0.2, 0.4]'
LARGEST = 2**53  # beyond it not every whole number is a float
COMBINATIONS = 2000  # of other settings' values, in which a value is looked for that fits to none by itself


@dataclass(frozen=True, slots=True)
class Choices:
    """One of some values, which need no order: numbers, texts, truths or lists."""

    values: tuple[object, ...]

    def suggest(self, trial: Trial, key: str) -> object:
        """Return what a trial is to take, as a recipe's value.  Optuna knows texts, and no lists."""
        return json.loads(trial.suggest_categorical(key, [json.dumps(value) for value in self.values]))

    def grid(self, _points: int) -> list[Any]:
        """Return all values as Optuna keeps them."""
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
    whole: bool = False

    def suggest(self, trial: Trial, key: str) -> object:
        """Return what a trial is to take, as a recipe's value."""
        if self.whole:
            return trial.suggest_int(key, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)

    def grid(self, points: int) -> list[Any]:
        """Return so many values at even distances, both ends among them."""
        spaced = (np.geomspace if self.log else np.linspace)(self.low, self.high, points)
        spaced[0], spaced[-1] = self.low, self.high  # which rounding may have left by a hair
        if self.whole:
            return sorted({round(float(value)) for value in spaced})
        return sorted({float(value) for value in spaced})

    def ends(self) -> list[object]:
        """Return the values that a recipe must be able to take."""
        within = [] if self.whole else [self.low + 1e-3 * (self.high - self.low)]  # 0 may be allowed, and a little not
        return [self.low, self.high, *within]

    def decode(self, found: object) -> object:
        """Return a value that Optuna keeps as a recipe's."""
        return found


Space = Mapping[str, Choices | Interval]


def read_space(path: str | Path, recipe: Recipe, crop: CropSpec) -> Space:
    """Return what the [search] section of a recipe's file opens, by dotted key.

    crop: of the data that is to be trained on.
    Raises RecipeError where there is no such section, an entry is no range, opens what training does not hang on, or
    has an end that the recipe cannot take, however the others are set (a kernel larger than its map, a learning rate
    below 0).
    """
    section = read_toml(path).get(SEARCH)
    if not isinstance(section, dict):
        raise RecipeError(f"{path}: no [search] section; {EXPECTED}")
    try:
        return make_space(section, recipe, crop)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error


def make_space(section: Mapping[str, Any], recipe: Recipe, crop: CropSpec) -> Space:
    """Return what the entries of a [search] section open; arguments and errors as of `read_space`."""
    space = {key: _range(recipe, key, value) for key, value in flatten(section, whole=ENDS).items()}
    if not space:
        raise RecipeError(f"the [search] section opens nothing; {EXPECTED}")
    for key, opened in space.items():
        for value in opened.ends():
            _check(recipe, space, key, value, crop)
    return space


def hashes_opened(recipe: Recipe, space: Space) -> dict[str, list[list[str]]]:
    """Return the SHA-256 of the files that each choice of a model to start or learn from names, by dotted key."""
    return {
        key: [_hashes_of_files(with_values(recipe, {key: value}, name=recipe.name)) for value in space[key].ends()]
        for key in FILES
        if key in space
    }


def _range(recipe: Recipe, key: str, value: object) -> Choices | Interval:
    """Return one entry of the section."""
    if not any(key == opened or key.startswith(f"{opened}.") for opened in SEARCHED):
        raise RecipeError(f"search.{key}: nothing to search; what can be is {', '.join(SEARCHED)}")
    if isinstance(value, list) and value:
        return Choices(tuple({json.dumps(choice, default=str): choice for choice in value}.values()))  # each once
    if isinstance(value, dict) and {"low", "high"} <= value.keys() <= ENDS:
        low, high, log = value["low"], value["high"], value.get("log", False)
        numbers = all(type(end) in (int, float) and abs(end) < LARGEST for end in (low, high)) and type(log) is bool
        if numbers and low < high and not (log and low <= 0):
            current: Any = asdict(recipe)
            for part in key.split("."):
                current = current.get(part) if isinstance(current, dict) else None
            return Interval(low, high, log, whole=type(current) is int)
    raise RecipeError(
        f"search.{key} is {value!r}; expected a list of choices, or {{ low = 0.001, high = 0.1, log = true }} with low "
        "below high, above 0 where log is true"
    )


def _check(recipe: Recipe, space: Space, key: str, value: object, crop: CropSpec) -> None:
    """Raise RecipeError where a recipe cannot take a value, neither by itself nor beside any ends of the others."""
    reason = _why_not(recipe, {key: value}, crop)
    others = {other: opened.ends() for other, opened in space.items() if other != key}
    combinations = itertools.islice(itertools.product(*others.values()), COMBINATIONS)
    if reason and all(
        _why_not(recipe, {key: value, **dict(zip(others, ends, strict=True))}, crop) for ends in combinations
    ):
        raise RecipeError(f"search.{key}: {value} cannot be: {reason}")


def _why_not(recipe: Recipe, values: Mapping[str, object], crop: CropSpec) -> str:
    """Return why a recipe cannot take some values; empty where it can."""
    try:
        candidate = with_values(recipe, values, name=recipe.name)
        if any(key.startswith(SHAPES) for key in values):
            with torch.device("meta"):  # the shapes alone
                check_sizes(build(candidate.model, labels=7, crop=crop), candidate, crop)
        if any(key in FILES for key in values):
            _hashes_of_files(candidate)
    except (InputError, RuntimeError) as error:  # RuntimeError: more weights than torch can count
        return first_line(error)
    return ""


def _hashes_of_files(recipe: Recipe) -> list[str]:
    """Return the SHA-256 of the files that a recipe starts and learns from.  RecipeError where one is not there."""
    return [hash_of_start(recipe), *hashes_of_teachers(recipe)]

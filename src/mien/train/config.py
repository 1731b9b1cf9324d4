"""A training run as a frozen recipe: TOML in and out, unknown keys refused."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.errors import InputError, RecipeError
from mien.spec import CONTRASTS, NORMALISATIONS

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "ModelConfig",
    "OptimiserConfig",
    "Recipe",
    "StopConfig",
    "dumps",
    "from_fields",
    "read_recipe",
]


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which pictures, with which labels, and what their pixels go through."""

    manifests: tuple[str, ...] = ("data/fer2013",)  # folders of prepared datasets; `--data` on the command line wins
    labels: str = "label"  # "label": the emotion column; "votes": FER+'s distributions over eight expressions
    contrast: str = "none"  # see spec.CropSpec
    normalisation: str = "per_crop"  # see spec.CropSpec
    limit: int = 0  # train and validate on the first so many rows of each split; 0: on all


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which network of the zoo."""

    name: str = "paper-cnn"
    dropout: float = 0.4  # Table I
    batch_norm: bool = False  # after each hidden layer; folded into it at export


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How far each training picture may be moved and relit; the paper's Figure 3 names the kinds, not the sizes."""

    rotation_deg: float = 10.0
    shift: float = 0.08  # of the side, in each direction
    zoom: float = 0.1  # 0.1: from 1/1.1 to 1.1 times as large
    flip: bool = True  # left and right, every second time
    brightness: float = 0.15  # added, of the range from black to white
    contrast: float = 0.2  # 0.2: from 1/1.2 to 1.2 times, about the crop's mean
    erase: float = 0.0  # chance of a rectangle filled with grey (Zhong et al. 2020, "Random Erasing")


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """Stochastic gradient descent and its schedule."""

    learning_rate: float = 0.01  # the paper's
    schedule: str = "cosine"  # "cosine" down to zero, "step": halved nine times on the way, "constant"
    momentum: float = 0.9  # Nesterov's
    weight_decay: float = 5e-4
    batch_size: int = 64
    epochs: int = 40
    warmup_epochs: int = 1
    label_smoothing: float = 0.0
    average: float = 0.0  # decay, every eighth step, of the averaged weights, which are validated and kept; 0: none
    clip_norm: float = 0.0  # largest norm of the gradient; 0: no limit


@dataclass(frozen=True, slots=True)
class StopConfig:
    """The paper's rule: stop when validation accuracy falls while its loss rises."""

    patience: int = 10  # epochs in a row that are worse in both than the best so far; 0: never stop early


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole run."""

    name: str
    licence: str = "MIT"  # of the weights, as stored in the model file
    seed: int = 0
    mirror: bool = True  # predictions are averaged with those of the mirrored crop
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    stop: StopConfig = field(default_factory=StopConfig)

    def __post_init__(self) -> None:
        """Raise RecipeError where a setting is out of range."""
        optimiser, augment = self.optimiser, self.augment
        checks = {
            "name": self.name.isprintable() and self.name not in ("", ".", "..") and not set(self.name) & set("/\\"),
            "seed": 0 <= self.seed < 2**32,
            "data.manifests": len(self.data.manifests) > 0,
            "data.labels": self.data.labels in ("label", "votes"),
            "data.contrast": self.data.contrast in CONTRASTS,
            "data.normalisation": self.data.normalisation in NORMALISATIONS,
            "data.limit": self.data.limit >= 0,
            "model.dropout": 0 <= self.model.dropout < 1,
            "optimiser.learning_rate": 0 < optimiser.learning_rate < math.inf,
            "optimiser.schedule": optimiser.schedule in ("cosine", "step", "constant"),
            "optimiser.momentum": 0 <= optimiser.momentum < 1,
            "optimiser.weight_decay": 0 <= optimiser.weight_decay < math.inf,
            "optimiser.batch_size": optimiser.batch_size >= (2 if self.model.batch_norm else 1),
            "optimiser.epochs": optimiser.epochs >= 1,
            "optimiser.warmup_epochs": 0 <= optimiser.warmup_epochs <= optimiser.epochs,
            "optimiser.label_smoothing": 0 <= optimiser.label_smoothing < 1,
            "optimiser.average": 0 <= optimiser.average < 1,
            "optimiser.clip_norm": 0 <= optimiser.clip_norm < math.inf,
            "augment.rotation_deg": 0 <= augment.rotation_deg <= 180,
            "augment.shift": 0 <= augment.shift < 1,
            "augment.zoom": 0 <= augment.zoom < 1,
            "augment.brightness": 0 <= augment.brightness <= 1,
            "augment.contrast": 0 <= augment.contrast < 10,
            "augment.erase": 0 <= augment.erase <= 1,
            "stop.patience": self.stop.patience >= 0,
        }
        if wrong := [name for name, fits in checks.items() if not fits]:
            raise RecipeError(
                f"recipe {self.name!r}: out of range: {', '.join(wrong)}; docs/training.md gives the ranges"
            )


def read_recipe(path: str | Path) -> Recipe:
    """Return the recipe of a TOML file.  RecipeError names the file and the key that is missing, unknown or wrong."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            fields = tomllib.load(file)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); expected a recipe") from error
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, a number of 5,000 digits, brackets without end
        raise RecipeError(f"{path}: not TOML ({error})") from error
    try:
        recipe = _build(Recipe, fields, "")
    except InputError as error:
        raise RecipeError(f"{path}: {error}") from error
    assert isinstance(recipe, Recipe)
    return recipe


def from_fields(fields: Mapping[str, Any]) -> Recipe:
    """Return the recipe of nested dictionaries, as a checkpoint stores it."""
    recipe = _build(Recipe, fields, "")
    assert isinstance(recipe, Recipe)
    return recipe


def dumps(recipe: Recipe) -> str:
    """Return the recipe as TOML, every setting spelled out."""
    tables: list[str] = []
    lines = []
    for name, value in dataclasses.asdict(recipe).items():
        if isinstance(value, dict):
            body = "\n".join(f"{key} = {_toml(item)}" for key, item in value.items())
            tables.append(f"[{name}]\n{body}\n")
        else:
            lines.append(f"{name} = {_toml(value)}\n")
    return "".join(lines) + "\n" + "\n".join(tables)


def _toml(value: object) -> str:
    """Return one value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON escapes all else as TOML does
    return repr(value)


def _build(cls: type, fields: Mapping[str, Any], prefix: str) -> object:
    """Return an instance of a config dataclass, every key checked."""
    hints = typing.get_type_hints(cls)
    if unknown := sorted(fields.keys() - hints.keys()):
        raise RecipeError(f"unknown key {prefix}{unknown[0]}; known here: {', '.join(hints)}")
    required = {f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING}
    if missing := sorted(required - fields.keys()):
        raise RecipeError(f"{prefix}{missing[0]} is missing")
    return cls(**{name: _value(hints[name], value, prefix + name) for name, value in fields.items()})


def _value(kind: Any, value: object, name: str) -> object:
    """Return one setting in the type of its field."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise RecipeError(f"{name} is {value!r}; expected a table [{name}]")
        return _build(kind, value, f"{name}.")
    if kind is float and type(value) is int and abs(value) < 2**53:
        return float(value)
    if isinstance(kind, types.GenericAlias):
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return tuple(value)
    elif type(value) is kind:  # not isinstance: True is no integer here
        return value
    wanted = _KINDS.get(kind, "a list of texts")
    raise RecipeError(f"{name} is {value!r}; expected {wanted}")

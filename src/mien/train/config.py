"""A training run as a frozen recipe: TOML in and out, unknown keys refused."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.errors import InputError, RecipeError
from mien.files import shortened
from mien.spec import CONTRASTS, NORMALISATIONS
from mien.train.balance import BALANCES

__all__ = [
    "SEARCH",
    "AugmentConfig",
    "DataConfig",
    "ModelConfig",
    "OptimiserConfig",
    "PeopleConfig",
    "Recipe",
    "StopConfig",
    "TeacherConfig",
    "dumps",
    "flatten",
    "from_fields",
    "read_recipe",
    "read_toml",
    "with_settings",
    "with_values",
]


SEARCH = "search"  # the section of a recipe's file that says what may be varied
LONGEST_NAME = 200  # bytes of a run's name, which is a folder's, with room for what stands beside it
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which pictures, with which labels, and what their pixels go through."""

    manifests: tuple[str, ...] = ("data/fer2013",)  # folders of prepared datasets; `--data` on the command line wins
    labels: str = "label"  # "label": the emotion column; "votes": FER+'s distributions over eight; "both": two heads;
    # "label+votes": the first of two heads, the other one helps in training alone
    contrast: str = "none"  # see spec.CropSpec
    normalisation: str = "per_crop"  # see spec.CropSpec
    limit: int = 0  # train and validate on the first so many rows of each split; 0: on all
    val_twins: bool = True  # validate also on crops that stand, pixel for pixel, in train
    train_twins: bool = True  # train also on crops that stand, pixel for pixel, in val or test
    balance: str = "none"  # what is done about rare labels: "none", "loss", "sampling" or "copies", see train.balance
    folds: int = 0  # train and val are joined and cut into so many parts, see train.dataset; 0: the splits as they are
    fold: int = 0  # the part, counted from 0, that is validated on; the others are trained on
    label_votes: bool = False  # where nobody voted on a face, its label counts as the one vote


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which network of the zoo."""

    name: str = "paper-cnn"
    dropout: float = 0.4  # Table I
    batch_norm: bool = False  # after each hidden layer; folded into it at export
    widths: tuple[int, ...] = ()  # channels of each stage; empty: the network's own
    depths: tuple[int, ...] = ()  # layers or blocks of each stage; empty: the network's own
    kernels: tuple[int, ...] = ()  # size of each convolution of paper-cnn; empty: Table I's
    nodes: tuple[int, ...] = ()  # of each hidden full connection of paper-cnn; empty: Table I's
    attention: bool = False  # squeeze-and-excitation in each residual block
    cosine: bool = False  # the last layer compares directions alone, as ArcFace's
    start: str = ""  # a shipped model's name or an ONNX file, whose weights are trained on; empty: fresh weights


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How far each training picture may be moved and relit; the paper's Figure 3 names the kinds, not the sizes."""

    rotation_deg: float = 10.0
    shift: float = 0.08  # of the side, in each direction
    zoom: float = 0.1  # 0.1: from 1/1.1 to 1.1 times as large
    flip: bool = True  # left and right, every second time
    brightness: float = 0.15  # added, of the range from black to white
    contrast: float = 0.2  # 0.2: from 1/1.2 to 1.2 times, about the crop's mean
    camera: float = 0.0  # chance of blur, gamma, light from one side and noise, as far as evaluate/cameras.py goes
    erase: float = 0.0  # chance of a rectangle filled with grey (Zhong et al. 2020, "Random Erasing")
    mixup: float = 0.0  # a of Beta(a, a), by which two crops and their targets are mixed (Zhang et al. 2018); 0: never


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """Gradient descent and its schedule."""

    method: str = "sgd"  # the paper's; or "adamw" (Loshchilov and Hutter 2019), with momentum for its first beta
    learning_rate: float = 0.01  # the paper's
    schedule: str = "cosine"  # "cosine" down to zero, "step": halved nine times on the way, "constant"
    momentum: float = 0.9  # Nesterov's
    weight_decay: float = 5e-4
    batch_size: int = 64
    epochs: int = 40
    warmup_epochs: int = 1
    label_smoothing: float = 0.0
    margin: float = 0.0  # radians by which a label must be nearer than it is (ArcFace); wants model.cosine; 0: none
    average: float = 0.0  # decay, every eighth step, of the averaged weights, which are validated and kept; 0: none
    clip_norm: float = 0.0  # largest norm of the gradient; 0: no limit
    sizes_px: tuple[int, ...] = ()  # sides that the crops are brought to in equal parts of the run; empty: their own


@dataclass(frozen=True, slots=True)
class StopConfig:
    """The paper's rule: stop when validation accuracy falls while its loss rises."""

    patience: int = 10  # epochs in a row that are worse in both than the best so far; 0: never stop early


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """Networks whose answers are learned beside the labels (Hinton et al. 2015, "Distilling the Knowledge")."""

    models: tuple[str, ...] = ()  # shipped models, ONNX files, checkpoints, whose answers are averaged; empty: none
    weight: float = 0.5  # of what they say; the labels have the rest
    temperature: float = 2.0  # that softens both sides


@dataclass(frozen=True, slots=True)
class PeopleConfig:
    """How the two heads of labels = "both" become one answer in seven labels; changes nothing in training."""

    fer2013_share: float = 0.0  # of FER2013's head in the geometric mean of both
    logit_adjustment: float = 0.0  # tau of Menon et al. 2021, "Long-tail learning via logit adjustment"; 0: none


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
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    people: PeopleConfig = field(default_factory=PeopleConfig)

    def __post_init__(self) -> None:
        """Raise RecipeError where a setting is out of range."""
        optimiser, augment, teacher = self.optimiser, self.augment, self.teacher
        checks = {
            "name": _is_plain_name(self.name),
            "seed": 0 <= self.seed < 2**32,
            "data.manifests": len(self.data.manifests) > 0,
            "data.labels": self.data.labels in ("label", "votes", "both", "label+votes"),
            "data.contrast": self.data.contrast in CONTRASTS,
            "data.normalisation": self.data.normalisation in NORMALISATIONS,
            "data.limit": self.data.limit >= 0,
            "data.balance": self.data.balance in BALANCES,
            "data.folds": self.data.folds == 0 or self.data.folds >= 2,
            "data.fold": 0 <= self.data.fold < max(1, self.data.folds),
            "model.dropout": 0 <= self.model.dropout < 1,
            "model.widths": all(width >= 1 for width in self.model.widths),
            "model.depths": all(depth >= 1 for depth in self.model.depths),
            "model.kernels": all(kernel >= 1 for kernel in self.model.kernels),
            "model.nodes": all(count >= 1 for count in self.model.nodes),
            "optimiser.method": optimiser.method in ("sgd", "adamw"),
            "optimiser.learning_rate": 0 < optimiser.learning_rate < math.inf,
            "optimiser.schedule": optimiser.schedule in ("cosine", "step", "constant"),
            "optimiser.momentum": 0 <= optimiser.momentum < 1,
            "optimiser.weight_decay": 0 <= optimiser.weight_decay < math.inf,
            "optimiser.batch_size": optimiser.batch_size >= (2 if self.model.batch_norm else 1),
            "optimiser.epochs": optimiser.epochs >= 1,
            "optimiser.warmup_epochs": 0 <= optimiser.warmup_epochs <= optimiser.epochs,
            "optimiser.label_smoothing": 0 <= optimiser.label_smoothing < 1,
            "optimiser.margin": 0 <= optimiser.margin <= (1 if self.model.cosine else 0),
            "optimiser.average": 0 <= optimiser.average < 1,
            "optimiser.clip_norm": 0 <= optimiser.clip_norm < math.inf,
            "optimiser.sizes_px": all(8 <= side <= 1024 for side in optimiser.sizes_px),
            "augment.rotation_deg": 0 <= augment.rotation_deg <= 180,
            "augment.shift": 0 <= augment.shift < 1,
            "augment.zoom": 0 <= augment.zoom < 1,
            "augment.brightness": 0 <= augment.brightness <= 1,
            "augment.contrast": 0 <= augment.contrast < 10,
            "augment.camera": 0 <= augment.camera <= 1,
            "augment.erase": 0 <= augment.erase <= 1,
            "augment.mixup": augment.mixup == 0 or 0.05 <= augment.mixup <= 100,  # below, Beta(a, a) underflows
            "stop.patience": self.stop.patience >= 0,
            "teacher.weight": 0 <= teacher.weight <= 1,
            "teacher.temperature": 0.1 <= teacher.temperature <= 100,
            "people.fer2013_share": 0 <= self.people.fer2013_share <= 1,
            "people.logit_adjustment": 0 <= self.people.logit_adjustment < math.inf,
        }
        if wrong := [name for name, fits in checks.items() if not fits]:
            raise RecipeError(
                f"recipe {self.name!r}: out of range: {', '.join(wrong)}; docs/training.md gives the ranges"
            )


def _is_plain_name(name: str) -> bool:
    """Return whether a name can be that of a folder beside others."""
    short = len(name.encode("utf-8", "replace")) <= LONGEST_NAME
    return short and name.isprintable() and name not in ("", ".", "..") and not set(name) & set("/\\")


def read_recipe(path: str | Path) -> Recipe:
    """Return the recipe of a TOML file.  RecipeError names the file and the key that is missing, unknown or wrong.

    Its [search] section is left aside: `search_space.read_space` reads that.
    """
    fields = read_toml(path)
    fields.pop(SEARCH, None)
    try:
        recipe = _build(Recipe, fields, "")
    except InputError as error:
        raise RecipeError(f"{path}: {error}") from error
    assert isinstance(recipe, Recipe)
    return recipe


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return the tables of a recipe's file.  RecipeError where it cannot be read or is not TOML."""
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); expected a recipe") from error
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, a number of 5,000 digits, brackets without end
        raise RecipeError(f"{path}: not TOML ({error})") from error


def flatten(table: Mapping[str, Any], *, whole: Collection[str] = ()) -> dict[str, Any]:
    """Return the entries of nested tables under their dotted keys: TOML makes tables of a key that has no quotes.

    whole: a table with one of these keys is a value and stays.
    """
    entries: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict) and not value.keys() & set(whole):
            entries |= {f"{key}.{inner}": found for inner, found in flatten(value, whole=whole).items()}
        else:
            entries[key] = value
    return entries


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Return a recipe with some settings changed and named behind its name, so that it gets a folder of its own.

    settings: texts such as "augment.mixup=0.4", the value as in TOML; a bare word counts as a text.
    Raises RecipeError where a setting is unknown, of the wrong kind or out of range.
    """
    values: dict[str, object] = {}
    for setting in settings:
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals or key == "name":
            raise RecipeError(f"setting {setting!r}: expected KEY=VALUE with a key of a recipe, as augment.mixup=0.4")
        try:
            values[key] = tomllib.loads(f"value = {value}")["value"]
        except (ValueError, RecursionError):  # not TOML, a number of 5,000 digits, brackets without end
            values[key] = value
    name = " ".join([recipe.name, *(setting.replace("/", "_").replace("\\", "_") for setting in settings)])
    return with_values(recipe, values, name=shortened(name, LONGEST_NAME))


def with_values(recipe: Recipe, values: Mapping[str, object], *, name: str) -> Recipe:
    """Return a recipe under a name of its own with some values changed, each under its dotted key.

    Raises RecipeError where a key is unknown, or a value of the wrong kind or out of range.
    """
    fields = dataclasses.asdict(recipe)
    for key, value in values.items():
        *tables, last = key.split(".")
        place: Any = fields
        for table in tables:
            place = place.get(table) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise RecipeError(f"unknown key {key}; expected one of a recipe, as augment.mixup")
        place[last] = value
    fields["name"] = name
    return from_fields(fields)


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
        item_kind = typing.get_args(kind)[0]
        if isinstance(value, (list, tuple)) and all(type(item) is item_kind for item in value):
            return tuple(value)
        wanted = "a list of texts" if item_kind is str else "a list of whole numbers"
        raise RecipeError(f"{name} is {value!r}; expected {wanted}")
    if type(value) is kind:  # not isinstance: True is no integer here
        return value
    wanted = _KINDS[kind]
    raise RecipeError(f"{name} is {value!r}; expected {wanted}")

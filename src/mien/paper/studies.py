"""Which networks the page is made of: studies, each of them changes to one protocol."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mien.errors import RecipeError
from mien.paper.traditional import FEATURES
from mien.train.config import SEARCH, DataConfig, Recipe, flatten, from_fields, read_toml, with_values
from mien.train.teach import hashes_of_teachers

__all__ = ["STUDIES", "Run", "SearchPlan", "Studies", "identity", "read_studies", "search_identity"]

TRADITIONAL = "traditional"
SHIPPED = Path(__file__).with_name("studies.toml")

#: The studies that are made of single runs, in the order in which they are trained.
NETWORKS, FOLDS = "networks", "folds"
STUDIES = (NETWORKS, "parts", "balance", FOLDS)


@dataclass(frozen=True, slots=True)
class Run:
    """One network that is to be trained."""

    study: str
    variant: str
    recipe: Recipe  # named after study, variant and seed

    @property
    def is_tested(self) -> bool:
        """Return whether it is scored on test as well and timed, and what it predicted and its curves are kept."""
        return self.study == NETWORKS


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """The search that each strategy makes."""

    recipe: Recipe
    space: Mapping[str, Any]  # as the [search] section of a recipe
    trials: int


@dataclass(frozen=True, slots=True)
class Studies:
    """What is to be trained for the page."""

    runs: tuple[Run, ...] = ()  # a study's first seed before its second, so that the page fills up evenly
    ways: tuple[str, ...] = ()  # of traditional.FEATURES
    search: SearchPlan | None = None
    faces: int = 0  # of each split, of which a quick look is made
    unusable: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by study: variants, and why

    def of(self, study: str) -> dict[str, list[Run]]:
        """Return a study's runs by their variant, in the order of the file."""
        found: dict[str, list[Run]] = {}
        for run in self.runs:
            if run.study == study:
                found.setdefault(run.variant, []).append(run)
        return found


def read_studies(path: str | Path | None, *, data: str | Path, quick: bool = False) -> Studies:
    """Return the studies of a file, of the one that ships where none is named, on a dataset.

    quick: with the settings that the file's [quick] table names, and the first seed alone.
    A variant whose settings cannot be is unusable, and the others are none the worse for it.  RecipeError names the
    file and what else is unknown, missing or out of range in it.
    """
    path = path or SHIPPED
    tables = read_toml(path)
    try:
        if unknown := sorted(tables.keys() - {"protocol", "quick", TRADITIONAL, SEARCH, *STUDIES}):
            raise RecipeError(
                f"unknown table [{unknown[0]}]; known: protocol, quick, {TRADITIONAL}, {SEARCH}, {', '.join(STUDIES)}"
            )
        protocol = from_fields(_table(tables, "protocol"))
        protocol = replace(protocol, data=replace(protocol.data, manifests=(str(data),)))
        faces, sample = _quick(tables)
        sample = sample if quick else {}
        unusable: dict[str, dict[str, str]] = {}
        runs = [
            run
            for study in STUDIES
            if study in tables
            for run in _runs(protocol, tables, study, sample, quick, unusable.setdefault(study, {}))
        ]
        search = _search(protocol, tables, sample) if SEARCH in tables else None
        return Studies(tuple(runs), _ways(tables), search, faces, unusable)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error


def identity(recipe: Recipe) -> str:
    """Return the SHA-256 of what makes a training run this one: all settings but the names of run, data and licence.

    Settings that are as they would be by themselves do not count, so that new ones leave it as it is; teachers count by
    their files.  RecipeError where one is not there.
    """
    plain = dataclasses.asdict(replace(recipe, name="any", licence="", data=replace(recipe.data, manifests=("any",))))
    usual = flatten(dataclasses.asdict(Recipe("any", licence="", data=DataConfig(("any",)))))
    counted = {key: value for key, value in flatten(plain).items() if value != usual[key]}
    if recipe.teacher.models:
        counted["teacher.models"] = hashes_of_teachers(recipe)
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


def search_identity(plan: SearchPlan) -> str:
    """Return the SHA-256 of what makes a search this one.  RecipeError as of `identity`."""
    kept = [identity(plan.recipe), dict(plan.space), plan.trials]
    # default: TOML has dates, which no setting takes.
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def _runs(
    protocol: Recipe, tables: Mapping[str, Any], study: str, sample: Mapping[str, Any], quick: bool,
    unusable: dict[str, str],
) -> list[Run]:  # fmt: skip
    """Return the runs of a study; of a variant that cannot be, `unusable` gets to know why."""
    table = _table(tables, study)
    if unknown := sorted(table.keys() - {"seeds", "settings", "variants"}):
        raise RecipeError(f"unknown key {study}.{unknown[0]}; known: seeds, settings, variants")
    seeds, variants = table.get("seeds", [0]), table.get("variants")
    if not (isinstance(seeds, list) and seeds and len({*map(str, seeds)}) == len(seeds)):
        raise RecipeError(f"{study}.seeds is {seeds!r}; expected a list of whole numbers, each once")
    if study in (NETWORKS, FOLDS) and len(seeds) > 1:
        raise RecipeError(f"{study}.seeds is {seeds!r}; expected one: the page shows one run of each variant")
    if not (isinstance(variants, dict) and variants):
        raise RecipeError(f"[{study}]: expected a table of variants")
    runs, settings = [], _settings(table, "settings", study)
    for seed in seeds[:1] if quick else seeds:
        for variant in variants:
            name = f"{study} {variant} seed={seed}".replace("/", "_").replace("\\", "_")
            try:
                values = {**settings, **_settings(variants, variant, study), **sample, "seed": seed}
                runs.append(Run(study, variant, with_values(protocol, values, name=name)))
            except RecipeError as error:
                unusable[variant] = str(error)
    return runs


def _ways(tables: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which traditional ways are fitted; none where the file does not say."""
    table = tables.get(TRADITIONAL, {"ways": []})
    ways = table.get("ways") if isinstance(table, dict) and set(table) == {"ways"} else None
    if not isinstance(ways, list) or not set(map(str, ways)) <= FEATURES.keys():
        raise RecipeError(f"[{TRADITIONAL}]: expected ways, a list of {', '.join(FEATURES)}")
    return tuple(ways)


def _settings(table: Mapping[str, Any], name: str, place: str) -> dict[str, Any]:
    """Return a table of settings under their dotted keys; empty where there is none of that name."""
    settings = table.get(name, {})
    if not isinstance(settings, dict):
        raise RecipeError(f"{place}: {name!r} is {settings!r}; expected a table of settings")
    values = flatten(settings)
    if fixed := sorted(values.keys() & {"name", "seed", "data.manifests"}):
        raise RecipeError(f"{place}: {name!r} sets {fixed[0]}, which is not for a study to change")
    return values


def _quick(tables: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return of how many faces a quick look is made, and with which settings."""
    table = _table(tables, "quick")
    faces = table.get("faces")
    if table.keys() - {"faces", "settings"} or type(faces) is not int or faces < 1:
        raise RecipeError("[quick]: expected faces, a whole number from 1, and a table of settings")
    return faces, _settings(table, "settings", "quick")


def _search(protocol: Recipe, tables: Mapping[str, Any], sample: Mapping[str, Any]) -> SearchPlan:
    """Return the search."""
    table = _table(tables, SEARCH)
    if table.keys() - {"trials", "settings", "space"} or not isinstance(table.get("space"), dict):
        raise RecipeError(f"[{SEARCH}]: expected trials, settings and a table space, as the [search] of a recipe")
    trials = table.get("trials", 10)
    if type(trials) is not int or trials < 1:
        raise RecipeError(f"{SEARCH}.trials is {trials!r}; expected a whole number from 1")
    values = {**_settings(table, "settings", SEARCH), **sample}
    recipe = with_values(protocol, values, name="search")
    return SearchPlan(recipe, table["space"], min(trials, 2) if sample else trials)


def _table(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a table of the file."""
    table = tables.get(name)
    if not isinstance(table, dict):
        raise RecipeError(f"no table [{name}]")
    return table

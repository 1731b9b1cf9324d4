"""Every recipe that the repository holds can be read and run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mien.spec import CropSpec
from mien.train.config import dumps, read_recipe
from mien.train.fit import fit

MakeDataset = Callable[..., Path]
MakeModel = Callable[..., Path]
ROOT = Path(__file__).resolve().parent.parent.parent
RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))


def test_there_are_recipes() -> None:
    assert "paper-cnn" in [path.stem for path in RECIPES]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_named_as_its_file_and_survives_being_written(path: Path, tmp_path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    (tmp_path / "copy.toml").write_text(dumps(recipe), encoding="utf-8")
    assert read_recipe(tmp_path / "copy.toml") == recipe


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_tells_at_its_head_how_it_is_run(path: Path) -> None:
    head = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))
    assert head
    named = re.escape(path.relative_to(ROOT).as_posix())
    assert re.search(rf"^# mien (train|search) (\S+ )*{named} ", head.group(), flags=re.MULTILINE)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains(path: Path, make_dataset: MakeDataset, make_model: MakeModel, tmp_path: Path) -> None:
    recipe = read_recipe(path)
    teacher = make_model(answers=("fer2013", "ferplus"), crop=CropSpec(contrast=recipe.data.contrast))
    folder = make_dataset(train=70, val=28, votes=recipe.data.labels != "label")
    short = replace(
        recipe,
        data=replace(recipe.data, manifests=(str(folder),), limit=28),
        optimiser=replace(recipe.optimiser, epochs=1, warmup_epochs=0, batch_size=14),
        teacher=replace(recipe.teacher, models=(str(teacher),) * len(recipe.teacher.models)),  # quicker than its own
    )
    steps: list[int] = []
    result = fit(short, tmp_path / "run", on_batch=lambda _, done, of: steps.append(of))
    assert steps == [2, 2]
    assert (result.epochs, result.best_epoch) == (1, 1)
    assert (tmp_path / "run" / "best.pt").is_file()

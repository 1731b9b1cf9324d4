"""Studies: which runs there are, and which of them are the same."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mien.errors import RecipeError
from mien.paper.studies import identity, read_studies
from mien.train.config import ModelConfig, Recipe, with_values


def test_the_studies_that_ship_are_as_the_page_says() -> None:
    studies = read_studies(None, data="fer2013")
    parts = studies.of("parts")
    assert {len(runs) for runs in parts.values()} == {3}
    assert {run.recipe.optimiser.epochs for runs in parts.values() for run in runs} == {12}
    assert {run.recipe.seed for run in parts["as it is"]} == {0, 1, 2}
    assert {run.recipe.model.name for runs in studies.of("networks").values() for run in runs} == {
        "paper-cnn", "cross-lenet", "lu", "vgg", "resnet", "vit"
    }  # fmt: skip
    assert {run.recipe.data.balance for runs in studies.of("balance").values() for run in runs} == {
        "none", "loss", "sampling", "copies"
    }  # fmt: skip
    folds = [run.recipe.data for runs in studies.of("folds").values() for run in runs]
    assert sorted(data.fold for data in folds) == list(range(folds[0].folds))
    names = [run.recipe.name for run in studies.runs]
    assert len(set(names)) == len(names)


def test_each_part_changes_one_thing_of_the_protocol() -> None:
    parts = read_studies(None, data="x").of("parts")
    (start, *_) = parts["as it is"]
    assert len({identity(runs[0].recipe) for runs in parts.values()}) == len(parts)
    assert parts["dropout: none"][0].recipe.model == replace(start.recipe.model, dropout=0.0)
    assert parts["contrast: CLAHE"][0].recipe.data == replace(start.recipe.data, contrast="clahe")


def test_all_variants_of_a_seed_come_before_the_next_seed(studies: Path) -> None:
    seeds = [run.recipe.seed for run in read_studies(studies, data="x").runs if run.study == "parts"]
    assert seeds == [0, 0, 1, 1]


def test_quick_changes_what_the_file_says_and_takes_one_seed(studies: Path) -> None:
    quick = read_studies(studies, data="x", quick=True)
    assert {run.recipe.optimiser.epochs for run in quick.runs} == {1}
    assert [len(runs) for runs in quick.of("parts").values()] == [1, 1]


def test_the_studies_that_ship_can_be_looked_at_quickly() -> None:
    quick = read_studies(None, data="x", quick=True)
    assert {run.recipe.optimiser.epochs for run in quick.runs} == {2}


def test_a_run_is_the_same_whatever_it_and_its_data_are_called() -> None:
    recipe = Recipe("one", model=ModelConfig("vgg"))
    same = replace(recipe, name="two", licence="CC0", data=replace(recipe.data, manifests=("elsewhere",)))
    assert identity(recipe) == identity(same)
    for key, value in {"seed": 1, "model.widths": [8, 8], "data.balance": "loss", "optimiser.epochs": 3}.items():
        assert identity(with_values(recipe, {key: value}, name="one")) != identity(recipe)


def test_a_setting_that_is_spelled_out_as_it_is_by_itself_changes_nothing() -> None:
    assert identity(with_values(Recipe("one"), {"optimiser.momentum": 0.9}, name="one")) == identity(Recipe("one"))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[parts]", "[pieces]", r"unknown table \[pieces\]"),
        ("seeds = [0, 1]", "seed = [0, 1]", r"unknown key parts\.seed"),
        ("seeds = [0, 1]", "seeds = []", r"parts\.seeds is \[\]"),
        ("seeds = [0, 1]", "seeds = [0, 0]", r"parts\.seeds is \[0, 0\]"),
        ("[networks]", "[networks]\nseeds = [0, 1]", r"networks\.seeds is \[0, 1\]; expected one"),
        ("settings = { data.folds = 2 }", "settings = 3", "folds: 'settings' is 3"),
        ("faces = 21", "faces = 0", r"\[quick\]: expected faces"),
        ('ways = ["DCT + SVM"]', 'ways = ["LBP"]', r"\[traditional\]: expected ways, a list of HOG"),
        ("trials = 2", "trials = 0", r"search\.trials is 0"),
        ('[protocol]\nname = "paper"', "", "name is missing"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_the_file(studies: Path, old: str, new: str, told: str) -> None:
    text = studies.read_text()
    assert old in text
    studies.write_text(text.replace(old, new))
    with pytest.raises(RecipeError, match=told) as raised:
        read_studies(studies, data="x")
    assert str(raised.value).startswith(f"{studies}: ")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("model.dropout = 0 }", "seed = 3 }", "sets seed, which is not for a study to change"),
        ('"dropout: none" = { model.dropout = 0 }', '"dropout: none" = 3', "expected a table of settings"),
        ("model.dropout = 0 }", "model.dropout = 2 }", r"out of range: model\.dropout"),
        ("model.dropout = 0 }", "model.drop = 0 }", r"unknown key model\.drop"),
    ],
)
def test_a_variant_that_cannot_be_costs_itself_alone(studies: Path, old: str, new: str, told: str) -> None:
    text = studies.read_text()
    whole = read_studies(studies, data="x")
    studies.write_text(text.replace(old, new))
    found = read_studies(studies, data="x")
    assert [run for run in whole.runs if run.variant != "dropout: none"] == list(found.runs)
    assert list(found.unusable["parts"]) == ["dropout: none"]
    assert re.search(told, found.unusable["parts"]["dropout: none"])

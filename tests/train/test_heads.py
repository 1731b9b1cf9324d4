"""A run with two heads: each is trained, logged, calibrated and exported, and so is what both say together."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.classify import Classifier
from mien.data.manifest import read, write
from mien.errors import DataError, InputError
from mien.labels import FER2013, FERPLUS
from mien.metrics import log_loss
from mien.train import checkpoint, run_folder
from mien.train import fit as fit_module
from mien.train.config import PeopleConfig, Recipe, read_recipe
from mien.train.curves import COLUMNS
from mien.train.dataset import load
from mien.train.export import export
from mien.train.fit import fit
from mien.train.validate import asked, mean_probabilities, predict_views
from mien.types import FloatArray

MakeDataset = Callable[..., Path]
MakeRecipe = Callable[..., Recipe]
WeightsOf = Callable[..., str]
CPU = torch.device("cpu")
NAMES = ("people", "fer2013", "ferplus")

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def recipe(make_dataset: MakeDataset, make_recipe: MakeRecipe) -> Recipe:
    """Return a recipe of two heads on data of which nobody voted on every third crop."""
    return make_recipe(make_dataset(votes=True, silent=slice(None, None, 3)), labels="both", epochs=1)


def said(recipe: Recipe, folder: Path) -> dict[str, FloatArray]:
    """Return what each answer of a run says of the whole validation split."""
    predictor, _, specs = checkpoint.load_predictor(folder / "best.pt")
    views = predict_views(predictor, load(recipe.data).val, CPU, mirror=recipe.mirror)
    return {name: mean_probabilities(views, predictor.answer(name)) for name in specs}


def never(*_: object) -> None:
    raise AssertionError("it trained again")


def test_the_log_tells_of_each_head_where_it_was_asked_something(recipe: Recipe, tmp_path: Path) -> None:
    result = fit(recipe, tmp_path / "run")
    with (result.folder / "log.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == [*COLUMNS, "val_accuracy_fer2013", "val_accuracy_ferplus"]
    accuracies = [float(row[f"val_accuracy_{name}"]) for name in NAMES[1:]]
    assert float(row["val_accuracy"]) == pytest.approx(sum(accuracies) / 2, abs=1e-5)
    assert result.val_accuracy == pytest.approx(float(row["val_accuracy"]), abs=1e-5)

    predictor, _, _ = checkpoint.load_predictor(result.folder / "best.pt")
    val = load(recipe.data).val
    views = predict_views(predictor, val, CPU, mirror=True)
    losses = []
    for name, accuracy in zip(NAMES[1:], accuracies, strict=True):
        answer = predictor.answer(name)
        answer.temperature = 1.0  # the log is written before the fit of temperatures
        rows, expected = asked(answer, val)
        probabilities = mean_probabilities(views[:, rows], answer)
        assert (probabilities.argmax(1) == expected.argmax(1)).mean() == pytest.approx(accuracy, abs=1e-5)
        losses.append(log_loss(probabilities, expected))
    assert len(expected) < len(val)
    assert float(row["val_loss"]) == pytest.approx(sum(losses), abs=0.02)  # memory is laid out otherwise


def test_a_run_ends_in_a_file_with_three_answers(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, people=PeopleConfig(0.3, 0.5))
    folder, out = fit(recipe, tmp_path / "run").folder, tmp_path / "model.onnx"
    spec = export(folder / "best.pt", out)
    main = Classifier.load(out)
    assert main.answers == NAMES
    assert main.spec == spec
    crops = np.array(read(recipe.data.manifests[0]).crops[70:98])
    full_names = {"people": "run", "fer2013": "run-fer2013", "ferplus": "run-ferplus"}
    for name, shares in said(recipe, folder).items():
        answer = Classifier.load(out, answer=name)
        assert answer.spec.name == full_names[name]
        assert answer.spec.labels == (FERPLUS if name == "ferplus" else FER2013)
        np.testing.assert_allclose(answer.predict(crops), shares, atol=0.02)


def test_votes_can_help_the_label_without_an_answer_of_their_own(
    recipe: Recipe, tmp_path: Path, weights_of: WeightsOf
) -> None:
    recipe = replace(recipe, data=replace(recipe.data, labels="label+votes"))
    helped = fit(recipe, tmp_path / "helped").folder
    assert list(said(recipe, helped)) == ["fer2013"]
    with (helped / "log.csv").open(newline="") as file:
        assert list(next(csv.DictReader(file))) == list(COLUMNS)
    dataset = read(recipe.data.manifests[0])
    assert dataset.manifest.votes is not None
    others = replace(dataset.manifest, votes=np.roll(dataset.manifest.votes, 1, axis=1))
    write(others, np.array(dataset.crops), tmp_path / "others")
    data = replace(recipe.data, manifests=(str(tmp_path / "others"),))
    other = fit(replace(recipe, data=data), tmp_path / "other").folder
    assert weights_of(helped / "best.pt") != weights_of(other / "best.pt")
    export(helped / "best.pt", tmp_path / "model.onnx")
    model = Classifier.load(tmp_path / "model.onnx")
    assert (model.answers, model.spec.name, model.spec.labels) == (("fer2013",), "run", FER2013)


def test_votes_that_only_help_are_wanted_in_training_alone(recipe: Recipe, tmp_path: Path) -> None:
    dataset = read(recipe.data.manifests[0])
    assert dataset.manifest.votes is not None
    votes = dataset.manifest.votes.copy()
    votes[dataset.manifest.rows_in("val")] = 0
    write(replace(dataset.manifest, votes=votes), np.array(dataset.crops), tmp_path / "data")
    data = replace(recipe.data, manifests=(str(tmp_path / "data"),))
    fit(replace(recipe, data=replace(data, labels="label+votes")), tmp_path / "run")
    with pytest.raises(DataError, match="no usable row in split val for ferplus"):
        load(data)


def test_each_answer_is_calibrated_on_what_it_is_asked(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, optimiser=replace(recipe.optimiser, epochs=3, label_smoothing=0.5))
    folder = fit(recipe, tmp_path / "run").folder
    predictor, _, specs = checkpoint.load_predictor(folder / "best.pt")
    assert len({spec.temperature for spec in specs.values()}) == 3
    val = load(recipe.data).val
    views = predict_views(predictor, val, CPU, mirror=True)
    for name, spec in specs.items():
        answer = predictor.answer(name)
        rows, expected = asked(answer, val)
        losses = []
        for factor in (1.0, 0.8, 1.2, 1 / spec.temperature):
            answer.temperature = min(max(spec.temperature * factor, 0.2), 5.0)
            losses.append(log_loss(mean_probabilities(views[:, rows], answer), expected))
        answer.temperature = spec.temperature
        assert min(losses) == pytest.approx(losses[0], abs=1e-4)


def test_how_heads_are_joined_can_be_changed_after_training(
    recipe: Recipe, tmp_path: Path, weights_of: WeightsOf
) -> None:
    first = fit(recipe, tmp_path / "run")
    folder = first.folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    weights, answers = weights_of(folder / "best.pt"), said(recipe, folder)
    joined = replace(recipe, people=PeopleConfig(0.4, 0.8))
    assert fit(joined, folder, resume=True, on_batch=never, on_epoch=never) == first
    changed = {path.name for path in folder.iterdir() if before.get(path.name) != path.read_bytes()}
    assert changed == {"recipe.toml", "best.pt"}
    assert read_recipe(folder / "recipe.toml") == joined
    assert checkpoint.load_predictor(folder / "best.pt")[1] == joined
    assert weights_of(folder / "best.pt") == weights
    now = said(recipe, folder)
    assert np.abs(now["people"] - answers["people"]).max() > 0.01
    for name in NAMES[1:]:
        np.testing.assert_array_equal(now[name], answers[name])

    settled = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert fit(joined, folder, resume=True) == first
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == settled, "nothing was left to do"
    with pytest.raises(InputError, match="another recipe"):
        fit(replace(joined, seed=1), folder, resume=True)


def test_a_change_that_was_broken_off_is_made_by_the_next_resume(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fit(recipe, tmp_path / "run").folder
    joined = replace(recipe, people=PeopleConfig(0.4, 0.8))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for home, name in ((run_folder, "write_text"), (fit_module, "calibrate")):
        with monkeypatch.context() as patch:
            patch.setattr(home, name, killed)
            with pytest.raises(KeyboardInterrupt):
                fit(joined, folder, resume=True)
        assert checkpoint.load_predictor(folder / "best.pt")[1] == recipe
    fit(joined, folder, resume=True)
    whole = fit(joined, tmp_path / "whole").folder
    assert read_recipe(folder / "recipe.toml") == joined
    assert checkpoint.load(folder / "best.pt")["specs"] == checkpoint.load(whole / "best.pt")["specs"]


def test_a_run_that_is_not_at_its_end_goes_on_with_heads_joined_otherwise(
    recipe: Recipe, tmp_path: Path, weights_of: WeightsOf
) -> None:
    recipe = replace(recipe, optimiser=replace(recipe.optimiser, epochs=2))
    joined = replace(recipe, people=PeopleConfig(0.4, 0.8))

    def stop(epoch: int, *_: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path / "run", on_batch=stop)
    folder, whole = fit(joined, tmp_path / "run", resume=True).folder, fit(joined, tmp_path / "whole").folder
    assert read_recipe(folder / "recipe.toml") == joined
    for name in ("best.pt", "last.pt"):
        assert weights_of(folder / name) == weights_of(whole / name)
    assert checkpoint.load(folder / "best.pt")["specs"] == checkpoint.load(whole / "best.pt")["specs"]

"""`mien train`: recipes in, exported networks out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.classify import Classifier
from mien.data.manifest import read
from mien.train import export as export_module
from mien.train import fit as fit_module
from mien.train.checkpoint import load_predictor
from mien.train.config import Recipe, read_recipe

MakeDataset = Callable[..., Path]
MakeModel = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]

RECIPE = """
name = "{name}"
[data]
manifests = ["nowhere"]
[model]
batch_norm = true
[optimiser]
epochs = {epochs}
batch_size = 7
"""


@pytest.fixture
def run(run_mien: Run) -> Run:
    """Return a function that runs `mien train` and gives (exit code, stdout, stderr)."""
    return partial(run_mien, "train")


def write_recipe(folder: Path, *, name: str = "short", epochs: int = 1, file: str = "short.toml") -> Path:
    path = folder / file
    path.write_text(RECIPE.format(name=name, epochs=epochs))
    return path


def quick_export(_: Path, out: Path) -> None:
    """Stand in for the export, which takes seconds."""
    out.write_bytes(b"exported")


def test_a_recipe_becomes_a_network_that_reads_crops_and_only_our_own_lines_are_printed(
    make_dataset: MakeDataset, tmp_path: Path, run: Run
) -> None:
    data, runs = make_dataset(train=14, val=7, test=7), tmp_path / "runs"
    command = (write_recipe(tmp_path), "--data", data, "--out", runs)
    code, out, err = run(*command)
    assert code == 0
    model = runs / "short" / "model.onnx"
    assert re.fullmatch(rf"short: \d+\.\d\d% on validation in epoch 1 of 1; {re.escape(str(model))}\n", out)
    first, second = err.splitlines()
    assert re.fullmatch(r"computing on .+ in (float32|bfloat16)", first)
    number = r"\d+\.\d+"
    pattern = rf"short, epoch 1/1: loss {number}, validation loss {number}, accuracy {number}%, \d+ images/s"
    assert re.fullmatch(pattern, second)
    assert {path.name for path in model.parent.iterdir()} == {
        "recipe.toml", "log.csv", "curves.png", "last.pt", "best.pt", "run.lock", "model.onnx",
    }  # fmt: skip
    assert read_recipe(model.parent / "recipe.toml").data.manifests == (str(data),)
    classifier = Classifier.load(model)
    assert classifier.spec.manifest_sha256 == read(data).manifest.sha256
    assert classifier.predict(np.zeros((2, 48, 48), np.uint8)).shape == (2, 7)

    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in model.parent.iterdir()}
    assert run(*command)[0] == 2
    assert run(*command, "--resume") == (0, out, first + "\n"), "a finished run is skipped"
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in model.parent.iterdir()} == before


def test_a_run_that_was_killed_before_its_export_is_exported_by_resume(
    make_dataset: MakeDataset, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Path) -> None:
        raise KeyboardInterrupt

    data = make_dataset(train=7, val=7, test=0)
    command = (write_recipe(tmp_path), "--data", data, "--out", tmp_path / "runs")
    monkeypatch.setattr(export_module, "export", killed)
    assert run(*command)[0] != 0
    monkeypatch.setattr(export_module, "export", quick_export)
    assert run(*command, "--resume")[0] == 0
    assert (tmp_path / "runs" / "short" / "model.onnx").read_bytes() == b"exported"


def test_heads_joined_otherwise_are_exported_again_without_training(
    make_dataset: MakeDataset, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[float] = []

    def noted_export(checkpoint: Path, out: Path) -> None:
        exported.append(load_predictor(checkpoint)[1].people.logit_adjustment)
        quick_export(checkpoint, out)

    monkeypatch.setattr(export_module, "export", noted_export)
    data = make_dataset(train=7, val=7, test=0, votes=True)
    recipe = write_recipe(tmp_path)
    recipe.write_text(recipe.read_text().replace("[data]", '[data]\nlabels = "both"'))
    command = (recipe, "--data", data, "--out", tmp_path / "runs", "--resume")
    assert run(*command)[0] == 0
    with recipe.open("a") as file:
        file.write("[people]\nlogit_adjustment = 0.5\n")
    for _ in range(2):
        code, _, err = run(*command)
        assert code == 0
        assert "epoch" not in err, "it trained again"
    assert exported == [0.0, 0.5]


@pytest.mark.parametrize("seeds", [(), (3, 4)])
def test_changed_settings_and_seeds_make_runs_of_their_own(
    make_dataset: MakeDataset, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, seeds: tuple[int, ...]
) -> None:
    monkeypatch.setattr(export_module, "export", quick_export)
    options = [part for seed in seeds for part in ("--seed", str(seed))]
    data = make_dataset(train=7, val=7, test=0)
    code, out, _ = run(
        write_recipe(tmp_path), "--data", data, "--out", tmp_path / "runs", "--set", "augment.flip=false", *options
    )
    assert code == 0
    names = [f"short augment.flip=false seed={seed}" for seed in seeds] or ["short augment.flip=false"]
    assert [line.partition(":")[0] for line in out.splitlines()] == names
    for name, seed in zip(names, seeds or (0,), strict=True):
        recipe = read_recipe(tmp_path / "runs" / name / "recipe.toml")
        assert (recipe.name, recipe.seed, recipe.augment.flip) == (name, seed, False)


def test_several_recipes_run_in_a_row_and_may_train_on_several_datasets(
    make_dataset: MakeDataset, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "export", quick_export)
    folders = make_dataset("a", train=7, val=7, test=0), make_dataset("b", train=7, val=7, test=0, seed=1)
    recipes = [write_recipe(tmp_path, name=name, file=f"{name}.toml") for name in ("one", "two")]
    code, out, _ = run(*recipes, "--data", folders[0], "--data", folders[1], "--out", tmp_path / "runs")
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines()] == ["one", "two"]
    for name in ("one", "two"):
        recipe = read_recipe(tmp_path / "runs" / name / "recipe.toml")
        assert recipe.data.manifests == tuple(map(str, folders))


def test_ctrl_c_leaves_what_resume_goes_on_from(
    make_dataset: MakeDataset, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "export", quick_export)
    command = (
        write_recipe(tmp_path, epochs=2), "--data", make_dataset(train=7, val=7, test=0), "--out", tmp_path / "runs",
    )  # fmt: skip
    train_epoch = fit_module.train_epoch

    def interrupted(*arguments: Any) -> tuple[float, int]:
        if arguments[3] == 2:
            raise KeyboardInterrupt
        return train_epoch(*arguments)

    monkeypatch.setattr(fit_module, "train_epoch", interrupted)
    code, out, err = run(*command)
    assert code == 130
    assert out == ""
    last = err.splitlines()[-1]
    assert last == f"stopped; `--resume` goes on from the last whole epoch in {tmp_path / 'runs' / 'short'}"
    monkeypatch.setattr(fit_module, "train_epoch", train_epoch)
    code, out, err = run(*command, "--resume")
    assert code == 0
    assert [line.partition(":")[0] for line in err.splitlines()[1:]] == ["short, epoch 2/2"]


def test_a_name_that_looks_like_markup_is_printed_as_it_is(
    make_dataset: MakeDataset, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "export", quick_export)
    recipe = write_recipe(tmp_path, name="[red]$x$ :smile: [b]")
    code, out, err = run(recipe, "--data", make_dataset(train=7, val=7, test=0), "--out", tmp_path / "runs")
    assert code == 0
    assert out.startswith("[red]$x$ :smile: [b]: ")
    assert err.splitlines()[1].startswith("[red]$x$ :smile: [b], epoch 1/1")


def one_line(told: tuple[int, str, str]) -> str:
    """Return the error of a command that could do nothing: exit code 2, one line on stderr, nothing on stdout."""
    code, out, err = told
    assert code == 2
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("computing on ")]
    assert len(lines) == 1
    assert lines[0].startswith("mien: ")
    return lines[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "x"\nspeed = 3', r"recipe\.toml: unknown key speed; known here: name"),
        ('name = "x"\n[optimiser]\nepochs = 0', r"recipe\.toml: .*out of range: optimiser\.epochs"),
        ('name = "x"\n[model]\nname = "lenet"', r"unknown model 'lenet'; known: .*paper-cnn"),
        ("name = 'x", r"recipe\.toml: not TOML"),
        ("\x00\x01", r"recipe\.toml: not TOML"),
    ],
)
def test_a_bad_recipe_is_one_line(make_dataset: MakeDataset, tmp_path: Path, run: Run, text: str, said: str) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    told = run(tmp_path / "recipe.toml", "--data", make_dataset(), "--out", tmp_path / "runs")
    assert re.search(said, one_line(told))
    assert not (tmp_path / "runs").exists()


def test_a_recipe_or_dataset_that_is_not_there_is_one_line(tmp_path: Path, run: Run) -> None:
    assert "absent.toml: cannot be read" in one_line(run(tmp_path / "absent.toml"))
    told = run(write_recipe(tmp_path), "--out", tmp_path / "runs")
    assert "nowhere: no dataset there" in one_line(told)
    assert not (tmp_path / "runs").exists()


def test_a_bad_recipe_among_several_is_told_before_any_is_trained(
    make_dataset: MakeDataset, tmp_path: Path, run: Run
) -> None:
    good = write_recipe(tmp_path)
    same = write_recipe(tmp_path, file="same.toml")
    (tmp_path / "bad.toml").write_text("speed = 1")
    options = ("--data", make_dataset(), "--out", tmp_path / "runs")
    assert "unknown key speed" in one_line(run(good, tmp_path / "bad.toml", *options))
    assert "two recipes are named 'short'" in one_line(run(good, same, *options))
    assert "two recipes are named 'short seed=1'" in one_line(run(good, *options, "--seed", "1", "--seed", "1"))
    assert "out of range: augment.mixup" in one_line(run(good, *options, "--set", "augment.mixup=-1"))
    pupil = write_recipe(tmp_path, name="pupil", file="pupil.toml")
    taught = f"teacher.models=['{tmp_path / 'runs' / 'short' / 'model.onnx'}']"
    told = one_line(run(pupil, *options, "--set", taught))
    assert "its teacher cannot be used" in told
    for bad, why in (('name = "nothing"', "nothing"), ("kernels = [99, 5, 3, 3]", "kernels")):
        odd = write_recipe(tmp_path, name="odd", file="odd.toml")
        odd.write_text(odd.read_text().replace("[model]", f"[model]\n{bad}"))
        assert why in one_line(run(good, odd, *options))
    assert "no dataset there" in one_line(run(good, pupil, "--data", tmp_path / "away", "--out", tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_where_one_of_several_recipes_fails_the_others_are_trained(
    make_dataset: MakeDataset, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "export", quick_export)
    train_epoch = fit_module.train_epoch

    def diverging(state: Any, recipe: Recipe, *arguments: Any) -> tuple[float, int]:
        return (float("nan"), 7) if recipe.name == "two" else train_epoch(state, recipe, *arguments)

    monkeypatch.setattr(fit_module, "train_epoch", diverging)
    recipes = [write_recipe(tmp_path, name=name, file=f"{name}.toml") for name in ("one", "two", "three")]
    command = (*recipes, "--data", make_dataset(train=7, val=7, test=0), "--out", tmp_path / "runs")
    code, out, err = run(*command)
    assert code == 1
    assert [line.partition(":")[0] for line in out.splitlines()] == ["one", "three"]
    assert "two: not trained: recipe 'two': the loss in epoch 1 is nan" in err
    assert err.endswith("1 of 3 not trained: two\n")
    assert "runs/one: a run is there already" in one_line(run(*command))
    monkeypatch.setattr(fit_module, "train_epoch", train_epoch)
    code, out, err = run(*command, "--resume")
    assert code == 0
    assert "two, epoch 1/1" in err
    assert "one, epoch" not in err, "it had ended"


def test_a_place_that_cannot_be_written_is_one_line(make_dataset: MakeDataset, tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").touch()
    told = run(write_recipe(tmp_path), "--data", make_dataset(), "--out", tmp_path / "file")
    assert re.search(r"file/short: cannot write there: Not a directory; choose another place", one_line(told))


def test_a_device_that_is_not_here_is_one_line(make_dataset: MakeDataset, tmp_path: Path, run: Run) -> None:
    told = run(write_recipe(tmp_path), "--data", make_dataset(), "--out", tmp_path / "runs", "--device", "abacus")
    assert "device 'abacus' is not here; expected one of cpu" in one_line(told)


def test_a_checkpoint_that_is_cut_in_half_is_one_line(make_dataset: MakeDataset, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "runs" / "short"
    folder.mkdir(parents=True)
    (folder / "last.pt").write_bytes(b"PK\x03\x04" + bytes(100))
    command = (write_recipe(tmp_path), "--data", make_dataset(), "--out", tmp_path / "runs")
    assert "last.pt: damaged or not a checkpoint" in one_line(run(*command, "--resume"))
    assert "a run is there already" in one_line(run(*command))
    assert [path.name for path in folder.iterdir()] == ["last.pt"]


def test_a_loss_that_is_no_number_is_one_line(
    make_dataset: MakeDataset, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_module, "train_epoch", lambda *_: (float("nan"), 7))
    told = run(write_recipe(tmp_path), "--data", make_dataset(val=7), "--out", tmp_path / "runs")
    assert "recipe 'short': the loss in epoch 1 is nan in training" in one_line(told)


@pytest.mark.parametrize("file", ["model.onnx", "best.pt"])
def test_a_teacher_may_be_made_by_an_earlier_recipe_of_the_same_command(
    make_dataset: MakeDataset,
    make_model: MakeModel,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
) -> None:
    model = make_model()
    monkeypatch.setattr(export_module, "export", lambda _, out: shutil.copy(model, out))
    teacher, pupil = write_recipe(tmp_path), tmp_path / "pupil.toml"
    path = tmp_path / "runs" / "short" / file
    pupil.write_text(RECIPE.format(name="pupil", epochs=1) + f"\n[teacher]\nmodels = ['{path}']\n")
    code, out, _ = run(teacher, pupil, "--data", make_dataset(), "--out", tmp_path / "runs")
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines()] == ["short", "pupil"]

"""A run learns, writes what it says, refuses what it cannot do, and goes on bit for bit."""

from __future__ import annotations

import csv
import hashlib
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from mien.data.manifest import read
from mien.errors import DataError, InputError, ModelError, OutputError, RecipeError
from mien.files import write_text
from mien.metrics import log_loss
from mien.spec import ModelSpec
from mien.train import checkpoint
from mien.train import fit as fit_module
from mien.train.config import DataConfig, ModelConfig, OptimiserConfig, Recipe, StopConfig, read_recipe
from mien.train.curves import Row
from mien.train.dataset import CropTable, load
from mien.train.fit import FILES, State, fit, judge, start, train_epoch
from mien.train.models import registry
from mien.train.network import Predictor
from mien.train.validate import mean_probabilities, predict_views
from mien.types import IntArray

MakeDataset = Callable[..., Path]
CPU = torch.device("cpu")


class Tiny(nn.Module):
    """A network with all that a run has to keep: batch normalisation, dropout, weights of several shapes."""

    def __init__(self, *, channels: int, labels: int, size_px: int, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 8, 5, stride=3, bias=not batch_norm),
            *([nn.BatchNorm2d(8)] if batch_norm else []),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(8 * 15 * 15, labels),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.layers(inputs)
        return logits


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MODELS, "tiny", Tiny)


def make_recipe(folder: Path, *, model: str = "tiny", patience: int = 0, **optimiser: Any) -> Recipe:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 16, "label_smoothing": 0.1, "average": 0.9, **optimiser}
    return Recipe(
        "run",
        data=DataConfig(manifests=(str(folder),)),
        model=ModelConfig(model, dropout=0.3, batch_norm=True),
        optimiser=OptimiserConfig(**settings),
        stop=StopConfig(patience),
    )


def sha256_of_weights(path: Path, part: str = "weights") -> str:
    summed = hashlib.sha256()
    for name, values in checkpoint.load(path)[part].items():
        summed.update(name.encode())
        summed.update(values.contiguous().numpy().tobytes())
    return summed.hexdigest()


def log_of(folder: Path) -> list[dict[str, str]]:
    """Return the rows of log.csv without the columns that the clock decides."""
    with (folder / "log.csv").open(newline="") as file:
        return [
            {name: row[name] for name in row if name not in ("images_per_s", "seconds")} for row in csv.DictReader(file)
        ]


def test_a_run_learns_and_writes_what_it_says(make_dataset: MakeDataset, tmp_path: Path) -> None:
    recipe = make_recipe(make_dataset(train=140, val=35), model="paper-cnn", epochs=4, batch_size=20, average=0.0)
    seen: list[Row] = []
    batches: list[tuple[int, int, int]] = []
    result = fit(recipe, tmp_path / "run", on_epoch=seen.append, on_batch=lambda *at: batches.append(at))
    assert result.val_accuracy > 0.6, "chance is 0.14"
    assert seen[-1]["train_loss"] < seen[0]["train_loss"] + 1
    assert (result.epochs, result.stopped_early, result.folder) == (4, False, tmp_path / "run")
    assert batches == [(epoch, batch, 7) for epoch in range(1, 5) for batch in range(1, 8)]
    assert sorted(path.name for path in result.folder.iterdir()) == sorted(FILES)
    assert read_recipe(result.folder / "recipe.toml") == recipe
    assert [row["epoch"] for row in log_of(result.folder)] == ["1", "2", "3", "4"]
    with Image.open(result.folder / "curves.png") as picture:
        assert picture.width > 800
    best = max(seen, key=lambda row: row["val_accuracy"])
    assert (result.best_epoch, result.val_accuracy) == (best["epoch"], best["val_accuracy"])
    predictor, _, spec = checkpoint.load_predictor(result.folder / "best.pt")
    data = load(recipe.data)
    probabilities = mean_probabilities(predict_views(predictor, data.val, CPU, mirror=True), 1.0)
    assert (probabilities.argmax(1) == data.val.targets.argmax(1)).mean() == result.val_accuracy
    assert log_loss(probabilities, data.val.targets) == pytest.approx(
        best["val_loss"], abs=0.01
    )  # memory is laid out otherwise
    assert spec.manifest_sha256 == read(recipe.data.manifests[0]).manifest.sha256
    assert (spec.name, spec.mirror, spec.licence) == ("run", True, "MIT")


KILLED = """
import os, signal, sys
from mien.train.config import read_recipe
from mien.train.fit import fit

recipe, folder, epoch, batch = sys.argv[1:]

def on_batch(at_epoch, done, steps):
    if (at_epoch, done) == (int(epoch), int(batch)):
        os.kill(os.getpid(), signal.SIGKILL)

fit(read_recipe(recipe), folder, on_batch=on_batch)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_run_killed_in_the_middle_of_an_epoch_ends_with_the_same_weights(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    recipe = make_recipe(make_dataset(train=48, val=14), model="paper-cnn", epochs=2)
    assert min(recipe.model.dropout, recipe.optimiser.average, recipe.augment.rotation_deg) > 0
    whole = fit(recipe, tmp_path / "whole").folder
    for epoch, batch in ((2, 2), (1, 2)):
        killed = tmp_path / f"killed-{epoch}"
        arguments = [str(whole / "recipe.toml"), str(killed), str(epoch), str(batch)]
        assert subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False).returncode == -signal.SIGKILL
        assert (killed / "last.pt").is_file() == (epoch > 1)
        batches: list[tuple[int, int, int]] = []
        fit(recipe, killed, resume=True, on_batch=lambda *at, to=batches: to.append(at))
        assert batches[0] == (epoch, 1, 3), "it begins with the epoch that was broken off"
        for name, part in (("best.pt", "weights"), ("last.pt", "weights"), ("last.pt", "averaged")):
            assert sha256_of_weights(killed / name, part) == sha256_of_weights(whole / name, part)
        assert log_of(killed) == log_of(whole)
        assert checkpoint.load(killed / "best.pt")["spec"] == checkpoint.load(whole / "best.pt")["spec"]


def draw_quickly(path: Path, rows: list[Row], *, title: str) -> None:
    write_text(path, f"{title} {len(rows)}")


class Killed(BaseException):
    """Stands in for the end of the process."""


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("writer", ["checkpoint.save", "write_log", "draw_curves", "write_text"])
@pytest.mark.parametrize("after", [False, True])
def test_a_run_killed_at_any_write_ends_with_the_same_files(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, after: bool
) -> None:
    recipe = make_recipe(make_dataset(), epochs=2)
    monkeypatch.setattr(fit_module, "draw_curves", draw_quickly)
    fit(recipe, tmp_path / "whole")
    home: Any = checkpoint if writer.startswith("checkpoint") else fit_module
    name = writer.rpartition(".")[2]
    write = getattr(home, name)
    for number in range(1, 7):
        folder, calls = tmp_path / f"killed-{number}", 0

        def dying(*arguments: Any, at: int = number, **settings: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == at and not after:
                raise Killed
            write(*arguments, **settings)
            if calls == at:
                raise Killed

        monkeypatch.setattr(home, name, dying)
        try:
            fit(recipe, folder)
        except Killed:
            monkeypatch.setattr(home, name, write)
            fit(recipe, folder, resume=True)
        else:
            assert number > 1, "nothing was written so"
            return
        monkeypatch.setattr(home, name, write)
        assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
        assert log_of(folder) == log_of(tmp_path / "whole")
        for part in ("weights", "averaged"):
            assert sha256_of_weights(folder / "last.pt", part) == sha256_of_weights(tmp_path / "whole/last.pt", part)
        assert sha256_of_weights(folder / "best.pt") == sha256_of_weights(tmp_path / "whole/best.pt")
        assert checkpoint.load(folder / "best.pt")["spec"] == checkpoint.load(tmp_path / "whole/best.pt")["spec"]


@pytest.mark.usefixtures("tiny")
def test_half_written_files_of_a_killed_run_are_removed(make_dataset: MakeDataset, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (".last.pt.abc123.pt", ".best.pt.abc123.pt", ".curves.png.abc.png", "notes.txt", ".hidden"):
        (folder / name).write_bytes(b"half")
    fit(make_recipe(make_dataset(), epochs=1), folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "notes.txt", ".hidden"])


@pytest.mark.usefixtures("tiny")
def test_a_finished_run_is_returned_as_it_is(make_dataset: MakeDataset, tmp_path: Path) -> None:
    recipe = make_recipe(make_dataset())
    first = fit(recipe, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}

    def never(*_: object) -> None:
        raise AssertionError("it trained again")

    assert fit(recipe, tmp_path / "run", resume=True, on_batch=never) == first
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == before


@pytest.mark.usefixtures("tiny")
def test_a_folder_that_holds_a_run_is_refused_unless_it_goes_on(make_dataset: MakeDataset, tmp_path: Path) -> None:
    recipe = make_recipe(make_dataset(), epochs=1)
    fit(recipe, tmp_path / "run")
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with pytest.raises(InputError, match=r"a run is there already; --resume goes on"):
        fit(recipe, tmp_path / "run")
    with pytest.raises(InputError, match="another recipe"):
        fit(make_recipe(Path(recipe.data.manifests[0]), epochs=2), tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="another recipe"):
        fit(replace(recipe, seed=1), tmp_path / "run", resume=True)
    other = make_dataset("other", seed=1)
    with pytest.raises(InputError, match="trained on other data"):
        fit(replace(recipe, data=replace(recipe.data, manifests=(str(other),))), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


@pytest.mark.usefixtures("tiny")
def test_a_run_goes_on_where_its_data_has_moved_to(make_dataset: MakeDataset, tmp_path: Path) -> None:
    folder = make_dataset()
    recipe = make_recipe(folder, epochs=1)
    first = fit(recipe, tmp_path / "run")
    moved = folder.rename(tmp_path / "moved")
    recipe = replace(recipe, data=replace(recipe.data, manifests=(str(moved),)))
    assert fit(recipe, tmp_path / "run", resume=True) == first


@pytest.mark.usefixtures("tiny")
def test_a_last_checkpoint_that_is_damaged_or_of_another_kind_is_refused(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    recipe = make_recipe(make_dataset(), epochs=1)
    folder = fit(recipe, tmp_path / "run").folder
    whole = (folder / "last.pt").read_bytes()
    content = checkpoint.load(folder / "last.pt")
    for name in ("recipe", "spec", "weights", "averaged", "optimiser", "rows"):
        checkpoint.save(folder / "last.pt", {key: value for key, value in content.items() if key != name})
        with pytest.raises(ModelError, match="holds no run to go on with"):
            fit(recipe, folder, resume=True)
    checkpoint.save(folder / "last.pt", {**content, "weights": {"a": torch.zeros(1)}})
    with pytest.raises(ModelError, match="holds no run to go on with") as raised:
        fit(recipe, folder, resume=True)
    assert "\n" not in str(raised.value)
    (folder / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"last\.pt: damaged"):
        fit(recipe, folder, resume=True)


@pytest.mark.usefixtures("tiny")
def test_nothing_is_made_where_recipe_data_or_device_is_wrong(make_dataset: MakeDataset, tmp_path: Path) -> None:
    recipe = make_recipe(make_dataset())
    run = tmp_path / "run"
    with pytest.raises(DataError):
        fit(make_recipe(tmp_path / "absent"), run)
    with pytest.raises(RecipeError, match="unknown model"):
        fit(replace(recipe, model=ModelConfig("vgg")), run)
    with pytest.raises(InputError, match="is not here"):
        fit(recipe, run, device="abacus")
    assert not run.exists()
    with pytest.raises(OutputError):
        fit(recipe, Path(recipe.data.manifests[0]) / "crops.npy" / "run")


@pytest.mark.usefixtures("tiny")
def test_a_loss_that_is_no_number_ends_the_run_with_the_reason(make_dataset: MakeDataset, tmp_path: Path) -> None:
    recipe = make_recipe(make_dataset(), learning_rate=1e30, warmup_epochs=0)
    with pytest.raises(RecipeError, match=r"the loss in epoch 1 is .*lower the learning rate"):
        fit(recipe, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["recipe.toml"]


@pytest.mark.usefixtures("tiny")
def test_weights_that_break_in_the_very_last_step_are_not_kept(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(network: nn.Module, averaged: nn.Module, *_: object) -> tuple[float, int]:
        for parameter in averaged.parameters():
            parameter.data.fill_(math.nan)
        return 1.0, 1

    monkeypatch.setattr(fit_module, "train_epoch", breaking)
    with pytest.raises(RecipeError, match="nan in validation"):
        fit(make_recipe(make_dataset()), tmp_path / "run")
    assert not (tmp_path / "run" / "best.pt").exists()


@pytest.mark.usefixtures("tiny")
def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    recipe = make_recipe(make_dataset(), epochs=1)
    torch.manual_seed(123)  # what was drawn before has no say
    runs = [fit(replace(recipe, seed=seed), tmp_path / name).folder for seed, name in ((0, "a"), (0, "b"), (1, "c"))]
    first, again, other = (sha256_of_weights(folder / "last.pt") for folder in runs)
    assert first == again != other


@pytest.mark.usefixtures("tiny")
def test_every_crop_is_seen_once_an_epoch_in_an_order_of_its_own(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(make_dataset(train=70))
    data = load(recipe.data)
    state = start(recipe, spec_of(recipe), CPU)
    seen: list[np.ndarray] = []
    table = type(data.train)
    batch = table.batch

    def noted(self: CropTable, indices: IntArray) -> tuple[Tensor, Tensor]:
        seen.append(indices)
        return batch(self, indices)

    monkeypatch.setattr(table, "batch", noted)
    orders = []
    for epoch in (1, 2, 1):
        seen.clear()
        _, images = train_epoch(state.network, state.averaged, state.optimiser, recipe, data, epoch, CPU)
        orders.append(np.concatenate(seen).tolist())
        assert images == len(orders[-1]) == 64  # the last 6 make no whole batch
        assert len(set(orders[-1])) == 64
    assert orders[0] == orders[2] != orders[1]


def spec_of(recipe: Recipe) -> ModelSpec:
    data = load(recipe.data)
    return ModelSpec("run", data.labels, data.crop, 1.0, True, "MIT", data.manifest_sha256)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("train", "val", "batch_size", "batch_norm"),
    [(1, 1, 16, False), (2, 1, 16, True), (5, 1, 16, True), (3, 2, 1, False), (16, 7, 16, True)],
)
def test_very_small_datasets_can_be_trained_on(
    make_dataset: MakeDataset, tmp_path: Path, train: int, val: int, batch_size: int, batch_norm: bool
) -> None:
    recipe = make_recipe(make_dataset(train=train, val=val, test=0), epochs=1)
    recipe = replace(recipe, model=replace(recipe.model, batch_norm=batch_norm))
    recipe = replace(recipe, optimiser=replace(recipe.optimiser, batch_size=batch_size))
    batches: list[int] = []
    result = fit(recipe, tmp_path / "run", on_batch=lambda _, done, steps: batches.append(steps))
    assert batches == [max(1, train // batch_size)] * max(1, train // batch_size)
    assert 0 <= result.val_accuracy <= 1


def test_batch_normalisation_of_a_single_crop_is_refused(make_dataset: MakeDataset, tmp_path: Path) -> None:
    recipe = make_recipe(make_dataset(train=1), model="paper-cnn")
    with pytest.raises(RecipeError, match="wants at least two training crops"):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("tiny")
def test_the_averaged_weights_are_those_that_are_validated_and_kept(make_dataset: MakeDataset, tmp_path: Path) -> None:
    recipe = make_recipe(make_dataset(train=170), epochs=1)
    folder = fit(recipe, tmp_path / "run").folder
    assert sha256_of_weights(folder / "best.pt") == sha256_of_weights(folder / "last.pt", "averaged")
    assert sha256_of_weights(folder / "best.pt") != sha256_of_weights(folder / "last.pt")
    data = load(recipe.data)
    state = start(recipe, spec_of(recipe), CPU)
    fresh = [parameter.detach().clone() for parameter in state.network.parameters()]
    at: dict[int, list[Tensor]] = {}

    def note(_: int, done: int, steps: int) -> None:
        at[done] = [parameter.detach().clone() for parameter in state.network.parameters()]

    train_epoch(state.network, state.averaged, state.optimiser, recipe, data, 1, CPU, note)
    assert len(at) == 10
    # Updated after the eighth and the last step, by 9/10 and 9/11 of the way.
    for kept, first, eighth, last in zip(state.averaged.parameters(), fresh, at[8], at[10], strict=True):
        torch.testing.assert_close(kept.data, torch.lerp(torch.lerp(first, eighth, 0.9), last, 9 / 11))
    saved = checkpoint.load(folder / "best.pt")["weights"]
    assert all(torch.equal(kept, saved[name]) for name, kept in state.averaged.state_dict().items())


@pytest.mark.usefixtures("tiny")
def test_without_an_average_the_network_itself_is_kept(make_dataset: MakeDataset, tmp_path: Path) -> None:
    folder = fit(make_recipe(make_dataset(), average=0.0, epochs=1), tmp_path / "run").folder
    assert sha256_of_weights(folder / "best.pt") == sha256_of_weights(folder / "last.pt")


@pytest.mark.usefixtures("tiny")
def test_the_learning_rate_of_the_recipe_reaches_the_optimiser_and_the_log(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    recipe = make_recipe(make_dataset(), learning_rate=0.01, schedule="constant", epochs=2, warmup_epochs=1)
    fit(recipe, tmp_path / "run")
    assert [float(row["learning_rate"]) for row in log_of(tmp_path / "run")] == [0.01, 0.01]


@pytest.mark.usefixtures("tiny")
def test_the_gradient_is_no_longer_than_the_recipe_allows(make_dataset: MakeDataset) -> None:
    moved = []
    for clip_norm in (0.0, 0.01):
        recipe = make_recipe(
            make_dataset(train=16), clip_norm=clip_norm, momentum=0.0, weight_decay=0.0, warmup_epochs=0,
            learning_rate=1.0, average=0.0,
        )  # fmt: skip
        state = start(recipe, spec_of(recipe), CPU)
        before = nn.utils.parameters_to_vector(state.network.parameters()).detach().clone()
        train_epoch(state.network, state.averaged, state.optimiser, recipe, load(recipe.data), 1, CPU)
        after = nn.utils.parameters_to_vector(state.network.parameters()).detach()
        moved.append(float((after - before).norm()))
    assert moved[1] == pytest.approx(0.01, rel=1e-3)
    assert moved[0] > 0.1


@pytest.mark.usefixtures("tiny")
def test_the_temperature_of_the_kept_checkpoint_does_not_make_the_loss_worse(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    recipe = make_recipe(make_dataset(), label_smoothing=0.5)
    folder = fit(recipe, tmp_path / "run").folder
    predictor, _, spec = checkpoint.load_predictor(folder / "best.pt")
    assert predictor.temperature == spec.temperature != 1.0
    val = load(recipe.data).val
    views = predict_views(Predictor(predictor.network, spec.crop), val, CPU, mirror=True)
    before, after = (log_loss(mean_probabilities(views, value), val.targets) for value in (1.0, spec.temperature))
    assert after < before


def judged(patience: int, *validation: tuple[float, float], epochs: int = 100) -> tuple[list[bool], int]:
    """Return after which epochs the run would end, and the best epoch, of (accuracy, loss) epoch by epoch."""
    recipe = replace(make_recipe(Path("x"), patience=patience, epochs=epochs))
    network = nn.Linear(1, 1)
    state = State(network, network, torch.optim.SGD(network.parameters()), [])
    ends = []
    for number, (accuracy, loss) in enumerate(validation, start=1):
        row: Row = {"epoch": number, "val_accuracy": accuracy, "val_loss": loss}
        state.rows.append(row)
        ends.append(judge(state, recipe, row))
    assert state.best is not None
    return ends, int(state.best["epoch"])


def test_a_run_ends_when_accuracy_falls_while_the_loss_rises() -> None:
    """The paper's rule, section IV.B."""
    assert judged(1, (0.5, 1.0), (0.6, 0.9), (0.59, 0.95)) == ([False, False, True], 2)


def test_falling_accuracy_alone_or_rising_loss_alone_does_not_end_a_run() -> None:
    ends, best = judged(1, (0.5, 1.0), (0.4, 0.9), (0.5, 1.1), (0.45, 1.0), (0.6, 2.0))
    assert (ends, best) == ([False] * 5, 5)


def test_a_run_ends_after_as_many_worse_epochs_in_a_row_as_its_patience() -> None:
    worse, better_loss = (0.4, 1.1), (0.4, 0.9)
    assert judged(3, (0.5, 1.0), worse, worse, worse)[0] == [False, False, False, True]
    assert judged(3, (0.5, 1.0), worse, worse, better_loss, worse, worse)[0] == [False] * 6
    assert judged(3, (0.5, 1.0), worse, worse, (0.51, 3.0), (0.4, 3.1), (0.4, 3.1))[0] == [False] * 6


def test_patience_0_never_ends_a_run_before_its_last_epoch() -> None:
    assert judged(0, (0.5, 1.0), *[(0.1, 9.0)] * 4, epochs=5) == ([False] * 4 + [True], 1)


def test_of_equal_epochs_the_first_is_kept() -> None:
    assert judged(0, (0.5, 1.0), (0.6, 0.9), (0.6, 0.5))[1] == 2


@pytest.mark.usefixtures("tiny")
def test_a_run_that_stops_early_says_so_and_keeps_its_best_epoch(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(make_dataset(), epochs=9, patience=2)
    weights: list[str] = []

    def worse_and_worse(state: State, *_: object) -> Row:
        epoch = len(state.rows) + 1
        for parameter in state.averaged.parameters():
            parameter.data.add_(0.01)
        accuracy, loss = (0.5, 1.0) if epoch == 2 else (0.4, 1.0 + epoch)
        fields = dict.fromkeys(("learning_rate", "train_loss", "images_per_s", "seconds"), 1.0)
        weights.append(str([float(parameter.detach().sum()) for parameter in state.averaged.parameters()]))
        return {"epoch": epoch, "val_accuracy": accuracy, "val_loss": loss, **fields}

    monkeypatch.setattr(fit_module, "_run_epoch", worse_and_worse)
    result = fit(recipe, tmp_path / "run")
    assert (result.epochs, result.best_epoch, result.stopped_early) == (4, 2, True)
    content = checkpoint.load(result.folder / "best.pt")
    kept, _, _ = checkpoint.load_predictor(result.folder / "best.pt")
    assert str([float(parameter.detach().sum()) for parameter in kept.network.parameters()]) == weights[1]
    assert content["epoch"] == 2
    assert content["recipe"] == asdict(recipe)
    assert fit(recipe, tmp_path / "run", resume=True) == result

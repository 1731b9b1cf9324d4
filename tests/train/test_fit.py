"""A run learns, writes what it says and refuses what it cannot do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from mien.data.manifest import read
from mien.errors import DataError, InputError, OutputError, RecipeError
from mien.labels import FER2013
from mien.metrics import log_loss
from mien.spec import CropSpec
from mien.train import checkpoint
from mien.train import fit as fit_module
from mien.train.answers import HEADS, HeadAnswer
from mien.train.augment import degrade, mix, move
from mien.train.config import ModelConfig, Recipe, read_recipe
from mien.train.curves import Row
from mien.train.dataset import CropTable, load
from mien.train.devices import autocast
from mien.train.fit import fit, train_epoch
from mien.train.losses import cross_entropy
from mien.train.models import registry
from mien.train.models.resnet import ResNet
from mien.train.network import normalise, to_input
from mien.train.run_folder import FILES, LOCK
from mien.train.schedule import learning_rate_at
from mien.train.state import State, start
from mien.train.validate import mean_probabilities, predict_views
from mien.types import IntArray

MakeDataset = Callable[..., Path]
MakeRecipe = Callable[..., Recipe]
WeightsOf = Callable[..., str]
LogOf = Callable[[Path], list[dict[str, str]]]
CPU = torch.device("cpu")


def test_a_run_learns_and_writes_what_it_says(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe, log_of: LogOf
) -> None:
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
    predictor, _, specs = checkpoint.load_predictor(result.folder / "best.pt")
    data = load(recipe.data)
    views = predict_views(predictor, data.val, CPU, mirror=True)
    probabilities = mean_probabilities(views, HeadAnswer(*HEADS["label"]))
    assert (probabilities.argmax(1) == data.val.targets.argmax(1)).mean() == result.val_accuracy
    assert log_loss(probabilities, data.val.targets) == pytest.approx(
        best["val_loss"], abs=0.01
    )  # memory is laid out otherwise
    assert list(specs) == ["fer2013"]
    spec = specs["fer2013"]
    assert spec.manifest_sha256 == read(recipe.data.manifests[0]).manifest.sha256
    assert (spec.name, spec.labels, spec.mirror, spec.licence) == ("run", FER2013, True, "MIT")


@pytest.mark.usefixtures("tiny")
def test_nothing_is_made_where_recipe_data_or_device_is_wrong(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(make_dataset())
    run = tmp_path / "run"
    with pytest.raises(DataError):
        fit(make_recipe(tmp_path / "absent"), run)
    with pytest.raises(RecipeError, match="unknown model"):
        fit(replace(recipe, model=ModelConfig("lenet")), run)
    with pytest.raises(InputError, match="is not here"):
        fit(recipe, run, device="abacus")
    assert not run.exists()
    with pytest.raises(OutputError):
        fit(recipe, Path(recipe.data.manifests[0]) / "crops.npy" / "run")


@pytest.mark.usefixtures("tiny")
def test_a_set_that_lies_on_a_device_is_trained_on_alike(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(make_dataset(), epochs=2)
    fit(recipe, tmp_path / "mapped")
    asked: list[int] = []

    def noted(_: torch.device, size: int) -> bool:
        asked.append(size)
        return True

    monkeypatch.setattr(fit_module, "has_room", noted)
    fit(recipe, tmp_path / "resident")
    assert asked == [98 * 48 * 48]
    mapped, resident = (checkpoint.load(tmp_path / name / "last.pt") for name in ("mapped", "resident"))
    for key, weights in mapped["weights"].items():
        assert torch.equal(weights, resident["weights"][key])
    assert [row["val_loss"] for row in mapped["rows"]] == [row["val_loss"] for row in resident["rows"]]


@pytest.mark.usefixtures("tiny")
def test_a_loss_that_is_no_number_ends_the_run_with_the_reason(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(make_dataset(), learning_rate=1e30, warmup_epochs=0)
    with pytest.raises(RecipeError, match=r"the loss in epoch 1 is .*lower the learning rate"):
        fit(recipe, tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"recipe.toml", LOCK}


@pytest.mark.usefixtures("tiny")
def test_weights_that_break_in_the_very_last_step_are_not_kept(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_recipe: MakeRecipe
) -> None:
    def breaking(state: State, *_: object) -> tuple[float, int]:
        for parameter in state.averaged.parameters():
            parameter.data.fill_(math.nan)
        return 1.0, 1

    monkeypatch.setattr(fit_module, "train_epoch", breaking)
    with pytest.raises(RecipeError, match="nan in validation"):
        fit(make_recipe(make_dataset()), tmp_path / "run")
    assert not (tmp_path / "run" / "best.pt").exists()


@pytest.mark.usefixtures("tiny")
def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe, weights_of: WeightsOf
) -> None:
    recipe = make_recipe(make_dataset(), epochs=1)
    torch.manual_seed(123)  # what was drawn before has no say
    runs = [fit(replace(recipe, seed=seed), tmp_path / name).folder for seed, name in ((0, "a"), (0, "b"), (1, "c"))]
    first, again, other = (weights_of(folder / "last.pt") for folder in runs)
    assert first == again != other


@pytest.mark.usefixtures("tiny")
def test_every_crop_is_seen_once_an_epoch_in_an_order_of_its_own(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(make_dataset(train=70))
    data = load(recipe.data)
    state = start(recipe, data.crop, CPU)
    seen: list[np.ndarray] = []
    table = type(data.train)
    batch = table.batch

    def noted(self: CropTable, indices: IntArray) -> tuple[Tensor, Tensor]:
        seen.append(indices)
        return batch(self, indices)

    monkeypatch.setattr(table, "batch", noted)
    orders = []
    for epoch, seed in ((1, 0), (2, 0), (1, 0), (1, 1)):
        seen.clear()
        seeded = replace(recipe, seed=seed)
        _, images = train_epoch(state, seeded, data, epoch, CPU)
        orders.append(np.concatenate(seen).tolist())
        assert images == len(orders[-1]) == 64  # the last 6 make no whole batch
        assert len(set(orders[-1])) == 64
    assert orders[0] == orders[2]
    assert orders[0] not in (orders[1], orders[3])


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("train", "val", "batch_size", "batch_norm"),
    [(1, 1, 16, False), (2, 1, 16, True), (5, 1, 16, True), (3, 2, 1, False), (16, 7, 16, True)],
)
def test_very_small_datasets_can_be_trained_on(
    make_dataset: MakeDataset,
    tmp_path: Path,
    train: int,
    val: int,
    batch_size: int,
    batch_norm: bool,
    make_recipe: MakeRecipe,
) -> None:
    recipe = make_recipe(make_dataset(train=train, val=val, test=0), epochs=1)
    recipe = replace(recipe, model=replace(recipe.model, batch_norm=batch_norm))
    recipe = replace(recipe, optimiser=replace(recipe.optimiser, batch_size=batch_size))
    batches: list[int] = []
    result = fit(recipe, tmp_path / "run", on_batch=lambda _, done, steps: batches.append(steps))
    assert batches == [max(1, train // batch_size)] * max(1, train // batch_size)
    assert 0 <= result.val_accuracy <= 1


def test_batch_normalisation_of_a_single_crop_is_refused(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(make_dataset(train=1), model="paper-cnn")
    with pytest.raises(RecipeError, match="wants at least two training crops"):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("tiny")
def test_the_averaged_weights_are_those_that_are_validated_and_kept(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe, weights_of: WeightsOf
) -> None:
    recipe = make_recipe(make_dataset(train=170), epochs=1)
    folder = fit(recipe, tmp_path / "run").folder
    assert weights_of(folder / "best.pt") == weights_of(folder / "last.pt", "averaged")
    assert weights_of(folder / "best.pt") != weights_of(folder / "last.pt")
    data = load(recipe.data)
    state = start(recipe, data.crop, CPU)
    fresh = [parameter.detach().clone() for parameter in state.network.parameters()]
    at: dict[int, list[Tensor]] = {}

    def note(_: int, done: int, steps: int) -> None:
        at[done] = [parameter.detach().clone() for parameter in state.network.parameters()]

    train_epoch(state, recipe, data, 1, CPU, note)
    assert len(at) == 10
    # Updated after the eighth and the last step, by 9/10 and 9/11 of the way.
    for kept, first, eighth, last in zip(state.averaged.parameters(), fresh, at[8], at[10], strict=True):
        torch.testing.assert_close(kept.data, torch.lerp(torch.lerp(first, eighth, 0.9), last, 9 / 11))
    saved = checkpoint.load(folder / "best.pt")["weights"]
    assert all(torch.equal(kept, saved[name]) for name, kept in state.averaged.state_dict().items())


@pytest.mark.usefixtures("tiny")
def test_without_an_average_the_network_itself_is_kept(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe, weights_of: WeightsOf
) -> None:
    folder = fit(make_recipe(make_dataset(), average=0.0, epochs=1), tmp_path / "run").folder
    assert weights_of(folder / "best.pt") == weights_of(folder / "last.pt")


@pytest.mark.usefixtures("tiny")
def test_the_learning_rate_of_the_schedule_reaches_the_optimiser_and_the_log(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe, log_of: LogOf
) -> None:
    recipe = make_recipe(make_dataset(train=70), learning_rate=0.01)
    fit(recipe, tmp_path / "run")
    expected = [learning_rate_at(recipe.optimiser, step, 4) for step in (3, 7, 11)]
    assert [float(row["learning_rate"]) for row in log_of(tmp_path / "run")] == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("mixup", [0.0, 0.8])
def test_the_loss_is_that_of_augmented_mixed_normalised_crops_and_smoothed_labels(
    make_dataset: MakeDataset, make_recipe: MakeRecipe, mixup: float
) -> None:
    recipe = make_recipe(make_dataset(train=16), label_smoothing=0.4, learning_rate=1e-12)
    recipe = replace(recipe, model=replace(recipe.model, dropout=0.0))
    recipe = replace(recipe, augment=replace(recipe.augment, mixup=mixup, zoom=0.9, camera=1.0, brightness=0.8))
    data = load(recipe.data)
    state = start(recipe, data.crop, CPU)
    loss, _ = train_epoch(state, recipe, data, 4, CPU)
    generator = torch.Generator().manual_seed(4)  # of epoch 4, seed 0
    crops, targets = data.train.batch(torch.randperm(16, generator=generator).numpy())
    changed = move(to_input(crops), recipe.augment, generator=generator)
    changed, shares = mix(changed, targets, recipe.augment, generator=generator)
    changed = degrade(changed, recipe.augment, generator=generator)
    assert torch.equal(shares, targets) == (mixup == 0)
    inputs = normalise(changed, data.crop)
    plain = normalise(to_input(crops), data.crop)
    with torch.no_grad(), autocast(CPU):
        logits, unmoved = (state.network.train()(batch) for batch in (inputs, plain))
    assert loss == pytest.approx(float(cross_entropy(logits, shares, smoothing=0.4)), abs=0.002)
    for other in (cross_entropy(logits, shares), cross_entropy(unmoved, shares, smoothing=0.4)):
        assert abs(loss - float(other)) > 0.01, "the comparison above tells nothing"


@pytest.mark.usefixtures("tiny")
def test_the_gradient_is_no_longer_than_the_recipe_allows(make_dataset: MakeDataset, make_recipe: MakeRecipe) -> None:
    moved = []
    for clip_norm in (0.0, 0.01):
        recipe = make_recipe(
            make_dataset(train=16), clip_norm=clip_norm, momentum=0.0, weight_decay=0.0, warmup_epochs=0,
            learning_rate=1.0, average=0.0,
        )  # fmt: skip
        data = load(recipe.data)
        state = start(recipe, data.crop, CPU)
        before = nn.utils.parameters_to_vector(state.network.parameters()).detach().clone()
        train_epoch(state, recipe, data, 1, CPU)
        after = nn.utils.parameters_to_vector(state.network.parameters()).detach()
        moved.append(float((after - before).norm()))
    assert moved[1] == pytest.approx(0.01, rel=1e-3)
    assert moved[0] > 0.1


@pytest.mark.usefixtures("tiny")
def test_the_temperature_of_the_kept_checkpoint_does_not_make_the_loss_worse(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(make_dataset(), label_smoothing=0.5)
    folder = fit(recipe, tmp_path / "run").folder
    predictor, _, specs = checkpoint.load_predictor(folder / "best.pt")
    answer = predictor.answer()
    assert answer.temperature == specs["fer2013"].temperature != 1.0
    val = load(recipe.data).val
    views = predict_views(predictor, val, CPU, mirror=True)
    after = log_loss(mean_probabilities(views, answer), val.targets)
    assert after < log_loss(mean_probabilities(views, HeadAnswer(*HEADS["label"])), val.targets)


def test_crops_grow_as_the_recipe_says_and_are_validated_at_their_own_size(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: list[tuple[bool, int]] = []

    class Watched(ResNet):
        def forward(self, inputs: Tensor) -> Tensor:
            sides.append((self.training, inputs.shape[-1]))
            return super().forward(inputs)

    monkeypatch.setitem(registry.MODELS, "watched", Watched)
    recipe = make_recipe(make_dataset(train=16, val=7), model="watched", epochs=4, sizes_px=(24, 48))
    recipe = replace(recipe, mirror=False, model=replace(recipe.model, widths=(4,), depths=(1,)))
    fit(recipe, tmp_path / "run")
    trained = [side for training, side in sides if training]
    assert trained == [24, 24, 48, 48]
    # Before the run the network is asked whether it can read each size; the rest is validation and calibration.
    assert [side for training, side in sides if not training] == [24, 48, *[48] * 5]


def test_a_size_that_the_network_cannot_read_is_refused_before_anything_is_made(
    make_dataset: MakeDataset, tmp_path: Path, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(make_dataset(), model="paper-cnn", sizes_px=(48, 32))
    with pytest.raises(RecipeError, match="recipe 'run': paper-cnn cannot read crops of 32 pixels"):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    start(make_recipe(make_dataset(), model="paper-cnn", sizes_px=(48,)), CropSpec(), CPU)

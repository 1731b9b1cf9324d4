"""The training loop: a recipe to its best checkpoint, chosen on validation; resumes bit for bit."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mien.errors import InputError, ModelError, RecipeError
from mien.files import make_folder, write_text
from mien.metrics import log_loss
from mien.spec import ModelSpec
from mien.train import checkpoint
from mien.train.augment import augment
from mien.train.average import update_average
from mien.train.config import Recipe, dumps
from mien.train.curves import Row, draw_curves, write_log
from mien.train.dataset import TrainingData, load
from mien.train.devices import autocast, find_device, find_layout
from mien.train.losses import cross_entropy
from mien.train.models.registry import build
from mien.train.network import Predictor, normalise, to_input
from mien.train.schedule import learning_rate_at
from mien.train.validate import fit_temperature, mean_probabilities, predict_views

__all__ = ["FitResult", "State", "fit", "judge", "start", "train_epoch"]

FILES = ("recipe.toml", "log.csv", "curves.png", "best.pt", "last.pt")

OnBatch = Callable[[int, int, int], None]
OnEpoch = Callable[[Row], None]


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a run ended."""

    folder: Path  # holds recipe.toml, log.csv, curves.png, last.pt, best.pt
    best_epoch: int
    val_accuracy: float
    epochs: int  # that were run
    stopped_early: bool


@dataclass(slots=True)
class State:
    """What changes from epoch to epoch."""

    network: nn.Module
    averaged: nn.Module  # the network itself where no average is kept
    optimiser: torch.optim.Optimizer
    rows: list[Row]
    best: Row | None = None
    strikes: int = 0  # epochs in a row that were worse than the best in accuracy and in loss
    finished: bool = False


def fit(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    device: str = "auto",
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Train what the recipe says and return how it ended; the run's files are written into the folder.

    resume: go on from the last whole epoch where the folder holds this recipe's run (a finished one is returned as it
    is); the final weights are those of an uninterrupted run on the same machine.
    on_batch: called with epoch, batches done, batches in the epoch.  on_epoch: called with the epoch's log row.
    Raises DataError for the datasets, RecipeError where the recipe cannot be trained or the loss stops being a number,
    InputError where the folder holds another run, OutputError where it cannot be written.
    """
    folder, where = Path(folder), find_device(device)
    last = folder / "last.pt"
    if last.is_file() and not resume:
        raise InputError(f"{folder}: a run is there already; --resume goes on with it, --out names another folder")
    data = load(recipe.data)
    if recipe.model.batch_norm and len(data.train) < 2:
        raise RecipeError(f"recipe {recipe.name!r}: model.batch_norm wants at least two training crops; there is one")
    spec = ModelSpec(recipe.name, data.labels, data.crop, 1.0, recipe.mirror, recipe.licence, data.manifest_sha256)
    state = start(recipe, spec, where)
    if last.is_file():
        _restore(state, recipe, spec, folder)
    _prepare(folder, recipe)
    while not state.finished:
        row = _run_epoch(state, recipe, data, where, on_batch)
        state.rows.append(row)
        state.finished = judge(state, recipe, row)
        if row is state.best:
            _save_best(folder, recipe, spec, state, row)
        if state.finished:
            _calibrate(folder, recipe, spec, data, where)
        write_log(folder / "log.csv", state.rows)
        draw_curves(folder / "curves.png", state.rows, title=recipe.name)
        _save_last(folder, recipe, spec, state)  # the last: from here on the epoch counts
        if on_epoch:
            on_epoch(row)
    assert state.best is not None
    return FitResult(
        folder=folder,
        best_epoch=int(state.best["epoch"]),
        val_accuracy=state.best["val_accuracy"],
        epochs=len(state.rows),
        stopped_early=len(state.rows) < recipe.optimiser.epochs,
    )


def start(recipe: Recipe, spec: ModelSpec, device: torch.device) -> State:
    """Return the state before the first epoch."""
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True  # so that a resumed run repeats an uninterrupted one
    torch.manual_seed(recipe.seed)
    network = build(recipe.model, labels=len(spec.labels), crop=spec.crop)
    network = network.to(device=device, memory_format=find_layout(device))  # type: ignore[call-overload]
    averaged = copy.deepcopy(network) if recipe.optimiser.average else network
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=recipe.optimiser.learning_rate,
        momentum=recipe.optimiser.momentum,
        nesterov=recipe.optimiser.momentum > 0,
        weight_decay=recipe.optimiser.weight_decay,
        fused=True,
    )
    return State(network, averaged, optimiser, [])


def _prepare(folder: Path, recipe: Recipe) -> None:
    """Make the folder, write the recipe and remove what an earlier run was writing when it was killed."""
    make_folder(folder)
    for name in (*FILES, "model.onnx"):
        for unfinished in folder.glob(f".{name}.*"):
            unfinished.unlink(missing_ok=True)
    if not (folder / "last.pt").is_file():
        write_text(folder / "recipe.toml", dumps(recipe))


def _restore(state: State, recipe: Recipe, spec: ModelSpec, folder: Path) -> None:
    """Bring the state to the end of the last whole epoch."""
    content = checkpoint.load(folder / "last.pt")
    try:
        same_recipe = _without_places(content["recipe"]) == _without_places(dataclasses.asdict(recipe))
        same_data = ModelSpec.loads(content["spec"]).manifest_sha256 == spec.manifest_sha256
    except (KeyError, TypeError, InputError) as error:
        raise ModelError(
            f"{folder / 'last.pt'}: holds no run to go on with ({checkpoint.first_line(error)})"
        ) from error
    if not same_recipe:
        raise InputError(f"{folder}: its run has another recipe (recipe.toml there); name another folder with --out")
    if not same_data:
        raise InputError(f"{folder}: its run was trained on other data; name another folder with --out")
    try:
        state.network.load_state_dict(content["weights"])
        state.averaged.load_state_dict(content["averaged"])
        state.optimiser.load_state_dict(content["optimiser"])
        state.rows = content["rows"]
        state.best, state.strikes, state.finished = content["best"], content["strikes"], content["finished"]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{folder / 'last.pt'}: holds no run to go on with ({checkpoint.first_line(error)})"
        ) from error


def _without_places(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's fields without the folders of its data, which may be named in many ways; the hash tells."""
    return {**fields, "data": {**fields["data"], "manifests": ()}}


def _run_epoch(state: State, recipe: Recipe, data: TrainingData, device: torch.device, on_batch: OnBatch | None) -> Row:
    """Train for one epoch, validate, and return the log row."""
    epoch = len(state.rows) + 1
    begun = time.perf_counter()
    train_loss, images = train_epoch(
        state.network, state.averaged, state.optimiser, recipe, data, epoch, device, on_batch
    )
    trained = time.perf_counter()
    views = predict_views(Predictor(state.averaged, data.crop), data.val, device, mirror=recipe.mirror)
    probabilities = mean_probabilities(views, 1.0)
    val_loss = log_loss(probabilities, data.val.targets)
    if not math.isfinite(train_loss + val_loss):
        raise RecipeError(
            f"recipe {recipe.name!r}: the loss in epoch {epoch} is {train_loss} in training and {val_loss} in "
            "validation; lower the learning rate"
        )
    return {
        "epoch": epoch,
        "learning_rate": state.optimiser.param_groups[0]["lr"],
        "train_loss": train_loss,
        "val_loss": val_loss,
        "val_accuracy": float((probabilities.argmax(1) == data.val.targets.argmax(1)).mean()),
        "images_per_s": images / (trained - begun),
        "seconds": time.perf_counter() - begun,
    }


def train_epoch(
    network: nn.Module,
    averaged: nn.Module,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    data: TrainingData,
    epoch: int,
    device: torch.device,
    on_batch: OnBatch | None = None,
) -> tuple[float, int]:
    """Train for one epoch (counted from 1) and return (mean loss, images seen).

    All randomness comes from the recipe's seed and the number of the epoch, so an epoch can be repeated by itself.
    """
    config = recipe.optimiser
    seed = recipe.seed * 1_000_003 + epoch
    torch.manual_seed(seed)  # dropout
    generator = torch.Generator().manual_seed(seed)  # order and augmentation
    order = torch.randperm(len(data.train), generator=generator).numpy()
    steps = max(1, len(order) // config.batch_size)
    layout = find_layout(device)
    network.train()
    total = torch.zeros((), device=device)
    for number in range(steps):
        step = (epoch - 1) * steps + number
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(config, step, steps)
        crops, targets = data.train.batch(order[number * config.batch_size : (number + 1) * config.batch_size])
        inputs = augment(to_input(crops.to(device)), recipe.augment, generator=generator)
        inputs = normalise(inputs, data.crop).contiguous(memory_format=layout)
        with autocast(device):
            logits = network(inputs)
        loss = cross_entropy(logits, targets.to(device), smoothing=config.label_smoothing)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if config.clip_norm:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        optimiser.step()
        if averaged is not network:
            update_average(averaged, network, config.average, epoch=epoch, done=number + 1, steps=steps)
        total += loss.detach()
        if on_batch:
            on_batch(epoch, number + 1, steps)
    return float(total) / steps, steps * min(config.batch_size, len(order))


def judge(state: State, recipe: Recipe, row: Row) -> bool:
    """Mark the best epoch; return whether to end: all epochs run, or the paper's rule (accuracy falls, loss rises)."""
    if state.best is None or row["val_accuracy"] > state.best["val_accuracy"]:
        state.best, state.strikes = row, 0
    elif row["val_accuracy"] < state.best["val_accuracy"] and row["val_loss"] > state.best["val_loss"]:
        state.strikes += 1
    else:
        state.strikes = 0
    patience = recipe.stop.patience
    return len(state.rows) == recipe.optimiser.epochs or bool(patience and state.strikes >= patience)


def _save_best(folder: Path, recipe: Recipe, spec: ModelSpec, state: State, row: Row) -> None:
    """Write best.pt: the weights that were validated, with what export needs."""
    content = {"recipe": dataclasses.asdict(recipe), "spec": spec.dumps(), "weights": state.averaged.state_dict()}
    checkpoint.save(folder / "best.pt", {**content, "epoch": row["epoch"], "val_accuracy": row["val_accuracy"]})


def _save_last(folder: Path, recipe: Recipe, spec: ModelSpec, state: State) -> None:
    """Write last.pt: everything that going on needs."""
    checkpoint.save(
        folder / "last.pt",
        {
            "recipe": dataclasses.asdict(recipe),
            "spec": spec.dumps(),
            "weights": state.network.state_dict(),
            "averaged": state.averaged.state_dict(),
            "optimiser": state.optimiser.state_dict(),
            "rows": state.rows,
            "best": state.best,
            "strikes": state.strikes,
            "finished": state.finished,
        },
    )


def _calibrate(folder: Path, recipe: Recipe, spec: ModelSpec, data: TrainingData, device: torch.device) -> None:
    """Fit the temperature of the best checkpoint on validation and store it there."""
    content = checkpoint.load(folder / "best.pt")
    predictor, _, _ = checkpoint.load_predictor(folder / "best.pt")
    views = predict_views(predictor.to(device), data.val, device, mirror=recipe.mirror)
    spec = dataclasses.replace(spec, temperature=fit_temperature(views, data.val.targets))
    checkpoint.save(folder / "best.pt", {**content, "spec": spec.dumps()})

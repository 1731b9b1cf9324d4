"""The training loop: a recipe to its best checkpoint, chosen on validation; resumes bit for bit."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from mien.errors import InputError, RecipeError
from mien.evaluate.truth import most_of
from mien.locks import only_one
from mien.metrics import log_loss
from mien.spec import CropSpec
from mien.train import checkpoint
from mien.train.answers import HEADS, answering, make_answers
from mien.train.augment import degrade, mix, move
from mien.train.average import update_average
from mien.train.balance import draw_order, sample_weights
from mien.train.config import Recipe
from mien.train.curves import Row, draw_curves, write_log
from mien.train.dataset import TrainingData, load
from mien.train.devices import autocast, find_device, find_layout, has_room, memory_told
from mien.train.network import Predictor, normalise, to_input
from mien.train.run_folder import LOCK, calibrate, prepare, refuse_run, restore, save_best, save_last, stamp
from mien.train.schedule import learning_rate_at, size_at
from mien.train.start import hash_of_start, temperatures_of_start
from mien.train.state import State, start
from mien.train.teach import hashes_of_teachers, load_teachers, teach, total_loss
from mien.train.validate import asked, fit_temperatures, mean_probabilities, predict_views

__all__ = ["FitResult", "fit", "judge", "train_epoch"]

DRAW_EVERY_S = 10.0  # the picture takes half a second, which is more than an epoch of a small run

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
    Raises DataError for the datasets, RecipeError where the recipe cannot be trained, the loss stops being a number or
    memory is not enough, InputError where the folder holds another run or another process trains there, OutputError
    where it cannot be written.
    """
    with memory_told(recipe.name):
        return _fit(recipe, Path(folder), find_device(device), resume=resume, on_batch=on_batch, on_epoch=on_epoch)


def _fit(
    recipe: Recipe,
    folder: Path,
    where: torch.device,
    *,
    resume: bool,
    on_batch: OnBatch | None,
    on_epoch: OnEpoch | None,
) -> FitResult:
    """Do what `fit` says."""
    if not resume:
        refuse_run(folder)
    stood = stamp(folder)
    data = load(recipe.data)
    if has_room(where, (len(data.train) + len(data.val)) * math.prod(data.crop.shape)):
        data = dataclasses.replace(data, train=data.train.on(where), val=data.val.on(where))
    if recipe.model.batch_norm and len(data.train) < 2:
        raise RecipeError(f"recipe {recipe.name!r}: model.batch_norm wants at least two training crops; there is one")
    state = start(recipe, data.crop, where, prior=data.prior, begun=stood > 0)
    if stood:
        restore(state, recipe, data, folder)
    if not state.finished:
        _load_others(state, recipe, data.crop, folder, where)
    with only_one(folder / LOCK, busy=f"{folder}: another process is training there; wait for it"):
        if stamp(folder) != stood:
            raise InputError(f"{folder}: another process has trained there meanwhile; --resume goes on with that")
        return _go_on(state, recipe, data, folder, where, on_batch=on_batch, on_epoch=on_epoch)


def _go_on(
    state: State,
    recipe: Recipe,
    data: TrainingData,
    folder: Path,
    where: torch.device,
    *,
    on_batch: OnBatch | None,
    on_epoch: OnEpoch | None,
) -> FitResult:
    """Train from a state to the end, which may be reached already."""
    prepare(folder, recipe)
    if recipe.model.start and not state.rows:  # what it starts from is kept where no epoch is better
        state.best = {"epoch": 0, **_validate(state, recipe, data, where)}
        save_best(folder, recipe, data, state, state.best)
    drawn_s = time.monotonic()
    while not state.finished:
        row = _run_epoch(state, recipe, data, where, on_batch)
        state.rows.append(row)
        state.finished = judge(state, recipe, row)
        if row is state.best:
            save_best(folder, recipe, data, state, row)
        if state.finished:
            calibrate(folder, recipe, data, where)
        write_log(folder / "log.csv", state.rows)
        if state.finished or time.monotonic() - drawn_s >= DRAW_EVERY_S:
            draw_curves(folder / "curves.png", state.rows, title=recipe.name, best=state.best)
            drawn_s = time.monotonic()
        save_last(folder, recipe, data, state)  # the last: from here on the epoch counts
        if on_epoch:
            on_epoch(row)
    if checkpoint.load(folder / "best.pt")["recipe"]["people"] != dataclasses.asdict(recipe.people):
        calibrate(folder, recipe, data, where)
    assert state.best is not None
    return FitResult(
        folder=folder,
        best_epoch=int(state.best["epoch"]),
        val_accuracy=state.best["val_accuracy"],
        epochs=len(state.rows),
        stopped_early=len(state.rows) < recipe.optimiser.epochs,
    )


def _load_others(state: State, recipe: Recipe, crop: CropSpec, folder: Path, device: torch.device) -> None:
    """Load the teachers, and note them and the model that the run started from, which a run keeps to its end."""
    state.teachers = load_teachers(recipe, crop, device)
    teachers, started_from = hashes_of_teachers(recipe), hash_of_start(recipe)
    if state.rows and state.taught_by != teachers:
        raise InputError(f"{folder}: its run had another teacher of that name; name another folder with --out")
    if state.rows and state.started_from != started_from:
        raise InputError(f"{folder}: its run started from another model of that name; name another folder with --out")
    state.taught_by, state.started_from = teachers, started_from
    state.kept_temperatures = temperatures_of_start(recipe)


def _run_epoch(state: State, recipe: Recipe, data: TrainingData, device: torch.device, on_batch: OnBatch | None) -> Row:
    """Train for one epoch, validate, and return the log row."""
    epoch = len(state.rows) + 1
    begun = time.perf_counter()
    train_loss, images = train_epoch(state, recipe, data, epoch, device, on_batch)
    trained = time.perf_counter()
    validated = _validate(state, recipe, data, device)
    if not math.isfinite(train_loss + validated["val_loss"]):
        raise RecipeError(
            f"recipe {recipe.name!r}: the loss in epoch {epoch} is {train_loss} in training and "
            f"{validated['val_loss']} in validation; lower the learning rate"
        )
    return {
        "epoch": epoch,
        "learning_rate": state.optimiser.param_groups[0]["lr"],
        "train_loss": train_loss,
        **validated,
        "images_per_s": images / (trained - begun),
        "seconds": time.perf_counter() - begun,
    }


def _validate(state: State, recipe: Recipe, data: TrainingData, device: torch.device) -> Row:
    """Return the losses and accuracies on validation that choose the epoch.

    They are those of the heads.  A run that starts from a model is chosen by the answer that is meant where nothing is
    said: its other heads may have been trained on labels of another kind, and gain where that one loses.
    """
    answers = make_answers(recipe, torch.from_numpy(data.prior), {})
    views = predict_views(Predictor(state.averaged, data.crop, answers), data.val, device, mirror=recipe.mirror)
    chosen_by = [head.name for head in answering(recipe.data.labels)]
    if recipe.model.start:
        chosen_by = [next(iter(answers))]
        fit_temperatures(answers, views, data.val, kept=state.kept_temperatures)
    losses, accuracies = {}, {}
    for name in chosen_by:
        rows, expected = asked(answers[name], data.val)
        probabilities = mean_probabilities(views[:, rows], answers[name])
        losses[name] = log_loss(probabilities, expected)
        accuracies[name] = float((probabilities.argmax(1) == most_of(expected)).mean())
    return {
        "val_loss": math.fsum(losses.values()),
        "val_accuracy": math.fsum(accuracies.values()) / len(accuracies),
        **({f"val_accuracy_{name}": accuracy for name, accuracy in accuracies.items()} if len(accuracies) > 1 else {}),
    }


def train_epoch(
    state: State,
    recipe: Recipe,
    data: TrainingData,
    epoch: int,
    device: torch.device,
    on_batch: OnBatch | None = None,
) -> tuple[float, int]:
    """Train for one epoch (counted from 1) and return (mean loss, images seen).

    All randomness comes from the recipe's seed and the number of the epoch, so an epoch can be repeated by itself.
    """
    config, heads = recipe.optimiser, HEADS[recipe.data.labels]
    network, optimiser = state.network, state.optimiser
    seed = recipe.seed * 1_000_003 + epoch
    torch.manual_seed(seed)  # dropout
    generator = torch.Generator().manual_seed(seed)  # order and augmentation
    labels = data.train.labels(heads[0].columns)
    weights = torch.from_numpy(sample_weights(labels, recipe.data.balance))
    order = draw_order(labels, recipe.data.balance, generator=generator)
    steps = max(1, len(order) // config.batch_size)
    side, layout = size_at(config, epoch), find_layout(device)
    network.train()
    total = torch.zeros((), device=device)
    for number in range(steps):
        step = (epoch - 1) * steps + number
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(config, step, steps)
        rows = order[number * config.batch_size : (number + 1) * config.batch_size]
        crops, targets = data.train.batch(rows)
        targets = targets * weights[rows, None].to(targets.device)
        inputs = move(to_input(crops.to(device)), recipe.augment, generator=generator)
        inputs, targets = mix(inputs, targets.to(device), recipe.augment, generator=generator)
        taught = teach(state.teachers, heads, inputs, recipe.teacher.temperature) if state.teachers else None
        inputs = degrade(inputs, recipe.augment, generator=generator)
        if side and side != inputs.shape[-1]:
            inputs = functional.interpolate(inputs, size=side, mode="bilinear", align_corners=False)
        inputs = normalise(inputs, data.crop).contiguous(memory_format=layout)
        with autocast(device):
            logits = network(inputs)
        loss = total_loss(logits, targets, taught, heads, recipe)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        if config.clip_norm:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        optimiser.step()
        if state.averaged is not network:
            update_average(state.averaged, network, config.average, epoch=epoch, done=number + 1, steps=steps)
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

"""The training loop: a recipe to its best checkpoint, chosen on validation; resumes bit for bit."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mien.classify import Classifier
from mien.errors import InputError, ModelError, RecipeError
from mien.files import make_folder, write_text
from mien.labels import FER2013
from mien.metrics import log_loss
from mien.spec import CropSpec, ModelSpec
from mien.train import checkpoint
from mien.train.answers import HEADS, count_logits, make_answers
from mien.train.augment import degrade, mix, move
from mien.train.average import update_average
from mien.train.balance import draw_order, sample_weights
from mien.train.config import OptimiserConfig, Recipe, dumps, from_fields
from mien.train.curves import Row, draw_curves, write_log
from mien.train.dataset import TrainingData, load
from mien.train.devices import autocast, find_device, find_layout
from mien.train.models.registry import build
from mien.train.network import Predictor, normalise, to_input
from mien.train.schedule import learning_rate_at, size_at
from mien.train.start import hash_of_start, start_from
from mien.train.teach import hashes_of_teachers, load_teachers, teach, total_loss
from mien.train.validate import asked, fit_temperature, mean_probabilities, predict_views
from mien.types import FloatArray

__all__ = ["FitResult", "State", "fit", "judge", "start", "train_epoch"]

ADAM_BETA = 0.999  # the second, PyTorch's own
EVEN = np.full(len(FER2013), 1 / len(FER2013), np.float32)
DRAW_EVERY_S = 10.0  # the picture takes half a second, which is more than an epoch of a small run
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
    """What changes from epoch to epoch, and the teachers, which do not."""

    network: nn.Module
    averaged: nn.Module  # the network itself where no average is kept
    optimiser: torch.optim.Optimizer
    teachers: list[Classifier] = field(default_factory=list)
    taught_by: list[str] = field(default_factory=list)  # their files' SHA-256
    started_from: str = ""  # the SHA-256 of the file whose weights were the first; empty: they were fresh
    rows: list[Row] = field(default_factory=list)
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
    state = start(recipe, data.crop, where, prior=data.prior, begun=last.is_file())
    if last.is_file():
        _restore(state, recipe, data, folder)
    if not state.finished:
        _load_others(state, recipe, data.crop, folder)
    _prepare(folder, recipe)
    if recipe.model.start and not state.rows:  # what it starts from is kept where no epoch is better
        state.best = {"epoch": 0, **_validate(state, recipe, data, where)}
        _save_best(folder, recipe, data, state, state.best)
    drawn_s = time.monotonic()
    while not state.finished:
        row = _run_epoch(state, recipe, data, where, on_batch)
        state.rows.append(row)
        state.finished = judge(state, recipe, row)
        if row is state.best:
            _save_best(folder, recipe, data, state, row)
        if state.finished:
            _calibrate(folder, recipe, data, where)
        write_log(folder / "log.csv", state.rows)
        if state.finished or time.monotonic() - drawn_s >= DRAW_EVERY_S:
            draw_curves(folder / "curves.png", state.rows, title=recipe.name)
            drawn_s = time.monotonic()
        _save_last(folder, recipe, data, state)  # the last: from here on the epoch counts
        if on_epoch:
            on_epoch(row)
    if checkpoint.load(folder / "best.pt")["recipe"]["people"] != dataclasses.asdict(recipe.people):
        _calibrate(folder, recipe, data, where)
    assert state.best is not None
    return FitResult(
        folder=folder,
        best_epoch=int(state.best["epoch"]),
        val_accuracy=state.best["val_accuracy"],
        epochs=len(state.rows),
        stopped_early=len(state.rows) < recipe.optimiser.epochs,
    )


def start(
    recipe: Recipe, crop: CropSpec, device: torch.device, *, prior: FloatArray = EVEN, begun: bool = False
) -> State:
    """Return the state before the first epoch.

    prior: (7,) shares of the expressions in training, for a recipe that starts from a model.
    begun: the weights will be those of a run that went on already, not those of the model that it started from.
    Raises RecipeError where the network cannot read a size of the recipe's, or not start from the recipe's model.
    """
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True  # so that a resumed run repeats an uninterrupted one
    torch.manual_seed(recipe.seed)
    network = build(recipe.model, labels=count_logits(recipe), crop=crop)
    for side in recipe.optimiser.sizes_px:
        try:
            network.eval()(torch.zeros(1, crop.channels, side, side))
        except RuntimeError as error:
            raise RecipeError(
                f"recipe {recipe.name!r}: {recipe.model.name} cannot read crops of {side} pixels"
            ) from error
    if recipe.model.start and not begun:
        start_from(network, recipe, crop, prior)
    network = network.to(device=device, memory_format=find_layout(device))  # type: ignore[call-overload]
    averaged = copy.deepcopy(network) if recipe.optimiser.average else network
    return State(network, averaged, _optimiser(network, recipe.optimiser))


def _load_others(state: State, recipe: Recipe, crop: CropSpec, folder: Path) -> None:
    """Load the teachers, and note them and the model that the run started from, which a run keeps to its end."""
    state.teachers = load_teachers(recipe, crop)
    teachers, started_from = hashes_of_teachers(recipe), hash_of_start(recipe)
    if state.rows and state.taught_by != teachers:
        raise InputError(f"{folder}: its run had another teacher of that name; name another folder with --out")
    if state.rows and state.started_from != started_from:
        raise InputError(f"{folder}: its run started from another model of that name; name another folder with --out")
    state.taught_by, state.started_from = teachers, started_from


def _optimiser(network: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """Return what changes the weights."""
    momentum, decay = config.momentum, config.weight_decay
    if config.method == "adamw":
        betas = (momentum, ADAM_BETA)
        return torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, betas=betas, weight_decay=decay, fused=True
        )
    return torch.optim.SGD(
        network.parameters(), lr=config.learning_rate, momentum=momentum, nesterov=momentum > 0, weight_decay=decay,
        fused=True,
    )  # fmt: skip


def _prepare(folder: Path, recipe: Recipe) -> None:
    """Make the folder, write the recipe and remove what an earlier run was writing when it was killed."""
    make_folder(folder)
    for name in (*FILES, "model.onnx"):
        for unfinished in folder.glob(f".{name}.*"):
            unfinished.unlink(missing_ok=True)
    path, text = folder / "recipe.toml", dumps(recipe)
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text(path, text)


def _restore(state: State, recipe: Recipe, data: TrainingData, folder: Path) -> None:
    """Bring the state to the end of the last whole epoch."""
    content = checkpoint.load(folder / "last.pt")
    try:
        # Through a recipe, so that settings which came with a newer version have their defaults.
        before = dataclasses.asdict(from_fields(content["recipe"]))
        same_recipe = _what_trains(before) == _what_trains(dataclasses.asdict(recipe))
        same_data = content["data"] == data.manifest_sha256
    except (KeyError, TypeError, AttributeError, InputError) as error:
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
        state.taught_by = content["taught_by"]
        state.started_from = content.get("started_from", "")  # runs of earlier versions began afresh
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{folder / 'last.pt'}: holds no run to go on with ({checkpoint.first_line(error)})"
        ) from error


def _what_trains(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's fields without those that change nothing in training.

    They are how two heads are joined, where a run does not start from a model that joins them already, and the folders
    of the data, which may be named in many ways; the hash tells.
    """
    people = fields["people"] if fields["model"]["start"] else {}
    return {**fields, "data": {**fields["data"], "manifests": ()}, "people": people}


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
    chosen_by = [next(iter(answers))] if recipe.model.start else [head.name for head in HEADS[recipe.data.labels]]
    losses, accuracies = {}, {}
    for name in chosen_by:
        rows, expected = asked(answers[name], data.val)
        probabilities = mean_probabilities(views[:, rows], answers[name])
        losses[name] = log_loss(probabilities, expected)
        accuracies[name] = float((probabilities.argmax(1) == expected.argmax(1)).mean())
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
        targets = targets * weights[rows, None]
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


def _specs(recipe: Recipe, data: TrainingData, temperatures: Mapping[str, float]) -> dict[str, str]:
    """Return what each answer says of itself, as JSON; the main one bears the recipe's name."""
    specs: dict[str, str] = {}
    for name, answer in make_answers(recipe, torch.from_numpy(data.prior), temperatures).items():
        full_name = f"{recipe.name}-{name}" if specs else recipe.name
        spec = ModelSpec(
            full_name, answer.labels, data.crop, answer.temperature, recipe.mirror, recipe.licence, data.manifest_sha256
        )
        specs[name] = spec.dumps()
    return specs


def _save_best(folder: Path, recipe: Recipe, data: TrainingData, state: State, row: Row) -> None:
    """Write best.pt: the weights that were validated, with what export needs."""
    content = {
        "recipe": dataclasses.asdict(recipe),
        "specs": _specs(recipe, data, {}),
        "prior": data.prior.tolist(),
        "weights": state.averaged.state_dict(),
        "taught_by": state.taught_by,
        "started_from": state.started_from,
        "epoch": row["epoch"],
        "val_accuracy": row["val_accuracy"],
    }
    checkpoint.save(folder / "best.pt", content)


def _save_last(folder: Path, recipe: Recipe, data: TrainingData, state: State) -> None:
    """Write last.pt: everything that going on needs."""
    content = {
        "recipe": dataclasses.asdict(recipe),
        "data": data.manifest_sha256,
        "taught_by": state.taught_by,
        "started_from": state.started_from,
        "weights": state.network.state_dict(),
        "averaged": state.averaged.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "rows": state.rows,
        "best": state.best,
        "strikes": state.strikes,
        "finished": state.finished,
    }
    checkpoint.save(folder / "last.pt", content)


def _calibrate(folder: Path, recipe: Recipe, data: TrainingData, device: torch.device) -> None:
    """Fit the temperature of each answer of the best checkpoint on validation and store it there."""
    content = checkpoint.load(folder / "best.pt")
    predictor, _, _ = checkpoint.load_predictor(folder / "best.pt")
    views = predict_views(predictor.to(device), data.val, device, mirror=recipe.mirror)
    answers = make_answers(recipe, torch.from_numpy(data.prior), {})
    # The joined answer comes first by name and last here: it is made of the others at their temperatures.
    for answer in reversed(answers.values()):
        rows, expected = asked(answer, data.val)
        answer.temperature = fit_temperature(views[:, rows], expected, answer)
    temperatures = {name: answer.temperature for name, answer in answers.items()}
    fields = {**content, "recipe": dataclasses.asdict(recipe), "specs": _specs(recipe, data, temperatures)}
    checkpoint.save(folder / "best.pt", fields)

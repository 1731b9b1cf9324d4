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

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from mien.errors import InputError, RecipeError
from mien.files import make_folder, write_text
from mien.metrics import log_loss
from mien.spec import ModelSpec
from mien.train import checkpoint
from mien.train.augment import augment
from mien.train.config import OptimiserConfig, Recipe, dumps
from mien.train.curves import Row, draw_curves, write_log
from mien.train.dataset import CropTable, TrainingData, load
from mien.train.devices import find_device, find_precision
from mien.train.losses import cross_entropy
from mien.train.models.registry import build
from mien.train.network import Predictor, normalise, to_input
from mien.types import FloatArray

__all__ = ["FitResult", "fit"]

AVERAGE_EVERY = 8  # steps between two updates of the averaged weights: each touches every weight once more
VALIDATION_BATCH = 256

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
class _State:
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
    folder = make_folder(folder)
    where = find_device(device)
    data = load(recipe.data)
    spec = ModelSpec(recipe.name, data.labels, data.crop, 1.0, recipe.mirror, recipe.licence, data.manifest_sha256)
    state = _start(recipe, spec, where)
    last = folder / "last.pt"
    if last.is_file():
        if not resume:
            raise InputError(f"{folder}: a run is there already; --resume goes on with it, --out names another folder")
        _restore(state, checkpoint.load(last), recipe, spec, folder)
    else:
        write_text(folder / "recipe.toml", dumps(recipe))
    while not state.finished:
        row = _run_epoch(state, recipe, data, where, on_batch)
        state.rows.append(row)
        ended = _judge(state, recipe, row)
        if row is state.best:
            _save_best(folder, recipe, spec, state, row)
        if ended:
            spec = _calibrate(folder, recipe, spec, data.val, where)
        state.finished = ended
        _save_last(folder, recipe, spec, state)
        write_log(folder / "log.csv", state.rows)
        draw_curves(folder / "curves.png", state.rows, title=recipe.name)
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


def _start(recipe: Recipe, spec: ModelSpec, device: torch.device) -> _State:
    """Return the state before the first epoch."""
    torch.manual_seed(recipe.seed)
    network = build(recipe.model, labels=len(spec.labels), crop=spec.crop)
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(network) if recipe.optimiser.average else network
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=recipe.optimiser.learning_rate,
        momentum=recipe.optimiser.momentum,
        nesterov=recipe.optimiser.momentum > 0,
        weight_decay=recipe.optimiser.weight_decay,
        fused=True,
    )
    return _State(network, averaged, optimiser, [])


def _restore(state: _State, content: dict[str, Any], recipe: Recipe, spec: ModelSpec, folder: Path) -> None:
    """Bring the state to the end of the last whole epoch."""
    if _without_places(content["recipe"]) != _without_places(dataclasses.asdict(recipe)):
        raise InputError(f"{folder}: its run has another recipe (recipe.toml there); name another folder with --out")
    if ModelSpec.loads(content["spec"]).manifest_sha256 != spec.manifest_sha256:
        raise InputError(f"{folder}: its run was trained on other data; name another folder with --out")
    state.network.load_state_dict(content["weights"])
    state.averaged.load_state_dict(content["averaged"])
    state.optimiser.load_state_dict(content["optimiser"])
    state.rows = content["rows"]
    state.best, state.strikes, state.finished = content["best"], content["strikes"], content["finished"]


def _without_places(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's fields without the folders of its data, which may be named in many ways; the hash tells."""
    return {**fields, "data": {**fields["data"], "manifests": ()}}


def learning_rate_at(config: OptimiserConfig, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step, counted from 0 over the whole run: a linear warm-up, then the schedule."""
    warmup = config.warmup_epochs * steps_per_epoch
    total = config.epochs * steps_per_epoch
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    if config.schedule == "step":
        return config.learning_rate * 0.5 ** int(10 * progress)
    return config.learning_rate


def _run_epoch(
    state: _State, recipe: Recipe, data: TrainingData, device: torch.device, on_batch: OnBatch | None
) -> Row:
    """Train for one epoch, validate, and return the log row."""
    epoch = len(state.rows) + 1
    begun = time.perf_counter()
    train_loss, images = train_epoch(
        state.network, state.averaged, state.optimiser, recipe, data, epoch, device, on_batch
    )
    trained = time.perf_counter()
    if not math.isfinite(train_loss):
        raise RecipeError(f"recipe {recipe.name!r}: the loss is {train_loss} in epoch {epoch}; lower the learning rate")
    views = predict_views(Predictor(state.averaged, data.crop), data.val, device, mirror=recipe.mirror)
    probabilities = _mean_probabilities(views, 1.0)
    return {
        "epoch": epoch,
        "learning_rate": state.optimiser.param_groups[0]["lr"],
        "train_loss": train_loss,
        "val_loss": log_loss(probabilities, data.val.targets),
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
    precision = find_precision(device)
    network.train()
    total = torch.zeros((), device=device)
    for number in range(steps):
        step = (epoch - 1) * steps + number
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(config, step, steps)
        crops, targets = data.train.batch(order[number * config.batch_size : (number + 1) * config.batch_size])
        inputs = augment(to_input(crops.to(device)), recipe.augment, generator=generator)
        inputs = normalise(inputs, data.crop).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            logits = network(inputs)
        loss = cross_entropy(logits, targets.to(device), smoothing=config.label_smoothing)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if config.clip_norm:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        optimiser.step()
        if averaged is not network and (step + 1) % AVERAGE_EVERY == 0:
            _update_average(averaged, network, config.average)
        total += loss.detach()
        if on_batch:
            on_batch(epoch, number + 1, steps)
    return float(total) / steps, steps * min(config.batch_size, len(order))


@torch.no_grad()
def _update_average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the network's; running statistics are taken over as they are."""
    torch._foreach_lerp_(list(averaged.parameters()), list(network.parameters()), 1 - decay)
    for kept, current in zip(averaged.buffers(), network.buffers(), strict=True):
        kept.copy_(current)


@torch.no_grad()
def predict_views(predictor: Predictor, table: CropTable, device: torch.device, *, mirror: bool) -> FloatArray:
    """Return the logits (V, N, L) of a table's crops: one view, or two where the mirror image is read as well."""
    predictor.eval()
    precision = find_precision(device)
    views: list[list[Tensor]] = [[] for _ in range(2 if mirror else 1)]
    for start in range(0, len(table), VALIDATION_BATCH):
        crops, _ = table.batch(np.arange(start, min(start + VALIDATION_BATCH, len(table))))
        crops = crops.to(device)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            for view, seen in zip(views, (crops, crops.flip(2)), strict=False):
                view.append(predictor.logits(seen).float().cpu())
    return np.stack([torch.cat(view).numpy() for view in views])


def _mean_probabilities(views: FloatArray, temperature: float) -> FloatArray:
    """Return the probabilities (N, L), averaged over the views, of logits (V, N, L)."""
    return torch.softmax(torch.from_numpy(views) / temperature, dim=2).mean(dim=0).numpy()


def _judge(state: _State, recipe: Recipe, row: Row) -> bool:
    """Mark the best epoch; return whether to end: all epochs run, or the paper's rule (accuracy falls, loss rises)."""
    if state.best is None or row["val_accuracy"] > state.best["val_accuracy"]:
        state.best, state.strikes = row, 0
    elif row["val_accuracy"] < state.best["val_accuracy"] and row["val_loss"] > state.best["val_loss"]:
        state.strikes += 1
    else:
        state.strikes = 0
    patience = recipe.stop.patience
    return len(state.rows) == recipe.optimiser.epochs or bool(patience and state.strikes >= patience)


def _save_best(folder: Path, recipe: Recipe, spec: ModelSpec, state: _State, row: Row) -> None:
    """Write best.pt: the weights that were validated, with what export needs."""
    content = {"recipe": dataclasses.asdict(recipe), "spec": spec.dumps(), "weights": state.averaged.state_dict()}
    checkpoint.save(folder / "best.pt", {**content, "epoch": row["epoch"], "val_accuracy": row["val_accuracy"]})


def _save_last(folder: Path, recipe: Recipe, spec: ModelSpec, state: _State) -> None:
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


def _calibrate(folder: Path, recipe: Recipe, spec: ModelSpec, val: CropTable, device: torch.device) -> ModelSpec:
    """Fit the temperature of the best checkpoint on validation, store it there and return the completed spec.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2.
    """
    content = checkpoint.load(folder / "best.pt")
    predictor, _, _ = checkpoint.load_predictor(folder / "best.pt")
    views = predict_views(predictor.to(device), val, device, mirror=recipe.mirror)
    found = minimize_scalar(
        lambda temperature: log_loss(_mean_probabilities(views, temperature), val.targets),
        bounds=(0.2, 5.0),
        method="bounded",
    )
    spec = dataclasses.replace(spec, temperature=round(float(found.x), 4))
    checkpoint.save(folder / "best.pt", {**content, "spec": spec.dumps()})
    return spec

"""The folder of a run: its recipe, its checkpoints, and what going on from them wants to be the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mien.errors import InputError, ModelError
from mien.files import make_folder, write_text
from mien.spec import ModelSpec
from mien.train import checkpoint
from mien.train.answers import HEADS, make_answers
from mien.train.config import Recipe, dumps, from_fields
from mien.train.curves import Row
from mien.train.dataset import TrainingData
from mien.train.state import State
from mien.train.validate import fit_temperatures, predict_views

__all__ = ["FILES", "LOCK", "calibrate", "prepare", "refuse_run", "restore", "save_best", "save_last", "stamp"]

LOCK = "run.lock"  # held by who trains there
FILES = ("recipe.toml", "log.csv", "curves.png", "best.pt", "last.pt", LOCK)


def refuse_run(folder: Path) -> None:
    """Raise InputError where a folder holds a run, ended or not."""
    if (folder / "last.pt").is_file():
        raise InputError(f"{folder}: a run is there already; --resume goes on with it, --out names another folder")


def stamp(folder: Path) -> int:
    """Return by what it is known whether the run in a folder has gone on: when its last epoch was written; 0: none."""
    last = folder / "last.pt"
    return last.stat().st_mtime_ns if last.is_file() else 0


def prepare(folder: Path, recipe: Recipe) -> None:
    """Make the folder, write the recipe and remove what an earlier run was writing when it was killed."""
    make_folder(folder)
    for name in (*FILES, "model.onnx"):
        for unfinished in folder.glob(f".{name}.*"):
            unfinished.unlink(missing_ok=True)
    path, text = folder / "recipe.toml", dumps(recipe)
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text(path, text)


def restore(state: State, recipe: Recipe, data: TrainingData, folder: Path) -> None:
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


def save_best(folder: Path, recipe: Recipe, data: TrainingData, state: State, row: Row) -> None:
    """Write best.pt: the weights that were validated, with what export needs."""
    content = {
        "recipe": dataclasses.asdict(recipe),
        "specs": _specs(recipe, data, state.kept_temperatures),
        "prior": data.prior.tolist(),
        "weights": state.averaged.state_dict(),
        "taught_by": state.taught_by,
        "started_from": state.started_from,
        "epoch": row["epoch"],
        "val_accuracy": row["val_accuracy"],
    }
    checkpoint.save(folder / "best.pt", content)


def save_last(folder: Path, recipe: Recipe, data: TrainingData, state: State) -> None:
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


def calibrate(folder: Path, recipe: Recipe, data: TrainingData, device: torch.device) -> None:
    """Fit the temperature of each answer of the best checkpoint on validation and store it there."""
    content = checkpoint.load(folder / "best.pt")
    predictor, _, _ = checkpoint.load_predictor(folder / "best.pt")
    views = predict_views(predictor.to(device), data.val, device, mirror=recipe.mirror)
    answers = make_answers(recipe, torch.from_numpy(data.prior), {})
    kept = {head.name for head in HEADS["both"]} if recipe.model.start and recipe.data.labels == "both" else ()
    stored = {name: ModelSpec.loads(text).temperature for name, text in content["specs"].items() if name in kept}
    fit_temperatures(answers, views, data.val, kept=stored)
    temperatures = {name: answer.temperature for name, answer in answers.items()}
    fields = {**content, "recipe": dataclasses.asdict(recipe), "specs": _specs(recipe, data, temperatures)}
    checkpoint.save(folder / "best.pt", fields)


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

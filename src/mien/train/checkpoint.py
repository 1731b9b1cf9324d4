"""Checkpoints: weights, optimiser, recipe and ModelSpec as one thing, written atomically and loaded as data only."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from mien.errors import InputError, ModelError
from mien.files import atomic_path
from mien.spec import ModelSpec
from mien.train.answers import count_logits, make_answers
from mien.train.config import Recipe, from_fields
from mien.train.models.registry import build
from mien.train.network import Predictor

__all__ = ["first_line", "load", "load_predictor", "save"]

FORMAT = "mien-checkpoint-2"


def save(path: str | Path, content: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    content: tensors and plain values under `recipe` (nested dictionaries), `specs` (each answer's ModelSpec as JSON),
    `prior` (seven numbers), `weights` (state dict) and whatever else its reader wants.
    """
    with atomic_path(path) as temporary:
        try:
            with temporary.open("wb") as file:
                torch.save({"format": FORMAT, **content}, file)
        except RuntimeError as error:  # what torch makes of a full disk
            reason = error.__context__ if isinstance(error.__context__, OSError) else OSError(None, first_line(error))
            raise reason from error


def load(path: str | Path) -> dict[str, Any]:
    """Return what `save` wrote, on the CPU.  ModelError where the file is missing, damaged or not ours."""
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such checkpoint")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickles that are none of torch's
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose text advises to load the file as code
        raise ModelError(
            f"{path}: damaged or not a checkpoint (not tensors and plain values alone); expected a .pt of mien train"
        ) from error
    except Exception as error:  # bytes that are not ours can make the unpickler raise anything
        raise ModelError(
            f"{path}: damaged or not a checkpoint ({first_line(error)}); expected a .pt of mien train"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"{path}: not a checkpoint of mien; expected a .pt of mien train")
    return content


def load_predictor(path: str | Path) -> tuple[Predictor, Recipe, dict[str, ModelSpec]]:
    """Return the network of a best.pt in evaluation mode, the recipe that made it and what each answer says of itself.

    Raises ModelError where the file is missing, damaged or not ours.
    """
    content = load(path)
    if "optimiser" in content:
        raise ModelError(f"{path}: holds a run to go on with; the network to use is in best.pt beside it")
    try:
        recipe = from_fields(content["recipe"])
        specs = {name: ModelSpec.loads(text) for name, text in content["specs"].items()}
        crop = next(iter(specs.values())).crop
        network = build(recipe.model, labels=count_logits(recipe), crop=crop)
        network.load_state_dict(content["weights"])
        temperatures = {name: spec.temperature for name, spec in specs.items()}
        answers = make_answers(recipe, torch.tensor(content["prior"]), temperatures)
    except (KeyError, RuntimeError, TypeError, ValueError, AttributeError, StopIteration, InputError) as error:
        raise ModelError(f"{path}: the checkpoint does not fit this version of mien ({first_line(error)})") from error
    return Predictor(network, crop, answers).eval(), recipe, specs


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__

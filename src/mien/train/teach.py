"""What a network learns from: labels, and the answers of teachers to the same pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from mien.classify import Classifier
from mien.errors import ModelError, RecipeError
from mien.files import sha256_of
from mien.spec import CropSpec
from mien.train.answers import HEADS, SMALLEST_SHARE, Head
from mien.train.checkpoint import load_predictor
from mien.train.config import Recipe
from mien.train.devices import autocast, find_layout
from mien.train.losses import cross_entropy, distillation, widen
from mien.train.network import Predictor
from mien.weights import catalogue

__all__ = ["Teacher", "hashes_of_teachers", "load_teachers", "teach", "total_loss"]

Teacher = Classifier | Predictor  # an ONNX file, which answers on the processor, or a checkpoint on the pupil's device


def hashes_of_teachers(recipe: Recipe) -> list[str]:
    """Return the SHA-256 of each file that a recipe learns from.  RecipeError where one is not there."""
    try:
        return [sha256_of(catalogue.find(model)[0]) for model in recipe.teacher.models]
    except ModelError as error:
        raise _unusable(recipe, error) from error


def load_teachers(recipe: Recipe, crop: CropSpec, device: torch.device) -> list[Teacher]:
    """Return the models that a recipe learns from; checkpoints are moved to the device.

    Raises RecipeError where one is not there, lacks a head of the recipe's or reads other crops.
    """
    teachers = []
    for model in recipe.teacher.models:
        try:
            teacher = _load(model, device)
        except ModelError as error:
            raise _unusable(recipe, error) from error
        if missing := [head.name for head in HEADS[recipe.data.labels] if head.name not in teacher.answers]:
            raise RecipeError(f"recipe {recipe.name!r}: its teacher {model} has no head {missing[0]}")
        read = teacher.crop if isinstance(teacher, Predictor) else teacher.spec.crop
        if read.pixels != crop.pixels:
            raise RecipeError(f"recipe {recipe.name!r}: its teacher {model} reads other crops")
        teachers.append(teacher)
    return teachers


def _unusable(recipe: Recipe, error: ModelError) -> RecipeError:
    """Return what is to be said where a teacher is not there or damaged."""
    return RecipeError(
        f"recipe {recipe.name!r}: its teacher cannot be used: {error}; train it by an earlier recipe of the same "
        "command, or name another in teacher.models"
    )


def _load(model: str, device: torch.device) -> Teacher:
    """Return a teacher by a shipped model's name, an ONNX file or a best.pt.  ModelError where it is none of these."""
    if not model.endswith(".pt"):
        return Classifier.load(model, threads=torch.get_num_threads())
    predictor, _, _ = load_predictor(model)
    return predictor.to(device=device, memory_format=find_layout(device))  # type: ignore[call-overload,no-any-return]  # with a layout


def teach(teachers: list[Teacher], heads: tuple[Head, ...], inputs: Tensor, temperature: float) -> Tensor:
    """Return what teachers say, on average, of a batch, (N, columns), softened: each head's rows sum to 1.

    inputs: (N, C, S, S) from 0 to 1, moved and mixed as the pupil sees them: a teacher that sees the very crop, and not
    the one that it was cut from, teaches more (Beyer et al. 2022, "Knowledge distillation: A good teacher is patient
    and consistent"); what only spoils a picture (`augment.degrade`) is done afterwards.
    """
    crops = (inputs * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    pixels = (crops.squeeze(3) if crops.shape[3] == 1 else crops).contiguous()
    said = []
    for teacher in teachers:
        answers = _ask(teacher, pixels, [head.name for head in heads])
        scores = [answer.clamp(min=SMALLEST_SHARE).log() / temperature for answer in answers]
        said.append(torch.cat([torch.softmax(score, dim=1) for score in scores], dim=1))
    return torch.stack(said).mean(dim=0)


@torch.no_grad()
def _ask(teacher: Teacher, pixels: Tensor, heads: list[str]) -> list[Tensor]:
    """Return what the heads of one teacher say, (N, L) each, of uint8 crops."""
    if isinstance(teacher, Classifier):
        answers = teacher.predict_answers(pixels.cpu().numpy(), heads)
        return [torch.from_numpy(answer).to(pixels.device) for answer in answers]
    with autocast(pixels.device):
        logits = teacher.logits(pixels)
    return [teacher.answer(head)(logits) for head in heads]


def total_loss(
    logits: Tensor, targets: Tensor, taught: Tensor | None, heads: tuple[Head, ...], recipe: Recipe
) -> Tensor:
    """Return the loss of a batch, summed over the heads, a scalar.

    logits, targets, taught: (N, columns) of all heads; taught: None where there is no teacher.
    What a row's targets sum to in the first head, 1 where labels are not balanced, is the weight of the row.
    """
    loss = torch.zeros((), device=logits.device)
    weight, temperature = recipe.teacher.weight, recipe.teacher.temperature
    importance = targets[:, heads[0].columns].sum(dim=1, keepdim=True)
    for head in heads:
        part = logits[:, head.columns]
        asked, margin = targets[:, head.columns], recipe.optimiser.margin
        judged = widen(part, asked, margin=margin) if margin else part
        by_labels = cross_entropy(judged, asked, smoothing=recipe.optimiser.label_smoothing)
        if taught is None:
            loss = loss + by_labels
        else:
            by_teachers = distillation(part, taught[:, head.columns] * importance, temperature=temperature)
            loss = loss + by_labels * (1 - weight) + by_teachers * weight
    return loss

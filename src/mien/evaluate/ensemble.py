"""One model, or several whose probabilities are averaged, as one predictor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.classify import Classifier
from mien.errors import InputError
from mien.evaluate.views import ten_crop
from mien.files import sha256_of
from mien.spec import CropSpec
from mien.types import FloatArray, ImageArray
from mien.weights import catalogue

__all__ = ["VIEWS", "Ensemble"]

VIEWS = ("own", "ten-crop")


@dataclass(frozen=True, slots=True)
class Ensemble:
    """What some models say of crops, on average."""

    name: str  # the models' names, joined by "+"
    labels: tuple[str, ...]
    crop: CropSpec
    sha256: str  # of the files, joined by "+"
    predictors: tuple[Callable[[ImageArray], FloatArray], ...]

    @classmethod
    def load(cls, models: Sequence[str | Path], *, answer: str = "", views: str = "own") -> Ensemble:
        """Return the ensemble of shipped models' names or ONNX files.

        answer: which of each file's answers, see `Classifier.load`.  views: "own", what each model does by itself, or
        "ten-crop".  Raises ModelError where one cannot be loaded, InputError where they have not the same answer
        and labels, or read other crops.
        """
        members = [Classifier.load(model, answer=answer) for model in models]
        first = members[0].spec
        for model, member in zip(models, members, strict=True):
            if member.spec.labels != first.labels or member.spec.crop.pixels != first.crop.pixels:
                raise InputError(f"{model} has other labels or reads other crops than {models[0]}: no average of both")
            if member.answer != members[0].answer:
                answers = f"{model} answers as {member.answer!r}, {models[0]} as {members[0].answer!r}"
                raise InputError(f"{answers}; --answer names one for all")
        return cls(
            name="+".join(member.spec.name for member in members),
            labels=first.labels,
            crop=first.crop,
            sha256="+".join(sha256_of(catalogue.find(model)[0]) for model in models),
            predictors=tuple(
                ten_crop(member.predict, mirrors=member.spec.mirror) if views == "ten-crop" else member.predict
                for member in members
            ),
        )

    def predict(self, crops: ImageArray) -> FloatArray:
        """Return probabilities (N, L), averaged over the models."""
        mean: FloatArray = np.mean([predict(crops) for predict in self.predictors], axis=0, dtype=np.float32)
        return mean

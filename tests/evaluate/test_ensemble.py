"""Several models as one predictor: their mean, and what they must have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.classify import Classifier
from mien.errors import InputError, ModelError
from mien.evaluate.ensemble import Ensemble
from mien.evaluate.views import ten_crop
from mien.files import sha256_of
from mien.labels import FER2013
from mien.spec import CropSpec, ModelSpec
from mien.types import ImageArray
from mien.weights import catalogue

MakeModel = Callable[..., Path]


@pytest.fixture
def pair(make_model: MakeModel) -> list[Path]:
    """Return two models, one of which mirrors, so that they say different things."""
    spec = ModelSpec("other", FER2013, CropSpec(), 1.0, False, "MIT", "0" * 64)
    return [make_model("a.onnx", mirror=True), make_model("b.onnx", spec=spec.dumps())]


def crops() -> ImageArray:
    """Return crops that differ in brightness, left and right."""
    light = np.random.default_rng(0).integers(0, 256, (70, 1, 2), np.uint8)
    return np.broadcast_to(light.repeat(24, axis=2), (70, 48, 48))


def test_one_model_is_an_ensemble_of_itself(make_model: MakeModel) -> None:
    path = make_model()
    ensemble, classifier = Ensemble.load([path]), Classifier.load(path)
    assert (ensemble.name, ensemble.labels, ensemble.crop) == ("tiny", FER2013, CropSpec())
    assert ensemble.sha256 == sha256_of(path)
    np.testing.assert_array_equal(ensemble.predict(crops()), classifier.predict(crops()))


def test_probabilities_are_averaged_and_names_and_hashes_joined(pair: list[Path]) -> None:
    ensemble = Ensemble.load(pair)
    assert ensemble.name == "tiny+other"
    assert ensemble.sha256 == f"{sha256_of(pair[0])}+{sha256_of(pair[1])}"
    first, second = (Classifier.load(path).predict(crops()) for path in pair)
    assert np.abs(first - second).max() > 0.1, "they say the same: nothing was averaged"
    mean = ensemble.predict(crops())
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, (first + second) / 2, atol=1e-6)
    np.testing.assert_allclose(mean.sum(axis=1), 1, atol=1e-5)


def test_ten_views_are_taken_by_each_model_in_its_own_way(pair: list[Path]) -> None:
    members = [Classifier.load(path) for path in pair]
    expected = [ten_crop(member.predict, mirrors=member.spec.mirror)(crops()) for member in members]
    seen = Ensemble.load(pair, views="ten-crop").predict(crops())
    np.testing.assert_allclose(seen, np.mean(expected, axis=0), atol=1e-6)
    assert np.abs(seen - Ensemble.load(pair).predict(crops())).max() > 1e-3


@pytest.mark.parametrize("answer", ["people", "ferplus"])
def test_each_model_gives_the_answer_that_is_asked_for(make_model: MakeModel, answer: str) -> None:
    path = make_model(answers=("people", "ferplus"))
    asked = Ensemble.load([path], answer=answer)
    assert asked.name == Classifier.load(path, answer=answer).spec.name
    np.testing.assert_array_equal(asked.predict(crops()), Classifier.load(path, answer=answer).predict(crops()))
    assert np.array_equal(asked.predict(crops()), Ensemble.load([path]).predict(crops())) == (answer == "people")
    with pytest.raises(ModelError, match="has no answer 'nobody'"):
        Ensemble.load([path], answer="nobody")


def test_a_shipped_model_goes_by_its_name() -> None:
    assert Ensemble.load(["paper-cnn"]).sha256 == catalogue.SHIPPED["paper-cnn"].sha256


@pytest.mark.parametrize(
    ("labels", "crop"),
    [
        (FER2013[::-1], CropSpec()),
        (FER2013, CropSpec(contrast="clahe")),
        (FER2013, CropSpec(margin=0.5)),
    ],
)
def test_models_of_other_labels_or_other_crops_are_refused(
    make_model: MakeModel, labels: tuple[str, ...], crop: CropSpec
) -> None:
    spec = ModelSpec("other", labels, crop, 1.0, False, "MIT", "0" * 64)
    first, second = make_model("a.onnx"), make_model("b.onnx", spec=spec.dumps())
    with pytest.raises(InputError, match=r"b\.onnx has other labels or reads other crops than .*a\.onnx"):
        Ensemble.load([first, first, second])


def test_unlike_answers_of_two_files_are_not_averaged(make_model: MakeModel) -> None:
    paths = [make_model("a.onnx", answers=("people", "fer2013")), make_model("b.onnx", answers=("fer2013",))]
    with pytest.raises(InputError, match=r"b\.onnx answers as 'fer2013', .*a\.onnx as 'people'; --answer names one"):
        Ensemble.load(paths)
    assert Ensemble.load(paths, answer="fer2013").labels == FER2013


def test_what_happens_inside_the_networks_may_differ(make_model: MakeModel) -> None:
    paths = [make_model(f"{way}.onnx", crop=CropSpec(normalisation=way)) for way in ("fixed", "per_crop")]
    assert Ensemble.load(paths).labels == FER2013

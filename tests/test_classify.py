"""A model file becomes a function from crops to probabilities, or is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mien.classify import Classifier, spec_key
from mien.errors import InputError, ModelError
from mien.files import sha256_of
from mien.labels import FER2013, FERPLUS
from mien.spec import CropSpec, ModelSpec
from mien.types import ImageArray
from mien.weights import catalogue

MakeModel = Callable[..., Path]


def random_crops(count: int, spec: CropSpec | None = None, *, seed: int = 0) -> ImageArray:
    """Return crops that differ in brightness, left and right."""
    shape = (spec or CropSpec()).shape
    generator = np.random.default_rng(seed)
    light = generator.integers(0, 200, (count, 1, 2) + (1,) * (len(shape) - 2))
    light = np.repeat(light, shape[1] // 2, axis=2)
    return (light + generator.integers(0, 56, (count, *shape))).astype(np.uint8)


def described(**changes: Any) -> str:
    spec = json.loads(ModelSpec("tiny", FER2013, CropSpec(), 1.0, False, "MIT", "0" * 64).dumps())
    crop = changes.pop("crop", {})
    return json.dumps(spec | {"crop": spec["crop"] | crop} | changes)


def test_rows_are_probabilities_in_the_order_of_the_labels(make_model: MakeModel) -> None:
    classifier = Classifier.load(make_model())
    probabilities = classifier.predict(random_crops(20))
    assert probabilities.shape == (20, len(classifier.spec.labels))
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert len(np.unique(probabilities.argmax(axis=1))) > 1


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 200])
@pytest.mark.parametrize("mirror", [False, True])
def test_crops_are_predicted_together_as_one_by_one(make_model: MakeModel, count: int, mirror: bool) -> None:
    classifier = Classifier.load(make_model(mirror=mirror))
    crops = random_crops(count)
    together = classifier.predict(crops)
    one_by_one = np.concatenate([classifier.predict(crop[None]) for crop in crops])
    assert np.allclose(together, one_by_one, atol=1e-6)


def test_no_crops_give_no_rows(make_model: MakeModel) -> None:
    for crop in (CropSpec(), CropSpec(colour="rgb", size_px=24)):
        probabilities = Classifier.load(make_model(crop=crop)).predict(np.zeros((0, *crop.shape), np.uint8))
        assert probabilities.shape == (0, 7)
        assert probabilities.dtype == np.float32


def test_mirroring_a_crop_changes_nothing_where_the_spec_says_mirror_and_much_where_not(make_model: MakeModel) -> None:
    for spec in (CropSpec(), CropSpec(colour="rgb")):
        crops = random_crops(70, spec)
        mirrored = crops[:, :, ::-1]
        plain = Classifier.load(make_model("plain.onnx", crop=spec))
        averaged = Classifier.load(make_model("averaged.onnx", crop=spec, mirror=True))
        assert np.abs(plain.predict(crops) - plain.predict(mirrored)).max() > 0.1
        assert np.allclose(averaged.predict(crops), averaged.predict(mirrored), atol=1e-6)
        expected = (plain.predict(crops) + plain.predict(mirrored)) / 2
        assert np.allclose(averaged.predict(crops), expected, atol=1e-6)


def test_the_crops_that_are_given_stay_as_they_are(make_model: MakeModel) -> None:
    crops = random_crops(9)
    before = crops.copy()
    crops.flags.writeable = False
    Classifier.load(make_model(mirror=True)).predict(crops)
    assert np.array_equal(crops, before)


def test_crops_need_not_lie_together_in_memory(make_model: MakeModel) -> None:
    classifier = Classifier.load(make_model())
    crops = random_crops(30)
    assert np.allclose(classifier.predict(crops[::3]), classifier.predict(crops)[::3], atol=1e-6)


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((48, 48), np.uint8),
        np.zeros((2, 47, 48), np.uint8),
        np.zeros((2, 48, 48, 3), np.uint8),
        np.zeros((2, 48, 48, 1), np.uint8),
        np.zeros((2, 48, 48), np.float32),
        np.zeros((2, 48, 48), np.int64),
        np.zeros((), np.uint8),
    ],
    ids=lambda crops: f"{crops.shape}-{crops.dtype}",
)
def test_crops_of_another_shape_or_type_are_refused(make_model: MakeModel, crops: NDArray[Any]) -> None:
    with pytest.raises(InputError, match=r"expected crops \(N, 48, 48\) of uint8"):
        Classifier.load(make_model()).predict(crops)


def test_a_model_says_what_it_is(make_model: MakeModel) -> None:
    crop = CropSpec(size_px=32, margin=0.2, offset_y=0.1, colour="rgb", contrast="clahe")
    spec = Classifier.load(make_model(crop=crop, mirror=True)).spec
    assert spec == ModelSpec("tiny", FER2013, crop, 1.0, True, "MIT", "0" * 64)


def test_a_file_gives_each_of_its_answers_by_name_and_the_first_where_none_is_said(make_model: MakeModel) -> None:
    names = ("people", "fer2013", "ferplus")
    path = make_model(answers=names, mirror=True)
    crops = random_crops(70)
    main = Classifier.load(path)
    answers = {name: Classifier.load(path, answer=name) for name in names}
    assert {name: answer.spec.name for name, answer in answers.items()} == {
        "people": "tiny", "fer2013": "tiny-fer2013", "ferplus": "tiny-ferplus",
    }  # fmt: skip
    assert main.spec == answers["people"].spec
    assert np.array_equal(main.predict(crops), answers["people"].predict(crops))
    assert np.abs(answers["fer2013"].predict(crops) - main.predict(crops)).max() > 0.1
    assert answers["ferplus"].predict(crops).shape == (70, 8)
    assert main.answers == answers["ferplus"].answers == names
    together = main.predict_answers(crops, ["ferplus", "people"])
    for name, shares in zip(("ferplus", "people"), together, strict=True):
        assert np.array_equal(shares, answers[name].predict_once(crops))


def test_a_shipped_name_stands_for_one_answer_of_its_file(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_model(answers=("people", "ferplus"))
    entry = replace(catalogue.SHIPPED["paper-cnn"], file=str(path), answer="ferplus", sha256=sha256_of(path))
    monkeypatch.setitem(catalogue.SHIPPED, "second", entry)
    assert Classifier.load("second").spec.name == "tiny-ferplus"
    assert Classifier.load("second", answer="people").spec.name == "tiny"


def test_an_output_without_a_description_is_no_answer(make_model: MakeModel) -> None:
    path = make_model(answers=("inner", "fer2013"))
    model = onnx.load(path)
    helper.set_model_props(model, {spec_key("fer2013"): described(name="described")})
    onnx.save(model, path)
    assert Classifier.load(path).spec.name == "described"
    with pytest.raises(ModelError, match=r"has no answer 'inner'; it has fer2013$"):
        Classifier.load(path, answer="inner")


def test_an_answer_that_a_file_does_not_give_is_refused_with_those_that_it_does(make_model: MakeModel) -> None:
    path = make_model(answers=("people", "fer2013"))
    for model, known in ((path, "people, fer2013"), ("paper-cnn", "fer2013")):
        with pytest.raises(ModelError, match=rf"\.onnx: has no answer 'ferplus'; it has {known}$"):
            Classifier.load(model, answer="ferplus")


def test_the_shipped_model_is_loaded_by_default_and_by_name() -> None:
    classifier = Classifier.load()
    assert classifier.spec.labels == FER2013
    assert classifier.spec.crop.shape == (48, 48)
    crops = random_crops(5)
    named = Classifier.load(catalogue.DEFAULT)
    assert named.spec == classifier.spec
    assert np.allclose(classifier.predict(crops), named.predict(crops), atol=1e-6)


def test_the_number_of_threads_changes_no_answer(make_model: MakeModel) -> None:
    path = make_model()
    crops = random_crops(5)
    assert np.allclose(Classifier.load(path, threads=1).predict(crops), Classifier.load(path).predict(crops), atol=1e-6)


def refusal(path: Path | str) -> str:
    """Return the one line in which a file is refused as a model."""
    with pytest.raises(ModelError) as refused:
        Classifier.load(path)
    text = str(refused.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("path", ["", "no-such-model", "no/such/file.onnx", "paper-cnn.onnx", "x" * 300, "nul\0"])
def test_a_model_that_is_not_there_is_refused_with_those_that_are(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no such model; expected mien, mien-fer2013, mien-ferplus, paper-cnn or" in refusal(path)


def test_files_that_are_no_network_are_refused(make_model: MakeModel, tmp_path: Path) -> None:
    whole = make_model().read_bytes()
    path = tmp_path / "model.onnx"
    for content in (b"", b"a letter\n" * 100, whole[:100], whole[: len(whole) // 2], whole[:-40], bytes(5000)):
        path.write_bytes(content)
        refusal(path)
    refusal(tmp_path)  # a folder


def foreign(path: Path, *, properties: dict[str, str] | None = None) -> Path:
    """Write an ONNX file of somebody else: floats in, floats out."""
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    leaves = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["y"])], "foreign", [entry], [leaves])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, properties or {})
    onnx.save(model, path)
    return path


def test_an_onnx_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    assert "none of mien's" in refusal(foreign(tmp_path / "foreign.onnx"))


def test_an_onnx_file_of_somebody_else_with_our_description_is_refused(tmp_path: Path) -> None:
    refusal(foreign(tmp_path / "foreign.onnx", properties={spec_key("y"): described()}))


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "not JSON",
        "[]",
        "7",
        "null",
        "{}",
        '{"crop": 1}',
        '{"crop": {}}',
        "[" * 100_000,
        described(labels=5),
        described(labels=None),
        described(labels=["happy"]),
        described(labels=[["a"], ["b"]]),
        described(labels=["happy"] * 7),
        described(labels=list(FER2013[:6])),
        described(labels=list(FERPLUS)),
        described(temperature=0),
        described(temperature="warm"),
        described(unknown=1),
        described(mirror="yes"),
        described(crop={"size_px": 64}),
        described(crop={"size_px": 0}),
        described(crop={"size_px": 10**9}),
        described(crop={"size_px": "48"}),
        described(crop={"colour": "rgb"}),
        described(crop={"colour": "sepia"}),
        described(crop={"margin": float("nan")}),
        described(crop={"more": 1}),
    ],
    ids=lambda spec: spec[:12] if len(spec) < 99 or len(spec) > 9999 else None,
)
def test_a_description_that_is_nonsense_or_not_of_this_network_is_refused(make_model: MakeModel, spec: str) -> None:
    refusal(make_model(spec=spec))


@pytest.mark.parametrize("kind", ["one column", "no probabilities", "not numbers", "fixed batch"])
def test_a_network_whose_answers_are_not_what_it_says_is_refused(tmp_path: Path, kind: str) -> None:
    shape = [1 if kind == "fixed batch" else "batch", 48, 48]
    labels = 1 if kind == "one column" else 7
    last = {"no probabilities": "Identity", "not numbers": "Log"}.get(kind, "Softmax")
    nodes = [
        helper.make_node("Cast", ["crops"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weights"], ["logits"]),
        helper.make_node(last, ["logits"], ["probabilities"]),
    ]
    weights = np.full((48 * 48, labels), -1 if kind == "not numbers" else 0.5, np.float32)
    graph = helper.make_graph(
        nodes,
        "wrong",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {spec_key("probabilities"): described()})
    onnx.save(model, tmp_path / "wrong.onnx")
    refusal(tmp_path / "wrong.onnx")

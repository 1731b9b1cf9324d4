"""An 8-bit copy of a network is smaller, says the same of itself and nearly the same of crops."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from mien.classify import Classifier, spec_key
from mien.errors import ModelError, OutputError
from mien.labels import FER2013, FERPLUS
from mien.preprocess import enhance
from mien.spec import CropSpec, ModelSpec
from mien.train import checkpoint
from mien.train import quantise as quantise_module
from mien.train.answers import count_logits
from mien.train.config import DataConfig, ModelConfig, Recipe
from mien.train.export import export
from mien.train.models.registry import build
from mien.train.network import normalise, to_input
from mien.train.quantise import quantise
from mien.types import ImageArray
from mien.weights import catalogue

MakeModel = Callable[..., Path]

RECIPE = Recipe(
    "small",
    data=DataConfig(labels="both"),
    model=ModelConfig("resnet", batch_norm=True, widths=(64, 128), depths=(1, 1), attention=True),
)
CROP = CropSpec(normalisation="fixed")
SPECS = {
    "people": ModelSpec("small", FER2013, CROP, 0.9, True, "MIT", "0" * 64),
    "fer2013": ModelSpec("small-fer2013", FER2013, CROP, 1.2, True, "MIT", "0" * 64),
    "ferplus": ModelSpec("small-ferplus", FERPLUS, CROP, 1.6, True, "MIT", "0" * 64),
}


def faces(count: int, *, seed: int = 0) -> ImageArray:
    """Return crops of patterns, fine and coarse ones, in another light each."""
    generator = np.random.default_rng(seed)
    crops = np.empty((count, 48, 48), np.uint8)
    for index, block in enumerate(np.resize([2, 4, 8, 16, 24], count)):
        pattern = generator.integers(0, 256, (48 // block, 48 // block))
        crops[index] = generator.uniform(0.3, 1) * np.kron(pattern, np.ones((block, block)))
    return crops


def make_decided(network: nn.Module) -> None:
    """Fit batch normalisation and the last layer to some crops: logits have a mean of 0 there and a deviation of 2.

    Fresh weights say nearly the same of every crop.
    """
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # one batch decides
    with torch.no_grad():
        nn.init.normal_(last.weight)
        inputs = normalise(to_input(torch.from_numpy(faces(100))), CROP)
        network.train()(inputs)
        deviations, means = torch.std_mean(network.eval()(inputs), dim=0)
        last.weight *= 2 / deviations[:, None]
        last.bias.copy_((last.bias - means) * 2 / deviations)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small residual network with two heads, exported."""
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    network = build(RECIPE.model, labels=count_logits(RECIPE), crop=CROP)
    make_decided(network)
    content = {
        "recipe": asdict(RECIPE),
        "specs": {name: spec.dumps() for name, spec in SPECS.items()},
        "prior": [1 / 7] * 7,
        "weights": network.state_dict(),
    }
    checkpoint.save(folder / "best.pt", content)
    export(folder / "best.pt", folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture(scope="module")
def quantised(model: Path) -> Path:
    """Return its 8-bit copy."""
    out = model.with_name("int8.onnx")
    quantise(model, faces(96), out)
    return out


def test_the_file_is_smaller_although_its_weights_were_fp16(model: Path, quantised: Path) -> None:
    assert quantised.stat().st_size < 0.7 * model.stat().st_size
    assert not list(quantised.parent.glob("*.data")), "weights in a file of their own"


def test_every_answer_says_the_same_of_itself(model: Path, quantised: Path) -> None:
    before, after = onnx.load(model), onnx.load(quantised)
    assert {item.key: item.value for item in after.metadata_props} == {
        item.key: item.value for item in before.metadata_props
    }
    assert Classifier.load(quantised).answers == Classifier.load(model).answers == tuple(SPECS)
    for answer, spec in SPECS.items():
        assert Classifier.load(quantised, answer=answer).spec == spec
    for side in ("input", "output"):
        kept, now = (
            [(value.name, value.type.tensor_type.elem_type) for value in getattr(found.graph, side)]
            for found in (before, after)
        )
        assert now == kept
    assert after.producer_name == "mien"


@pytest.mark.parametrize("answer", SPECS)
def test_the_answers_are_nearly_alike_at_any_batch_size(model: Path, quantised: Path, answer: str) -> None:
    crops = faces(200, seed=1)
    before, after = (Classifier.load(path, answer=answer) for path in (model, quantised))
    expected, found = before.predict(crops), after.predict(crops)
    assert np.ptp(expected, axis=0).max() > 0.5, "every crop gives the same answer: nothing was compared"
    assert np.abs(found - expected).mean() < 0.02
    assert np.abs(found - expected).max() < 0.2
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.8
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(after.predict(crops[:1]), found[:1], atol=1e-3)


def test_the_weights_of_all_convolutions_but_the_first_have_seven_bits_and_a_scale_a_channel(quantised: Path) -> None:
    graph = onnx.load(quantised).graph
    stored = {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}
    made_by = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 7, "the stem, two for each of two blocks, two shortcuts"
    assert stored[convolutions[0].input[1]].dtype == np.float32, "the stem reads the pixels and stays as it is"
    for convolution in convolutions[1:]:
        weights, scale = (stored[name] for name in made_by[convolution.input[1]].input[:2])
        assert weights.dtype == np.int8
        assert np.abs(weights.astype(int)).max() in (63, 64), "seven bits, and all of them"
        assert scale.shape == (len(weights),)
        assert len(np.unique(scale)) > 1
        assert made_by[convolution.input[0]].op_type == "DequantizeLinear", "what comes in is in 8 bits as well"
    halves = {name for name, values in stored.items() if values.dtype == np.float16}
    connected = {node.input[1] for node in graph.node if node.op_type in ("Gemm", "MatMul")}
    assert halves == {made_by[name].input[0] for name in connected if name in made_by}, "full connections alone"


def test_answers_are_made_of_what_the_heads_say_and_not_of_its_nearest_integers(quantised: Path) -> None:
    graph = onnx.load(quantised).graph
    heads = [node.output[0] for node in graph.node if node.op_type in ("Gemm", "MatMul")][-1]
    behind: set[str] = set()
    for node in graph.node:
        if {heads, *behind} & set(node.input):
            behind |= set(node.output)
            assert node.op_type not in ("QuantizeLinear", "DequantizeLinear"), node.name
    assert len(behind) > 5, "two heads, and the answer for people"
    assert any(node.op_type == "QuantizeLinear" for node in graph.node)


def test_the_same_crops_give_the_same_file_and_nothing_is_said_meanwhile(
    model: Path, quantised: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        quantise(model, faces(96), tmp_path / "again.onnx")
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert (tmp_path / "again.onnx").read_bytes() == quantised.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.onnx"]


class StoppedError(Exception):
    """What the stand-in for the quantisation raises."""


def test_the_ranges_are_measured_on_all_crops_with_the_models_contrast(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop = replace(CROP, contrast="equalise")
    changed = onnx.load(model)
    described = {spec_key(name): replace(spec, crop=crop).dumps() for name, spec in SPECS.items()}
    helper.set_model_props(changed, described)
    onnx.save(changed, tmp_path / "equalise.onnx")
    seen: list[ImageArray] = []

    def stand_in(_: Path, __: Path, reader: Any, **___: Any) -> None:
        while (batch := reader.get_next()) is not None:
            seen.append(batch["crops"])
        raise StoppedError

    monkeypatch.setattr(quantise_module, "quantize_static", stand_in)
    with pytest.raises(StoppedError):
        quantise(tmp_path / "equalise.onnx", faces(150), tmp_path / "out.onnx")
    np.testing.assert_array_equal(np.concatenate(seen), enhance(faces(150), crop))
    assert max(map(len, seen)) < 150, "in batches: not all of them fit into memory"


def test_where_it_fails_nothing_is_left_behind_and_an_older_file_stays(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, target = tmp_path / "scratch", tmp_path / "out" / "int8.onnx"
    for folder in (scratch, target.parent):
        folder.mkdir()
    target.write_bytes(b"older")

    def half(_: Path, out: Path, *__: Any, **___: Any) -> None:
        out.write_bytes(b"half")
        assert list(scratch.iterdir()), "what is made on the way lies elsewhere than looked for"
        raise StoppedError

    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setattr(quantise_module, "quantize_static", half)
    with pytest.raises(StoppedError):
        quantise(model, faces(4), target)
    assert target.read_bytes() == b"older"
    assert list(target.parent.iterdir()) == [target]
    assert not list(scratch.iterdir())


def test_a_model_in_8_bits_and_one_without_a_convolution_are_refused(
    quantised: Path, make_model: MakeModel, tmp_path: Path
) -> None:
    flat = make_model()
    for path in (quantised, flat):
        with pytest.raises(
            ModelError, match=rf"{path.name}: there is no convolution behind the first that is not in 8 bits"
        ):
            quantise(path, faces(4), tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == [flat]


def test_what_is_no_model_of_ours_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    foreign = onnx.load(model)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    for name in ("text.onnx", "foreign.onnx", "missing.onnx"):
        with pytest.raises(ModelError, match=name):
            quantise(tmp_path / name, faces(4), tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_a_place_that_cannot_be_written_is_said(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "int8.onnx"):
        with pytest.raises(OutputError, match="cannot write there"):
            quantise(model, faces(4), place)


def test_a_shipped_model_goes_by_its_name(
    model: Path, make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.weights.catalogue.find", lambda name: ({"shipped": model}.get(str(name), Path(name)), ""))
    quantise("shipped", faces(8), tmp_path / "int8.onnx")
    assert Classifier.load(tmp_path / "int8.onnx").spec == SPECS["people"]


def test_weights_in_full_precision_give_the_same_as_those_in_half(model: Path, quantised: Path, tmp_path: Path) -> None:
    whole = onnx.load(model)
    assert any(weight.data_type == TensorProto.FLOAT16 for weight in whole.graph.initializer)
    quantise_module._store_full(whole)
    onnx.save(whole, tmp_path / "full.onnx")
    crops = faces(16)
    np.testing.assert_array_equal(
        Classifier.load(tmp_path / "full.onnx").predict(crops), Classifier.load(model).predict(crops)
    )
    quantise(tmp_path / "full.onnx", faces(96), tmp_path / "int8.onnx")
    np.testing.assert_array_equal(
        Classifier.load(tmp_path / "int8.onnx").predict(crops), Classifier.load(quantised).predict(crops)
    )


def test_full_connections_stay_as_small_as_they_were(tmp_path: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (8, 48, 48), np.uint8)
    quantise("paper-cnn", crops, tmp_path / "small.onnx")  # nearly all of its weights are of full connections
    before = catalogue.find("paper-cnn")[0].stat().st_size
    assert (tmp_path / "small.onnx").stat().st_size < before

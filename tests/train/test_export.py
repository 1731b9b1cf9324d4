"""An exported file answers as the network that was trained, and says all that its users need."""

from __future__ import annotations

import copy
import json
import logging
import platform
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import nn

from mien.classify import Classifier, spec_key
from mien.errors import ModelError, OutputError
from mien.labels import FER2013, FERPLUS
from mien.spec import CropSpec, ModelSpec
from mien.train import checkpoint
from mien.train import export as export_module
from mien.train.answers import count_logits, make_answers
from mien.train.config import DataConfig, ModelConfig, PeopleConfig, Recipe
from mien.train.export import drop_unread, export, fold_batch_norm, round_to_half
from mien.train.models import registry
from mien.train.models.registry import build
from mien.train.network import Predictor
from mien.types import ImageArray

AsTrained = Callable[[nn.Module], nn.Module]
Exported = Callable[[str], tuple[Path, Path]]

ROOT = Path(__file__).resolve().parent.parent.parent

#: Of the paper's network, between them: both colours, every normalisation, with and without batch normalisation, seven
#: labels and eight.
PAPER = {
    "per_crop": (
        Recipe("a", model=ModelConfig(batch_norm=True)),
        {"fer2013": ModelSpec("a", FER2013, CropSpec(normalisation="per_crop"), 1.37, True, "MIT", "0" * 64)},
    ),
    "fixed": (
        Recipe("b", data=DataConfig(labels="votes")),
        {
            "ferplus": ModelSpec(
                "b", FERPLUS, CropSpec(colour="rgb", normalisation="fixed"), 0.8, False, "CC0-1.0", "1" * 64
            )
        },
    ),
    "none": (
        Recipe("c", model=ModelConfig(batch_norm=True)),
        {
            "fer2013": ModelSpec(
                "c", FER2013, CropSpec(normalisation="none", contrast="clahe"), 1.0, True, "MIT", "2" * 64
            )
        },
    ),
}
RESNET = ModelConfig("resnet", batch_norm=True, widths=(16, 32), depths=(1, 1), attention=True)
KINDS = {
    **PAPER,
    "both": (
        Recipe("d", data=DataConfig(labels="both"), model=RESNET, people=PeopleConfig(0.3, 0.5)),
        {
            "people": ModelSpec("d", FER2013, CropSpec(), 0.9, True, "MIT", "3" * 64),
            "fer2013": ModelSpec("d-fer2013", FER2013, CropSpec(), 1.2, True, "MIT", "3" * 64),
            "ferplus": ModelSpec("d-ferplus", FERPLUS, CropSpec(), 1.6, True, "MIT", "3" * 64),
        },
    ),
}
KINDS["label+votes"] = (
    Recipe("e", data=DataConfig(labels="label+votes"), model=RESNET),
    {"fer2013": ModelSpec("e", FER2013, CropSpec(), 0.9, True, "MIT", "4" * 64)},
)
ANSWERS = [(kind, answer) for kind, (_, specs) in KINDS.items() for answer in specs]


def make_checkpoint(path: Path, kind: str, as_trained: AsTrained) -> None:
    """Write a checkpoint whose answers differ from crop to crop."""
    torch.manual_seed(0)
    recipe, specs = KINDS[kind]
    network = as_trained(build(recipe.model, labels=count_logits(recipe), crop=crop_of(kind)))
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    nn.init.normal_(last.weight, std=0.1 if kind in PAPER else 0.3)
    content = {
        "recipe": asdict(recipe),
        "specs": {name: spec.dumps() for name, spec in specs.items()},
        "prior": [0.14, 0.02, 0.14, 0.25, 0.17, 0.11, 0.17],
        "weights": network.state_dict(),
    }
    checkpoint.save(path, content)


def crop_of(kind: str) -> CropSpec:
    return next(iter(KINDS[kind][1].values())).crop


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, as_trained: AsTrained) -> Exported:
    """Return a function that gives checkpoint and ONNX file of a kind, each exported once."""
    folder = tmp_path_factory.mktemp("exported")

    def get(kind: str) -> tuple[Path, Path]:
        trained, out = folder / f"{kind}.pt", folder / f"{kind}.onnx"
        if not out.exists():
            make_checkpoint(trained, kind, as_trained)
            assert export(trained, out) == next(iter(KINDS[kind][1].values()))
        return trained, out

    return get


def faces(count: int, crop: CropSpec) -> ImageArray:
    """Return crops of smooth patterns, of noise, and one black, one white."""
    generator = np.random.default_rng(7)
    crops = generator.integers(0, 256, (count, *crop.shape), np.uint8)
    crops[::2] = np.linspace(0, 255, 48).astype(np.uint8).reshape(-1, 1, *[1] * (len(crop.shape) - 2))
    crops[::2] //= generator.integers(1, 9, (len(crops[::2]), *[1] * len(crop.shape))).astype(np.uint8)
    crops[-1], crops[0] = 0, 255
    return crops


@pytest.mark.parametrize(("kind", "answer"), ANSWERS)
def test_onnx_and_pytorch_with_the_same_rounded_weights_agree_at_any_batch_size(
    exported: Exported, kind: str, answer: str
) -> None:
    trained, out = exported(kind)
    classifier = Classifier.load(out, answer=answer)
    predictor = round_to_half(fold_batch_norm(checkpoint.load_predictor(trained)[0]))
    answers = []
    for count in (1, 7, 64):
        crops = faces(count, classifier.spec.crop)
        with torch.no_grad():
            expected = predictor.answer(answer)(predictor.logits(torch.from_numpy(crops))).numpy()
        found = classifier.predict_once(crops)
        assert np.abs(found - expected).max() < 1e-4
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
        answers.append(found)
    assert np.ptp(answers[-1], axis=0).max() > 0.05, "every crop gives the same answer: nothing was compared"


@pytest.mark.parametrize("kind", KINDS)
def test_rounding_and_folding_hardly_change_the_answers(exported: Exported, kind: str) -> None:
    trained, out = exported(kind)
    crops = faces(16, crop_of(kind))
    predictor, _, specs = checkpoint.load_predictor(trained)
    with torch.no_grad():
        before = predictor(torch.from_numpy(crops))
    for answer, shares in zip(specs, before, strict=True):
        assert np.abs(Classifier.load(out, answer=answer).predict_once(crops) - shares.numpy()).max() < 0.01


@pytest.mark.parametrize("name", registry.MODELS)
def test_a_head_that_helped_in_training_leaves_nothing_behind(name: str, as_trained: AsTrained) -> None:
    recipe = Recipe("helped", data=DataConfig(labels="label+votes"), model=ModelConfig(name))
    network = as_trained(build(recipe.model, labels=15, crop=CropSpec()))
    whole = Predictor(network, CropSpec(), make_answers(recipe, torch.ones(7) / 7, {})).eval()
    kept = drop_unread(whole)
    alone = build(recipe.model, labels=7, crop=CropSpec())
    assert [part.shape for part in kept.network.parameters()] == [part.shape for part in alone.parameters()]
    crops = torch.from_numpy(faces(8, CropSpec()))
    with torch.no_grad():
        torch.testing.assert_close(kept(crops), whole(crops))
        assert kept.logits(crops).shape == (8, 7)


def test_a_cosine_network_is_exported_though_a_flat_crop_leaves_it_no_direction(tmp_path: Path) -> None:
    recipe = Recipe("cosine", model=ModelConfig("resnet", widths=(8,), depths=(1,), cosine=True, batch_norm=False))
    torch.manual_seed(0)
    content = {
        "recipe": asdict(recipe),
        "specs": {"fer2013": ModelSpec("c", FER2013, CropSpec(), 1.0, False, "MIT", "0" * 64).dumps()},
        "prior": [1 / 7] * 7,
        "weights": build(recipe.model, labels=7, crop=CropSpec()).state_dict(),
    }
    checkpoint.save(tmp_path / "best.pt", content)
    export(tmp_path / "best.pt", tmp_path / "model.onnx")


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_says_what_the_checkpoint_says(exported: Exported, kind: str) -> None:
    _, out = exported(kind)
    _, specs = KINDS[kind]
    assert Classifier.load(out).spec == next(iter(specs.values()))
    described = {item.key: json.loads(item.value) for item in onnx.load(out).metadata_props}
    assert described.keys() == {spec_key(answer) for answer in specs}
    for answer, spec in specs.items():
        assert Classifier.load(out, answer=answer).spec == spec
        assert described[spec_key(answer)] == {
            "name": spec.name,
            "labels": list(spec.labels),
            "crop": asdict(spec.crop),
            "temperature": spec.temperature,
            "mirror": spec.mirror,
            "licence": spec.licence,
            "manifest_sha256": spec.manifest_sha256,
        }


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_is_an_output_the_main_one_first(exported: Exported, kind: str) -> None:
    graph = onnx.load(exported(kind)[1]).graph
    assert [output.name for output in graph.output] == list(KINDS[kind][1])
    assert [entry.name for entry in graph.input] == ["crops"]


def test_the_graph_takes_crops_of_bytes_and_gives_probabilities(exported: Exported) -> None:
    model = onnx.load(exported("fixed")[1])
    onnx.checker.check_model(model, full_check=True)
    (crops,), (probabilities,) = model.graph.input, model.graph.output
    assert crops.type.tensor_type.elem_type == TensorProto.UINT8
    assert probabilities.type.tensor_type.elem_type == TensorProto.FLOAT
    shapes = [
        [dimension.dim_param or dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (crops, probabilities)
    ]
    assert shapes[0][1:] == [48, 48, 3]
    assert shapes[1][1:] == [8]
    assert isinstance(shapes[0][0], str), "the batch size is fixed"
    assert shapes[0][0] == shapes[1][0]


def test_batch_normalisation_is_folded_and_dropout_gone(exported: Exported) -> None:
    for kind in ("none", "fixed"):
        found = Counter(node.op_type for node in onnx.load(exported(kind)[1]).graph.node)
        assert not {"BatchNormalization", "Dropout", "Identity"} & set(found)
        assert (found["Conv"], found["MaxPool"], found["Gemm"] + found["MatMul"], found["Softmax"]) == (4, 3, 3, 1)


@pytest.mark.parametrize("kind", PAPER)
def test_weights_are_stored_as_fp16_in_at_most_18_mib(exported: Exported, kind: str) -> None:
    _, out = exported(kind)
    assert out.stat().st_size <= 18 * 2**20
    stored = Counter[int]()
    for weight in onnx.load(out).graph.initializer:
        stored[weight.data_type] += int(np.prod(weight.dims))
    assert stored[TensorProto.FLOAT16] > 8_770_000
    assert stored[TensorProto.FLOAT] < 2_000
    assert not list(out.parent.glob("*.data")), "weights in a file of their own"


@pytest.mark.parametrize("kind", KINDS)
def test_no_path_or_name_of_the_training_machine_is_in_the_file(exported: Exported, kind: str) -> None:
    trained, out = exported(kind)
    content = out.read_bytes().lower()
    for told in (ROOT, trained.parent, Path(torch.__file__).parent, Path.home() / "x", "site-packages", "torch/"):
        assert str(told).rstrip("x").lower().encode() not in content
    assert b".py" not in content
    if len(platform.node()) > 3:
        assert platform.node().lower().encode() not in content
    assert onnx.load(out).producer_name == "mien"


def test_the_same_checkpoint_gives_the_same_file_and_nothing_is_said_meanwhile(
    exported: Exported, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    trained, out = exported("none")
    level = logging.getLogger("torch.onnx").level
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export(trained, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == out.read_bytes()
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert logging.getLogger("torch.onnx").level == level


@pytest.mark.parametrize(("kind", "answer"), [("per_crop", "fer2013"), *((k, a) for k, a in ANSWERS if k == "both")])
def test_nothing_is_written_where_any_answer_differs(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, answer: str
) -> None:
    trained, out = exported(kind)
    target = tmp_path / "out" / "model.onnx"
    target.parent.mkdir()
    target.write_bytes(b"older")
    model = onnx.load(out)
    monkeypatch.setattr(export_module, "_to_onnx", lambda *_: model)
    for factor in (1.1, float("nan")):
        monkeypatch.setattr(
            export_module, "round_to_half", lambda predictor, by=factor: _flattened(predictor, answer, by)
        )
        with pytest.raises(
            ModelError, match=rf"{kind}\.pt: the exported network differs from PyTorch's by .*not written"
        ):
            export(trained, target)
        assert target.read_bytes() == b"older"
        assert list(target.parent.iterdir()) == [target]
    monkeypatch.setattr(export_module, "round_to_half", round_to_half)
    export(trained, target)
    assert target.read_bytes() == out.read_bytes()


def _flattened(predictor: Predictor, answer: str, by: float) -> Predictor:
    """Return the rounded predictor with one answer's temperature changed, and not that of what is made of it."""
    rounded = round_to_half(predictor)
    changed = copy.deepcopy(rounded.answer(answer))
    changed.temperature *= by
    rounded.answers[answer] = changed
    return rounded


def test_a_checkpoint_that_is_damaged_is_refused_and_nothing_written(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"half")
    with pytest.raises(ModelError):
        export(tmp_path / "best.pt", tmp_path / "model.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt"]


def test_a_place_that_cannot_be_written_is_said(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, out = exported("per_crop")
    model = onnx.load(out)
    monkeypatch.setattr(export_module, "_to_onnx", lambda *_: model)
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "model.onnx"):
        with pytest.raises(OutputError, match="cannot write there"):
            export(trained, place)


def test_a_batch_normalisation_that_cannot_be_folded_is_refused() -> None:
    for network in (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2)),
        nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3)), nn.BatchNorm2d(2)),
    ):
        with pytest.raises(ModelError, match="cannot be folded"):
            fold_batch_norm(Predictor(network, CropSpec(), {}))


def test_rounding_leaves_small_tensors_and_the_original_alone() -> None:
    torch.manual_seed(0)
    network = nn.Linear(300, 2)
    rounded = round_to_half(Predictor(network, CropSpec(), {})).network
    assert isinstance(rounded, nn.Linear)
    assert torch.equal(rounded.weight, network.weight.half().float())
    assert not torch.equal(rounded.weight, network.weight)
    assert torch.equal(rounded.bias, network.bias)

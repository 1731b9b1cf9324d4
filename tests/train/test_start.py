"""A run that starts from a model's file begins with that model's answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mien.train.fit as fitting
from mien.classify import Classifier
from mien.data import manifest as manifests
from mien.errors import DataError, InputError, RecipeError
from mien.files import sha256_of
from mien.metrics import log_loss
from mien.spec import CropSpec
from mien.train import checkpoint
from mien.train.answers import make_answers
from mien.train.config import DataConfig, ModelConfig, OptimiserConfig, PeopleConfig, Recipe, StopConfig, read_recipe
from mien.train.dataset import load
from mien.train.export import export
from mien.train.fit import fit
from mien.train.network import Predictor
from mien.train.quantise import quantise
from mien.train.start import hash_of_start
from mien.train.state import State, start
from mien.train.validate import asked, mean_probabilities, predict_views
from mien.types import FloatArray, ImageArray
from mien.weights import catalogue

MakeDataset = Callable[..., Path]
MakeCheckpoint = Callable[..., Path]
MakeFile = Callable[..., Path]

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
CPU = torch.device("cpu")
CROP = CropSpec()
OWN = np.array([0.1, 0.01, 0.02, 0.4, 0.1, 0.13, 0.24], np.float32)  # shares of expressions, not those of FER+


def recipe_of(model: Path | str, name: str, *, labels: str = "label", tau: float = 0.0) -> Recipe:
    """Return a short recipe that starts from a file which the fixture make_checkpoint made the weights of."""
    widths, depths = ((), ()) if name == "paper-cnn" else ((4, 8), (2, 2) if name == "vgg" else (1, 1))
    return Recipe(
        "own",
        data=DataConfig(labels=labels),
        model=ModelConfig(name, dropout=0.0, batch_norm=False, widths=widths, depths=depths, start=str(model)),
        optimiser=OptimiserConfig(epochs=2, batch_size=16, learning_rate=1e-3, clip_norm=1.0),
        stop=StopConfig(0),
        people=PeopleConfig(logit_adjustment=tau),
    )


@pytest.fixture
def make_file(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> MakeFile:
    """Return a function that writes the model file of a network of which no two weights are alike, as if trained.

    The exporter keeps weights that are alike, as fresh biases are, only once.
    """

    def make(name: str, file: str = "model.onnx", *, labels: str = "label") -> Path:
        path = make_checkpoint(name, labels=labels)
        content = checkpoint.load(path)
        generator = torch.Generator().manual_seed(0)
        for values in content["weights"].values():
            if values.is_floating_point():
                values += 0.1 * torch.rand(values.shape, generator=generator)
        content["prior"] = [0.15, 0.01, 0.03, 0.3, 0.15, 0.16, 0.2]
        content["recipe"]["people"]["logit_adjustment"] = 0.75
        checkpoint.save(path, content)
        export(path, tmp_path / file)
        return tmp_path / file

    return make


def patterns(count: int) -> ImageArray:
    """Return crops of smooth patches of light and dark."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (count, 6, 6)).astype(np.float32)
    fine = np.kron(coarse, np.ones((1, 8, 8), np.float32))
    for axis in (1, 2):
        fine = np.mean([np.roll(fine, step, axis) for step in range(-4, 5)], axis=0)
    return fine.clip(0, 255).astype(np.uint8)


def started(recipe: Recipe, prior: FloatArray = OWN) -> Predictor:
    """Return the network before its first step, at the temperatures of the file that it starts from."""
    temperatures = {
        answer: Classifier.load(recipe.model.start, answer=answer).spec.temperature
        for answer in Classifier.load(recipe.model.start).answers
    }
    network = start(recipe, CROP, CPU, prior=prior).network
    return Predictor(network, CROP, make_answers(recipe, torch.from_numpy(prior), temperatures)).eval()


def differences(recipe: Recipe, crops: ImageArray, answer: str) -> tuple[float, float]:
    """Return the largest difference of a probability to the file's, and the share of crops with the same answer."""
    with torch.no_grad():
        told = dict(
            zip(Classifier.load(recipe.model.start).answers, started(recipe)(torch.from_numpy(crops)), strict=True)
        )
    expected = Classifier.load(recipe.model.start, answer=answer).predict_once(crops)
    given = told[answer].numpy()
    return float(np.abs(given - expected).max()), float((given.argmax(1) == expected.argmax(1)).mean())


@pytest.mark.parametrize("name", ["mobilenet", "resnet", "vgg"])
def test_a_network_starts_with_the_answers_of_its_file(name: str, make_file: MakeFile, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path / "model.onnx", name)
    make_file(name)
    assert differences(recipe, patterns(32), "fer2013")[0] < 1e-4


def test_the_shipped_network_of_the_paper_starts_with_its_own_answers() -> None:
    largest, same = differences(recipe_of("paper-cnn", "paper-cnn"), patterns(32), "fer2013")
    assert largest < 1e-4
    assert same == 1


@pytest.mark.parametrize("answer", ["people", "fer2013"])
def test_the_recipe_for_finetuning_starts_with_the_answers_of_the_8_bit_model(answer: str) -> None:
    largest, same = differences(read_recipe(RECIPES / "finetune.toml"), patterns(60), answer)
    assert largest < 0.15  # the file's maps are in 8 bits as well
    assert same >= 0.95


def test_weights_in_8_bits_are_read_channel_by_channel(make_file: MakeFile, tmp_path: Path) -> None:
    make_file("resnet", "whole.onnx", labels="both")
    quantise(tmp_path / "whole.onnx", patterns(64), tmp_path / "small.onnx")
    networks = [
        start(recipe_of(tmp_path / name, "resnet", labels="both"), CROP, CPU).network
        for name in ("whole.onnx", "small.onnx")
    ]
    for (name, whole), small in zip(networks[0].named_parameters(), networks[1].parameters(), strict=True):
        step = whole.detach().abs().amax() / 31  # 7 bits with a sign; a bias's step is that of its maps as well
        assert float((whole - small).detach().abs().max()) <= float(step) + 1e-6, name


def test_the_correction_goes_by_the_own_frequencies_and_the_answer_stays(make_file: MakeFile, tmp_path: Path) -> None:
    make_file("resnet", labels="both")
    for tau in (0.0, 0.75):
        recipe = recipe_of(tmp_path / "model.onnx", "resnet", labels="both", tau=tau)
        assert differences(recipe, patterns(32), "people")[0] < 1e-4
    with torch.no_grad():
        logits = started(recipe).logits(torch.from_numpy(patterns(4)))
        plain = started(replace(recipe, people=PeopleConfig())).logits(torch.from_numpy(patterns(4)))
    shift = (logits - plain)[:, 7:14].mean(dim=0).numpy()  # what FER+'s head knows of how frequent each is
    assert np.argsort(shift).tolist() == np.argsort(OWN).tolist()
    assert np.abs((logits - plain)[:, :7].numpy()).max() == 0


def test_where_people_are_not_answered_nothing_is_corrected(make_file: MakeFile, tmp_path: Path) -> None:
    make_file("resnet", labels="both")
    recipe = recipe_of(tmp_path / "model.onnx", "resnet", labels="label+votes", tau=0.75)
    plain = recipe_of(tmp_path / "model.onnx", "resnet", labels="both", tau=0.75)
    names = Classifier.load(recipe.model.start).answers
    crops = torch.from_numpy(patterns(8))
    with torch.no_grad():
        logits = started(replace(recipe, people=PeopleConfig(fer2013_share=1.0))).logits(crops)
        both = Predictor(start(plain, CROP, CPU, prior=OWN).network, CROP, {}).eval().logits(crops)
    assert names == ("people", "fer2013", "ferplus")
    expected = Classifier.load(recipe.model.start, answer="ferplus")
    given = torch.softmax(logits[:, 7:] / expected.spec.temperature, dim=1)
    assert np.abs(given.numpy() - expected.predict_once(patterns(8))).max() < 1e-4
    assert float((logits[:, 7:] - both[:, 7:]).abs().max()) > 0.01, "nothing was to be corrected"


@pytest.mark.parametrize("model", [ModelConfig("vit", batch_norm=False), ModelConfig("resnet", cosine=True)])
def test_networks_whose_weights_a_file_does_not_name_are_refused(model: ModelConfig, make_file: MakeFile) -> None:
    recipe = recipe_of(make_file("resnet"), "resnet")
    with pytest.raises(RecipeError, match=r"weights of vit and of model.cosine cannot be read off a file"):
        start(replace(recipe, model=replace(model, batch_norm=False, start=recipe.model.start)), CROP, CPU)


def test_other_networks_heads_crops_and_missing_files_are_refused(make_file: MakeFile, tmp_path: Path) -> None:
    model = make_file("resnet")
    fitting = recipe_of(model, "resnet")
    wider = replace(fitting, model=replace(fitting.model, widths=(8, 8)))
    deeper = replace(fitting, model=replace(fitting.model, depths=(2, 1)))
    normed = replace(fitting, model=replace(fitting.model, batch_norm=True))
    for recipe, crop, told in (
        (wider, CROP, r"holds network\..* of \(4, 32, 3, 3\).*wants .* of \(8, 32, 3, 3\).*widths"),
        (deeper, CROP, r"is another network than model.name = 'resnet'.*it has network.features.5.shortcut"),
        (recipe_of(model, "vgg"), CROP, "is another network than model.name = 'vgg'"),
        (normed, CROP, "wants model.batch_norm = false"),
        (recipe_of(model, "resnet", labels="both"), CROP, "has the heads fer2013; .*set data.labels = 'label'"),
        (fitting, CropSpec(normalisation="fixed"), "reads crops as .*per_crop.*fixed"),
        (recipe_of(tmp_path / "gone.onnx", "resnet"), CROP, "no such model"),
    ):
        with pytest.raises(RecipeError, match=told):
            start(recipe, crop, CPU)
    with pytest.raises(RecipeError, match=r"cannot start from that model.*no such model"):
        hash_of_start(recipe_of(tmp_path / "gone.onnx", "resnet"))
    (tmp_path / "torn.onnx").write_bytes(model.read_bytes()[:500])
    with pytest.raises(RecipeError, match="cannot be used"):
        start(recipe_of(tmp_path / "torn.onnx", "resnet"), CROP, CPU)


def test_a_run_keeps_the_model_that_it_started_from(make_dataset: MakeDataset, tmp_path: Path) -> None:
    model, folder = tmp_path / "model.onnx", tmp_path / "run"
    shutil.copy(catalogue.find("paper-cnn")[0], model)
    recipe = recipe_of(model, "paper-cnn")
    recipe = replace(recipe, data=replace(recipe.data, manifests=(str(make_dataset()),)))
    fit(recipe, folder)
    content = checkpoint.load(folder / "last.pt")
    assert content["started_from"] == checkpoint.load(folder / "best.pt")["started_from"] == sha256_of(model)
    checkpoint.save(folder / "last.pt", {**content, "finished": False, "rows": content["rows"][:1]})
    model.write_bytes(model.read_bytes() + b"\x72\x00")  # an empty domain: the same model, other bytes
    with pytest.raises(InputError, match="started from another model of that name"):
        fit(recipe, folder, resume=True)
    checkpoint.save(folder / "last.pt", content)
    model.unlink()
    assert fit(recipe, folder, resume=True).epochs == 2  # a finished run needs it no more


def test_an_epoch_is_chosen_by_the_answer_as_it_is_exported(
    make_file: MakeFile, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    data = make_dataset(train=32, val=210, votes=True)
    recipe = recipe_of(make_file("resnet", labels="both"), "resnet", labels="both")
    recipe = replace(
        recipe,
        data=replace(recipe.data, manifests=(str(data),)),
        people=PeopleConfig(fer2013_share=0.5, logit_adjustment=0.75),
    )
    run = fit(recipe, tmp_path / "run")
    predictor, _, specs = checkpoint.load_predictor(run.folder / "best.pt")
    assert "people" in specs
    assert specs["people"].temperature != 1.0
    table, people = load(recipe.data).val, predictor.answer("people")
    views = predict_views(predictor, table, CPU, mirror=recipe.mirror)
    rows, expected = asked(people, table)
    given = mean_probabilities(views[:, rows], people)
    best = checkpoint.load(run.folder / "last.pt")["best"]
    assert best["val_loss"] == pytest.approx(log_loss(given, expected), rel=1e-6)
    assert best["val_accuracy"] == (given.argmax(1) == expected.argmax(1)).mean()


def test_the_heads_of_a_started_network_keep_their_temperatures_as_people_hang_on_them(
    make_file: MakeFile, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_dataset(train=32, val=210, votes=True)
    path = make_file("resnet", labels="both")
    recipe = recipe_of(path, "resnet", labels="both", tau=0.75)
    recipe = replace(recipe, data=replace(recipe.data, manifests=(str(data),)))
    monkeypatch.setattr(fitting, "train_epoch", lambda *_: (1.0, 16))  # nothing is learned
    run = fit(recipe, tmp_path / "run", device="cpu")
    _, _, specs = checkpoint.load_predictor(run.folder / "best.pt")
    for name in ("fer2013", "ferplus"):
        assert specs[name].temperature == Classifier.load(path, answer=name).spec.temperature
    export(run.folder / "best.pt", tmp_path / "kept.onnx")
    crops = np.asarray(manifests.read(data).crops)
    before, after = (Classifier.load(model).predict(crops) for model in (path, tmp_path / "kept.onnx"))
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()


def test_faces_that_nobody_voted_on_can_have_their_label_as_the_vote(make_dataset: MakeDataset) -> None:
    for name, votes in (("none", False), ("some", True)):
        folder = make_dataset(name, votes=votes, silent=slice(0, 20))
        config = DataConfig(manifests=(str(folder),), labels="both", label_votes=True)
        targets = load(config).train.targets
        assert np.array_equal(targets[:20, 7:14], targets[:20, :7])
        assert np.allclose(targets[:, 7:].sum(axis=1), 1)
        assert (targets[20:, 7:].max(axis=1) < 1).all() == votes
    with pytest.raises(DataError, match=r"no votes.*label_votes"):
        load(DataConfig(manifests=(str(make_dataset("bare")),), labels="both"))


def test_an_expression_that_is_in_no_face_is_not_held_impossible(make_dataset: MakeDataset) -> None:
    folder = make_dataset()
    dataset = manifests.read(folder)
    label = np.where(dataset.manifest.label == 1, 3, dataset.manifest.label)
    manifests.write(replace(dataset.manifest, label=label), np.array(dataset.crops), folder)
    prior = load(DataConfig(manifests=(str(folder),))).prior
    assert prior.sum() == pytest.approx(1)
    assert prior[1] == pytest.approx(1 / 77)  # of 70 faces none, and one more of each


def test_where_no_epoch_is_better_the_start_is_kept(
    make_file: MakeFile, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(state: State, *_: object) -> tuple[float, int]:
        for weights in (*state.network.parameters(), *state.averaged.parameters()):
            weights.data.zero_()  # one answer for every crop
        return 1.0, 16

    recipe = recipe_of(make_file("mobilenet"), "mobilenet")
    data = make_dataset()
    # As many of one label that the start is right more often than any single answer would be.
    dataset = manifests.read(data)
    told = Classifier.load(recipe.model.start).predict(np.asarray(dataset.crops)).argmax(1)
    manifests.write(replace(dataset.manifest, label=told.astype(np.int64)), np.array(dataset.crops), tmp_path / "easy")
    recipe = replace(recipe, data=DataConfig(manifests=(str(tmp_path / "easy"),), labels="label"))
    monkeypatch.setattr(fitting, "train_epoch", spoil)
    result = fit(recipe, tmp_path / "run", device="cpu")
    assert (result.best_epoch, result.epochs) == (0, 2)
    assert result.val_accuracy == 1.0
    kept = checkpoint.load(tmp_path / "run" / "best.pt")
    assert kept["epoch"] == 0
    assert any(weights.abs().sum() for name, weights in kept["weights"].items() if name.endswith("weight"))

"""A network learns from labels and from what other models say of the pictures that it sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mien.classify import Classifier
from mien.data.manifest import read, write
from mien.errors import InputError, RecipeError
from mien.spec import CropSpec
from mien.train import fit as fit_module
from mien.train.answers import HEADS, Head
from mien.train.config import DataConfig, ModelConfig, OptimiserConfig, Recipe, TeacherConfig
from mien.train.export import export
from mien.train.fit import fit
from mien.train.losses import cross_entropy, distillation, widen
from mien.train.network import to_input
from mien.train.teach import Teacher, load_teachers, teach, total_loss

MakeDataset = Callable[..., Path]
MakeModel = Callable[..., Path]
MakeRecipe = Callable[..., Recipe]
WeightsOf = Callable[..., str]

BOTH = HEADS["both"]
CPU = torch.device("cpu")


def taught_by(*models: Path | str, labels: str = "both", **settings: Any) -> Recipe:
    teacher = TeacherConfig(models=tuple(str(model) for model in models), **settings)
    return Recipe("pupil", data=DataConfig(labels=labels), teacher=teacher)


def halves(count: int, crop: CropSpec | None = None) -> Tensor:
    """Return uint8 crops whose halves differ in brightness."""
    generator = np.random.default_rng(0)
    crop = crop or CropSpec()
    light = generator.integers(0, 256, (count, 1, 2) + (1,) * (len(crop.shape) - 2), np.uint8)
    return torch.from_numpy(np.broadcast_to(light.repeat(24, axis=2), (count, *crop.shape)).copy())


def random(*shape: int, columns: int = 15, seed: int = 0) -> Tensor:
    return torch.randn(*shape, columns, generator=torch.Generator().manual_seed(seed))


def distributions(count: int, seed: int) -> Tensor:
    values = random(count, seed=seed)
    return torch.cat([torch.softmax(values[:, head.columns], dim=1) for head in BOTH], dim=1)


def test_a_recipe_without_teachers_has_none() -> None:
    assert load_teachers(taught_by(), CropSpec(), CPU) == []


def test_teachers_are_found_in_the_order_of_the_recipe_whatever_their_normalisation(make_model: MakeModel) -> None:
    first = make_model("first.onnx", answers=("fer2013", "ferplus"))
    crop = CropSpec(normalisation="none")
    second = make_model("second.onnx", answers=("people", "fer2013", "ferplus"), crop=crop)
    found = load_teachers(taught_by(first, second), CropSpec(), CPU)
    assert [teacher.answers for teacher in found] == [("fer2013", "ferplus"), ("people", "fer2013", "ferplus")]
    assert len(load_teachers(taught_by("paper-cnn", labels="label"), CropSpec(), CPU)) == 1


@pytest.mark.parametrize(
    ("answers", "crop", "said"),
    [
        (("fer2013",), CropSpec(), "has no head ferplus"),
        (("people", "ferplus"), CropSpec(), "has no head fer2013"),
        (("fer2013", "ferplus"), CropSpec(contrast="clahe"), "reads other crops"),
        (("fer2013", "ferplus"), CropSpec(margin=0.2), "reads other crops"),
        (("fer2013", "ferplus"), CropSpec(size_px=32), "reads other crops"),
        (("fer2013", "ferplus"), CropSpec(colour="rgb"), "reads other crops"),
    ],
)
def test_a_teacher_of_other_heads_or_crops_is_refused_by_its_name(
    make_model: MakeModel, answers: tuple[str, ...], crop: CropSpec, said: str
) -> None:
    path = make_model(answers=answers, crop=crop)
    with pytest.raises(RecipeError, match=rf"recipe 'pupil': its teacher {path} {said}"):
        load_teachers(taught_by(path), CropSpec(), CPU)


@pytest.mark.usefixtures("tiny")
def test_a_teacher_that_is_not_there_is_refused_before_anything_is_made(
    make_dataset: MakeDataset, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe(make_dataset())
    recipe = replace(recipe, teacher=TeacherConfig((str(tmp_path / "absent.onnx"),)))
    with pytest.raises(RecipeError, match=r"its teacher cannot be used: .*absent\.onnx: no such model"):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("crop", [CropSpec(), CropSpec(colour="rgb")], ids=["grey", "rgb"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("count", [1, 9])
def test_a_teacher_says_what_it_answers_to_the_same_crops_softened(
    make_model: MakeModel, crop: CropSpec, temperature: float, count: int
) -> None:
    path = make_model(answers=("fer2013", "ferplus"), crop=crop)
    crops = halves(count, crop)
    said = teach([Classifier.load(path)], BOTH, to_input(crops), temperature)
    assert said.shape == (count, 15)
    for head in BOTH:
        answer = torch.from_numpy(Classifier.load(path, answer=head.name).predict_once(crops.numpy()))
        softened = torch.softmax(answer.log() / temperature, dim=1)
        torch.testing.assert_close(said[:, head.columns], softened, atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("tiny")
def test_a_checkpoint_teaches_what_its_exported_file_does(
    make_dataset: MakeDataset, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    run = fit(make_recipe(make_dataset(train=32, val=14, votes=True), labels="both", epochs=1), tmp_path / "run").folder
    export(run / "best.pt", run / "model.onnx")
    recipe, inputs = taught_by(run / "best.pt", run / "model.onnx"), to_input(halves(9))
    checkpoint, file = load_teachers(recipe, CropSpec(), CPU)
    said = teach([checkpoint], BOTH, inputs, 2.0)
    assert not said.requires_grad
    torch.testing.assert_close(said, teach([file], BOTH, inputs, 2.0), atol=0.01, rtol=0.02)  # bf16, fp16
    with pytest.raises(RecipeError, match=r"its teacher .*best\.pt reads other crops"):
        load_teachers(taught_by(run / "best.pt"), CropSpec(contrast="clahe"), CPU)
    with pytest.raises(RecipeError, match=r"its teacher cannot be used: .*last\.pt: .*in best\.pt beside it"):
        load_teachers(taught_by(run / "last.pt"), CropSpec(), CPU)
    with pytest.raises(RecipeError, match=r"its teacher cannot be used: .*absent\.pt: no such checkpoint; train it by"):
        load_teachers(taught_by(tmp_path / "absent.pt"), CropSpec(), CPU)


def test_several_teachers_are_averaged_after_softening(make_model: MakeModel) -> None:
    # The second gives the first's weights another answer.
    first, second = (
        Classifier.load(make_model(f"{names[0]}.onnx", answers=names))
        for names in (("fer2013", "ferplus"), ("ferplus", "fer2013"))
    )
    inputs = to_input(halves(9))
    alone = [teach([teacher], BOTH, inputs, 2.0) for teacher in (first, second)]
    assert float((alone[0] - alone[1]).abs().max()) > 0.1
    torch.testing.assert_close(teach([first, second], BOTH, inputs, 2.0), (alone[0] + alone[1]) / 2)


def test_a_pupil_of_one_head_hears_that_head_alone(make_model: MakeModel) -> None:
    teacher = Classifier.load(make_model(answers=("fer2013", "ferplus")))
    inputs = to_input(halves(5))
    both = teach([teacher], BOTH, inputs, 2.0)
    assert torch.equal(teach([teacher], HEADS["votes"], inputs, 2.0), both[:, 7:])


def test_the_loss_is_the_sum_of_the_heads_each_of_labels_and_teachers_in_their_shares() -> None:
    logits, targets, taught = random(6), distributions(6, 1), distributions(6, 2)
    targets[2, 7:] = 0
    recipe = replace(taught_by(weight=0.3, temperature=2.5), optimiser=OptimiserConfig(label_smoothing=0.2))
    labels = teachers = torch.zeros(())
    for columns in (slice(7), slice(7, 15)):
        labels = labels + cross_entropy(logits[:, columns], targets[:, columns], smoothing=0.2)
        teachers = teachers + distillation(logits[:, columns], taught[:, columns], temperature=2.5)
    torch.testing.assert_close(total_loss(logits, targets, None, BOTH, recipe), labels)
    torch.testing.assert_close(total_loss(logits, targets, taught, BOTH, recipe), 0.7 * labels + 0.3 * teachers)


@pytest.mark.parametrize(("weight", "by_labels"), [(0.0, True), (1.0, False)])
def test_who_has_no_weight_has_no_say(weight: float, by_labels: bool) -> None:
    logits, recipe = random(6), taught_by(weight=weight)
    targets, taught = ([distributions(6, seed) for seed in seeds] for seeds in ((1, 2), (3, 4)))
    loss, other_labels, other_teacher = (
        float(total_loss(logits, targets[labels], taught[teacher], BOTH, recipe))
        for labels, teacher in ((0, 0), (1, 0), (0, 1))
    )
    assert (loss != other_labels) == by_labels
    assert (loss != other_teacher) == (not by_labels)


def test_what_a_row_weighs_for_its_labels_it_weighs_for_its_teachers() -> None:
    logits, targets, taught, recipe = random(6), distributions(6, 1), distributions(6, 2), taught_by(weight=0.3)
    twice = torch.tensor([2.0, 0, 1, 0, 3, 0])[:, None]
    apart = [
        weight * total_loss(logits[row, None], targets[row, None], taught[row, None], BOTH, recipe)
        for row, weight in enumerate(twice.flatten().tolist())
    ]
    weighed = total_loss(logits, targets * twice, taught, BOTH, recipe)
    torch.testing.assert_close(weighed, torch.stack(apart).mean())


def test_a_row_without_votes_asks_nothing_of_the_second_head() -> None:
    logits, targets = random(4).requires_grad_(), distributions(4, 1)
    targets[[0, 3], 7:] = 0
    total_loss(logits, targets, None, BOTH, taught_by()).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[:, :7].any(dim=1).all()
    assert logits.grad[:, 7:].any(dim=1).tolist() == [False, True, True, False]


def test_a_margin_is_between_the_pupil_and_its_labels_not_its_teachers() -> None:
    logits, targets, taught = random(6) * 3, distributions(6, 1), distributions(6, 2)
    model, optimiser = ModelConfig("resnet", cosine=True), OptimiserConfig(margin=0.2)
    recipe = replace(taught_by(weight=0.3), model=model, optimiser=optimiser)
    expected = torch.zeros(())
    for columns in (slice(7), slice(7, 15)):
        widened = widen(logits[:, columns], targets[:, columns], margin=0.2)
        expected = expected + 0.7 * cross_entropy(widened, targets[:, columns])
        expected = expected + 0.3 * distillation(logits[:, columns], taught[:, columns], temperature=2.0)
    torch.testing.assert_close(total_loss(logits, targets, taught, BOTH, recipe), expected)


@pytest.mark.usefixtures("tiny")
def test_a_run_hears_its_teacher_and_with_weight_1_nobody_else(
    make_dataset: MakeDataset,
    make_recipe: MakeRecipe,
    make_model: MakeModel,
    tmp_path: Path,
    weights_of: WeightsOf,
) -> None:
    folder = make_dataset("a", train=32, val=7, votes=True)
    dataset, shuffled = read(folder), tmp_path / "b"
    other = np.roll(dataset.manifest.label, 3)
    write(replace(dataset.manifest, label=other), np.array(dataset.crops), shuffled)
    path = make_model(answers=("people", "fer2013", "ferplus"))
    heard: dict[float, list[str]] = {}
    for weight in (0.5, 1.0):
        for number, data in enumerate((folder, shuffled)):
            recipe = make_recipe(data, labels="both", epochs=1)
            recipe = replace(recipe, teacher=TeacherConfig((str(path),), weight=weight))
            run = fit(recipe, tmp_path / f"run-{weight}-{number}").folder
            heard.setdefault(weight, []).append(weights_of(run / "last.pt"))
    assert heard[0.5][0] != heard[0.5][1]
    assert heard[1.0][0] == heard[1.0][1] != heard[0.5][0]


@pytest.mark.usefixtures("tiny")
def test_a_run_goes_on_with_its_teacher_and_needs_it_no_more_at_its_end(
    make_dataset: MakeDataset, make_recipe: MakeRecipe, make_model: MakeModel, tmp_path: Path, weights_of: WeightsOf
) -> None:
    path = make_model()
    recipe = make_recipe(make_dataset(train=16, val=7), epochs=2)
    recipe = replace(recipe, teacher=TeacherConfig((str(path),)))

    def stop(epoch: int, *_: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path / "run", on_batch=stop)
    content = path.read_bytes()
    path.write_bytes(make_model("other.onnx", mirror=True).read_bytes())
    with pytest.raises(InputError, match="its run had another teacher of that name"):
        fit(recipe, tmp_path / "run", resume=True)
    path.write_bytes(content)
    result = fit(recipe, tmp_path / "run", resume=True)
    whole = fit(recipe, tmp_path / "whole").folder
    assert weights_of(result.folder / "last.pt") == weights_of(whole / "last.pt")
    path.unlink()
    assert fit(recipe, tmp_path / "run", resume=True) == result


def test_teachers_see_what_the_pupil_does_at_their_own_size_and_before_it_is_spoilt(
    make_dataset: MakeDataset,
    make_recipe: MakeRecipe,
    make_model: MakeModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Tensor] = []

    def noted(teachers: list[Teacher], heads: tuple[Head, ...], inputs: Tensor, temperature: float) -> Tensor:
        seen.append(inputs)
        return teach(teachers, heads, inputs, temperature)

    monkeypatch.setattr(fit_module, "teach", noted)
    recipe = make_recipe(make_dataset(train=16, val=7), epochs=1, sizes_px=(24,))
    recipe = replace(
        recipe,
        model=ModelConfig("resnet", widths=(4,), depths=(1,)),
        augment=replace(recipe.augment, rotation_deg=0, shift=0, zoom=0, flip=True, brightness=1, camera=1, mixup=0),
        teacher=TeacherConfig((str(make_model()),)),
    )
    fit(recipe, tmp_path / "run")
    (inputs,) = seen
    assert inputs.shape == (16, 1, 48, 48)
    crops = torch.from_numpy(np.array(read(recipe.data.manifests[0]).crops[:16]))
    choices = torch.cat([to_input(crops), to_input(crops).flip(3)])
    nearest = (inputs[:, None] - choices).abs().amax(dim=(2, 3, 4)).min(dim=1)
    assert float(nearest.values.max()) < 1e-4, "they are spoilt"
    assert bool((nearest.indices >= 16).any()), "they are not moved"

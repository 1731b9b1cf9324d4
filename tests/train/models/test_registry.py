"""Every network of the zoo can be built by its name, trained and exported."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from mien.errors import RecipeError
from mien.spec import CropSpec
from mien.train.answers import HEADS, HeadAnswer
from mien.train.config import ModelConfig
from mien.train.export import fold_batch_norm
from mien.train.models.registry import MODELS, build
from mien.train.network import Predictor

AsTrained = Callable[[nn.Module], nn.Module]
Parameters = Callable[[nn.Module], int]
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
#: Each with its own settings, and what can be set beside them; a transformer has no batch normalisation.
CONFIGS = {
    **{name: ModelConfig(name) for name in MODELS if name != "vit"},
    "resnet with attention": ModelConfig("resnet", widths=(16, 24), depths=(2, 1), attention=True),
    "resnet of directions": ModelConfig("resnet", widths=(16,), depths=(1,), cosine=True),
    "narrow vgg": ModelConfig("vgg", widths=(8, 12, 16), depths=(1, 2, 1)),
}

STAGED = sorted(MODELS.keys() - {"cross-lenet", "lu", "paper-cnn", "vit"})


def built(config: ModelConfig, *, batch_norm: bool = False, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(replace(config, dropout=0.25, batch_norm=batch_norm), labels=7, crop=CropSpec()).eval()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_fresh_weights_come_from_the_seed_and_start_at_guessing(config: ModelConfig) -> None:
    networks = [built(config, batch_norm=True, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (network.state_dict() for network in networks)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    if config.cosine:
        return  # directions have no small ones
    crops = torch.randint(0, 256, (20, 48, 48), dtype=torch.uint8)
    with torch.no_grad():
        (shares,) = Predictor(networks[0].train(), CropSpec(), {"fer2013": HeadAnswer(*HEADS["label"])})(crops)
    assert float(-torch.log(shares).mean(dim=0).mean()) == pytest.approx(math.log(7), abs=0.1)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_batch_normalisation_folds_to_the_network_without_it_and_changes_no_answer(
    config: ModelConfig, as_trained: AsTrained, parameters: Parameters
) -> None:
    predictor = Predictor(as_trained(built(config, batch_norm=True)), CropSpec(), {})
    folded = fold_batch_norm(predictor)
    assert parameters(folded) == parameters(built(config)) < parameters(predictor)
    assert not any(isinstance(module, NORMS) for module in folded.modules())
    assert any(isinstance(module, NORMS) for module in predictor.modules()), "the original was changed"
    crops = torch.randint(0, 256, (3, 48, 48), dtype=torch.uint8)
    with torch.no_grad():
        before, after = predictor.logits(crops), folded.logits(crops)
    assert float(before.std(dim=0).max()) > 1e-4, "every crop gives the same answer: nothing was compared"
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_recipe_sets_dropout_and_batch_normalisation(config: ModelConfig) -> None:
    for batch_norm in (False, True):
        network = built(config, batch_norm=batch_norm)
        assert {module.p for module in network.modules() if isinstance(module, nn.Dropout)} == {0.25}
        assert any(isinstance(module, NORMS) for module in network.modules()) == batch_norm


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_colour_and_any_number_of_labels_are_read_and_given(config: ModelConfig) -> None:
    network = build(config, labels=15, crop=CropSpec(colour="rgb"))
    assert network(torch.zeros(1, 3, 48, 48)).shape == (1, 15)


@pytest.mark.parametrize("name", STAGED)
def test_one_network_reads_crops_of_any_size(name: str) -> None:
    network = built(CONFIGS[name])
    for side in (24, 32, 41, 48, 64):
        assert network(torch.zeros(1, 1, side, side)).shape == (1, 7)


@pytest.mark.parametrize("name", STAGED)
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"widths": (8, 16)}, r"2 widths for \d depths"),
        ({"depths": (1, 1)}, r"\d widths for 2 depths"),
        ({"widths": (8, 16), "depths": (1, 1, 1)}, "2 widths for 3 depths"),
        ({"widths": (8,) * 6, "depths": (1,) * 6}, "6 stages leave .* of crops of 48 pixels"),
    ],
)
def test_stages_that_do_not_fit_are_refused(name: str, config: dict[str, tuple[int, ...]], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        build(ModelConfig(name, **config), labels=7, crop=CropSpec())  # type: ignore[arg-type]  # of any field


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        (ModelConfig("vgg", kernels=(3,)), "kernels"),
        (ModelConfig("resnet", nodes=(8,)), "nodes"),
        (ModelConfig("paper-cnn", depths=(1,)), "depths"),
        (ModelConfig("paper-cnn", attention=True), "attention"),
        (ModelConfig("vit", kernels=(3,)), "kernels"),
        (ModelConfig("vgg", attention=True), "attention"),
        (ModelConfig("vgg", cosine=True), "cosine"),
        (ModelConfig("mobilenet", attention=True), "attention"),
    ],
)
def test_a_setting_that_a_network_does_not_have_is_refused(config: ModelConfig, setting: str) -> None:
    with pytest.raises(RecipeError, match=rf"model\.{setting}: {config.name} has no such setting"):
        build(config, labels=7, crop=CropSpec())


def test_a_network_that_is_not_in_the_zoo_is_refused_with_the_names_that_are() -> None:
    with pytest.raises(RecipeError, match=r"unknown model 'lenet'; known: .*paper-cnn, resnet, vgg"):
        build(ModelConfig("lenet"), labels=7, crop=CropSpec())

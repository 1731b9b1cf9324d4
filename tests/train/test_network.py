"""Pixels to a network's input, its logits to probabilities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mien.spec import NORMALISATIONS, CropSpec
from mien.train.answers import Head, HeadAnswer
from mien.train.network import Predictor, normalise, to_input


class Sum(nn.Module):
    """Three logits that are linear in the sum of the input."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.sum(dim=(1, 2, 3))[:, None] * torch.tensor([[0.001, 0.0, -0.001]])


def predictor_of(temperature: float = 1.0, normalisation: str = "none") -> Predictor:
    """Return a predictor with an answer of three labels and one of their first two."""
    three, two = (HeadAnswer(Head(name, tuple(name), 0)) for name in ("abc", "ab"))
    three.temperature = temperature
    return Predictor(Sum(), CropSpec(normalisation=normalisation), {"three": three, "two": two})


def noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_input_runs_from_0_to_1_with_channels_in_front() -> None:
    grey, colour = noise(2, 48, 48), noise(2, 48, 48, 3)
    assert to_input(grey).shape == (2, 1, 48, 48)
    assert to_input(colour).shape == (2, 3, 48, 48)
    torch.testing.assert_close(to_input(grey)[1, 0] * 255, grey[1].float())
    torch.testing.assert_close(to_input(colour)[1, 2] * 255, colour[1, :, :, 2].float())


def test_no_normalisation_leaves_the_input_as_it_is() -> None:
    inputs = torch.rand(2, 1, 8, 8)
    assert torch.equal(normalise(inputs, CropSpec(normalisation="none")), inputs)


def test_fixed_normalisation_is_the_same_for_every_crop() -> None:
    inputs = torch.stack([torch.full((1, 8, 8), value) for value in (0.5077, 0.5077 + 0.2550)])
    values = normalise(inputs, CropSpec(normalisation="fixed")).mean(dim=(1, 2, 3))
    torch.testing.assert_close(values, torch.tensor([0.0, 1.0]), atol=1e-6, rtol=0)


def test_per_crop_normalisation_takes_brightness_and_contrast_away() -> None:
    spec = CropSpec(normalisation="per_crop")
    inputs = torch.rand(2, 3, 16, 16)
    outputs = normalise(inputs, spec)
    torch.testing.assert_close(outputs.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs.std(dim=(1, 2, 3), correction=0), torch.ones(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalise(inputs * 0.5 + 0.2, spec), outputs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_a_crop_of_one_grey_value_gives_numbers(normalisation: str) -> None:
    predictor = predictor_of(normalisation=normalisation)
    for value in (0, 7, 255):
        for probabilities in predictor(torch.full((1, 48, 48), value, dtype=torch.uint8)):
            assert torch.isfinite(probabilities).all()


def test_probabilities_sum_to_1_and_a_higher_temperature_evens_them_out() -> None:
    crops = noise(5, 48, 48)
    sharp, flat = (predictor_of(temperature)(crops)[0] for temperature in (1.0, 2.0))
    for probabilities in (sharp, flat):
        torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(flat, torch.softmax(torch.log(sharp) / 2, dim=1))
    assert bool((flat.max(dim=1).values < sharp.max(dim=1).values).all())


def test_every_answer_is_given_the_main_one_first_and_found_by_name() -> None:
    crops = noise(5, 48, 48)
    predictor = predictor_of(2.0)
    three, two = predictor(crops)
    assert (three.shape, two.shape) == ((5, 3), (5, 2))
    logits = predictor.logits(crops)
    for name, given in (("", three), ("three", three), ("two", two)):
        torch.testing.assert_close(predictor.answer(name)(logits), given)

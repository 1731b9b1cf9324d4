"""The small vision transformer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mien.errors import RecipeError
from mien.train.models.vit import Places, VisionTransformer

Parameters = Callable[[nn.Module], int]


def test_it_has_the_parameters_of_its_blocks(parameters: Parameters) -> None:
    block = 2 * 2 * 192 + 192 * 3 * 192 + 3 * 192 + 192 * 192 + 192 + 2 * 192 * 384 + 384 + 192
    around = (36 + 1) * 192 + 64 * 192 + 2 * 192 + 193 * 7
    assert parameters(VisionTransformer()) == 6 * block + around


def test_every_patch_has_a_say_in_what_every_other_one_becomes() -> None:
    torch.manual_seed(0)
    network = VisionTransformer(widths=(64,), depths=(1,)).eval()
    crops = torch.randn(1, 1, 48, 48, requires_grad=True)
    network.features(crops)[0, :, 7, 7].sum().backward()
    assert crops.grad is not None
    assert bool((crops.grad[0, 0].unfold(0, 6, 6).unfold(1, 6, 6).abs().amax(dim=(2, 3)) > 0).all())


def test_where_a_patch_stands_makes_a_difference() -> None:
    torch.manual_seed(0)
    network = VisionTransformer(widths=(64,), depths=(1,)).eval().requires_grad_(False)
    crops = torch.randn(1, 1, 48, 48)
    assert float((network(crops) - network(crops.roll(6, dims=3))).abs().max()) > 1e-6
    places = network.features.get_submodule("1")
    assert isinstance(places, Places)
    places.learned.zero_()
    assert torch.allclose(network(crops), network(crops.roll(6, dims=3)), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"widths": (100,)}, "in steps of 32"),
        ({"widths": (64, 64)}, "one width"),
        ({"depths": (2, 2)}, "one depth"),
        ({"batch_norm": True}, "layer normalisation; set model.batch_norm = false"),
        ({"size_px": 50}, "50 is not a multiple"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, tuple[int, ...]], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        VisionTransformer(**settings)  # type: ignore[arg-type]  # of any argument

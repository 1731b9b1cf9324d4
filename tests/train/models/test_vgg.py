"""The plain network halves the crop between its stages and keeps a grid of what it found where."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from mien.train.models.vgg import Vgg

Parameters = Callable[[nn.Module], int]
TableOf = Callable[..., list[tuple[type[nn.Module], tuple[int, ...], int]]]

#: Output and parameters of each layer without batch normalisation.
TABLE: list[tuple[type[nn.Module], tuple[int, ...], int]] = [
    (nn.Conv2d, (32, 48, 48), 320),
    (nn.Conv2d, (32, 48, 48), 9_248),
    (nn.MaxPool2d, (32, 24, 24), 0),
    (nn.Conv2d, (64, 24, 24), 18_496),
    (nn.Conv2d, (64, 24, 24), 36_928),
    (nn.MaxPool2d, (64, 12, 12), 0),
    (nn.Conv2d, (128, 12, 12), 73_856),
    (nn.Conv2d, (128, 12, 12), 147_584),
    (nn.MaxPool2d, (128, 6, 6), 0),
    (nn.Conv2d, (256, 6, 6), 295_168),
    (nn.Conv2d, (256, 6, 6), 590_080),
    (nn.AdaptiveAvgPool2d, (256, 3, 3), 0),
    (nn.Linear, (256,), 590_080),
    (nn.Linear, (7,), 1_799),
]


def test_its_layers_have_their_outputs_and_parameters(parameters: Parameters, table_of: TableOf) -> None:
    network = Vgg(batch_norm=False)
    assert table_of(network, nn.Conv2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Linear) == TABLE
    assert parameters(network) == sum(count for *_, count in TABLE) == 1_763_559


def test_widths_and_depths_are_those_of_the_stages(table_of: TableOf) -> None:
    found = table_of(Vgg(widths=(8, 12), depths=(3, 1)), nn.Conv2d)
    assert [shape for _, shape, _ in found] == [(8, 48, 48)] * 3 + [(12, 24, 24)]


def test_where_in_the_crop_something_is_stays_known() -> None:
    torch.manual_seed(0)
    network = Vgg(widths=(4, 8), depths=(1, 1), batch_norm=False).eval().requires_grad_(False)
    above, below = torch.zeros(2, 1, 1, 48, 48)
    above[..., 8:14, 20:28] = below[..., 32:38, 20:28] = 5
    held = [network.features(crop).mean(dim=(2, 3)) for crop in (above, below)]
    torch.testing.assert_close(*held, atol=1e-4, rtol=0)
    answers = [network(crop) for crop in (above, below)]
    assert float((answers[0] - answers[1]).abs().max()) > 1e-3

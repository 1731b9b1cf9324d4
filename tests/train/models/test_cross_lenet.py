"""LeNet-5 with its first pooled maps joined to the full connection."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mien.errors import RecipeError
from mien.train.models.cross_lenet import CrossLeNet

Parameters = Callable[[nn.Module], int]
TableOf = Callable[..., list[tuple[type[nn.Module], tuple[int, ...], int]]]

#: LeNet-5's widths and nodes on crops of 48 pixels; the first full connection reads 6 * 22 * 22 + 16 * 9 * 9 = 4200.
TABLE: list[tuple[type[nn.Module], tuple[int, ...], int]] = [
    (nn.Conv2d, (6, 44, 44), 156),
    (nn.MaxPool2d, (6, 22, 22), 0),
    (nn.Conv2d, (16, 18, 18), 2_416),
    (nn.MaxPool2d, (16, 9, 9), 0),
    (nn.Linear, (120,), 504_120),
    (nn.Linear, (84,), 10_164),
    (nn.Linear, (7,), 595),
]


def test_its_layers_have_their_outputs_and_parameters(parameters: Parameters, table_of: TableOf) -> None:
    assert table_of(CrossLeNet(), nn.Conv2d, nn.MaxPool2d, nn.Linear) == TABLE
    assert parameters(CrossLeNet()) == sum(count for *_, count in TABLE)


@pytest.mark.parametrize("layer", [0, 1])
def test_the_answer_hangs_on_the_pooled_maps_of_both_layers(layer: int) -> None:
    torch.manual_seed(0)
    network = CrossLeNet().eval().requires_grad_(False)
    crops = torch.randn(1, 1, 48, 48)
    pools = [module for module in network.features if isinstance(module, nn.MaxPool2d)]
    convolutions = [module for module in network.features if isinstance(module, nn.Conv2d)]
    before = network(crops)
    if layer == 0:  # what the second convolution sees stays as it was
        held = pools[0](torch.relu(convolutions[0](crops)))
        convolutions[1].register_forward_pre_hook(lambda _module, _inputs: (held,))
        pools[0].register_forward_hook(lambda _module, _inputs, maps: maps + 1)
    else:
        pools[1].register_forward_hook(lambda _module, _inputs, maps: maps + 1)
    assert float((network(crops) - before).abs().max()) > 1e-3


def test_crops_that_leave_nothing_are_refused() -> None:
    with pytest.raises(RecipeError, match="leave nothing of crops of 14 pixels"):
        CrossLeNet(size_px=14)
    assert CrossLeNet(size_px=16)(torch.zeros(1, 1, 16, 16)).shape == (1, 7)

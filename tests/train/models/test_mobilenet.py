"""The network of depthwise convolutions widens inside its blocks and adds where it can."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mien.train.models.mobilenet import InvertedResidual, MobileNet

Parameters = Callable[[nn.Module], int]
TableOf = Callable[..., list[tuple[type[nn.Module], tuple[int, ...], int]]]

#: Stem's pooling, the blocks, the last layer: output and parameters without batch normalisation.
TABLE: list[tuple[type[nn.Module], tuple[int, ...], int]] = [
    (nn.MaxPool2d, (32, 24, 24), 0),
    (InvertedResidual, (48, 24, 24), 11_696),
    (InvertedResidual, (48, 24, 24), 20_592),
    (InvertedResidual, (96, 12, 12), 29_856),
    (InvertedResidual, (96, 12, 12), 78_048),
    (InvertedResidual, (96, 12, 12), 78_048),
    (InvertedResidual, (192, 6, 6), 115_008),
    (InvertedResidual, (192, 6, 6), 303_552),
    (InvertedResidual, (192, 6, 6), 303_552),
    (nn.Linear, (7,), 1_351),
]
STEM = 320


def test_its_stages_have_their_outputs_and_parameters(parameters: Parameters, table_of: TableOf) -> None:
    network = MobileNet(batch_norm=False)
    assert table_of(network, nn.MaxPool2d, InvertedResidual, nn.Linear) == TABLE
    assert parameters(network) == STEM + sum(count for *_, count in TABLE) == 942_023


@pytest.mark.parametrize(("outputs", "stride", "adds"), [(8, 1, True), (8, 2, False), (12, 1, False)])
def test_a_block_that_keeps_the_shape_adds_its_input(outputs: int, stride: int, adds: bool) -> None:
    block = InvertedResidual(8, outputs, stride=stride, batch_norm=False)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    maps = torch.randn(2, 8, 6, 6)
    expected = maps if adds else torch.zeros(2, outputs, 6 // stride, 6 // stride)
    torch.testing.assert_close(block(maps), expected)

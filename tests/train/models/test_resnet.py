"""The residual network keeps the crop's pixels in its stem and goes round its blocks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mien.train.models.resnet import Attention, Block, ResNet

Parameters = Callable[[nn.Module], int]
TableOf = Callable[..., list[tuple[type[nn.Module], tuple[int, ...], int]]]

#: Stem and pooling, two blocks a stage, the last layer: output and parameters without batch normalisation.
TABLE: list[tuple[type[nn.Module], tuple[int, ...], int]] = [
    (nn.MaxPool2d, (32, 24, 24), 0),
    (Block, (64, 24, 24), 57_536),
    (Block, (64, 24, 24), 73_856),
    (Block, (128, 12, 12), 229_760),
    (Block, (128, 12, 12), 295_168),
    (Block, (256, 6, 6), 918_272),
    (Block, (256, 6, 6), 1_180_160),
    (nn.Linear, (7,), 1_799),
]
STEM = 320


def test_its_stages_have_their_outputs_and_parameters(parameters: Parameters, table_of: TableOf) -> None:
    network = ResNet(batch_norm=False)
    assert table_of(network, nn.MaxPool2d, Block, nn.Linear) == TABLE
    assert parameters(network) == STEM + sum(count for *_, count in TABLE) == 2_756_871


def test_widths_and_depths_are_those_of_the_stages(table_of: TableOf) -> None:
    found = table_of(ResNet(widths=(8, 12), depths=(3, 1)), Block)
    assert [shape for _, shape, _ in found] == [(8, 24, 24)] * 3 + [(12, 12, 12)]


@pytest.mark.parametrize(("outputs", "stride"), [(8, 1), (8, 2), (12, 1)])
def test_a_block_whose_convolutions_say_nothing_gives_what_its_shortcut_brings(outputs: int, stride: int) -> None:
    block = Block(8, outputs, stride=stride, batch_norm=False, attention=False)
    for parameter in block.body.parameters():
        nn.init.zeros_(parameter)
    maps = torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(block(maps), block.shortcut(maps).relu())
    assert (len(list(block.shortcut)) == 0) == (outputs == 8 and stride == 1)


def test_attention_scales_whole_channels_by_what_all_of_them_hold() -> None:
    torch.manual_seed(0)
    attention, maps = Attention(16).requires_grad_(False), torch.rand(3, 16, 5, 5) + 0.5
    scale = attention(maps) / maps
    torch.testing.assert_close(scale, scale[..., :1, :1].expand_as(scale))
    assert 0 < float(scale.min()) < float(scale.max()) < 1
    turned = attention(maps.flip(2, 3))
    torch.testing.assert_close(turned, attention(maps).flip(2, 3))
    maps[:, 0] += 10
    others = attention(maps)[:, 1:] / maps[:, 1:]
    assert float((others - scale[:, 1:]).abs().max()) > 1e-3, "one channel has no say in the others"


def test_attention_is_in_every_block_where_it_is_asked_for_and_nowhere_else(parameters: Parameters) -> None:
    plain, attentive = ResNet(), ResNet(attention=True)
    blocks = [module for module in attentive.modules() if isinstance(module, Block)]
    assert [isinstance(block.body[-1], Attention) for block in blocks] == [True] * 6
    assert not any(isinstance(module, Attention) for module in plain.modules())
    added = sum(2 * 2 * width * width // 8 + 2 * (width + width // 8) for width in (64, 128, 256))
    assert parameters(attentive) - parameters(plain) == added

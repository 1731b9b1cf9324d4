"""The network is the paper's Table I, row for row."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from mien.errors import InputError, RecipeError
from mien.spec import CropSpec
from mien.train.config import ModelConfig
from mien.train.export import fold_batch_norm
from mien.train.models.paper_cnn import PaperCnn
from mien.train.models.registry import build
from mien.train.network import Predictor

Parameters = Callable[[nn.Module], int]
TableOf = Callable[..., list[tuple[type[nn.Module], tuple[int, ...], int]]]

#: Layer of Table I -> kind, output without the batch, parameters.
TABLE_I: list[tuple[type[nn.Module], tuple[int, ...], int]] = [
    (nn.Conv2d, (32, 48, 48), 64),
    (nn.Conv2d, (32, 44, 44), 25_632),
    (nn.MaxPool2d, (32, 22, 22), 0),
    (nn.Conv2d, (64, 20, 20), 18_496),
    (nn.MaxPool2d, (64, 10, 10), 0),
    (nn.Conv2d, (128, 10, 10), 73_856),
    (nn.MaxPool2d, (128, 5, 5), 0),
    (nn.Linear, (2048,), 6_555_648),
    (nn.Linear, (1024,), 2_098_176),
    (nn.Linear, (7,), 7_175),
]
PARAMETERS = 8_779_047
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def steps(network: nn.Module) -> list[nn.Module]:
    """Return the modules that compute, in order; what folding has emptied is left out."""
    return [
        module for module in network.modules() if not list(module.children()) and not isinstance(module, nn.Identity)
    ]


def test_every_row_of_table_i_has_its_output_and_its_parameters(table_of: TableOf) -> None:
    assert table_of(PaperCnn(), nn.Conv2d, nn.MaxPool2d, nn.Linear) == TABLE_I


def test_kernels_padding_and_pools_are_those_of_table_i() -> None:
    modules = steps(PaperCnn())
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d)]
    assert [module.kernel_size for module in convolutions] == [(1, 1), (5, 5), (3, 3), (3, 3)]
    assert [module.padding for module in convolutions] == [(0, 0), (0, 0), (0, 0), (1, 1)]
    assert [module.stride for module in convolutions] == [(1, 1)] * 4
    assert [(m.kernel_size, m.stride) for m in modules if isinstance(m, nn.MaxPool2d)] == [(2, 2)] * 3
    linear = [(module.in_features, module.out_features) for module in modules if isinstance(module, nn.Linear)]
    assert linear == [(3200, 2048), (2048, 1024), (1024, 7)]


def test_it_has_8_779_047_parameters(parameters: Parameters) -> None:
    assert parameters(PaperCnn()) == PARAMETERS == sum(count for *_, count in TABLE_I)


def test_every_hidden_layer_ends_in_relu_and_layers_8_and_9_in_dropout_of_0_4() -> None:
    order = [type(module).__name__ for module in steps(PaperCnn())]
    assert order == [
        "Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d",
        "Flatten", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear",
    ]  # fmt: skip
    assert [module.p for module in steps(PaperCnn()) if isinstance(module, nn.Dropout)] == [0.4, 0.4]


def test_batch_normalisation_follows_each_hidden_layer_and_folds_to_the_very_same_graph() -> None:
    network = PaperCnn(batch_norm=True)
    order = steps(network)
    assert [type(module) for module in order if isinstance(module, NORMS)] == [nn.BatchNorm2d] * 4 + [
        nn.BatchNorm1d
    ] * 2
    for before, module in pairwise(order):
        hidden = isinstance(before, (nn.Conv2d, nn.Linear)) and before is not order[-1]
        assert hidden == isinstance(module, NORMS)
    folded = fold_batch_norm(Predictor(network, CropSpec(), {})).network
    assert [repr(module) for module in steps(folded)] == [repr(module) for module in steps(PaperCnn())]


def test_colour_and_eight_labels_change_the_first_and_the_last_layer_alone(parameters: Parameters) -> None:
    network = build(ModelConfig(), labels=8, crop=CropSpec(colour="rgb"))
    assert parameters(network) == PARAMETERS + 2 * 32 + 1025
    assert network(torch.zeros(1, 3, 48, 48)).shape == (1, 8)


def test_crops_of_another_size_are_refused() -> None:
    with pytest.raises(InputError, match=r"crops of 48 pixels; got 64"):
        build(ModelConfig(), labels=7, crop=CropSpec(size_px=64))


@pytest.mark.parametrize(
    ("settings", "flattened"),
    [
        ({"kernels": (5, 3, 3), "widths": (32, 64, 128)}, 3200),  # without the 1x1 layer
        ({"kernels": (1, 3, 3, 3)}, 3200),
        ({"kernels": (1, 7, 3, 3)}, 2048),
        ({"widths": (8, 8, 16, 24)}, 600),
        ({"kernels": (5,), "widths": (4,)}, 4 * 22 * 22),
    ],
)
def test_variants_pool_and_pad_as_table_i_does(settings: dict[str, Any], flattened: int) -> None:
    network = PaperCnn(nodes=(30,), **settings)
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert [(module.in_features, module.out_features) for module in linear] == [(flattened, 30), (30, 7)]
    assert network(torch.zeros(2, 1, 48, 48)).shape == (2, 7)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kernels": (49, 3, 3, 3)}, "49x49 is larger than its map of 48x48"),
        ({"kernels": (1, 5, 3, 11)}, "11x11 is larger than its map of 10x10"),
        ({"kernels": (1, 47, 3, 3)}, "3x3 is larger than its map of 1x1"),
        ({"kernels": (3, 3)}, "2 kernels for 4 widths"),
        ({"kernels": (3,) * 6, "widths": (4,) * 6}, "is larger than its map|leave too little"),
    ],
)
def test_a_variant_that_cannot_be_is_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        PaperCnn(**settings)

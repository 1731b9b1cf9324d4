"""The small plain network in the place of that of Lu et al."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mien.errors import RecipeError
from mien.train.models.lu import Lu

TableOf = Callable[..., list[tuple[type[nn.Module], tuple[int, ...], int]]]


def test_its_layers_have_their_outputs_and_parameters(table_of: TableOf) -> None:
    assert table_of(Lu(), nn.Conv2d, nn.MaxPool2d, nn.Linear) == [
        (nn.Conv2d, (32, 48, 48), 832),
        (nn.MaxPool2d, (32, 24, 24), 0),
        (nn.Conv2d, (32, 24, 24), 25_632),
        (nn.MaxPool2d, (32, 12, 12), 0),
        (nn.Conv2d, (64, 12, 12), 51_264),
        (nn.MaxPool2d, (64, 6, 6), 0),
        (nn.Linear, (64,), 147_520),
        (nn.Linear, (7,), 455),
    ]


def test_crops_that_leave_nothing_are_refused() -> None:
    with pytest.raises(RecipeError, match="leave nothing of crops of 7 pixels"):
        Lu(size_px=7)
    assert Lu(size_px=8)(torch.zeros(1, 1, 8, 8)).shape == (1, 7)

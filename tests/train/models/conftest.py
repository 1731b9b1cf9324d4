"""What the tests of the zoo share: looks into a network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

Parameters = Callable[[nn.Module], int]
TableOf = Callable[..., list[tuple[type[nn.Module], tuple[int, ...], int]]]


@pytest.fixture
def parameters() -> Parameters:
    """Return a function that counts the parameters of a module."""

    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    return count


@pytest.fixture
def table_of(parameters: Parameters) -> TableOf:
    """Return a function that reads one grey crop and gives (kind, output, parameters) of the layers of some kinds."""

    def table(network: nn.Module, *kinds: type[nn.Module]) -> list[tuple[type[nn.Module], tuple[int, ...], int]]:
        seen: list[tuple[type[nn.Module], tuple[int, ...], int]] = []

        def note(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            seen.append((type(module), tuple(output.shape[1:]), parameters(module)))

        for module in network.eval().modules():
            if isinstance(module, kinds):
                module.register_forward_hook(note)
        network(torch.zeros(1, 1, 48, 48))
        return seen

    return table

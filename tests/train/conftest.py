"""What the tests of training share: a small network, a short recipe, and looks into a run's folder."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mien.train import checkpoint
from mien.train.config import DataConfig, ModelConfig, OptimiserConfig, Recipe, StopConfig
from mien.train.models import registry

MakeRecipe = Callable[..., Recipe]
AsTrained = Callable[[nn.Module], nn.Module]
WeightsOf = Callable[..., str]
LogOf = Callable[[Path], list[dict[str, str]]]


class Tiny(nn.Module):
    """A network with all that a run has to keep: batch normalisation, dropout, weights of several shapes."""

    def __init__(self, *, channels: int, labels: int, size_px: int, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 8, 5, stride=3, bias=not batch_norm),
            *([nn.BatchNorm2d(8)] if batch_norm else []),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(8 * 15 * 15, labels),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.layers(inputs)
        return logits


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the small network to the zoo."""
    monkeypatch.setitem(registry.MODELS, "tiny", Tiny)


@pytest.fixture
def make_recipe() -> MakeRecipe:
    """Return a function that makes a short recipe for a dataset, with all that is random switched on."""

    def make(
        folder: Path,
        *,
        name: str = "run",
        labels: str = "label",
        model: str = "tiny",
        batch_norm: bool = True,
        patience: int = 0,
        **optimiser: Any,
    ) -> Recipe:
        settings: dict[str, Any] = {"epochs": 3, "batch_size": 16, "label_smoothing": 0.1, "average": 0.9, **optimiser}
        return Recipe(
            name,
            data=DataConfig(manifests=(str(folder),), labels=labels),
            model=ModelConfig(model, dropout=0.3, batch_norm=batch_norm),
            optimiser=OptimiserConfig(**settings),
            stop=StopConfig(patience),
        )

    return make


@pytest.fixture(scope="session")
def as_trained() -> AsTrained:
    """Return a function that gives a network in evaluation whose batch normalisations have seen something."""

    def unsettle(network: nn.Module) -> nn.Module:
        generator = torch.Generator().manual_seed(0)
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                for values in (module.running_var, module.weight.data):
                    assert values is not None
                    values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
                for values in (module.running_mean, module.bias.data):
                    assert values is not None
                    values.copy_(torch.randn(values.shape, generator=generator) / 2)
        return network.eval()

    return unsettle


@pytest.fixture
def weights_of() -> WeightsOf:
    """Return a function that gives the SHA-256 of the weights in a checkpoint."""

    def sha256(path: Path, part: str = "weights") -> str:
        summed = hashlib.sha256()
        for name, values in checkpoint.load(path)[part].items():
            summed.update(name.encode())
            summed.update(values.contiguous().numpy().tobytes())
        return summed.hexdigest()

    return sha256


@pytest.fixture
def log_of() -> LogOf:
    """Return a function that gives the rows of a run's log.csv without the columns that the clock decides."""

    def read(folder: Path) -> list[dict[str, str]]:
        with (folder / "log.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [{name: row[name] for name in row if name not in ("images_per_s", "seconds")} for row in rows]

    return read

"""A run ends by the paper's rule and keeps its best epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from mien.train import checkpoint
from mien.train import fit as fit_module
from mien.train.config import OptimiserConfig, Recipe, StopConfig
from mien.train.curves import Row
from mien.train.fit import fit, judge
from mien.train.state import State

MakeDataset = Callable[..., Path]
MakeRecipe = Callable[..., Recipe]


def judged(patience: int, *validation: tuple[float, float], epochs: int = 100) -> tuple[list[bool], int]:
    """Return after which epochs the run would end, and the best epoch, of (accuracy, loss) epoch by epoch."""
    recipe = Recipe("x", optimiser=OptimiserConfig(epochs=epochs), stop=StopConfig(patience))
    network = nn.Linear(1, 1)
    state = State(network, network, torch.optim.SGD(network.parameters()))
    ends = []
    for number, (accuracy, loss) in enumerate(validation, start=1):
        row: Row = {"epoch": number, "val_accuracy": accuracy, "val_loss": loss}
        state.rows.append(row)
        ends.append(judge(state, recipe, row))
    assert state.best is not None
    return ends, int(state.best["epoch"])


def test_a_run_ends_when_accuracy_falls_while_the_loss_rises() -> None:
    """The paper's rule, section IV.B."""
    assert judged(1, (0.5, 1.0), (0.6, 0.9), (0.59, 0.95)) == ([False, False, True], 2)


def test_falling_accuracy_alone_or_rising_loss_alone_does_not_end_a_run() -> None:
    ends, best = judged(1, (0.5, 1.0), (0.4, 0.9), (0.5, 1.1), (0.45, 1.0), (0.6, 2.0))
    assert (ends, best) == ([False] * 5, 5)


def test_a_run_ends_after_as_many_worse_epochs_in_a_row_as_its_patience() -> None:
    worse, better_loss = (0.4, 1.1), (0.4, 0.9)
    assert judged(3, (0.5, 1.0), worse, worse, worse)[0] == [False, False, False, True]
    assert judged(3, (0.5, 1.0), worse, worse, better_loss, worse, worse)[0] == [False] * 6
    assert judged(3, (0.5, 1.0), worse, worse, (0.51, 3.0), (0.4, 3.1), (0.4, 3.1))[0] == [False] * 6


def test_patience_0_never_ends_a_run_before_its_last_epoch() -> None:
    assert judged(0, (0.5, 1.0), *[(0.1, 9.0)] * 4, epochs=5) == ([False] * 4 + [True], 1)


def test_of_equal_epochs_the_first_is_kept() -> None:
    assert judged(0, (0.5, 1.0), (0.6, 0.9), (0.6, 0.5))[1] == 2


@pytest.mark.usefixtures("tiny")
def test_a_run_that_stops_early_says_so_and_keeps_its_best_epoch(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(make_dataset(), epochs=9, patience=2)
    weights: list[str] = []

    def worse_and_worse(state: State, *_: object) -> Row:
        epoch = len(state.rows) + 1
        for parameter in state.averaged.parameters():
            parameter.data.add_(0.01)
        accuracy, loss = (0.5, 1.0) if epoch == 2 else (0.4, 1.0 + epoch)
        fields = dict.fromkeys(("learning_rate", "train_loss", "images_per_s", "seconds"), 1.0)
        weights.append(str([float(parameter.detach().sum()) for parameter in state.averaged.parameters()]))
        return {"epoch": epoch, "val_accuracy": accuracy, "val_loss": loss, **fields}

    def ends_in_epoch_4(state: State, *_: object) -> Row:
        if len(state.rows) == 3:
            raise KeyboardInterrupt
        return worse_and_worse(state)

    monkeypatch.setattr(fit_module, "_run_epoch", ends_in_epoch_4)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path / "run")
    monkeypatch.setattr(fit_module, "_run_epoch", worse_and_worse)
    result = fit(recipe, tmp_path / "run", resume=True)  # the bad epoch before the break counts
    assert (result.epochs, result.best_epoch, result.stopped_early) == (4, 2, True)
    content = checkpoint.load(result.folder / "best.pt")
    kept, _, _ = checkpoint.load_predictor(result.folder / "best.pt")
    assert str([float(parameter.detach().sum()) for parameter in kept.network.parameters()]) == weights[1]
    assert content["epoch"] == 2
    assert content["recipe"] == asdict(recipe)
    assert fit(recipe, tmp_path / "run", resume=True) == result

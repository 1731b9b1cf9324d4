"""What is done about rare labels: how often a crop is learned and how much it weighs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.data.manifest import read, write
from mien.train.balance import BALANCES, draw_order, sample_weights
from mien.train.config import Recipe
from mien.train.fit import fit

MakeDataset = Callable[..., Path]
MakeRecipe = Callable[..., Recipe]
WeightsOf = Callable[..., str]

LABELS = np.repeat([0, 2, 3], [60, 30, 10])  # nobody shows label 1


def order(balance: str, seed: int = 0) -> np.ndarray:
    return draw_order(LABELS, balance, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("balance", ["none", "loss"])
def test_without_another_order_each_row_comes_once(balance: str) -> None:
    assert sorted(order(balance)) == list(range(100))
    assert order(balance).tolist() != list(range(100))


def test_sampling_draws_each_label_equally_often_in_as_many_rows() -> None:
    drawn = np.concatenate([order("sampling", seed) for seed in range(100)])
    assert len(drawn) == 100 * 100
    assert np.bincount(LABELS[drawn])[[0, 2, 3]] / len(drawn) == pytest.approx(1 / 3, abs=0.02)


def test_copies_fill_up_each_label_to_the_most_frequent_and_leave_no_row_out() -> None:
    rows = order("copies")
    times = np.bincount(rows, minlength=100)
    assert np.bincount(LABELS[rows]).tolist() == [60, 0, 60, 60]
    assert set(times[LABELS == 0]) == {1}
    assert set(times[LABELS == 2]) == {2}
    assert set(times[LABELS == 3]) == {6}


def test_copies_that_do_not_divide_differ_by_one_at_most() -> None:
    labels = np.repeat([0, 1], [7, 3])
    times = np.bincount(draw_order(labels, "copies", generator=torch.Generator().manual_seed(0)))
    assert sorted(times[7:]) == [2, 2, 3]


def test_weights_give_each_label_the_same_say_and_are_1_on_average() -> None:
    weights = sample_weights(LABELS, "loss")
    says = [weights[label == LABELS].sum() for label in (0, 2, 3)]
    assert says == pytest.approx([100 / 3] * 3)
    assert sample_weights(LABELS, "sampling").tolist() == [1] * 100


@pytest.mark.parametrize("balance", BALANCES)
def test_the_order_hangs_on_the_seed_alone(balance: str) -> None:
    assert order(balance, 1).tolist() == order(balance, 1).tolist() != order(balance, 2).tolist()


@pytest.mark.usefixtures("tiny")
def test_each_way_trains_another_network_where_labels_are_rare(
    tmp_path: Path, make_dataset: MakeDataset, make_recipe: MakeRecipe, weights_of: WeightsOf
) -> None:
    folder = make_dataset(train=70)
    dataset = read(folder)
    label = dataset.manifest.label.copy()
    label[:70] = np.arange(70) % 7 * (np.arange(70) < 21)  # many of label 0
    write(replace(dataset.manifest, label=label), np.array(dataset.crops), folder)
    recipe = make_recipe(folder, epochs=1)
    found = set()
    for balance in BALANCES:
        changed = replace(recipe, data=replace(recipe.data, balance=balance))
        fit(changed, tmp_path / balance)
        found.add(weights_of(tmp_path / balance / "best.pt"))
    assert len(found) == len(BALANCES)

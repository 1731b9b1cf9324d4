"""What a network says of a table, and how sure it may be of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mien.metrics import log_loss
from mien.spec import CropSpec
from mien.train.answers import HEADS, Head, HeadAnswer
from mien.train.config import DataConfig
from mien.train.dataset import load
from mien.train.network import Predictor
from mien.train.validate import VALIDATION_BATCH, asked, fit_temperature, mean_probabilities, predict_views

MakeDataset = Callable[..., Path]
CPU = torch.device("cpu")


def seven(temperature: float = 1.0) -> HeadAnswer:
    """Return an answer of seven labels."""
    answer = HeadAnswer(*HEADS["label"])
    answer.temperature = temperature
    return answer


class LeftHalf(nn.Module):
    """Logits from the mean of the left half; dropout that must be off."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        mean = self.dropout(inputs[..., :24].mean(dim=(1, 2, 3)))
        logits: Tensor = mean[:, None] * torch.arange(7.0)
        return logits


def test_every_row_is_read_once_in_order_and_mirrored_where_asked(make_dataset: MakeDataset) -> None:
    count = VALIDATION_BATCH + 3
    folder = make_dataset(train=7, val=count, test=0)
    table = load(DataConfig(manifests=(str(folder),))).val
    predictor = Predictor(LeftHalf().train(), CropSpec(normalisation="none"), {})
    one = predict_views(predictor, table, CPU, mirror=False)
    both = predict_views(predictor, table, CPU, mirror=True)
    assert one.shape == (1, count, 7)
    assert both.shape == (2, count, 7)
    crops = table.batch(np.arange(count))[0].numpy() / 255
    left, right = crops[:, :, :24].mean(axis=(1, 2)), crops[:, :, 24:].mean(axis=(1, 2))
    np.testing.assert_allclose(both[0], left[:, None] * np.arange(7), atol=0.03)  # bfloat16 where there is any
    np.testing.assert_allclose(both[1], right[:, None] * np.arange(7), atol=0.03)
    np.testing.assert_array_equal(one[0], both[0])


def test_a_table_of_one_row_can_be_read(make_dataset: MakeDataset) -> None:
    folder = make_dataset(train=7, val=1, test=0)
    table = load(DataConfig(manifests=(str(folder),))).val
    assert predict_views(Predictor(LeftHalf(), CropSpec(), {}), table, CPU, mirror=True).shape == (2, 1, 7)


def test_probabilities_are_averaged_over_the_views() -> None:
    views = np.log(np.array([[[0.9, 0.1]], [[0.5, 0.5]]], np.float32))
    two = HeadAnswer(Head("two", ("a", "b"), 0))
    np.testing.assert_allclose(mean_probabilities(views, two), np.array([[0.7, 0.3]], np.float32), rtol=1e-6)


@pytest.mark.parametrize("factor", [0.3, 0.7, 1.0, 2.0, 4.0])
def test_the_temperature_that_made_logits_too_sharp_or_too_flat_is_found_again(factor: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (4000, 7)).astype(np.float32)
    shares = mean_probabilities(logits[None], seven())
    drawn = (shares.cumsum(axis=1) > generator.random((4000, 1))).argmax(axis=1)
    found = fit_temperature(logits[None] * factor, np.eye(7, dtype=np.float32)[drawn], seven())
    assert found == pytest.approx(factor, rel=0.1)


@pytest.mark.parametrize("seed", range(20))
def test_the_temperature_never_makes_the_loss_worse(seed: int) -> None:
    generator = np.random.default_rng(seed)
    views = generator.normal(0, 5, (2, 3, 7)).astype(np.float32)
    targets = np.eye(7, dtype=np.float32)[generator.integers(0, 7, 3)]
    found = fit_temperature(views, targets, seven())
    assert 0.2 <= found <= 5
    after, before = (log_loss(mean_probabilities(views, seven(value)), targets) for value in (found, 1.0))
    assert after <= before


def test_logits_that_say_nothing_leave_the_temperature_at_1() -> None:
    assert fit_temperature(np.zeros((1, 5, 7), np.float32), np.eye(7, dtype=np.float32)[:5], seven()) == 1.0


def test_a_head_is_asked_in_the_rows_that_have_something_for_it(make_dataset: MakeDataset) -> None:
    folder = make_dataset(train=7, val=14, test=0, votes=True, silent=slice(7, 10))
    table = load(DataConfig(manifests=(str(folder),), labels="both")).val
    labels, votes = (asked(HeadAnswer(head), table) for head in HEADS["both"])
    assert labels[0].all()
    np.testing.assert_array_equal(labels[1], table.targets[:, :7])
    np.testing.assert_array_equal(np.flatnonzero(~votes[0]), [0, 1, 2])
    np.testing.assert_array_equal(votes[1], table.targets[3:, 7:])

"""The loss is the paper's, over soft labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from mien.train.losses import cross_entropy


def test_it_is_equation_6_computed_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    by_hand = (-math.log(0.5) - 0.5 * math.log(0.1) - 0.5 * math.log(0.8)) / 2
    assert float(cross_entropy(logits, targets)) == pytest.approx(by_hand)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_it_agrees_with_torch_on_hard_and_soft_labels(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 7, generator=generator) * 5
    labels = torch.randint(0, 7, (9,), generator=generator)
    hard = functional.one_hot(labels, 7).float()
    soft = torch.softmax(torch.randn(9, 7, generator=generator), dim=1)
    expected = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(cross_entropy(logits, hard, smoothing=smoothing), expected)
    expected = functional.cross_entropy(logits, soft, label_smoothing=smoothing)
    torch.testing.assert_close(cross_entropy(logits, soft, smoothing=smoothing), expected)


def test_its_gradient_is_what_was_predicted_less_what_was_expected() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5]], requires_grad=True)
    targets = torch.tensor([[0.0, 1.0, 0.0]])
    cross_entropy(logits, targets).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.softmax(logits.detach(), dim=1) - targets)


def test_logits_in_half_precision_lose_nothing_in_the_loss() -> None:
    logits = torch.tensor([[3.0, 0.0]], dtype=torch.bfloat16)
    loss = cross_entropy(logits, torch.tensor([[1.0, 0.0]]))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(math.log1p(math.exp(-3)), rel=1e-5)

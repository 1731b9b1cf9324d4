"""The loss is the paper's, over soft labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from mien.train.losses import cross_entropy, distillation, widen
from mien.train.models.layers import COSINE_SCALE


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


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_rows_that_ask_for_nothing_add_nothing(smoothing: float) -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    targets = torch.eye(5, 7)
    targets[[1, 4]] = 0
    loss = cross_entropy(logits, targets, smoothing=smoothing)
    loss.backward()  # type: ignore[no-untyped-call]
    asked = [0, 2, 3]
    expected = cross_entropy(logits[asked], targets[asked], smoothing=smoothing) * 3 / 5
    torch.testing.assert_close(loss, expected)
    assert logits.grad is not None
    assert logits.grad.abs().sum(dim=1).bool().tolist() == [True, False, True, True, False]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_a_pupil_that_says_what_its_teacher_says_cannot_do_better(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    said = torch.randn(6, 7, generator=generator) * 3
    taught = torch.softmax(said / temperature, dim=1)
    logits = said.clone().requires_grad_()
    least = distillation(logits, taught, temperature=temperature)
    least.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros(6, 7), atol=1e-6, rtol=0)
    for _ in range(5):
        other = said + torch.randn(6, 7, generator=generator)
        assert float(distillation(other, taught, temperature=temperature)) > float(least.detach())


def test_a_teachers_pull_hardly_depends_on_the_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, said = torch.randn(2, 6, 7, generator=generator) * 0.1
    pulls = []
    for temperature in (1.0, 3.0, 10.0):
        pupil = logits.clone().requires_grad_()
        taught = torch.softmax(said / temperature, dim=1)
        distillation(pupil, taught, temperature=temperature).backward()  # type: ignore[no-untyped-call]
        assert pupil.grad is not None
        pulls.append(float(pupil.grad.norm()))
    assert pulls == pytest.approx([pulls[0]] * 3, rel=0.1)


def test_a_margin_turns_the_expected_label_away_in_the_share_that_it_is_expected() -> None:
    angles = torch.tensor([[0.5, 1.0, 2.0], [0.5, 1.0, 2.0], [0.5, 1.0, 2.0], [3.1, 1.0, 2.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    widened = widen(COSINE_SCALE * torch.cos(angles), targets, margin=0.3) / COSINE_SCALE
    expected = torch.cos(angles)
    expected[0, 0] = math.cos(0.8)
    expected[1, 0] = 0.75 * math.cos(0.5) + 0.25 * math.cos(0.8)
    expected[1, 1] = 0.25 * math.cos(1.0) + 0.75 * math.cos(1.3)
    expected[3, 0] = -1  # no direction is farther off than the opposite one
    torch.testing.assert_close(widened, expected, atol=1e-4, rtol=0)


def test_a_margin_has_a_gradient_where_a_direction_is_met_exactly() -> None:
    logits = torch.tensor([[COSINE_SCALE, -COSINE_SCALE, 0.0]], requires_grad=True)
    widen(logits, torch.tensor([[0.5, 0.5, 0.0]]), margin=0.2).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_a_margin_turns_a_weighed_label_no_farther() -> None:
    logits, expected = torch.tensor([[8.0, 2.0, -3.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    assert torch.equal(widen(logits, 9.4 * expected, margin=0.3), widen(logits, expected, margin=0.3))

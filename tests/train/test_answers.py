"""Logits of one head or two become answers."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mien.labels import FER2013, FERPLUS
from mien.train.answers import (
    HEADS,
    PEOPLE,
    HeadAnswer,
    PeopleAnswer,
    count_logits,
    fold_contempt,
    make_answers,
)
from mien.train.config import DataConfig, PeopleConfig, Recipe

EVEN = torch.full((7,), 1 / 7)
PRIOR = torch.tensor([0.14, 0.02, 0.14, 0.25, 0.17, 0.11, 0.17])


def logits(*shape: int, columns: int = 15) -> Tensor:
    return torch.randn(*shape, columns, generator=torch.Generator().manual_seed(0)) * 3


def people(prior: Tensor = EVEN, temperatures: dict[str, float] | None = None, **settings: float) -> PeopleAnswer:
    recipe = Recipe("x", data=DataConfig(labels="both"), people=PeopleConfig(**settings))
    answer = make_answers(recipe, prior, temperatures or {})[PEOPLE]
    assert isinstance(answer, PeopleAnswer)
    return answer


@pytest.mark.parametrize(
    ("labels", "names", "columns"),
    [("label", ["fer2013"], 7), ("votes", ["ferplus"], 8), ("both", ["people", "fer2013", "ferplus"], 15)],
)
def test_what_is_trained_on_decides_the_answers_and_their_order(labels: str, names: list[str], columns: int) -> None:
    recipe = Recipe("x", data=DataConfig(labels=labels))
    assert count_logits(recipe) == columns
    answers = make_answers(recipe, EVEN, {})
    assert list(answers) == names
    known = {"people": FER2013, "fer2013": FER2013, "ferplus": FERPLUS}
    for name, answer in answers.items():
        assert answer.labels == known[name]
        assert answer(logits(4, columns=columns)).shape == (4, len(known[name]))


def test_the_columns_of_two_heads_are_all_columns_once() -> None:
    found = [column for head in HEADS["both"] for column in range(15)[head.columns]]
    assert found == list(range(15))


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 5)])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_every_answer_gives_rows_that_sum_to_1(shape: tuple[int, ...], temperature: float) -> None:
    recipe = Recipe("x", data=DataConfig(labels="both"), people=PeopleConfig(0.3, 0.7))
    names = ("people", "fer2013", "ferplus")
    for answer in make_answers(recipe, PRIOR, dict.fromkeys(names, temperature)).values():
        shares = answer(logits(*shape))
        torch.testing.assert_close(shares.sum(dim=-1), torch.ones(shape))
        assert float(shares.min()) >= 0


def test_a_head_reads_its_own_columns_at_its_temperature() -> None:
    values = logits(4)
    for head, columns in zip(HEADS["both"], (values[:, :7], values[:, 7:]), strict=True):
        answer = HeadAnswer(head)
        answer.temperature = 2.0
        torch.testing.assert_close(answer(values), torch.softmax(columns / 2, dim=1))
        torch.testing.assert_close(answer.expected(values), columns)


def test_temperatures_are_found_by_name() -> None:
    recipe = Recipe("x", data=DataConfig(labels="both"))
    answers = make_answers(recipe, EVEN, {"ferplus": 1.5, "people": 0.7})
    assert {name: answer.temperature for name, answer in answers.items()} == {
        "people": 0.7, "fer2013": 1.0, "ferplus": 1.5,
    }  # fmt: skip


def test_contempt_is_given_to_the_seven_in_proportion_to_theirs() -> None:
    shares = torch.tensor([[0.1, 0.0, 0.1, 0.0, 0.0, 0.0, 0.2, 0.6], [0.0] * 7 + [1.0], [0.0] * 8])
    expected = torch.tensor([[0.25, 0.0, 0.25, 0.0, 0.0, 0.0, 0.5], [0.0] * 7, [0.0] * 7])
    torch.testing.assert_close(fold_contempt(shares), expected)


def test_people_say_what_the_taggers_head_says_without_contempt() -> None:
    values = logits(20)
    torch.testing.assert_close(people()(values), torch.softmax(values[:, 7:14], dim=1), atol=1e-4, rtol=0)


def test_what_people_are_expected_to_say_is_the_votes_for_the_seven() -> None:
    targets = torch.zeros(3, 15)
    targets[:, 2] = 1
    targets[0, 7 + 3], targets[0, 7 + 7] = 0.75, 0.25
    targets[1, 7 + 7] = 1
    expected = torch.zeros(3, 7)
    expected[0, 3] = 1
    torch.testing.assert_close(people().expected(targets), expected)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_two_heads_are_joined_by_their_weighted_geometric_mean_each_at_its_temperature(share: float) -> None:
    values = logits(20) / 3
    temperatures = {"fer2013": 1.4, "ferplus": 0.8}
    labels = torch.softmax(values[:, :7] / 1.4, dim=1)
    votes = fold_contempt(torch.softmax(values[:, 7:] / 0.8, dim=1))
    mean = labels**share * votes ** (1 - share)
    joined = people(temperatures=temperatures, fer2013_share=share)(values)
    torch.testing.assert_close(joined, mean / mean.sum(dim=1, keepdim=True))


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_expressions_are_held_back_by_how_frequent_they_were_to_the_power_of_tau(tau: float) -> None:
    values = logits(20) / 3
    plain, adjusted = people()(values), people(PRIOR, logit_adjustment=tau)(values)
    expected = plain / PRIOR**tau
    torch.testing.assert_close(adjusted, expected / expected.sum(dim=1, keepdim=True))
    assert bool((adjusted[:, 1] > plain[:, 1]).all()), "the rarest is not helped"


def test_an_expression_that_training_never_showed_does_not_break_the_answer() -> None:
    shares = people(torch.tensor([0.5, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]), logit_adjustment=1.0)(logits(5))
    assert torch.isfinite(shares).all()


def test_heads_that_are_certain_give_numbers() -> None:
    values = torch.zeros(3, 15)
    values[0, 14] = values[1, 0] = values[1, 8] = 1e4  # contempt alone; two heads that rule each other out
    for share, tau in ((0.0, 0.0), (0.5, 1.0)):
        shares = people(PRIOR, fer2013_share=share, logit_adjustment=tau)(values)
        assert torch.isfinite(shares).all()
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(3))


def test_the_joined_answer_moves_between_devices_with_what_it_holds_back() -> None:
    answer = people(PRIOR, logit_adjustment=1.0)
    moved = copy.deepcopy(answer).to("meta")
    assert moved.handicap.device.type == "meta"
    assert answer.state_dict() == {}, "what a recipe says is stored as weights"


def test_how_heads_are_joined_changes_no_head() -> None:
    recipe = Recipe("x", data=DataConfig(labels="both"))
    joined = replace(recipe, people=PeopleConfig(0.5, 1.0))
    for name in ("fer2013", "ferplus"):
        before, after = (make_answers(which, PRIOR, {})[name](logits(5)) for which in (recipe, joined))
        assert torch.equal(before, after)

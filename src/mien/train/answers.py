"""What is read off a network's logits: an answer for each head, and one that two heads give together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mien.labels import FER2013, FERPLUS
from mien.train.config import Recipe

__all__ = [
    "HEADS",
    "PEOPLE",
    "SMALLEST_SHARE",
    "Answer",
    "Head",
    "HeadAnswer",
    "PeopleAnswer",
    "answering",
    "count_logits",
    "fold_contempt",
    "handicap_of",
    "make_answers",
]

PEOPLE = "people"  # the answer of both heads
SMALLEST_SHARE = 1e-6  # below it a probability's logarithm says nothing


@dataclass(frozen=True, slots=True)
class Head:
    """Some columns of a network's logits and of its targets."""

    name: str
    labels: tuple[str, ...]
    first: int

    @property
    def columns(self) -> slice:
        """Return which columns they are."""
        return slice(self.first, self.first + len(self.labels))


_BOTH = (Head("fer2013", FER2013, 0), Head("ferplus", FERPLUS, len(FER2013)))
#: The heads of a network by what it is trained on (data.labels of the recipe).
HEADS: dict[str, tuple[Head, ...]] = {
    "label": (Head("fer2013", FER2013, 0),),
    "votes": (Head("ferplus", FERPLUS, 0),),
    "both": _BOTH,
    "label+votes": _BOTH,  # the second is an auxiliary one: it shapes the trunk, answers nothing and is not exported
}


def answering(labels: str) -> tuple[Head, ...]:
    """Return the heads whose answers are asked for, of a network that is trained on such labels."""
    return HEADS[labels][:1] if labels == "label+votes" else HEADS[labels]


def count_logits(recipe: Recipe) -> int:
    """Return how many logits a recipe's network gives."""
    return sum(len(head.labels) for head in HEADS[recipe.data.labels])


class Answer(nn.Module, ABC):
    """Logits of all heads (..., columns) to probabilities (..., labels)."""

    labels: tuple[str, ...]
    temperature: float = 1.0  # divides the scores

    @abstractmethod
    def scores(self, logits: Tensor) -> Tensor:
        """Return what the softmax is taken of, (..., labels)."""

    @abstractmethod
    def expected(self, targets: Tensor) -> Tensor:
        """Return the distributions (N, labels) that targets (N, columns) ask for; zeros in rows that ask for none."""

    def forward(self, logits: Tensor) -> Tensor:
        """Return probabilities (..., labels) (the paper, equation 5)."""
        probabilities: Tensor = torch.softmax(self.scores(logits) / self.temperature, dim=-1)
        return probabilities


class HeadAnswer(Answer):
    """What one head says."""

    def __init__(self, head: Head) -> None:
        """Read this head."""
        super().__init__()
        self.labels = head.labels
        self.columns = head.columns

    def scores(self, logits: Tensor) -> Tensor:
        """Return the head's logits."""
        return logits[..., self.columns]

    def expected(self, targets: Tensor) -> Tensor:
        """Return the head's targets."""
        return targets[:, self.columns]


class PeopleAnswer(Answer):
    """What the FER+ head says in FER2013's seven labels, with a share of FER2013's head, the rare ones not held back.

    Contempt's share goes to the other seven in proportion to theirs.  The two heads are joined by their weighted
    geometric mean.  Of its logarithm, tau times that of how frequent each expression was in training is taken off
    (Menon et al. 2021, "Long-tail learning via logit adjustment", equation 9).
    """

    def __init__(
        self, fer2013: HeadAnswer, ferplus: HeadAnswer, prior: Tensor, *, fer2013_share: float, logit_adjustment: float
    ) -> None:
        """Join two heads; prior: (7,) shares of the expressions in training."""
        super().__init__()
        self.labels = FER2013
        self.fer2013, self.ferplus, self.fer2013_share = fer2013, ferplus, fer2013_share
        self.handicap: Tensor
        self.register_buffer("handicap", handicap_of(prior, logit_adjustment), persistent=False)

    def scores(self, logits: Tensor) -> Tensor:
        """Return the logarithm of the joined and corrected shares."""
        people: Tensor = fold_contempt(self.ferplus(logits)).clamp(min=SMALLEST_SHARE).log()
        labels: Tensor = self.fer2013(logits).clamp(min=SMALLEST_SHARE).log()
        return people * (1 - self.fer2013_share) + labels * self.fer2013_share - self.handicap

    def expected(self, targets: Tensor) -> Tensor:
        """Return the votes for the seven."""
        return fold_contempt(self.ferplus.expected(targets))


def handicap_of(prior: Tensor, logit_adjustment: float) -> Tensor:
    """Return what is taken off the logarithm of each expression's share, (7,), by how frequent each was, (7,)."""
    return logit_adjustment * prior.clamp(min=SMALLEST_SHARE).log()


def fold_contempt(shares: Tensor) -> Tensor:
    """Return FER+ shares (..., 8) as shares of FER2013's seven; zeros where all was contempt or nothing was said."""
    seven = shares[..., : len(FER2013)]
    return seven / seven.sum(dim=-1, keepdim=True).clamp(min=SMALLEST_SHARE)


def make_answers(recipe: Recipe, prior: Tensor, temperatures: Mapping[str, float]) -> dict[str, Answer]:
    """Return the answers of a recipe's network by name, the one that is meant where nothing is said first.

    prior: (7,) shares of the expressions in training; read where there are two heads.  temperatures: by name, 1 where
    none is given.
    """
    heads = {head.name: HeadAnswer(head) for head in answering(recipe.data.labels)}
    answers: dict[str, Answer] = dict(heads)
    if recipe.data.labels == "both":
        people = PeopleAnswer(
            heads["fer2013"],
            heads["ferplus"],
            prior,
            fer2013_share=recipe.people.fer2013_share,
            logit_adjustment=recipe.people.logit_adjustment,
        )
        answers = {PEOPLE: people, **heads}
    for name, answer in answers.items():
        answer.temperature = temperatures.get(name, 1.0)
    return answers

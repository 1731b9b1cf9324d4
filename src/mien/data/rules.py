"""From the answers of several annotators to one label a face, by a rule that is stated.

* majority: more than half of those who answered say it.
* unanimity: all who answered say it.
* votes: most of the votes; training can use the whole distribution of them.

An answer is one of the seven expressions or "none"; "skip" is no answer.  Of two mixed expressions the stronger is what
the annotator says, in every rule; in the votes each is half an answer.  Where the most votes are shared, what more
annotators name as the stronger decides, and where that is shared too, the face has no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.data.annotate import NONE, Answer
from mien.data.ratings import CATEGORIES, Ratings, gather
from mien.errors import InputError
from mien.labels import FERPLUS, VOTES
from mien.types import BoolArray, IntArray

__all__ = ["HALVES_NOTE", "REASONS", "RULES", "Ruled", "apply_rule", "label_ratings"]

RULES = ("majority", "unanimity", "votes")
#: Why a face has no label; the last three are the answer of majority, unanimity and votes to people who differ.
REASONS = ("nobody answered", "too few answers", "none of these", "no majority", "not unanimous", "a tie of votes")
# Datasets hold this text, and `evaluate.truth` knows by it how their votes are counted: it is a format.
HALVES_NOTE = "votes are counted in halves, as some answers are mixed: a plain answer is 2, a mixed one 1 and 1"

_SAYS = {NONE: "unknown"}  # of CATEGORIES, what labels.VOTES calls otherwise
_COLUMN = np.array([VOTES.index(_SAYS.get(name, name)) for name in CATEGORIES])
_LABEL = np.array([FERPLUS.index(name) if name in FERPLUS else -1 for name in CATEGORIES], np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Ruled:
    """The labels of N faces."""

    label: IntArray  # (N,) index in labels.FERPLUS, -1 where there is none
    votes: NDArray[np.uint8]  # (N, 10) in the order of labels.VOTES; "none" is a vote for "unknown"
    reason: list[str]  # why there is no label, one of REASONS; empty where there is one
    halves: bool  # the votes are counted in halves: see HALVES_NOTE


def apply_rule(keys: Sequence[str], answers: Sequence[Answer], rule: str, *, least: int = 1) -> Ruled:
    """Return the labels of these faces by one of RULES, and why the others have none.

    answers: as `LabelStore.answers` gives them; those for other faces are ignored.
    least: how many annotators at least must have answered, those who skip not counted.
    Raises InputError for an unknown rule and where a face has more than 255 votes.
    """
    return label_ratings(gather(keys, answers), rule, least=least)


def label_ratings(ratings: Ratings, rule: str, *, least: int = 1) -> Ruled:
    """Return the labels of faces whose answers are gathered already; everything else as `apply_rule`."""
    if rule not in RULES:
        raise InputError(f"unknown rule {rule!r}; expected one of {', '.join(RULES)}")
    if least < 1:
        raise InputError(f"at least {least} answers; expected 1 or more")
    said = ratings.counts()
    votes, halves = ratings.votes()
    answered = said.sum(axis=1)
    chosen, decided = _choose(said, votes, rule)
    label = np.where(decided & (answered >= least), _LABEL[chosen], -1)
    unclear = REASONS.index({"majority": "no majority", "unanimity": "not unanimous", "votes": "a tie of votes"}[rule])
    number = np.select([answered == 0, answered < least, decided], [0, 1, 2], unclear)
    return Ruled(
        label=label.astype(np.int64),
        votes=_as_ferplus(votes),
        reason=["" if has else REASONS[why] for has, why in zip(label >= 0, number.tolist(), strict=True)],
        halves=halves,
    )


def _choose(said: IntArray, votes: IntArray, rule: str) -> tuple[IntArray, BoolArray]:
    """Return each face's foremost category (N,), and whether the rule lets it stand (N,).

    said: (N, C) annotators who name each category, of mixed ones the stronger.  votes: (N, C) the votes.
    """
    score = said if rule != "votes" else votes * (int(said.max(initial=0)) + 1) + said  # votes first, then said
    chosen = score.argmax(axis=1)
    most = score.max(axis=1, initial=0)
    if rule == "votes":
        return chosen, (score == most[:, None]).sum(axis=1) == 1
    answered = said.sum(axis=1)
    return chosen, 2 * most > answered if rule == "majority" else most == answered


def _as_ferplus(votes: IntArray) -> NDArray[np.uint8]:
    """Return votes (N, C) in the order of labels.VOTES, (N, 10)."""
    if (most := int(votes.max(initial=0))) > np.iinfo(np.uint8).max:
        raise InputError(f"{most:,} votes for one expression of one face; a dataset holds at most 255")
    columns = np.zeros((len(votes), len(VOTES)), np.uint8)
    columns[:, _COLUMN] = votes
    return columns

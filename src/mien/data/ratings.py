"""The answers of a set as arrays, on which agreement and the rules for labels compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.data.annotate import NONE, SKIP, Answer
from mien.labels import FER2013
from mien.types import IntArray

__all__ = ["CATEGORIES", "Ratings", "gather"]

#: What an annotator can say of a face; "skip" is no answer.
CATEGORIES: tuple[str, ...] = (*FER2013, NONE)


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """Answers of annotators, as columns of A, in the order in which they were given; those that skip are left out."""

    keys: tuple[str, ...]  # N, of the faces
    annotators: tuple[str, ...]  # R, of those whose answers count, sorted
    face: IntArray  # (A,) index in keys
    annotator: IntArray  # (A,) index in annotators
    category: IntArray  # (A,) index in CATEGORIES; of two mixed expressions the stronger
    second: IntArray  # (A,) index in CATEGORIES of the weaker of two mixed expressions, -1 where there is one alone
    skipped: int  # answers that say "cannot tell"
    removed: int  # answers for faces that are not among the keys

    def counts(self) -> IntArray:
        """Return (N, C) how many annotators say what of each face; of two mixed expressions the stronger counts."""
        return _count(self.face, self.category, len(self.keys))

    def votes(self) -> tuple[IntArray, bool]:
        """Return (N, C) votes, and whether they are halves.

        Where any answer of the set is mixed, all are counted in halves: a plain answer is 2, a mixed one 1 and 1.
        Elsewhere a vote is an answer.
        """
        mixed = self.second >= 0
        if not mixed.any():
            return self.counts(), False
        first = self.counts() + _count(self.face[~mixed], self.category[~mixed], len(self.keys))
        return first + _count(self.face[mixed], self.second[mixed], len(self.keys)), True

    def table(self) -> IntArray:
        """Return (N, R) the category that each annotator gives each face, -1 where there is no answer."""
        table = np.full((len(self.keys), len(self.annotators)), -1, np.int64)
        table[self.face, self.annotator] = self.category
        return table


def gather(keys: Sequence[str], answers: Sequence[Answer]) -> Ratings:
    """Return the answers for these faces as arrays; those for other faces and those that skip are counted alone."""
    place = {key: index for index, key in enumerate(keys)}
    of_set = [answer for answer in answers if answer.face in place]
    given = [answer for answer in of_set if answer.answer != SKIP]
    annotators = tuple(sorted({answer.annotator for answer in given}))
    number = {name: index for index, name in enumerate(annotators)}
    code: dict[str | None, int] = {name: index for index, name in enumerate(CATEGORIES)} | {None: -1}
    return Ratings(
        keys=tuple(keys),
        annotators=annotators,
        face=np.array([place[answer.face] for answer in given], np.int64),
        annotator=np.array([number[answer.annotator] for answer in given], np.int64),
        category=np.array([code[answer.answer] for answer in given], np.int64),
        second=np.array([code[answer.second] for answer in given], np.int64),
        skipped=len(of_set) - len(given),
        removed=len(answers) - len(of_set),
    )


def _count(face: IntArray, category: IntArray, faces: int) -> IntArray:
    """Return (N, C) how often each category occurs for each face."""
    places = face * len(CATEGORIES) + category
    return np.bincount(places, minlength=faces * len(CATEGORIES)).reshape(faces, len(CATEGORIES))

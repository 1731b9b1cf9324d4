"""What the annotators of a set agree on and what they argue about, as `agreement.json` tells it.

agreement.json: format (1), faces, answers, skipped, removed (answers for faces that are gone), faces_with_two;
fleiss_kappa and krippendorff_alpha, each {value, low, high} with a 95% interval, null where not defined; undefined
(why, or ""); no_interval (why low and high are null, or ""); categories; annotators, each {name, answers, skipped,
compared, same, low, high, confusion} against the majority of the others (rows theirs, columns the annotator's; low and
high a 95% interval of same / compared); pairs, each {first, second, faces, same, kappa} (Cohen's); rule, least, labels
(name -> faces), without (reason -> faces); halves (votes are counted in halves); argued, each {face, bits, votes
(name -> count)}.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mien.data.agreement import (
    Measure,
    bootstrap_interval,
    confusion_with_others,
    fleiss_kappa,
    krippendorff_alpha,
    most_argued,
    no_interval,
    pairs,
    undefined,
    vote_entropy,
)
from mien.data.annotate import SKIP, Answer
from mien.data.ratings import CATEGORIES, Ratings, gather
from mien.data.rules import Ruled, label_ratings
from mien.labels import FER2013
from mien.metrics import wilson_interval
from mien.types import IntArray

__all__ = ["AnnotatorFindings", "Argued", "Findings", "Measured", "PairFindings", "find"]

FORMAT = 1
ARGUED = 24  # faces that are listed


@dataclass(frozen=True, slots=True)
class Measured:
    """A number and its 95% interval; nan where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class AnnotatorFindings:
    """One annotator beside the majority of the others."""

    name: str
    answers: int
    skipped: int
    compared: int  # faces on which the others have a majority
    same: int
    low: float  # 95% interval of same / compared
    high: float
    confusion: list[list[int]]  # (C, C) rows the others, columns the annotator


@dataclass(frozen=True, slots=True)
class PairFindings:
    """Two annotators beside each other."""

    first: str
    second: str
    faces: int
    same: int
    kappa: float


@dataclass(frozen=True, slots=True)
class Argued:
    """A face that people see differently."""

    face: str
    bits: float  # entropy of its votes
    votes: dict[str, int]  # by category, without those of 0


@dataclass(frozen=True, slots=True)
class Findings:
    """All of it; the fields are those of agreement.json."""

    faces: int
    answers: int
    skipped: int
    removed: int
    faces_with_two: int
    fleiss_kappa: Measured
    krippendorff_alpha: Measured
    undefined: str
    no_interval: str
    categories: tuple[str, ...]
    annotators: list[AnnotatorFindings]
    pairs: list[PairFindings]
    rule: str
    least: int
    labels: dict[str, int]
    without: dict[str, int]
    halves: bool
    argued: list[Argued]

    def to_json(self) -> dict[str, Any]:
        """Return the content of agreement.json."""
        content: dict[str, Any] = _without_nan({"format": FORMAT, **asdict(self)})
        return content


def find(
    keys: Sequence[str], answers: Sequence[Answer], *, rule: str, least: int = 1, seed: int = 0
) -> tuple[Findings, Ruled]:
    """Return what the annotators of these faces agree on, and the faces' labels by a rule of data.rules.

    seed: of the intervals.  Kappa and alpha take the stronger of two mixed expressions; votes count each as half.
    """
    known = set(keys)
    ratings = gather(keys, answers)
    ruled = label_ratings(ratings, rule, least=least)
    counts = ratings.counts()
    labelled = Counter(ruled.label[ruled.label >= 0].tolist())
    findings = Findings(
        faces=len(keys),
        answers=len(ratings.face),
        skipped=ratings.skipped,
        removed=ratings.removed,
        faces_with_two=int((counts.sum(axis=1) >= 2).sum()),
        fleiss_kappa=_measured(fleiss_kappa, counts, seed),
        krippendorff_alpha=_measured(krippendorff_alpha, counts, seed),
        undefined=undefined(counts),
        no_interval=no_interval(counts),
        categories=CATEGORIES,
        annotators=_annotators(ratings, Counter(answer.annotator for answer in answers if _skips(answer, known))),
        pairs=_pairs(ratings),
        rule=rule,
        least=least,
        labels={name: labelled[label] for label, name in enumerate(FER2013)},
        without=dict(Counter(why for why in ruled.reason if why).most_common()),
        halves=ruled.halves,
        argued=_argued(ratings),
    )
    return findings, ruled


def _skips(answer: Answer, known: set[str]) -> bool:
    """Return whether somebody could not tell, of a face of the set."""
    return answer.answer == SKIP and answer.face in known


def _measured(measure: Measure, counts: IntArray, seed: int) -> Measured:
    """Return a measure with its interval."""
    return Measured(measure(counts), *bootstrap_interval(measure, counts, seed=seed))


def _annotators(ratings: Ratings, skipped: Counter[str]) -> list[AnnotatorFindings]:
    """Return each annotator beside the majority of the others; those who have only skipped are none."""
    counts, table = ratings.counts(), ratings.table()
    found = []
    for number, name in enumerate(ratings.annotators):
        confusion = confusion_with_others(counts, table[:, number])
        compared, same = int(confusion.sum()), int(np.trace(confusion))
        given = int((table[:, number] >= 0).sum())
        interval = wilson_interval(same, compared)
        found.append(AnnotatorFindings(name, given, skipped[name], compared, same, *interval, confusion.tolist()))
    return found


def _pairs(ratings: Ratings) -> list[PairFindings]:
    """Return each two annotators beside each other."""
    names = ratings.annotators
    found = pairs(ratings.table(), categories=len(CATEGORIES))
    return [PairFindings(names[pair.first], names[pair.second], pair.faces, pair.same, pair.kappa) for pair in found]


def _argued(ratings: Ratings) -> list[Argued]:
    """Return the faces most argued about, the most votes first."""
    votes, _ = ratings.votes()
    counts = ratings.counts()  # as kappa counts: those who all see the same mixture do not argue
    bits = vote_entropy(counts)
    found = []
    for row in most_argued(counts, counts.sum(axis=1), most=ARGUED).tolist():
        order = np.argsort(-votes[row], kind="stable").tolist()
        named = {CATEGORIES[index]: int(votes[row, index]) for index in order if votes[row, index]}
        found.append(Argued(ratings.keys[row], float(bits[row]), named))
    return found


def _without_nan(value: Any) -> Any:
    """Return a value with null for what is not a number, as JSON has no nan."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return value

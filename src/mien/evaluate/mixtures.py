"""Mixed expressions and calibration: what a model says of faces beside what FER+'s ten taggers said of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.data.manifest import Manifest
from mien.errors import DataError
from mien.evaluate.score import SampleTable
from mien.evaluate.truth import OUTLIER, truth, votes_a_tagger
from mien.labels import FERPLUS, VOTES
from mien.metrics import calibration_range, expected_calibration_error, jensen_shannon
from mien.mixture import Mixture, mix, sureness
from mien.types import BoolArray, FloatArray, IntArray

__all__ = ["Calibration", "MixtureScores", "Panel", "score_mixtures", "take_panel", "top_two", "votes_of"]

DRAWS = 100  # of as many others as voted: one draw's share of named pairs is off by a point
LEFT_OUT = 0.2  # the least sure of the faces, without which accuracy is measured again


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """What a model and the taggers say of faces."""

    labels: tuple[str, ...]  # of the model
    probabilities: FloatArray  # (N, L)
    votes: IntArray  # (N, L) for the model's labels; none where most taggers saw no expression
    majority: IntArray  # (N,) index in labels of what most taggers saw, see truth; -1 where there is no majority
    label: IntArray  # (N,) index in labels, the dataset's own
    votes_a_tagger: int = 1  # 2 where votes are counted in halves


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far confidence is from what comes true."""

    n: int
    error: float  # expected calibration error, 15 bins
    low: float  # between this and `high` lie 95% of those of a perfectly calibrated model
    high: float


@dataclass(frozen=True, slots=True)
class Distances:
    """How far from the shares of the taggers' votes something is: Jensen-Shannon, the mean of all faces."""

    model: float
    redrawn: float  # the votes of as many others, drawn from those of the taggers: the mean of DRAWS draws
    mean: float  # the mean of all these faces' votes
    top: float  # the model's first expression alone
    words: float  # the shares that mix gives; the model's probabilities where that is "unsure"


@dataclass(frozen=True, slots=True)
class TopTwo:
    """How often the two expressions that most taggers saw are named, where two of them or more saw the second."""

    n: int
    model: float
    redrawn: float  # named by as many others, drawn likewise; of their equal votes chance says which is first
    model_ordered: float  # the stronger one first
    redrawn_ordered: float


@dataclass(frozen=True, slots=True)
class Words:
    """How often mix says what; a face is split where two taggers or more saw a second expression."""

    single: float
    pair: float
    unsure: float
    pair_if_split: float  # of the faces that are not unsure
    pair_if_agreed: float  # the same of those that are not split
    unsure_if_split: float
    unsure_if_agreed: float


@dataclass(frozen=True, slots=True)
class Surest:
    """Accuracy against the taggers' majority, without the faces that the model is least sure of."""

    n: int
    accuracy: float  # of all
    without_fifth: float  # of the others, once the fifth that is least sure is left out
    of_fifth: float
    unsure: float  # share that mix calls unsure
    without_unsure: float


@dataclass(frozen=True, slots=True)
class MixtureScores:
    """The scores of a set of faces; shares are from 0 to 1."""

    n: int  # faces with votes: those of distances and words
    distances: Distances
    top_two: TopTwo
    words: Words
    surest: Surest
    against_votes: Calibration  # confidence beside the share of taggers who say the same
    against_majority: Calibration
    against_label: Calibration  # the dataset's own


def votes_of(manifest: Manifest) -> NDArray[np.uint8]:
    """Return the taggers' votes (N, 10); DataError where nobody voted."""
    if manifest.votes is None:
        raise DataError("the dataset has no votes, beside which expressions are measured; prepare it with --ferplus")
    return manifest.votes


def take_panel(table: SampleTable, manifest: Manifest, rows: IntArray, chosen: BoolArray | None = None) -> Panel:
    """Return what the model of a table, scored by label, and the taggers say of the chosen (N,) rows, or of all.

    rows: (N,) of the manifest, which those of the table are.  Pictures without a face are left out.
    Raises DataError where the dataset has no votes.
    """
    kept = table.predicted < len(table.labels)
    if chosen is not None:
        kept &= chosen
    rows = rows[kept]
    votes = votes_of(manifest)[rows].astype(np.int64)
    seen = votes[:, [VOTES.index(label) for label in table.labels]]
    seen[votes.argmax(axis=1) >= len(FERPLUS)] = 0
    majority = np.full(len(manifest), -1, np.int64)
    held, most = truth(manifest, rows, "majority")
    place = np.array([table.labels.index(name) if name in table.labels else -1 for name in FERPLUS], np.int64)
    majority[held] = place[most]
    return Panel(
        labels=table.labels,
        probabilities=table.probabilities[kept],
        votes=seen,
        majority=majority[rows],
        label=table.actual[kept],
        votes_a_tagger=votes_a_tagger(manifest),
    )


def score_mixtures(panel: Panel, *, seed: int = 0) -> MixtureScores:
    """Return the scores of a model's distributions, words and confidence.  seed: of what is drawn.

    Raises DataError where nobody has voted for an expression that the model knows.
    """
    voted = panel.votes.sum(axis=1) > 0
    if not voted.any():
        raise DataError("no face has votes for an expression that the model knows")
    probabilities, votes = panel.probabilities[voted], panel.votes[voted]
    mixtures = [mix(dict(zip(panel.labels, row, strict=True))) for row in probabilities.tolist()]
    confidence, predicted = panel.probabilities.max(axis=1), panel.probabilities.argmax(axis=1)
    counts = panel.votes.sum(axis=1)
    agreeing = np.take_along_axis(panel.votes, predicted[:, None], axis=1)[:, 0] / np.maximum(1, counts)
    people = -(-counts // panel.votes_a_tagger)  # a half that is left of somebody's answer is somebody
    one, held = np.ones_like(counts), panel.majority >= 0
    split = np.sort(votes, axis=1)[:, -2] > OUTLIER * panel.votes_a_tagger
    redrawn = _redraw(votes, people[voted], split, seed)
    return MixtureScores(
        n=len(votes),
        distances=_distances(panel.labels, mixtures, probabilities, votes, redrawn.distance),
        top_two=_top_two(probabilities[split], votes[split], redrawn),
        words=_words(np.array([mixture.kind for mixture in mixtures]), split),
        surest=_surest(panel.probabilities[held], panel.majority[held]),
        against_votes=_calibration(confidence[voted], agreeing[voted], people[voted], seed),
        against_majority=_calibration(confidence[held], (predicted == panel.majority)[held], one[held], seed),
        against_label=_calibration(confidence, predicted == panel.label, one, seed),
    )


def top_two(said: NDArray[np.floating] | IntArray, votes: IntArray) -> tuple[BoolArray, BoolArray]:
    """Return (whether the two largest of each row (N, L) are the two with most votes (N,), whether in that order too).

    Where votes are equal, either is right.
    """
    ranked = np.argsort(-said, axis=1, kind="stable")
    counted = np.take_along_axis(votes, ranked, axis=1)
    first, second, others = counted[:, 0], counted[:, 1], counted[:, 2:].max(axis=1, initial=0)
    named = np.minimum(first, second) >= others
    return named, named & (first >= second)


@dataclass(frozen=True, slots=True)
class _Redrawn:
    """What as many others reach who vote as the taggers did."""

    distance: float
    named: float
    ordered: float


def _redraw(votes: IntArray, people: IntArray, split: BoolArray, seed: int) -> _Redrawn:
    """Return what so many others (N,) reach on average, drawn from the shares of the votes (N, L).

    split: (N,) the faces of which the first two are asked for.
    """
    shares, generator = _shares(votes), np.random.default_rng(seed)
    found = []
    for _ in range(DRAWS):
        drawn = generator.multinomial(people, shares)
        # Less than a vote apart, equal ones are ranked by chance: in the order of labels they would favour some.
        named, ordered = top_two(drawn[split] + generator.random(votes[split].shape), votes[split])
        found.append((float(jensen_shannon(_shares(drawn), shares).mean()), _share(named), _share(ordered)))
    return _Redrawn(*np.mean(found, axis=0).tolist())


def _shares(votes: IntArray) -> NDArray[np.float64]:
    """Return each row's shares."""
    shares: NDArray[np.float64] = votes / votes.sum(axis=1, keepdims=True)
    return shares


def _share(flags: BoolArray) -> float:
    """Return the share of true ones, nan of none."""
    return float(flags.mean()) if len(flags) else float("nan")


def _distances(
    labels: tuple[str, ...], mixtures: list[Mixture], probabilities: FloatArray, votes: IntArray, redrawn: float
) -> Distances:
    """Return the mean distance from the shares of votes to what the model says, and to what else could be said."""
    shares = _shares(votes)
    words = probabilities.astype(np.float64)
    for row, mixture in enumerate(mixtures):
        if mixture.shares:
            words[row] = [mixture.shares.get(label, 0.0) for label in labels]

    def mean(said: NDArray[np.floating]) -> float:
        return float(jensen_shannon(said, shares).mean())

    return Distances(
        model=mean(probabilities),
        redrawn=redrawn,
        mean=mean(np.broadcast_to(shares.mean(axis=0), shares.shape)),
        top=mean(np.eye(len(labels))[probabilities.argmax(axis=1)]),
        words=mean(words),
    )


def _top_two(probabilities: FloatArray, votes: IntArray, redrawn: _Redrawn) -> TopTwo:
    """Return how often the first two of the votes (N, L) are named by the model (N, L), and by others who vote."""
    named, ordered = top_two(probabilities, votes)
    return TopTwo(len(votes), _share(named), redrawn.named, _share(ordered), redrawn.ordered)


def _words(kinds: NDArray[np.str_], split: BoolArray) -> Words:
    """Return how often each of the three kinds is said, and of which faces."""
    unsure, pair = kinds == "unsure", kinds == "pair"
    return Words(
        single=_share(kinds == "single"),
        pair=_share(pair),
        unsure=_share(unsure),
        pair_if_split=_share(pair[split & ~unsure]),
        pair_if_agreed=_share(pair[~split & ~unsure]),
        unsure_if_split=_share(unsure[split]),
        unsure_if_agreed=_share(unsure[~split]),
    )


def _surest(probabilities: FloatArray, majority: IntArray) -> Surest:
    """Return accuracy with and without the faces that the model is least sure of."""
    right = probabilities.argmax(axis=1) == majority
    ranked = np.sort(probabilities, axis=1)
    sure = np.array([sureness(first, second) for second, first in ranked[:, -2:].tolist()], np.float64)
    order = np.argsort(sure, kind="stable")
    fifth = round(LEFT_OUT * len(order))
    return Surest(
        n=len(right),
        accuracy=_share(right),
        without_fifth=_share(right[order[fifth:]]),
        of_fifth=_share(right[order[:fifth]]),
        unsure=_share(sure < 1),
        without_unsure=_share(right[sure >= 1]),
    )


def _calibration(
    confidence: FloatArray, right: BoolArray | NDArray[np.floating], people: IntArray, seed: int
) -> Calibration:
    """Return how far confidence (N,) is from what came true (N,), as so many people (N,) say."""
    low, high = calibration_range(confidence, people, seed=seed)
    return Calibration(len(confidence), expected_calibration_error(confidence, right), low, high)

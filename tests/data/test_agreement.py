"""Agreement beyond chance: the published examples, what must not matter, and what is not defined."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.data.agreement import (
    bootstrap_interval,
    cohen_kappa,
    confusion_with_others,
    fleiss_kappa,
    krippendorff_alpha,
    majority_of_others,
    most_argued,
    no_interval,
    pairs,
    undefined,
    vote_entropy,
)
from mien.types import IntArray

Measure = Callable[[IntArray], float]

# Fourteen raters, ten subjects, five categories: the example of Wikipedia's "Fleiss' kappa", 0.210.
TEN_SUBJECTS = np.array(
    [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]
)  # fmt: skip
# Krippendorff 2011, section C: four observers, twelve units, five values, some missing (0): nominal alpha 0.743.
TWELVE_UNITS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
)
# Krippendorff 2011, section B: two observers, twelve units, five values, none missing: nominal alpha 0.692.
TWO_OBSERVERS = ("aabbdcccedda", "babbbccceddd")


def counts_of(table: IntArray, categories: int) -> IntArray:
    """Return counts (N, C) of a table (N, R) of categories, -1 where there is no answer."""
    return np.stack([(table == category).sum(axis=1) for category in range(categories)], axis=1)


def draw_table(seed: int, *, faces: int = 60, people: int = 4, missing: float = 0.3, noise: float = 0.4) -> IntArray:
    """Return answers (N, R) of people who often see the same, -1 where one did not answer."""
    generator = np.random.default_rng(seed)
    table = np.repeat(generator.integers(0, 5, (faces, 1)), people, axis=1)
    table = np.where(generator.random(table.shape) < noise, generator.integers(0, 5, table.shape), table)
    return np.where(generator.random(table.shape) < missing, -1, table)


def test_kappa_of_ten_subjects_and_fourteen_raters_is_the_published_one() -> None:
    assert fleiss_kappa(TEN_SUBJECTS) == pytest.approx(0.210, abs=0.0005)


def test_alpha_of_twelve_units_with_missing_answers_is_the_published_one() -> None:
    assert krippendorff_alpha(counts_of(TWELVE_UNITS.T - 1, 5)) == pytest.approx(0.743, abs=0.0005)


def test_alpha_of_two_observers_is_the_published_one() -> None:
    table = np.array([["abcde".index(value) for value in row] for row in TWO_OBSERVERS]).T
    assert krippendorff_alpha(counts_of(table, 5)) == pytest.approx(0.692, abs=0.0005)


def test_alpha_is_one_less_observed_over_expected_disagreement() -> None:
    table = draw_table(3, faces=25)
    found = [[int(value) for value in row if value >= 0] for row in table]
    units = [unit for unit in found if len(unit) > 1]
    values = [value for unit in units for value in unit]
    n = len(values)
    observed = sum(sum(a != b for a in unit for b in unit) / (len(unit) - 1) for unit in units) / n
    expected = sum(a != b for a in values for b in values) / (n * (n - 1))
    assert krippendorff_alpha(counts_of(table, 5)) == pytest.approx(1 - observed / expected)


def test_cohens_kappa_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    table = draw_table(1, missing=0.0)
    for pair in pairs(table, categories=5):
        first, second = table[:, pair.first], table[:, pair.second]
        assert pair.kappa == pytest.approx(metrics.cohen_kappa_score(first, second))
        assert pair.same == int((first == second).sum())


def test_kappa_of_two_raters_with_the_same_marginals_is_cohens() -> None:
    confusion = np.array([[20, 5, 1], [5, 30, 4], [1, 4, 10]])
    first, second = (np.repeat(axis.ravel(), confusion.ravel()) for axis in np.indices(confusion.shape))
    assert fleiss_kappa(counts_of(np.stack([first, second], axis=1), 3)) == pytest.approx(cohen_kappa(confusion))


@given(st.integers(0, 10_000))
def test_the_names_of_annotators_and_the_order_of_faces_and_categories_do_not_matter(seed: int) -> None:
    table = draw_table(seed)
    generator = np.random.default_rng(seed)
    counts = counts_of(table, 5)
    changed = counts_of(generator.permuted(table, axis=1), 5)[generator.permutation(len(table))]
    changed = changed[:, generator.permutation(5)]
    for measure in (fleiss_kappa, krippendorff_alpha):
        assert measure(changed) == pytest.approx(measure(counts))


@pytest.mark.parametrize("measure", [fleiss_kappa, krippendorff_alpha])
def test_a_face_with_one_answer_or_none_changes_nothing(measure: Measure) -> None:
    subjects = np.tile(TEN_SUBJECTS, (2, 1))
    more = np.vstack([subjects, np.eye(5, dtype=np.int64), np.zeros((3, 5), np.int64)])
    assert measure(more) == measure(subjects)
    low, high = bootstrap_interval(measure, subjects, seed=0)
    assert low < measure(subjects) < high
    assert bootstrap_interval(measure, more, seed=0) == (low, high)


@pytest.mark.parametrize("measure", [fleiss_kappa, krippendorff_alpha])
def test_full_agreement_is_one_and_chance_is_about_nought(measure: Measure) -> None:
    assert measure(3 * np.eye(4, dtype=np.int64)) == pytest.approx(1)
    answers = np.random.default_rng(0).integers(0, 4, (20_000, 3))
    assert measure(counts_of(answers, 4)) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("measure", [fleiss_kappa, krippendorff_alpha])
@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (np.zeros((0, 8), np.int64), "needs two annotators"),
        (np.eye(8, dtype=np.int64), "needs two annotators"),
        (np.array([[3, 0], [2, 0], [0, 1]]), "every answer is the same"),
    ],
)
def test_what_is_not_defined_is_nan_and_says_why(measure: Measure, counts: IntArray, told: str) -> None:
    assert math.isnan(measure(counts))
    assert all(math.isnan(end) for end in bootstrap_interval(measure, counts, seed=0))
    assert told in undefined(counts)


@pytest.mark.parametrize("measure", [fleiss_kappa, krippendorff_alpha])
@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (np.vstack([TEN_SUBJECTS, TEN_SUBJECTS[:9], np.eye(5, dtype=np.int64)]), "too few faces"),
        (np.repeat(3 * np.eye(4, dtype=np.int64), 9, axis=0), "answers too alike"),  # everybody agrees
        (np.ones((30, 2), np.int64), "answers too alike"),  # nobody does
    ],
)
def test_few_faces_and_faces_that_are_all_alike_have_no_interval(measure: Measure, counts: IntArray, told: str) -> None:
    assert not math.isnan(measure(counts))
    assert np.isnan(bootstrap_interval(measure, counts, seed=0)).all()
    assert no_interval(counts) == f"{told} for an interval"
    assert no_interval(np.tile(TEN_SUBJECTS, (2, 1))) == ""


def test_where_agreement_is_defined_there_is_nothing_to_explain() -> None:
    assert undefined(TEN_SUBJECTS) == ""


@pytest.mark.parametrize("measure", [fleiss_kappa, krippendorff_alpha])
def test_the_interval_is_that_of_faces_drawn_one_by_one(measure: Measure) -> None:
    counts = counts_of(draw_table(5, faces=200), 5)
    paired = counts[counts.sum(axis=1) >= 2]
    generator = np.random.default_rng(1)
    drawn = [measure(paired[generator.integers(0, len(paired), len(paired))]) for _ in range(4000)]
    low, high = bootstrap_interval(measure, counts, seed=0, resamples=4000)
    assert [low, high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.01)
    assert low < measure(counts) < high


def test_the_quick_interval_is_that_of_any_other_measure() -> None:
    counts = counts_of(draw_table(5), 5)
    slow = bootstrap_interval(lambda drawn: fleiss_kappa(drawn), counts, seed=0, resamples=200)
    assert bootstrap_interval(fleiss_kappa, counts, seed=0, resamples=200) == pytest.approx(slow)


def test_the_interval_is_the_seeds_and_narrows_with_more_faces() -> None:
    few, many = (counts_of(draw_table(0, faces=faces), 5) for faces in (50, 5000))
    assert bootstrap_interval(fleiss_kappa, few, seed=1) == bootstrap_interval(fleiss_kappa, few, seed=1)
    assert bootstrap_interval(fleiss_kappa, few, seed=1) != bootstrap_interval(fleiss_kappa, few, seed=2)
    wide, narrow = (np.ptp(bootstrap_interval(fleiss_kappa, counts, seed=0)) for counts in (few, many))
    assert narrow < wide / 5


def test_an_interval_over_100_000_faces_takes_seconds() -> None:
    counts = counts_of(draw_table(0, faces=100_000, people=3), 9)
    begun = time.perf_counter()
    bootstrap_interval(krippendorff_alpha, counts, seed=0)
    assert time.perf_counter() - begun < 10


def test_a_majority_of_others_leaves_the_annotators_own_answer_out() -> None:
    table = np.array([[0, 1, 1], [0, 0, 1], [2, 2, -1], [0, 1, 2], [-1, 1, 1], [1, -1, -1]])
    counts = counts_of(table, 3)
    assert majority_of_others(counts, table[:, 0]).tolist() == [1, -1, 2, -1, 1, -1]
    assert majority_of_others(counts, table[:, 2]).tolist() == [-1, 0, 2, -1, 1, 1]


def test_a_confusion_has_the_others_in_its_rows() -> None:
    table = np.array([[0, 1, 1], [0, 1, 1], [2, 2, 2], [0, 1, 2], [-1, 1, 1]])
    confusion = confusion_with_others(counts_of(table, 3), table[:, 0])
    assert confusion.tolist() == [[0, 0, 0], [2, 0, 0], [0, 0, 1]]


def test_entropy_is_nought_in_agreement_and_one_bit_in_an_even_split() -> None:
    assert vote_entropy(np.array([[4, 0, 0], [2, 2, 0], [1, 1, 2]])).tolist() == [0, 1, 1.5]
    assert np.isnan(vote_entropy(np.zeros((1, 3), np.int64))).all()


def test_the_most_argued_faces_come_first_and_those_of_one_mind_or_one_answer_not_at_all() -> None:
    votes = np.array([[4, 0, 0], [2, 2, 0], [2, 1, 1], [0, 0, 0], [1, 1, 0], [3, 3, 0], [3, 1, 0]])
    answers = np.array([2, 2, 3, 0, 1, 3, 3])  # in halves the fifth is one mixed answer
    assert most_argued(votes, answers, most=9).tolist() == [2, 5, 1, 6]
    assert most_argued(votes, answers, most=2).tolist() == [2, 5]
    assert most_argued(np.zeros((0, 3), np.int64), np.zeros(0, np.int64), most=2).tolist() == []

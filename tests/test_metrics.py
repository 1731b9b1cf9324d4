"""Scores, checked against their definitions and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import binomtest

from mien.errors import InputError
from mien.metrics import (
    calibration_range,
    confusion_matrix,
    expected_calibration_error,
    jensen_shannon,
    log_loss,
    macro_f1,
    mcnemar,
    recalls,
    wilson_interval,
)
from mien.types import IntArray

PAIRS = st.integers(2, 8).flatmap(
    lambda labels: st.tuples(
        st.just(labels), st.lists(st.tuples(st.integers(0, labels - 1), st.integers(0, labels)), max_size=60)
    )
)


def columns(pairs: list[tuple[int, int]]) -> tuple[IntArray, IntArray]:
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@given(PAIRS)
def test_the_confusion_matrix_counts_every_pair(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    labels, pairs = drawn
    confusion = confusion_matrix(*columns(pairs), labels=labels)
    assert confusion.shape == (labels, labels + 1)
    assert confusion.tolist() == [[pairs.count((row, column)) for column in range(labels + 1)] for row in range(labels)]


@pytest.mark.parametrize(("actual", "predicted"), [([7], [0]), ([-1], [0]), ([0], [8]), ([0], [-1])])
def test_an_index_that_is_no_label_is_refused(actual: list[int], predicted: list[int]) -> None:
    with pytest.raises(InputError, match="expected 0 to"):
        confusion_matrix(np.array(actual), np.array(predicted), labels=7)


@given(PAIRS)
def test_recall_is_the_share_of_a_label_that_was_predicted(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    labels, pairs = drawn
    recall = recalls(confusion_matrix(*columns(pairs), labels=labels))
    for label in range(labels):
        predicted = [guess for actual, guess in pairs if actual == label]
        expected = predicted.count(label) / len(predicted) if predicted else math.nan
        assert recall[label] == pytest.approx(expected, nan_ok=True)


@given(PAIRS)
def test_macro_f1_is_the_mean_over_the_labels_that_have_samples(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    labels, pairs = drawn
    scores = []
    for label in range(labels):
        hits = pairs.count((label, label))
        wrong = sum((actual == label) != (predicted == label) for actual, predicted in pairs)
        if any(actual == label for actual, _ in pairs):
            scores.append(2 * hits / (2 * hits + wrong))
    expected = sum(scores) / len(scores) if scores else math.nan
    assert macro_f1(confusion_matrix(*columns(pairs), labels=labels)) == pytest.approx(expected, nan_ok=True)


@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_is_scipys_wilson_interval(counts: tuple[int, int]) -> None:
    low, high = wilson_interval(*counts)
    expected = binomtest(*counts).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert 0 <= low <= counts[0] / counts[1] + 1e-12 <= high + 2e-12 <= 1 + 2e-12


def test_nothing_counted_leaves_every_share_possible() -> None:
    assert wilson_interval(0, 0) == (0, 1)


def test_nothing_counted_has_no_score() -> None:
    empty = np.zeros((0, 7), np.float32)
    assert math.isnan(log_loss(empty, empty))
    assert math.isnan(expected_calibration_error(np.zeros(0, np.float32), np.zeros(0, np.bool_)))
    assert math.isnan(macro_f1(np.zeros((7, 8), np.int64)))
    assert np.isnan(recalls(np.zeros((7, 8), np.int64))).all()


def test_log_loss_of_uniform_guesses_is_the_log_of_the_number_of_labels() -> None:
    targets = np.eye(7, dtype=np.float32)
    assert log_loss(np.full((7, 7), 1 / 7, np.float32), targets) == pytest.approx(math.log(7))
    assert log_loss(targets, targets) == 0


def test_log_loss_of_a_soft_target_is_least_where_it_is_predicted_itself() -> None:
    target = np.array([[0.5, 0.3, 0.2]], np.float32)
    entropy = -float((target * np.log(target)).sum())
    assert log_loss(target, target) == pytest.approx(entropy)
    assert log_loss(np.array([[0.4, 0.4, 0.2]], np.float32), target) > entropy


def test_log_loss_of_an_impossible_event_is_large_and_finite() -> None:
    loss = log_loss(np.array([[0, 1]], np.float32), np.array([[1, 0]], np.float32))
    assert 80 < loss < math.inf


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    confidence = np.full(100, 0.8, np.float32)
    for right in (80, 50, 100):
        correct = np.arange(100) < right
        assert expected_calibration_error(confidence, correct) == pytest.approx(abs(right / 100 - 0.8), abs=1e-6)


def test_gaps_of_different_bins_do_not_cancel() -> None:
    confidence = np.array([0.9] * 10 + [0.3] * 10, np.float32)
    correct = np.array([True] * 5 + [False] * 5 + [True] * 7 + [False] * 3)
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.4)


def test_full_confidence_belongs_to_the_last_bin() -> None:
    assert expected_calibration_error(np.ones(3, np.float32), np.ones(3, np.bool_)) == 0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=200))
def test_mcnemar_is_the_exact_test_of_the_samples_that_one_got_right(pairs: list[tuple[bool, bool]]) -> None:
    right, other = np.array(pairs, np.bool_).reshape(-1, 2).T
    first, second = int((right & ~other).sum()), int((other & ~right).sum())
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(right, other) == pytest.approx(expected) == pytest.approx(mcnemar(other, right))


SHARES = st.floats(0, 1).map(lambda share: round(share, 12))  # scipy's own is infinite for numbers whose half is 0


@given(st.lists(st.lists(SHARES, min_size=3, max_size=3).filter(lambda row: sum(row) > 0.1), min_size=2))
def test_the_distance_of_distributions_is_scipys(rows: list[list[float]]) -> None:
    shares = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    expected = jensenshannon(shares, shares[::-1], base=2, axis=1)
    np.testing.assert_allclose(jensen_shannon(shares, shares[::-1]), np.nan_to_num(expected), atol=1e-4)
    np.testing.assert_allclose(jensen_shannon(shares, shares), 0, atol=1e-6)


def test_distributions_without_a_common_outcome_are_one_apart() -> None:
    assert jensen_shannon(np.eye(2), np.eye(2)[::-1]).tolist() == [1, 1]


@pytest.mark.parametrize("people", [1, 10])
def test_a_calibrated_model_lies_in_the_range_of_such_and_an_overconfident_one_does_not(people: int) -> None:
    generator = np.random.default_rng(1)
    confidence = generator.uniform(0.3, 0.9, 3000).astype(np.float32)
    votes = np.full(len(confidence), people)
    low, high = calibration_range(confidence, votes, draws=200)
    agreeing = generator.binomial(people, confidence) / people
    assert 0 < low < expected_calibration_error(confidence, agreeing) < high
    assert expected_calibration_error(confidence + np.float32(0.05), agreeing) > high
    assert calibration_range(confidence, votes, draws=200) == (low, high)


def test_more_people_leave_a_perfect_model_less_error() -> None:
    confidence = np.full(1000, 0.7, np.float32)
    alone, many = (calibration_range(confidence, np.full(1000, people), draws=200) for people in (1, 10))
    assert many[1] < alone[1] / 2
    assert np.isnan(calibration_range(confidence[:0], np.zeros(0, np.int64))).all()


def test_mcnemar_bears_differences_of_thousands() -> None:
    assert mcnemar(np.ones(5000, np.bool_), np.zeros(5000, np.bool_)) == 0.0

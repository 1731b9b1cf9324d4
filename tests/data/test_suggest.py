"""The faces that a model is least sure of come first, and not all of one kind."""

from __future__ import annotations

import numpy as np
import pytest

from mien.data.suggest import order, uncertainty
from mien.errors import InputError
from mien.types import FloatArray

LABELS = 7


def some(faces: int = 500) -> FloatArray:
    """Return probabilities as a model gives them, some sure and some not."""
    return np.random.default_rng(0).dirichlet(np.full(LABELS, 0.4), faces).astype(np.float32)


def test_a_uniform_row_is_the_least_sure_and_a_certain_one_the_surest() -> None:
    uniform, certain = np.full((1, LABELS), 1 / LABELS, np.float32), np.eye(LABELS, dtype=np.float32)
    unsure = uncertainty(np.vstack([certain, some(), uniform]))
    np.testing.assert_array_equal(unsure[:LABELS], 0)
    assert unsure[-1] == 1 == unsure.max()
    assert (unsure[LABELS:-1] > 0).all()


def test_two_labels_that_share_the_top_are_as_unsure_as_can_be_whatever_the_others() -> None:
    np.testing.assert_allclose(uncertainty(np.array([[0.5, 0.5, 0], [0.4, 0.2, 0.4]], np.float32)), 1)


def test_doubt_is_one_less_the_margin_between_the_likeliest_two() -> None:
    np.testing.assert_allclose(uncertainty(np.array([[0.1, 0.6, 0.3], [0.2, 0.1, 0.7]], np.float32)), [0.7, 0.5])


def test_doubt_and_order_do_not_depend_on_the_order_of_the_labels() -> None:
    probabilities = some()
    turned = probabilities[:, np.random.default_rng(1).permutation(LABELS)]
    np.testing.assert_array_equal(uncertainty(turned), uncertainty(probabilities))
    np.testing.assert_array_equal(order(turned, seed=3), order(probabilities, seed=3))


@pytest.mark.parametrize("faces", [0, 1, 2, 19, 20, 21, 39, 40, 500, 503])
@pytest.mark.parametrize("among", [1, 20, 1000])
def test_the_order_holds_every_face_once(faces: int, among: int) -> None:
    ordered = order(some(faces), seed=0, among=among)
    assert ordered.dtype == np.int64
    np.testing.assert_array_equal(np.sort(ordered), np.arange(faces))


def test_the_same_seed_gives_the_same_order_and_another_seed_another() -> None:
    probabilities = some()
    np.testing.assert_array_equal(order(probabilities, seed=1), order(probabilities, seed=1))
    assert (order(probabilities, seed=1) != order(probabilities, seed=2)).any()


def test_in_one_group_of_all_faces_they_come_strictly_by_doubt() -> None:
    probabilities = some()
    doubts = uncertainty(probabilities)[order(probabilities, seed=0, among=len(probabilities))]
    assert (np.diff(doubts) <= 0).all()


def test_the_first_of_each_group_is_surer_than_none_of_its_own() -> None:
    probabilities = some()
    doubts, groups = uncertainty(probabilities), len(probabilities) // 20
    rounds = doubts[order(probabilities, seed=0, among=20)].reshape(20, groups)  # a column is a group
    assert (np.diff(rounds, axis=0) <= 0).all()
    assert (np.diff(rounds[0]) > 0).any()  # the groups themselves come in random order


def test_whatever_is_labelled_first_is_less_sure_than_what_is_left() -> None:
    probabilities = some()
    doubts = uncertainty(probabilities)[order(probabilities, seed=0)]
    for taken in (25, 100, 250):
        assert doubts[:taken].mean() > doubts[taken:].mean() + 0.2
    assert set(np.argsort(-doubts)[:5]) <= set(range(100))


def test_the_first_faces_are_not_all_of_the_crowd_that_is_least_sure() -> None:
    crowd = np.tile(np.array([[0.5, 0.5, 0, 0, 0, 0, 0]], np.float32), (50, 1))  # a tenth, all alike
    others = np.tile(np.array([[0, 0, 0.6, 0.4, 0, 0, 0]], np.float32), (450, 1))
    first = order(np.vstack([crowd, others]), seed=0)[:25]
    assert 0 < (first < 50).sum() < 25
    assert (order(np.vstack([crowd, others]), seed=0, among=500)[:25] < 50).all()


def test_equals_come_in_random_order() -> None:
    alike = np.full((200, LABELS), 1 / LABELS, np.float32)
    for among in (20, 200):
        ordered = order(alike, seed=0, among=among)
        assert (ordered != np.arange(200)).any()
        assert (ordered != order(alike, seed=1, among=among)).any()


def test_groups_of_one_are_a_shuffle_that_doubt_does_not_touch() -> None:
    np.testing.assert_array_equal(order(some(), seed=4, among=1), order(some()[::-1], seed=4, among=1))


def test_what_are_no_probabilities_is_told() -> None:
    for wrong in (np.ones((3, 1), np.float32), np.ones(3, np.float32)):
        with pytest.raises(InputError, match="two labels or more"):
            order(wrong, seed=0)
    with pytest.raises(InputError, match="at least 1 face"):
        order(some(), seed=0, among=0)

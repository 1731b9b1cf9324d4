"""Splits share nobody, whatever the groups; labels come as the shares say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.data.people import person_keys
from mien.data.split import assign_splits, crossing, join_groups
from mien.errors import DataError

SHARES = (0.6, 0.15, 0.25)


def test_rows_with_a_name_in_common_are_one_group_over_others_too() -> None:
    files = ["a", "a", "b", "c", "d"]
    people: list[str | None] = [None, "Anna", "Anna", None, "Ben"]
    group = join_groups(files, people)
    assert group[0] == group[1] == group[2]
    assert len({group[0], group[3], group[4]}) == 3


@given(st.lists(st.tuples(st.integers(0, 8), st.one_of(st.none(), st.integers(0, 5)), st.integers(0, 6)), min_size=1),
       st.integers(0, 1000))  # fmt: skip
def test_no_person_and_no_file_is_ever_in_two_splits(rows: list[tuple[int, int | None, int]], seed: int) -> None:
    files = [f"file {row[0]}" for row in rows]
    people = [None if row[1] is None else f"person {row[1]}" for row in rows]
    group = join_groups(files, people)
    label = np.array([row[2] for row in rows])
    try:
        split = assign_splits(group, label, shares=SHARES, seed=seed)
    except DataError:
        assert len(set(group.tolist())) < 3
        return
    assert crossing(files, split) == crossing(people, split) == []
    assert set(split.tolist()) == {0, 1, 2}


@pytest.mark.parametrize(("labelled", "splits"), [(1, None), (2, None), (3, {0, 1, 2}), (5, {0, 1, 2})])
def test_groups_without_a_label_are_no_groups(labelled: int, splits: set[int] | None) -> None:
    group = np.repeat(np.arange(8)[::-1], 5)[: 5 * labelled]  # of eight people the first so many
    label = np.arange(len(group)) % 7
    if splits is None:
        with pytest.raises(DataError, match=f"{labelled} persons or files with labels, for 3 splits"):
            assign_splits(group, label, shares=SHARES, seed=0)
    else:
        split = assign_splits(group, label, shares=SHARES, seed=0)
        assert set(split.tolist()) == splits
        assert not any(len(set(split[group == each].tolist())) > 1 for each in group)


def test_labels_are_spread_as_the_shares_say() -> None:
    generator = np.random.default_rng(0)
    label = generator.choice(7, 2000, p=[0.4, 0.2, 0.15, 0.1, 0.05, 0.05, 0.05])
    group = generator.integers(0, 400, 2000)
    group = np.unique(group, return_inverse=True)[1]
    split = assign_splits(group, label, shares=SHARES, seed=0)
    for each in range(7):
        got = np.bincount(split[label == each], minlength=3) / (label == each).sum()
        assert np.abs(got - SHARES).max() < 0.06


def test_the_same_seed_gives_the_same_splits_and_another_others() -> None:
    group, label = np.arange(60), np.arange(60) % 7
    first = assign_splits(group, label, shares=SHARES, seed=1)
    assert (first == assign_splits(group, label, shares=SHARES, seed=1)).all()
    assert (first != assign_splits(group, label, shares=SHARES, seed=2)).any()


def test_a_split_without_a_share_stays_empty() -> None:
    split = assign_splits(np.arange(20), np.zeros(20, np.int64), shares=(0.5, 0.0, 0.5), seed=0)
    assert set(split.tolist()) == {0, 2}


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (1.2, -0.2, 0.0), (1.0, 0.0)])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="expected three that sum to 1"):
        assign_splits(np.arange(9), np.zeros(9, np.int64), shares=shares, seed=0)


def test_too_few_people_for_three_splits_are_told() -> None:
    with pytest.raises(DataError, match="2 persons or files"):
        assign_splits(np.array([0, 0, 1]), np.zeros(3, np.int64), shares=SHARES, seed=0)


def test_who_is_in_two_splits_is_found() -> None:
    assert crossing(["Anna", "Ben", "Anna", None, None], np.array([0, 1, 2, 0, 1])) == ["Anna"]


def test_one_person_is_one_however_lists_spell_the_name() -> None:
    spelled = ["Renée  Roy", "Rene\u0301e Roy", "RENÉE ROY", "René Roy"]
    keys = person_keys([*spelled, None])
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert keys[4] is None


def test_files_whose_names_differ_in_case_are_two() -> None:
    assert len(set(join_groups(["p/IMG_1.JPG", "p/img_1.jpg"], [None, None]).tolist())) == 2


@pytest.mark.parametrize("groups", [14, 21, 35, 70, 100])
def test_few_groups_come_near_the_shares_too(groups: int) -> None:
    split = assign_splits(np.arange(groups), np.arange(groups) % 7, shares=SHARES, seed=0)
    assert np.abs(np.bincount(split, minlength=3) - groups * np.array(SHARES)).max() <= 3

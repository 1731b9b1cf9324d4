"""What a sample is held to show, by hand and on the whole of FER+."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.manifest import Manifest
from mien.data.rules import HALVES_NOTE
from mien.errors import DataError, InputError
from mien.evaluate.truth import TRUTHS, truth
from mien.labels import FERPLUS, FERPLUS_COLUMNS, VOTES
from mien.spec import CropSpec
from mien.types import ImageArray


def manifest_of(votes: ImageArray | None, *, count: int = 1) -> Manifest:
    """Return a manifest of rows that are all labelled disgust, whatever the (N, 10) votes say."""
    count = count if votes is None else len(votes)
    return Manifest(
        crop=CropSpec(),
        source=[f"made:{row}" for row in range(count)],
        person=[None] * count,
        label=np.full(count, FERPLUS.index("disgust"), np.int64),
        votes=votes,
        split=np.full(count, 2, np.int64),
        licence=[None] * count,
        missed=np.zeros(count, np.bool_),
    )


def votes_of(*rows: dict[str, int]) -> ImageArray:
    """Return votes (N, 10); "not a face" is written not_a_face."""
    return np.array([[row.get(name.replace(" ", "_"), 0) for name in VOTES] for row in rows], np.uint8)


def told(by: str, **votes: int) -> str:
    """Return what one sample is held to show, empty where it has no truth."""
    rows, index = truth(manifest_of(votes_of(votes)), np.array([0]), by)
    assert len(rows) == len(index)
    return FERPLUS[index[0]] if len(rows) else ""


def test_by_label_every_row_has_its_own_label_votes_or_not() -> None:
    wanted = np.array([4, 1])
    for votes in (None, np.zeros((6, len(VOTES)), np.uint8)):
        manifest = replace(manifest_of(votes, count=6), label=np.arange(6))
        rows, label = truth(manifest, wanted, "label")
        assert rows.tolist() == label.tolist() == [4, 1]


@pytest.mark.parametrize("expression", FERPLUS)
@pytest.mark.parametrize("by", ["majority", "plurality"])
def test_what_all_taggers_saw_is_true_contempt_included(by: str, expression: str) -> None:
    assert told(by, **{expression: 10}) == expression


def test_a_majority_is_more_than_half() -> None:
    assert told("majority", happy=6, sad=4) == "happy"
    assert told("majority", happy=5, sad=5) == ""
    assert told("majority", happy=5, sad=3, fear=2) == "", "the most, but not more than the others together"
    assert told("majority", happy=5, sad=2, fear=2) == "happy"


def test_expressions_that_one_tagger_alone_saw_are_no_part_of_the_whole() -> None:
    assert told("majority", happy=3, sad=2, fear=1, angry=1, neutral=1) == "happy", "3 of 5, not 3 of 8"
    assert told("majority", happy=2, fear=1, angry=1, neutral=1, unknown=1) == "happy"
    assert told("majority", happy=1) == "", "the only vote is an outlier"
    assert told("majority", happy=4, sad=2, fear=2) == "", "two taggers are no outlier"


def test_votes_in_halves_are_two_of_each_tagger() -> None:
    votes = votes_of({"happy": 6, "sad": 4, "fear": 2}, {"happy": 6, "sad": 4, "fear": 3}, {"happy": 2})
    rows = np.arange(3)
    assert HALVES_NOTE.startswith(
        "votes are counted in halves, as some answers are mixed: a plain answer is 2, a mixed"
    )
    halves = replace(manifest_of(votes), notes=(HALVES_NOTE,))
    assert truth(halves, rows, "majority")[0].tolist() == [0], "6 of 10, as one alone saw fear; 6 of 13; one alone"
    assert truth(manifest_of(votes), rows, "majority")[0].tolist() == [2]
    assert truth(halves, rows, "plurality")[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("by", ["majority", "plurality"])
@pytest.mark.parametrize("nothing", ["unknown", "not_a_face"])
def test_what_is_mostly_unknown_or_not_a_face_has_no_truth(by: str, nothing: str) -> None:
    assert told(by, happy=4, **{nothing: 6}) == ""
    assert told(by, happy=6, **{nothing: 4}) == "happy"


def test_by_majority_unknown_and_not_a_face_are_part_of_the_whole() -> None:
    assert told("majority", happy=5, unknown=3, not_a_face=2) == ""
    assert told("plurality", happy=5, unknown=3, not_a_face=2) == "happy"


def test_by_plurality_the_most_votes_are_enough_and_of_a_tie_the_first_of_ferplus_is_true() -> None:
    assert told("plurality", happy=4, sad=3, fear=3) == "happy"
    assert told("plurality", happy=1) == "happy", "no vote is left out"
    assert told("plurality", sad=5, happy=5) == "happy", "fer2013new.csv has it before sad"
    assert told("plurality", angry=5, neutral=5) == "neutral", "there it comes first, in labels.FERPLUS almost last"
    assert told("plurality", contempt=5, unknown=5) == "contempt", "half of the taggers saw something"


@pytest.mark.parametrize("by", ["majority", "plurality"])
def test_rows_that_nobody_voted_on_have_no_truth_and_the_others_stay_in_order(by: str) -> None:
    votes = votes_of({"sad": 9}, {}, {"happy": 9}, {"unknown": 9}, {"angry": 9})
    before = votes.copy()
    rows, index = truth(manifest_of(votes), np.array([4, 3, 2, 1]), by)
    assert rows.tolist() == [4, 2]
    assert [FERPLUS[label] for label in index] == ["angry", "happy"]
    np.testing.assert_array_equal(votes, before)


@pytest.mark.parametrize("by", ["majority", "plurality"])
def test_a_dataset_without_votes_has_labels_alone(by: str) -> None:
    with pytest.raises(DataError, match="no votes; prepare it with --ferplus"):
        truth(manifest_of(None), np.array([0]), by)


def test_a_truth_of_another_name_is_refused() -> None:
    with pytest.raises(InputError, match="unknown truth 'mean'; expected one of label, majority, plurality"):
        truth(manifest_of(votes_of({"happy": 9})), np.array([0]), "mean")
    assert TRUTHS == ("label", "majority", "plurality")


@pytest.mark.parametrize(("by", "count"), [("majority", 3153), ("plurality", 3546)])
def test_of_the_real_private_test_as_many_have_a_truth_as_ferplus_own_evaluation_keeps(
    shared: Path, by: str, count: int
) -> None:
    with (shared / "data" / "fer2013" / "labels.csv").open(newline="") as file:
        private = [row for row in csv.DictReader(file) if row["Usage"] == "PrivateTest"]
    assert len(private) == 3589
    spelled = {answer: column for column, answer in FERPLUS_COLUMNS.items()}
    votes = np.array([[int(row[spelled[answer]]) for answer in VOTES] for row in private], np.uint8)
    rows, index = truth(manifest_of(votes), np.arange(len(private)), by)
    assert len(rows) == len(index) == count

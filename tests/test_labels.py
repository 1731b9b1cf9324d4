"""The labels: one order everywhere, and the names that people give them."""

from __future__ import annotations

import pytest

from mien.errors import LabelError
from mien.labels import FER2013, FERPLUS, FERPLUS_COLUMNS, VOTES, parse_label


def test_the_order_is_that_of_fer2013s_emotion_column() -> None:
    assert FER2013 == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def test_ferplus_adds_contempt_at_the_end() -> None:
    assert (*FER2013, "contempt") == FERPLUS


def test_every_vote_has_one_column_of_ferplus() -> None:
    assert sorted(FERPLUS_COLUMNS.values()) == sorted(VOTES)
    assert VOTES[: len(FERPLUS)] == FERPLUS


@pytest.mark.parametrize("known", [FER2013, FERPLUS])
def test_a_label_is_parsed_to_its_place_however_it_is_written(known: tuple[str, ...]) -> None:
    for index, name in enumerate(known):
        for written in (name, name.upper(), name.title(), f"  {name}\n"):
            assert parse_label(written, known=known) == index


@pytest.mark.parametrize(
    ("name", "label"),
    [("Anger", "angry"), ("HAPPINESS", "happy"), ("Sadness", "sad"), ("Surprised", "surprise"), ("fearful", "fear")],
)
def test_names_of_the_same_expression_are_the_same_label(name: str, label: str) -> None:
    assert parse_label(name) == FER2013.index(label)


def test_the_expressions_of_ferplus_are_parsed_by_its_own_spelling() -> None:
    for column, answer in FERPLUS_COLUMNS.items():
        if answer in FERPLUS:
            assert parse_label(column, known=FERPLUS) == FERPLUS.index(answer)


@pytest.mark.parametrize("name", ["", "bored", "happy!", "3", "unknown", "NF", "contempt"])
def test_another_name_is_an_error_that_says_where_and_what_was_expected(name: str) -> None:
    with pytest.raises(LabelError) as raised:
        parse_label(name, where="labels.csv:7")
    assert str(raised.value) == f"labels.csv:7: unknown label {name!r}; expected one of {', '.join(FER2013)}"


def test_a_very_long_name_does_not_fill_the_screen() -> None:
    with pytest.raises(LabelError) as raised:
        parse_label("x" * 100_000)
    assert len(str(raised.value)) < 200

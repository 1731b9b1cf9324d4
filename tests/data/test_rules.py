"""From answers to labels: what each rule lets stand, how votes are counted, and why a face has none."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mien.data.annotate import Answer
from mien.data.rules import REASONS, RULES, Ruled, apply_rule
from mien.errors import InputError
from mien.labels import FERPLUS, VOTES


def answers_of(**faces: str) -> list[Answer]:
    """Return answers written as face="happy sad+fear skip": one annotator a word."""
    return [
        Answer(f"person {number}", face, word.split("+")[0], word.split("+")[1] if "+" in word else None, 0.0)
        for face, words in faces.items()
        for number, word in enumerate(words.split())
    ]


def rule(name: str, words: str, *, least: int = 1) -> str:
    """Return the label of one face, or why it has none."""
    ruled = apply_rule(["a"], answers_of(a=words), name, least=least)
    return FERPLUS[ruled.label[0]] if ruled.label[0] >= 0 else ruled.reason[0]


def votes_of(ruled: Ruled, row: int = 0) -> dict[str, int]:
    """Return the votes of a face that are not 0, by name."""
    return {name: int(count) for name, count in zip(VOTES, ruled.votes[row], strict=True) if count}


@pytest.mark.parametrize(
    ("words", "majority", "unanimity", "votes"),
    [
        ("happy", "happy", "happy", "happy"),
        ("happy happy happy", "happy", "happy", "happy"),
        ("happy happy sad", "happy", "not unanimous", "happy"),
        ("happy sad", "no majority", "not unanimous", "a tie of votes"),
        ("happy happy sad fear", "no majority", "not unanimous", "happy"),
        ("none none sad", "none of these", "not unanimous", "none of these"),
        ("none", "none of these", "none of these", "none of these"),
        ("skip skip", "nobody answered", "nobody answered", "nobody answered"),
        ("skip happy skip", "happy", "happy", "happy"),
        ("", "nobody answered", "nobody answered", "nobody answered"),
    ],
)
def test_each_rule_lets_stand_what_it_says(words: str, majority: str, unanimity: str, votes: str) -> None:
    assert [rule(name, words) for name in RULES] == [majority, unanimity, votes]


@pytest.mark.parametrize("name", RULES)
def test_of_two_mixed_expressions_the_stronger_is_what_the_annotator_says(name: str) -> None:
    assert rule(name, "sad+fear") == "sad"
    assert rule(name, "sad+fear sad") == "sad"


def test_a_half_vote_can_decide_a_distribution_that_no_majority_decides() -> None:
    assert rule("votes", "sad fear happy+sad") == "sad"
    assert rule("majority", "sad fear happy+sad") == "no majority"


@pytest.mark.parametrize("name", RULES)
def test_a_label_needs_as_many_answers_as_are_asked_for_and_to_skip_is_none(name: str) -> None:
    assert rule(name, "happy happy", least=2) == "happy"
    assert rule(name, "happy skip", least=2) == "too few answers"
    assert rule(name, "skip", least=2) == "nobody answered"


def test_plain_answers_are_counted_once_each() -> None:
    ruled = apply_rule(["a"], answers_of(a="happy happy none skip"), "votes")
    assert votes_of(ruled) == {"happy": 2, "unknown": 1}
    assert not ruled.halves


def test_one_mixed_answer_turns_the_votes_of_the_whole_set_into_halves() -> None:
    ruled = apply_rule(["a", "b"], answers_of(a="happy+sad", b="fear none"), "votes")
    assert ruled.halves
    assert votes_of(ruled) == {"happy": 1, "sad": 1}
    assert votes_of(ruled, 1) == {"fear": 2, "unknown": 2}


def test_a_mixed_answer_for_a_face_that_is_not_in_the_set_changes_nothing() -> None:
    ruled = apply_rule(["a"], answers_of(a="happy", gone="fear+sad fear"), "votes")
    assert not ruled.halves
    assert votes_of(ruled) == {"happy": 1}


def test_faces_keep_their_order_and_those_without_a_label_say_why() -> None:
    answers = answers_of(d="happy", a="sad fear", c="none")
    ruled = apply_rule(["a", "b", "c", "d"], answers, "majority")
    assert ruled.reason == ["no majority", "nobody answered", "none of these", ""]
    assert ruled.label.tolist() == [-1, -1, -1, FERPLUS.index("happy")]
    assert ruled.votes.dtype == np.uint8


def test_a_label_and_a_reason_exclude_each_other_whatever_people_say() -> None:
    generator = np.random.default_rng(0)
    words = ["happy", "sad", "sad+fear", "happy+sad", "none", "skip"]
    faces = {f"face{number}": " ".join(generator.choice(words, generator.integers(0, 5))) for number in range(400)}
    answers = answers_of(**faces)
    labels = {}
    for name in RULES:
        ruled = apply_rule(list(faces), answers, name, least=2)
        assert [reason == "" for reason in ruled.reason] == (ruled.label >= 0).tolist()
        assert set(ruled.reason) - {""} <= set(REASONS)
        assert Counter(ruled.reason)[""] > 0
        labels[name] = ruled.label
    unanimous, majority = labels["unanimity"] >= 0, labels["majority"] >= 0
    assert (labels["unanimity"] == labels["majority"])[unanimous].all()
    assert unanimous.sum() < majority.sum()


def test_a_set_without_faces_has_no_labels() -> None:
    ruled = apply_rule([], [], "majority")
    assert ruled.label.shape == (0,)
    assert ruled.votes.shape == (0, 10)


def test_an_unknown_rule_and_too_many_votes_are_refused() -> None:
    with pytest.raises(InputError, match="unknown rule 'plurality'"):
        apply_rule(["a"], [], "plurality")
    with pytest.raises(InputError, match="expected 1 or more"):
        apply_rule(["a"], [], "majority", least=0)
    with pytest.raises(InputError, match="at most 255"):
        apply_rule(["a"], answers_of(a=" ".join(["happy"] * 256)), "majority")

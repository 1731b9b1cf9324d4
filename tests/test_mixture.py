"""Probabilities in words."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien import Face, InputError, Mixture, Reading
from mien.labels import COMPOUNDS, FER2013, FERPLUS
from mien.mixture import BOTH, LEAD, PAIR_SHARE, mix, sureness


def spread(**known: float) -> dict[str, float]:
    """Return probabilities of the seven: those that are given, the rest shared out among the others."""
    others = [label for label in FER2013 if label not in known]
    return {label: known.get(label, (1 - sum(known.values())) / len(others)) for label in FER2013}


@st.composite
def distributions(draw: st.DrawFn) -> dict[str, float]:
    labels = draw(st.sampled_from((FER2013, FERPLUS)))
    weights = draw(st.lists(st.floats(0, 1), min_size=len(labels), max_size=len(labels)).filter(lambda w: sum(w) > 0.1))
    power = draw(st.sampled_from((1, 4, 16)))
    raised = [weight**power + 1e-9 for weight in weights]
    return {label: value / sum(raised) for label, value in zip(labels, raised, strict=True)}


def test_one_expression_that_leads_by_far_is_called_alone() -> None:
    assert mix(spread(happy=0.9)) == Mixture({"happy": 1.0}, "happy")
    assert mix(dict.fromkeys(FER2013, 0.0) | {"fear": 1.0}).kind == "single"
    assert mix({"happy": 1.0}) == Mixture({"happy": 1.0}, "happy"), "a model may know a single one"


def test_two_expressions_are_a_mixture_with_their_shares() -> None:
    mixture = mix(spread(happy=0.66, surprise=0.22))
    assert (mixture.kind, mixture.name) == ("pair", "happily surprised")
    assert list(mixture.shares) == ["happy", "surprise"]
    assert mixture.shares == pytest.approx({"happy": 0.75, "surprise": 0.25})


def test_two_as_strong_as_each_other_that_leave_no_room_for_a_third_are_a_mixture_and_no_doubt() -> None:
    assert mix(spread(fear=0.5, surprise=0.48)).name == "fearfully surprised"
    assert mix(spread(fear=0.45, surprise=0.43)).name == "unsure"


def test_what_could_be_anything_is_unsure_and_has_no_shares() -> None:
    for labels in (FER2013, FERPLUS):
        mixture = mix(dict.fromkeys(labels, 1 / len(labels)))
        assert mixture == Mixture({}, "unsure")
        assert mixture.kind == "unsure"


@pytest.mark.parametrize(("stronger", "weaker"), list(itertools.permutations(FERPLUS, 2)))
def test_a_mixture_has_the_name_of_du_and_others_whichever_is_stronger_and_else_both_words(
    stronger: str, weaker: str
) -> None:
    mixture = mix(dict.fromkeys(FERPLUS, 0.0) | {stronger: 0.6, weaker: 0.4})
    compound = COMPOUNDS.get(frozenset((stronger, weaker)))
    assert mixture.name == (compound or f"{stronger} and {weaker}")
    assert mixture.shares == pytest.approx({stronger: 0.6, weaker: 0.4})


def test_the_named_pairs_are_twelve_of_six_and_their_names_tell_both_words() -> None:
    assert len(COMPOUNDS) == len(set(COMPOUNDS.values())) == 12
    stems = {
        "angry": "angr",
        "disgust": "disgust",
        "fear": "fear",
        "happy": "happ",
        "sad": "sad",
        "surprise": "surpris",
    }
    for pair, name in COMPOUNDS.items():
        assert len(pair) == 2
        assert all(stems[label] in name for label in pair)
        assert [label for label, stem in stems.items() if stem in name] == [label for label in stems if label in pair]


@given(distributions())
def test_shares_are_of_the_largest_in_their_order_and_sum_to_one(probabilities: dict[str, float]) -> None:
    mixture = mix(probabilities)
    ranked = sorted(probabilities, key=lambda label: -probabilities[label])
    assert list(mixture.shares) == ranked[: len(mixture.shares)]
    assert mixture.kind == {0: "unsure", 1: "single", 2: "pair"}[len(mixture.shares)]
    if mixture.shares:
        assert sum(mixture.shares.values()) == pytest.approx(1)
    if mixture.kind == "pair":
        first, second = mixture.shares.values()
        assert first >= second >= PAIR_SHARE - 1e-9


@given(distributions())
def test_the_rule_is_that_of_lead_and_sum(probabilities: dict[str, float]) -> None:
    first, second = sorted(probabilities.values(), reverse=True)[:2]
    assert (sureness(first, second) < 1) == (mix(probabilities).kind == "unsure")
    if abs(first - second - LEAD) > 1e-9 and abs(first + second - BOTH) > 1e-9:
        assert (mix(probabilities).kind == "unsure") == (first - second < LEAD and first + second < BOTH)


@given(distributions())
def test_the_order_of_the_labels_does_not_matter(probabilities: dict[str, float]) -> None:
    values = list(probabilities.values())
    if len(set(values)) < len(values):  # of equal ones the first counts
        return
    turned = dict(reversed(probabilities.items()))
    assert mix(turned) == mix(probabilities)


@given(distributions())
def test_the_strongest_is_the_expression_of_the_reading(probabilities: dict[str, float]) -> None:
    reading = Reading(Face(np.zeros(4, np.float32), None, 1.0), probabilities)
    assert reading.mixture == mix(probabilities)
    if reading.mixture.shares:
        assert next(iter(reading.mixture.shares)) == reading.expression


@pytest.mark.parametrize(
    "probabilities",
    [{}, {"happy": math.nan, "sad": 1.0}, {"happy": math.inf}, {"happy": -0.1, "sad": 1.1}, {"happy": 0.0, "sad": 0.0}],
)
def test_what_are_no_probabilities_is_refused(probabilities: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected a probability for each expression"):
        mix(probabilities)

"""Probabilities in words: one expression, a mixture of two with their shares, or "unsure"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mien.errors import InputError
from mien.labels import COMPOUNDS

__all__ = ["PAIR_SHARE", "UNSURE_BELOW", "Mixture", "mix"]

UNSURE = "unsure"
UNSURE_BELOW = 0.55
PAIR_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Mixture:
    """What a face shows: one expression, two at once, or nothing that could be told."""

    shares: dict[str, float]  # one or two labels, the strongest first; they sum to 1; empty: unsure
    name: str  # "happy", "happily surprised", "sad and neutral", "unsure"

    @property
    def kind(self) -> Literal["single", "pair", "unsure"]:
        """Return which of the three it is."""
        return "pair" if len(self.shares) == 2 else "single" if self.shares else "unsure"


def mix(probabilities: Mapping[str, float]) -> Mixture:
    """Return what the probabilities of expressions, by label, amount to.

    Where the largest is below UNSURE_BELOW, that is "unsure".  Else, where the second holds at least PAIR_SHARE of what
    the two largest sum to, it is a mixture of these two, each with its share of that sum; else the largest alone.
    Raises InputError where there are none, or they are no probabilities.
    """
    values = probabilities.values()
    if not values or not all(math.isfinite(value) and value >= 0 for value in values) or not max(values) > 0:
        raise InputError(f"expected a probability for each expression, none negative; got {dict(probabilities)}")
    ranked = sorted(probabilities, key=lambda label: -probabilities[label])  # of equal ones the first, as expression
    first, *others = ranked[:2]
    if probabilities[first] < UNSURE_BELOW:
        return Mixture({}, UNSURE)
    if others:
        both = float(probabilities[first]) + float(probabilities[others[0]])
        share = float(probabilities[others[0]]) / both
        if share >= PAIR_SHARE:
            return Mixture({first: 1 - share, others[0]: share}, _name(first, others[0]))
    return Mixture({first: 1.0}, first)


def _name(first: str, second: str) -> str:
    """Return what two expressions at once are called, the stronger one first where they have no name of their own."""
    return COMPOUNDS.get(frozenset((first, second)), f"{first} and {second}")

"""Probabilities in words: one expression, a mixture of two with their shares, or "unsure"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mien.errors import InputError
from mien.labels import COMPOUNDS

__all__ = ["BOTH", "LEAD", "PAIR_SHARE", "Mixture", "mix", "sureness"]

# benchmarks/mixture_thresholds.py chose these on validation, for `mien`: PublicTest without the pictures that stand in
# Training, against FER+'s taggers.  results/LOG.md tells what else was tried.
LEAD = 0.29  # with BOTH it leaves out the fifth of the faces on which the model is right least often
BOTH = 0.97  # without it two expressions as strong as each other, that leave no room for a third, would be "unsure"
PAIR_SHARE = 0.13  # with which two are said as often as two taggers or more see a second expression

UNSURE = "unsure"


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

    Where the largest is ahead of the second by less than LEAD and the two together are below BOTH, that is "unsure".
    Else, where the second holds at least PAIR_SHARE of what the two sum to, it is a mixture of these two, each with its
    share of that sum; else it is the largest alone.
    Raises InputError where there are none, or they are no probabilities.
    """
    values = probabilities.values()
    if not values or not all(math.isfinite(value) and value >= 0 for value in values) or not max(values) > 0:
        raise InputError(f"expected a probability for each expression, none negative; got {dict(probabilities)}")
    ranked = sorted(probabilities, key=probabilities.__getitem__, reverse=True)  # of equal ones the first stays so
    first, second = ranked[0], ranked[1] if len(ranked) > 1 else ""
    most, next_most = float(probabilities[first]), float(probabilities.get(second, 0.0))
    if sureness(most, next_most) < 1:
        return Mixture({}, UNSURE)
    share = next_most / (most + next_most)
    if share < PAIR_SHARE:
        return Mixture({first: 1.0}, first)
    return Mixture({first: 1 - share, second: share}, _name(first, second))


def sureness(first: float, second: float) -> float:
    """Return how sure a reading is, by its two largest probabilities; below 1 it is "unsure".

    That is the lead of the first in LEADs or, where this is more, the sum of both in BOTHs.
    """
    return max((first - second) / LEAD, (first + second) / BOTH)


def _name(first: str, second: str) -> str:
    """Return what two expressions at once are called, the stronger one first where they have no name of their own."""
    return COMPOUNDS.get(frozenset((first, second)), f"{first} and {second}")

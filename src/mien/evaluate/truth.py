"""What a sample is held to show: its label, or what FER+'s taggers said."""

from __future__ import annotations

import numpy as np

from mien.data.manifest import Manifest
from mien.data.rules import HALVES_NOTE
from mien.errors import DataError, InputError
from mien.labels import FERPLUS, FERPLUS_COLUMNS, VOTES
from mien.types import FloatArray, IntArray

__all__ = ["OUTLIER", "TRUTHS", "most_of", "truth", "votes_a_tagger"]

TRUTHS = ("label", "majority", "plurality")
#: Of expressions with as many votes, the one that stands first in FER+'s own file counts, as in its code.
TIES = np.array([VOTES.index(name) for name in FERPLUS_COLUMNS.values()], np.int64)
OUTLIER = 1  # an expression that only one tagger saw is none, as in FER+'s own evaluation


def most_of(votes: IntArray | FloatArray) -> IntArray:
    """Return the column (N,) with most of each row (N, 7), (N, 8) or (N, 10) of votes or of their shares.

    Columns are in the order of labels.VOTES; of as many votes, what FER+ names first counts.
    """
    order = TIES[votes.shape[1] > TIES]
    most: IntArray = order[votes[:, order].argmax(axis=1)]
    return most


def votes_a_tagger(manifest: Manifest) -> int:
    """Return how many votes of a dataset are one tagger's: 2 where they are counted in halves, see `data.rules`."""
    return 2 if HALVES_NOTE in manifest.notes else 1


def truth(manifest: Manifest, rows: IntArray, by: str) -> tuple[IntArray, IntArray]:
    """Return (those of the rows that have a truth (n,), its index in labels.FERPLUS (n,)).

    by: "label", the manifest's own; "majority", what more than half of the taggers said, once expressions that only
    one of them saw are left out; "plurality", what most of them said, of as many votes what FER+ names first.  Rows
    that are mostly "unknown" or "not a face", or where nobody has a majority, have none.  On FER2013's PrivateTest that
    leaves 3,153 by majority and 3,546 by plurality.
    Source: Barsoum et al. 2016, section 3, and the code that they published with it.
    Raises DataError where the dataset has no votes, InputError where no truth has that name.
    """
    if by not in TRUTHS:
        raise InputError(f"unknown truth {by!r}; expected one of {', '.join(TRUTHS)}")
    if by == "label":
        return rows, manifest.label[rows]
    if manifest.votes is None:
        raise DataError("the dataset has no votes; prepare it with --ferplus, or score on its labels")
    votes = manifest.votes[rows].astype(np.int64)
    if by == "majority":
        votes[votes <= OUTLIER * votes_a_tagger(manifest)] = 0
    most = most_of(votes)
    valid = (most < len(FERPLUS)) & (votes.sum(axis=1) > 0)
    if by == "majority":
        valid &= 2 * votes.max(axis=1) > votes.sum(axis=1)
    return rows[valid], most[valid]

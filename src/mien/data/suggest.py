"""Which faces to label first: those of which a model is least sure (active learning)."""

from __future__ import annotations

import numpy as np

from mien.errors import InputError
from mien.types import FloatArray, IntArray

__all__ = ["order", "uncertainty"]

AMONG = 20  # the loop of `benchmarks/active_learning.py` on FER2013, seeds 100 to 107; 5 to 40 differ little


def uncertainty(probabilities: FloatArray) -> FloatArray:
    """Return how unsure a model is of each face, (N,): 0 where it knows one label alone, 1 where two share the top.

    probabilities: (N, L) rows that sum to 1, two labels or more.
    It is 1 less the margin between the two likeliest labels.  Entropy and the largest probability alone did no better
    on FER2013 and, without groups, worse on its own labels, which are noisy (results/LOG.md).
    Sources: Scheffer, Decomain and Wrobel 2001, "Active Hidden Markov Models for Information Extraction" (the margin);
    Settles 2009, "Active Learning Literature Survey", section 3.1.
    Raises InputError where there are fewer than two labels.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] < 2:
        raise InputError(f"expected probabilities (N, labels), two labels or more; got {probabilities.shape}")
    second, first = np.partition(probabilities, (-2, -1), axis=1)[:, -2:].T
    unsure: FloatArray = (1 - (first - second)).astype(np.float32)
    return unsure


def order(probabilities: FloatArray, *, seed: int, among: int = AMONG) -> IntArray:
    """Return the faces in the order to label them in, those first of which a model is least sure: indices (N,).

    probabilities: (N, L) what the model says of each face.
    among: faces are dealt at random into groups of about this many; the least sure of each group comes before the
    second of any, and so on.  1 is a shuffle, N is strictly by doubt.  What is labelled before the model is trained
    again is then unsure and yet spread over all faces, while the very least sure of thousands are often alike.
    Equals come in random order.
    Sources: Settles 2009 (pool-based uncertainty sampling); Kirsch et al. 2023, "Stochastic Batch Acquisition: A Simple
    Baseline for Deep Active Learning", for chance in a batch.
    Raises InputError where the probabilities are not (N, L) or a group would hold nobody.
    """
    if among < 1:
        raise InputError(f"among is {among}; expected at least 1 face in a group")
    unsure = uncertainty(probabilities)
    dealt = np.random.default_rng(seed).permutation(len(unsure))
    groups = max(1, len(unsure) // among)
    group = np.arange(len(unsure)) % groups  # of the faces as they were dealt, which breaks ties
    by_group = np.lexsort((-unsure[dealt], group))
    place = np.empty(len(unsure), np.int64)
    starts = np.searchsorted(group[by_group], np.arange(groups))
    place[by_group] = np.arange(len(unsure)) - starts[group[by_group]]
    ordered: IntArray = dealt[np.lexsort((group, place))]
    return ordered

"""Scores of predictions, with their intervals.  Arrays in, numbers out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.types import BoolArray, FloatArray, IntArray

__all__ = [
    "calibration_range",
    "confusion_matrix",
    "expected_calibration_error",
    "jensen_shannon",
    "log_loss",
    "macro_f1",
    "mcnemar",
    "recalls",
    "wilson_interval",
]

Z_95 = 1.959964  # two-sided 95% of the normal distribution


def confusion_matrix(actual: IntArray, predicted: IntArray, *, labels: int) -> IntArray:
    """Return counts (L, L + 1): rows the actual label, columns the predicted one, the last column no prediction.

    actual: (N,) indices below `labels`.  predicted: (N,) the same, or `labels` where nothing was predicted.
    Raises InputError where an index is out of its range, which would be counted in another's place.
    """
    for name, indices, above in (("actual", actual, labels), ("predicted", predicted, labels + 1)):
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < above:
            raise InputError(f"{name} labels go from {indices.min()} to {indices.max()}; expected 0 to {above - 1}")
    columns = labels + 1
    return np.bincount(actual * columns + predicted, minlength=labels * columns).reshape(labels, columns)


def recalls(confusion: IntArray) -> FloatArray:
    """Return the share of each actual label that was predicted, (L,); nan for a label that has no samples.

    confusion: (L, L + 1) as `confusion_matrix` counts it; what was not predicted is not recalled.
    """
    totals = confusion.sum(axis=1)
    shares = np.full(len(confusion), np.nan)
    np.divide(np.diag(confusion), totals, out=shares, where=totals > 0)
    return shares.astype(np.float32)


def macro_f1(confusion: IntArray) -> float:
    """Return the F1 score averaged over the labels that have samples, as recall is; nan where none has.

    confusion: (L, L + 1) as `confusion_matrix` counts it.
    """
    actual = confusion.sum(axis=1)
    totals = confusion[:, : len(confusion)].sum(axis=0) + actual
    held = actual > 0
    return float((2 * np.diag(confusion)[held] / totals[held]).mean()) if held.any() else math.nan


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Return the 95% interval of a share, from 0 to 1; (0, 1) where nothing was counted.

    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    if total == 0:
        return 0.0, 1.0
    share, z2 = correct / total, Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    reach = Z_95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def mcnemar(right: BoolArray, other_right: BoolArray) -> float:
    """Return how likely two predictors of equal worth would differ so much on the same samples, or more: a p value.

    right, other_right: (N,) whether each got a sample right.  Exact and two-sided, by the samples that only one got
    right.  Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions".
    """
    first, second = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    differing = first + second
    tail = sum(math.comb(differing, count) for count in range(min(first, second) + 1))
    return float(min(1.0, 2 * tail / 2**differing))


def log_loss(probabilities: FloatArray, targets: FloatArray) -> float:
    """Return the mean cross-entropy, in nats, of expected distributions (N, L) under predicted ones (N, L).

    nan where nothing was counted.
    """
    if not len(probabilities):
        return math.nan
    smallest = np.finfo(np.float32).tiny
    return float(-(targets * np.log(np.maximum(probabilities, smallest))).sum(axis=1).mean())


def jensen_shannon(first: NDArray[np.floating], second: NDArray[np.floating]) -> FloatArray:
    """Return the distance of each two distributions (N, L), (N,): from 0, the same, to 1, no outcome in common.

    It is the root of the Jensen-Shannon divergence in bits.  Source: Endres and Schindelin 2003, "A new metric for
    probability distributions".
    """
    p, q = first.astype(np.float64), second.astype(np.float64)
    middle = (p + q) / 2

    def surprise(shares: NDArray[np.float64]) -> NDArray[np.float64]:
        counts = (shares > 0) & (middle > 0)  # half of the smallest number is 0
        ratio = np.divide(shares, middle, out=np.ones_like(shares), where=counts)
        total: NDArray[np.float64] = (shares * np.log2(ratio)).sum(axis=1)
        return total

    return np.sqrt(np.clip((surprise(p) + surprise(q)) / 2, 0, 1)).astype(np.float32)


def expected_calibration_error(
    confidence: FloatArray, correct: BoolArray | NDArray[np.floating], *, bins: int = 15
) -> float:
    """Return the mean gap between confidence and accuracy, weighted by bin size; nan where nothing was counted.

    confidence: (N,) top probability.  correct: (N,) whether the top label was right, or which share of people say so.
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3.
    """
    if not len(confidence):
        return math.nan
    number = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(number, weights=correct.astype(np.float64) - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def calibration_range(
    confidence: FloatArray, votes: IntArray, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return between which two values 95% of the calibration errors of a perfectly calibrated model lie.

    confidence: (N,) its top probability.  votes: (N,) how many people are asked about each sample, or 1 where it has
    one label.  Each of them agrees with that probability; all are drawn `draws` times.  (nan, nan) where nothing was
    counted.
    """
    if not len(confidence):
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    sure = np.minimum(confidence.astype(np.float64), 1)  # in float32 a little more than 1 happens
    errors = [expected_calibration_error(confidence, generator.binomial(votes, sure) / votes) for _ in range(draws)]
    low, high = np.quantile(errors, (0.025, 0.975))
    return float(low), float(high)

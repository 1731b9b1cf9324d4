"""What the paper says of itself, number by number, as printed.

Majeed, Naeem and Saeed, "Utilization of Convolutional Neural Network for Effective Recognition of Complex and Common
Facial Emotions".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.types import IntArray

__all__ = [
    "FER2013_COUNTS",
    "NATURAL_CONFUSION",
    "NATURAL_RATES",
    "TABLE_1",
    "TABLE_2",
    "PaperLayer",
    "PaperRow",
]


@dataclass(frozen=True, slots=True)
class PaperLayer:
    """A row of Table I."""

    name: str
    kernel: str  # of a convolution or a pooling, empty elsewhere
    output: tuple[int, ...]  # (C, H, W), or (N,) of a full connection


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A row of Table II, and what can be said of whom it names."""

    document: str
    iterations: int | None
    val_accuracy: float | None
    test_accuracy: float
    note: str


TABLE_1 = (
    PaperLayer("convolution", "1x1", (32, 48, 48)),
    PaperLayer("convolution", "5x5", (32, 44, 44)),
    PaperLayer("pooling", "2x2", (32, 22, 22)),
    PaperLayer("convolution", "3x3", (64, 20, 20)),
    PaperLayer("pooling", "2x2", (64, 10, 10)),
    PaperLayer("convolution", "3x3", (128, 10, 10)),
    PaperLayer("pooling", "2x2", (128, 5, 5)),
    PaperLayer("full connection", "", (2048,)),
    PaperLayer("full connection", "", (1024,)),
    PaperLayer("full connection", "", (7,)),  # "SoftMax layer"
)

TABLE_2 = (
    PaperRow(
        "Ref. [7]", 76, 0.5811, 0.6455,
        "Not identified: the paper's [7] is about gradient histograms; the text compares with [80] and [81], the "
        "figures with Lu et al. and Li et al.; [81] is by Huang, on face recognition.",
    ),
    PaperRow("Ref. [8]", None, None, 0.7074, "Not identified: [8] detects pedestrians; no iterations, no validation."),
    PaperRow(
        "Ref. [14]", 116, 0.5646, 0.7142,
        "Not identified: [14] recognizes irises. 15 points more on test than on validation are not to be had on "
        "FER2013, whose two sets were drawn alike.",
    ),
    PaperRow(
        "The suggested model", 76, 0.6400, 0.7292,
        "Nine points more on test than on validation, where the standard error of each is 0.7 to 0.8 points.",
    ),
)  # fmt: skip

#: The pictures that the text counts: all, for training, for validation, for testing.
FER2013_COUNTS = (35_886, 28_708, 3_589, 3_589)

#: Table III: rows the expression shown, columns the one recognized, in the order of labels.FER2013.
NATURAL_CONFUSION: IntArray = np.array(
    [
        [33, 0, 3, 0, 0, 1, 0],
        [5, 10, 0, 2, 3, 0, 2],
        [0, 0, 22, 0, 1, 13, 2],
        [1, 0, 1, 134, 0, 0, 5],
        [0, 0, 2, 1, 20, 0, 7],
        [0, 0, 1, 2, 0, 39, 1],
        [1, 0, 2, 2, 1, 0, 79],
    ],
    dtype=np.int64,
)

#: Table III's last column as printed.
NATURAL_RATES = ("89.19%", "45.45%", "57.89%", "95.04%", "66.66%", "90.70%", "92.94%")

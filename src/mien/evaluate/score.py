"""A predictor over one split: a per-sample table, and the scores of any part of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.data.audit import has_twin
from mien.data.manifest import Dataset
from mien.errors import DataError
from mien.evaluate.truth import truth
from mien.files import write_text
from mien.labels import FERPLUS
from mien.metrics import confusion_matrix, expected_calibration_error, log_loss, macro_f1, recalls, wilson_interval
from mien.preprocess import enhance
from mien.spec import CropSpec
from mien.types import BoolArray, FloatArray, ImageArray, IntArray

__all__ = ["SampleTable", "Scores", "check_known", "predict_split", "score", "seen_before", "write_samples"]

PREDICT_AT_ONCE = 512
ALONE = "; what one person alone saw counts for nothing there: score by plurality or label"
SEEN_BEFORE = {"train": (), "val": ("train",), "test": ("train", "val")}  # whose twins tell less than new faces

Predict = Callable[[ImageArray], FloatArray]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class SampleTable:
    """What a predictor said of every sample of a split."""

    labels: tuple[str, ...]  # of the predictor
    source: list[str]
    actual: IntArray  # (N,) index in labels
    predicted: IntArray  # (N,) the same; len(labels) where no face was found
    probabilities: FloatArray  # (N, L), zeros where no face was found
    seen: BoolArray  # (N,) an identical crop stands in a split that training or choosing saw
    left_out: int  # rows that have no truth, or one that the predictor has no label for


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The scores of a set of samples."""

    labels: tuple[str, ...]
    n: int
    correct: int
    missed: int  # no face was found; counted as wrong
    accuracy: float
    interval: tuple[float, float]  # 95%, Wilson
    recall: FloatArray  # (L,) nan where a label has no samples
    macro_recall: float  # over the labels that have samples
    macro_f1: float  # the same
    log_loss: float  # nats, over the faces that were found
    calibration_error: float  # 15 bins, over the faces that were found
    confusion: IntArray  # (L, L + 1) rows actual, columns predicted, the last one no face


def check_known(actual: IntArray, labels: Sequence[str], split: str) -> None:
    """Raise DataError where columns (N,) of FERPLUS that a split holds are none of a model's labels."""
    if unknown := sorted({FERPLUS[label] for label in actual} - set(labels)):
        raise DataError(
            f"the model does not know {', '.join(unknown)}, which split {split} holds; it knows {', '.join(labels)}"
        )


def predict_split(
    predict: Predict,
    dataset: Dataset,
    split: str,
    *,
    labels: tuple[str, ...],
    crop: CropSpec,
    by: str = "label",
    change: Callable[[ImageArray], ImageArray] | None = None,
    on_progress: Progress | None = None,
) -> SampleTable:
    """Return what `predict` (crops to probabilities in the order of `labels`) says of every sample of a split.

    crop: of the model; its geometry must be the dataset's.  by: what a sample is held to show, see `truth`; samples
    whose votes are for an expression that the model does not know are left out.  change: what the crops go through
    first, some at a time.  A sample counts as seen where its crop stands in train as well or, of the test split, in
    val.  Raises DataError where the geometry is another, where the split is empty or where it holds a label that the
    model does not know.
    """
    manifest = dataset.manifest
    whole = manifest.rows_in(split)
    rows, actual = truth(manifest, whole, by)
    if by != "label":
        known = np.array([name in labels for name in FERPLUS])[actual]
        rows, actual = rows[known], actual[known]
    if not len(rows):
        told = f"the dataset has nothing in split {split}" + (f" that has a {by}" if len(whole) else "")
        raise DataError(told + (ALONE if by == "majority" and len(whole) else ""))
    if manifest.crop.geometry != crop.geometry:
        raise DataError(
            f"the dataset's crops are cut otherwise than the model wants; prepare it again with --size {crop.size_px} "
            f"--margin {crop.margin:g} --offset {crop.offset_y:g} --colour {crop.colour}"
        )
    check_known(actual, labels, split)
    probabilities = np.zeros((len(rows), len(labels)), np.float32)
    found = ~manifest.missed[rows]
    for start in range(0, len(rows), PREDICT_AT_ONCE):
        part = np.arange(start, min(start + PREDICT_AT_ONCE, len(rows)))[found[start : start + PREDICT_AT_ONCE]]
        if len(part):
            crops = dataset.crops[rows[part]]
            probabilities[part] = predict(enhance(change(crops) if change else crops, crop))
        if on_progress:
            on_progress(min(start + PREDICT_AT_ONCE, len(rows)), len(rows))
    return SampleTable(
        labels=labels,
        source=[manifest.source[row] for row in rows],
        actual=np.array([labels.index(FERPLUS[label]) for label in actual], np.int64),
        predicted=np.where(found, probabilities.argmax(axis=1), len(labels)).astype(np.int64),
        probabilities=probabilities,
        seen=found & seen_before(dataset, rows, split),
        left_out=len(whole) - len(rows),
    )


def seen_before(dataset: Dataset, rows: IntArray, split: str) -> BoolArray:
    """Return which of some rows (N,) of a split stand, pixel for pixel, in one that training or choosing saw."""
    twins = [has_twin(dataset, rows, earlier) for earlier in SEEN_BEFORE[split]]
    seen: BoolArray = np.any([np.zeros(len(rows), np.bool_), *twins], axis=0)
    return seen


def score(table: SampleTable, chosen: BoolArray | None = None) -> Scores:
    """Return the scores of the samples, or of the chosen (N,) ones among them."""
    chosen = np.ones(len(table.actual), np.bool_) if chosen is None else chosen
    actual, predicted = table.actual[chosen], table.predicted[chosen]
    labels = len(table.labels)
    confusion = confusion_matrix(actual, predicted, labels=labels)
    n, correct = len(actual), int((actual == predicted).sum())
    found = predicted < labels
    probabilities = table.probabilities[chosen][found]
    recall = recalls(confusion)
    return Scores(
        labels=table.labels,
        n=n,
        correct=correct,
        missed=int((~found).sum()),
        accuracy=correct / n if n else float("nan"),
        interval=wilson_interval(correct, n),
        recall=recall,
        macro_recall=float(np.nanmean(recall)) if n else float("nan"),
        macro_f1=macro_f1(confusion),
        log_loss=log_loss(probabilities, np.eye(labels, dtype=np.float32)[actual[found]])
        if found.any()
        else float("nan"),
        calibration_error=expected_calibration_error(
            probabilities.max(axis=1, initial=0), (actual == predicted)[found]
        ),
        confusion=confusion,
    )


def write_samples(path: str | Path, table: SampleTable) -> None:
    """Write the per-sample table as CSV: source, actual, predicted, seen, and p_LABEL for each label."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "actual", "predicted", "seen", *(f"p_{label}" for label in table.labels)])
    names = (*table.labels, "no face")
    for source, actual, predicted, seen, shares in zip(
        table.source, table.actual, table.predicted, table.seen, table.probabilities, strict=True
    ):
        row = [source, names[actual], names[predicted], int(seen), *(f"{share:.6f}" for share in shares)]
        writer.writerow(row)
    write_text(path, text.getvalue())

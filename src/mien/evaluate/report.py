"""Scores to a row of results.csv, a confusion matrix as CSV and as a picture."""

from __future__ import annotations

import csv
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from matplotlib.figure import Figure

from mien.evaluate.rows import Layout, add_rows, read_rows, score_text
from mien.evaluate.score import Scores
from mien.files import atomic_path, write_text
from mien.labels import FERPLUS

__all__ = [
    "COLUMNS",
    "Measurement",
    "add_to_results",
    "draw_confusion",
    "plain",
    "plot_confusion",
    "read_results",
    "save_figure",
    "write_confusion",
]

#: The columns of results.csv; results/README.md explains them.
COLUMNS = (
    "model", "data", "split", "subset", "truth", "views", "change", "n", "correct", "accuracy", "low_95", "high_95",
    "macro_recall", "macro_f1", "log_loss", "calibration_error", "missed", *(f"recall_{label}" for label in FERPLUS),
    "detector", "date", "hardware", "commit", "model_sha256", "manifest_sha256",
)  # fmt: skip
_KEY = ("model", "model_sha256", "manifest_sha256", "split", "subset", "truth", "views", "change", "detector")
_LAYOUT = Layout("results.csv", COLUMNS, _KEY)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Under what a score was measured."""

    model: str
    data: str
    split: str
    subset: str  # "all", or "unseen": without crops that stand in a split that training or choosing saw
    truth: str  # "label", "majority" or "plurality", see evaluate.truth
    views: str  # "own": what predict does; "ten-crop"
    change: str  # empty, or "cameras"
    detector: str  # empty where the crops were cut already
    date: str  # ISO
    hardware: str
    commit: str
    model_sha256: str
    manifest_sha256: str


def add_to_results(path: str | Path, measured: list[tuple[Measurement, Scores]]) -> None:
    """Add rows to results.csv; a row of the same model, measured in the same way, is replaced.

    Raises DataError where the file is there and is not a results.csv.
    """
    add_rows(path, _LAYOUT, [_row(measurement, scores) for measurement, scores in measured])


def read_results(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of results.csv, none where there is no such file yet.

    Raises DataError where the file is there and is not a results.csv.
    """
    return read_rows(path, _LAYOUT)


def _row(measurement: Measurement, scores: Scores) -> dict[str, str]:
    """Return one row of results.csv."""
    recall = dict(zip(scores.labels, scores.recall, strict=True))
    numbers = {
        "accuracy": scores.accuracy,
        "low_95": scores.interval[0],
        "high_95": scores.interval[1],
        "macro_recall": scores.macro_recall,
        "macro_f1": scores.macro_f1,
        "log_loss": scores.log_loss,
        "calibration_error": scores.calibration_error,
        **{f"recall_{label}": recall.get(label, np.nan) for label in FERPLUS},
    }
    counts = {"n": scores.n, "correct": scores.correct, "missed": scores.missed}
    described = {name: getattr(measurement, name) for name in Measurement.__slots__}
    row = {name: score_text(value) for name, value in numbers.items()}
    return {name: str({**described, **counts, **row}[name]) for name in COLUMNS}


def plain(text: str) -> str:
    """Return a text as matplotlib is to be given it, which reads a formula between two dollars."""
    return text.replace("$", r"\$")


def write_confusion(path: str | Path, scores: Scores) -> None:
    """Write the confusion matrix as CSV: a row for each actual label, a column for each predicted one and no face."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["actual", *scores.labels, "no face"])
    for label, counts in zip(scores.labels, scores.confusion, strict=True):
        writer.writerow([label, *(int(count) for count in counts)])
    write_text(path, text.getvalue())


def draw_confusion(path: str | Path, scores: Scores, *, title: str) -> None:
    """Draw the confusion matrix, counts over the share of each actual label; the suffix names the format."""
    with atomic_path(path) as temporary:
        save_figure(plot_confusion(scores, title=title), temporary, dpi=120)


def save_figure(figure: Figure, target: Path | BinaryIO, **settings: Any) -> None:
    """Save a figure, settings as of its savefig; a letter that the font lacks becomes a box, which is no news."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure.savefig(target, **settings)


def plot_confusion(scores: Scores, *, title: str) -> Figure:
    """Return it as a figure."""
    counts = scores.confusion if scores.missed else scores.confusion[:, :-1]
    columns = [*scores.labels, "no face"][: counts.shape[1]]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    figure = Figure(figsize=(8.5, 7), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(
        range(len(scores.labels)),
        [f"{label} ({total})" for label, total in zip(scores.labels, counts.sum(1), strict=True)],
    )
    axes.set(xlabel="predicted", ylabel="actual (faces)")
    low, high = (100 * bound for bound in scores.interval)
    told = f"{100 * scores.accuracy:.2f}% of {scores.n:,} (95%: {low:.1f} to {high:.1f})"
    axes.set_title(f"{plain(title)}\n{told}", fontsize=11)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.7 else "black"
        text = f"{counts[row, column]}\n{100 * shares[row, column]:.0f}%"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    figure.colorbar(picture, label="share of the actual label", shrink=0.8)
    return figure

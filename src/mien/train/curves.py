"""The log of a run: a CSV a program reads, a picture that people look at."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mien.evaluate.report import plain
from mien.files import atomic_path, write_text

__all__ = ["COLUMNS", "Row", "draw_curves", "plot_curves", "write_log"]

#: One row an epoch.  seconds: of the whole epoch, validation included; images_per_s: of its training part.  Where there
#: are two heads, val_loss is the sum and val_accuracy the mean of theirs, and val_accuracy_HEAD stands behind.
COLUMNS = ("epoch", "learning_rate", "train_loss", "val_loss", "val_accuracy", "images_per_s", "seconds")

Row = dict[str, float]


def write_log(path: str | Path, rows: list[Row]) -> None:
    """Write the rows as CSV, whole or not at all."""
    text = io.StringIO()
    columns = [*COLUMNS, *(name for name in rows[0] if name not in COLUMNS)]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{row[name]:.6g}" for name in columns} for row in rows)
    write_text(path, text.getvalue())


def draw_curves(path: str | Path, rows: list[Row], *, title: str, best: Row | None = None) -> None:
    """Draw loss and validation accuracy over the epochs, the best epoch marked; the suffix names the format.

    best: what counts as best where that is none of the rows, as where a run started from is better than all of them.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    plot_curves(figure, rows, title=title, best=best)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def plot_curves(figure: Figure, rows: list[Row], *, title: str, best: Row | None = None) -> None:
    """Draw them onto a figure."""
    epochs = [row["epoch"] for row in rows]
    best = best or max(rows, key=lambda row: row["val_accuracy"])
    losses, accuracies = figure.subplots(1, 2)
    marker = "o" if len(rows) == 1 else None  # a line of one point is not seen
    losses.plot(epochs, [row["train_loss"] for row in rows], marker=marker, label="training (augmented)")
    losses.plot(epochs, [row["val_loss"] for row in rows], marker=marker, label="validation")
    losses.set(xlabel="epoch", ylabel="cross-entropy", title=plain(title))
    losses.legend()
    accuracies.plot(epochs, [100 * row["val_accuracy"] for row in rows], color="C1")
    accuracies.plot(best["epoch"], 100 * best["val_accuracy"], "o", color="C3")
    label = f"best {100 * best['val_accuracy']:.2f}% in epoch {best['epoch']:g}"
    accuracies.set(xlabel="epoch", ylabel="validation accuracy, %", title=label)
    for axes in (losses, accuracies):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

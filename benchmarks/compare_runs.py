"""Runs side by side: what was changed with --set, and the validation accuracy over the seeds.

    python benchmarks/compare_runs.py .runs [--start "mien"]

Runs that are not at their end are left out; one that starts from a model counts with the best of its own epochs.  Those
whose names differ in the seed alone are one line: mean, standard deviation and number of seeds, of the accuracy of the
best epoch (of each head where there are several), best first.
"""

from __future__ import annotations

import argparse
import csv
import re
import statistics
from collections import defaultdict
from pathlib import Path

from mien.errors import RecipeError
from mien.train.config import read_recipe


def main() -> None:
    """Read the logs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--start", default="", help="only runs whose names start so")
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for folder in sorted(options.runs.iterdir()):
        try:
            name = read_recipe(folder / "recipe.toml").name
        except RecipeError:
            continue
        if name.startswith(options.start) and (folder / "model.onnx").is_file():
            found[re.sub(r" seed=\d+$", "", name)].append(best_epoch(folder / "log.csv"))
    for name, bests in sorted(found.items(), key=lambda item: -mean(item[1], "val_accuracy")):
        columns = [column for column in bests[0] if column.startswith("val_accuracy")]
        scores = "  ".join(f"{column[4:]} {describe(bests, column)}" for column in columns)
        print(f"{name}: {scores}  (seeds: {len(bests)}, epochs: {bests[0]['epochs']:g})")


def best_epoch(path: Path) -> dict[str, float]:
    """Return the row of the best epoch of a log, with the number of all."""
    with path.open(newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    return {**max(rows, key=lambda row: row["val_accuracy"]), "epochs": float(len(rows))}


def mean(rows: list[dict[str, float]], column: str) -> float:
    """Return the mean of a column."""
    return statistics.fmean(row[column] for row in rows)


def describe(rows: list[dict[str, float]], column: str) -> str:
    """Return mean and deviation in per cent."""
    deviation = f" +- {100 * statistics.stdev(row[column] for row in rows):.2f}" if len(rows) > 1 else ""
    return f"{100 * mean(rows, column):.2f}%{deviation}"


if __name__ == "__main__":
    main()

"""What was trained for the page before: runs.csv, predictions.csv, searches.csv and curves/ beside results.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from mien.errors import DataError, InputError
from mien.evaluate.report import read_results
from mien.evaluate.score import Scores
from mien.files import printable, write_text
from mien.train.curves import Row, write_log
from mien.types import IntArray

__all__ = ["Ledger", "RunRow", "TrialRow"]

_PREDICTIONS = ["model_sha256", "manifest_sha256", "split", "predicted"]
NOT_FOUND = "-"  # in predictions.csv: no face, no prediction


@dataclass(frozen=True, slots=True)
class RunRow:
    """A row of runs.csv: one training, in the texts in which it is written down; results/README.md explains them."""

    study: str
    variant: str
    seed: str
    recipe_sha256: str  # see studies.identity
    manifest_sha256: str
    model_sha256: str
    epochs: str  # that were run; empty of what has none
    best_epoch: str
    parameters: str
    multiplications: str
    ms_a_face: str  # one core, 32 at once, with the mirror image where it is read
    train_s: str
    date: str
    hardware: str
    commit: str


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A row of searches.csv: one trial of a search."""

    search_sha256: str
    manifest_sha256: str
    strategy: str
    trial: str
    state: str  # complete, pruned or fail
    val_accuracy: str  # of the best epoch; empty where the trial did not come to its end
    epochs: str  # that it trained
    settings: str  # JSON


class Ledger:
    """The folder of results, opened."""

    def __init__(self, folder: str | Path) -> None:
        """Read what there is; DataError where a file is of another kind."""
        self.folder = Path(folder)
        self.results = self.folder / "results.csv"
        self._runs = [RunRow(**row) for row in _read(self.folder / "runs.csv", _columns(RunRow))]
        self._trials = [TrialRow(**row) for row in _read(self.folder / "searches.csv", _columns(TrialRow))]
        self._predictions = {
            (row["model_sha256"], row["manifest_sha256"], row["split"]): row["predicted"]
            for row in _read(self.folder / "predictions.csv", _PREDICTIONS)
        }

    def find(self, recipe_sha256: str, manifest_sha256: str) -> RunRow | None:
        """Return the run of a recipe on a dataset; None where there is none yet."""
        asked = (recipe_sha256, manifest_sha256)
        return next((run for run in self._runs if (run.recipe_sha256, run.manifest_sha256) == asked), None)

    def score(self, run: RunRow, split: str, subset: str) -> dict[str, str] | None:
        """Return the row of results.csv that a run's model has of its labels in a split; None where there is none."""
        wanted = {
            "model_sha256": run.model_sha256, "manifest_sha256": run.manifest_sha256, "split": split, "subset": subset,
            "truth": "label", "views": "own", "change": "",
        }  # fmt: skip
        rows = read_results(self.results)
        return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)

    def predicted(self, run: RunRow, split: str) -> IntArray | None:
        """Return the column (N,) that a run's model predicted of each sample of a split, -1 for none."""
        text = self._predictions.get((run.model_sha256, run.manifest_sha256, split))
        return None if text is None else np.array([-1 if mark == NOT_FOUND else int(mark) for mark in text], np.int64)

    def curves(self, run: RunRow) -> list[Row]:
        """Return a run's log, a row an epoch; [] where none was kept."""
        path = self._curves(run)
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]

    def add(
        self,
        run: RunRow,
        *,
        log: Sequence[Row] = (),
        predicted: dict[str, tuple[IntArray, Scores]] | None = None,
    ) -> None:
        """Write down a run with its log and what it predicted of splits; it replaces one of the same recipe and data.

        predicted: columns of each split's samples, and the scores that say how many labels there are.
        """
        for split, (columns, scores) in (predicted or {}).items():
            if len(scores.labels) > 10:
                raise InputError("predictions are kept as one digit each: ten labels at most")
            marks = "".join(NOT_FOUND if column >= len(scores.labels) else str(column) for column in columns)
            self._predictions[run.model_sha256, run.manifest_sha256, split] = marks
        if predicted:
            rows = [dict(zip(_PREDICTIONS, (*key, marks), strict=True)) for key, marks in self._predictions.items()]
            _write(self.folder / "predictions.csv", _PREDICTIONS, rows)
        if log:
            write_log(self._curves(run), list(log))
        key = (run.recipe_sha256, run.manifest_sha256)
        self._runs = [old for old in self._runs if (old.recipe_sha256, old.manifest_sha256) != key]
        self._runs.append(run)
        _write(self.folder / "runs.csv", _columns(RunRow), [asdict(row) for row in self._runs])

    def trials(self, search_sha256: str, manifest_sha256: str, strategy: str) -> list[TrialRow]:
        """Return the trials of a search on a dataset by a strategy; [] where there was none."""
        asked = (search_sha256, manifest_sha256, strategy)
        return [row for row in self._trials if (row.search_sha256, row.manifest_sha256, row.strategy) == asked]

    def add_trials(self, trials: Sequence[TrialRow]) -> None:
        """Write down a search's trials."""
        self._trials += trials
        _write(self.folder / "searches.csv", _columns(TrialRow), [asdict(row) for row in self._trials])

    def _curves(self, run: RunRow) -> Path:
        """Return where a run's log is kept."""
        return self.folder / "curves" / f"{run.recipe_sha256[:12]}-{run.manifest_sha256[:12]}.csv"


def _columns(kind: type[RunRow | TrialRow]) -> list[str]:
    """Return the columns of a table."""
    return [field.name for field in fields(kind)]


def _read(path: Path, columns: list[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file; none where it is not there."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if list(reader.fieldnames or ()) == columns:
                rows = list(reader)
                if all(None not in row and None not in row.values() for row in rows):
                    return rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{printable(path)}: cannot be read ({error}); move it away, or name another --results"
        ) from error
    raise DataError(f"{printable(path)}: has other columns than {', '.join(columns)}; move it away")


def _write(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    """Write rows as CSV, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())

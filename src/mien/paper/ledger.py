"""What was trained for the page before: runs.csv, predictions.csv, searches.csv and curves/ beside results.csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np

from mien.errors import DataError, InputError
from mien.evaluate.report import read_results
from mien.evaluate.score import Scores
from mien.files import printable, write_text
from mien.locks import in_turn
from mien.train.curves import Row, write_log
from mien.types import IntArray

__all__ = ["Ledger", "RunRow", "TrialRow"]

_PREDICTIONS = ["model_sha256", "manifest_sha256", "split", "predicted"]
NOT_FOUND = "-"  # in predictions.csv: no face, no prediction
WHOLE = {"epochs", "best_epoch", "parameters", "multiplications"}
NEEDED = {"parameters", "train_s"}  # of every run
NUMBERS = {"epochs", "best_epoch", "parameters", "multiplications", "ms_a_face", "train_s", "val_accuracy"}
COUNTS = ("n", "correct")  # of results.csv
SCORES = (*COUNTS, "accuracy", "low_95", "high_95", "macro_recall")
DRAWN = ("epoch", "train_loss", "val_loss", "val_accuracy")  # of a run's log


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
    ms_a_face: str  # one core, 32 at once, with the mirror image where it is read; empty of what Table II has not
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
    val_accuracy: str  # of the best epoch, of a pruned trial of its last one; empty where none came to its end
    epochs: str  # that it trained
    settings: str  # JSON


Kept = TypeVar("Kept", RunRow, TrialRow)


class Ledger:
    """The folder of results, opened."""

    def __init__(self, folder: str | Path) -> None:
        """Read what there is; DataError where a file is of another kind or damaged."""
        self.folder = Path(folder)
        self.results = self.folder / "results.csv"
        read_results(self.results)
        self._read()

    def _read(self) -> None:
        """Read the tables that are kept here."""
        self._runs = [_checked(RunRow(**row)) for row in _read(self.folder / "runs.csv", _columns(RunRow))]
        self._trials = [_checked(TrialRow(**row)) for row in _read(self.folder / "searches.csv", _columns(TrialRow))]
        self._predictions = {
            (row["model_sha256"], row["manifest_sha256"], row["split"]): row["predicted"]
            for row in _read(self.folder / "predictions.csv", _PREDICTIONS)
        }

    def find(self, recipe_sha256: str, manifest_sha256: str) -> RunRow | None:
        """Return the run of a recipe on a dataset; None where there is none yet."""
        asked = (recipe_sha256, manifest_sha256)
        return next((run for run in self._runs if (run.recipe_sha256, run.manifest_sha256) == asked), None)

    def score_of(
        self, model_sha256: str, manifest_sha256: str, split: str, model: str, *, detector: str = ""
    ) -> dict[str, dict[str, str]]:
        """Return the rows of results.csv of a model's own labels in a split, by subset; empty where there is none.

        model: its own name, as several may share a file.
        """
        wanted = {
            "model": model, "model_sha256": model_sha256, "manifest_sha256": manifest_sha256, "split": split,
            "truth": "label", "views": "own", "change": "", "detector": detector,
        }  # fmt: skip
        rows = [row for row in read_results(self.results) if all(row[key] == value for key, value in wanted.items())]
        return {row["subset"]: _numbered(row) for row in rows}

    def score(self, run: RunRow, split: str) -> dict[str, str] | None:
        """Return the row of results.csv that a run's model has of all samples of a split; None where there is none."""
        return self.scores(run, split).get("all")

    def scores(self, run: RunRow, split: str) -> dict[str, dict[str, str]]:
        """Return the rows of results.csv that a run's model has of a split, by subset; empty where there is none.

        DataError where one has no numbers.
        """
        names = {row["model"] for row in read_results(self.results) if row["model_sha256"] == run.model_sha256}
        return self.score_of(run.model_sha256, run.manifest_sha256, split, min(names)) if names else {}

    def predicted(self, run: RunRow, split: str, count: int) -> IntArray | None:
        """Return the column (N,) that a run's model predicted of each of so many samples of a split, -1 for none.

        None where that was not kept.  DataError where it is of another number of samples, or no digits.
        """
        text = self._predictions.get((run.model_sha256, run.manifest_sha256, split))
        if text is None:
            return None
        if len(text) != count or not set(text) <= {NOT_FOUND, *"0123456789"}:
            path = printable(self.folder / "predictions.csv")
            raise DataError(
                f"{path}: damaged at model {run.model_sha256[:12]}; expected {count:,} digits; take it away"
            )
        return np.array([-1 if mark == NOT_FOUND else int(mark) for mark in text], np.int64)

    def curves(self, run: RunRow) -> list[Row]:
        """Return a run's log, a row an epoch; [] where none was kept."""
        path = self._curves(run)
        if not path.is_file():
            return []
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
            if missing := [name for name in DRAWN for row in rows if name not in row]:
                raise ValueError(f"it has no {missing[0]}")
            return rows
        except (ValueError, TypeError, csv.Error) as error:
            raise DataError(f"{printable(path)}: is no run's log ({error}); take it away") from error

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
        with self._updating():
            self._add(run, log, predicted or {})

    def _add(self, run: RunRow, log: Sequence[Row], predicted: dict[str, tuple[IntArray, Scores]]) -> None:
        """Write it."""
        for split, (columns, scores) in predicted.items():
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
        """Write down a search's trials; one of the same number of the same search is replaced."""
        with self._updating():
            known = {
                (row.search_sha256, row.manifest_sha256, row.strategy, row.trial): row
                for row in (*self._trials, *trials)
            }
            self._trials = list(known.values())
            _write(self.folder / "searches.csv", _columns(TrialRow), [asdict(row) for row in self._trials])

    @contextmanager
    def _updating(self) -> Iterator[None]:
        """Hold the tables, as they are now, against other processes that write them."""
        with in_turn(self.folder):
            self._read()
            yield

    def _curves(self, run: RunRow) -> Path:
        """Return where a run's log is kept."""
        return self.folder / "curves" / f"{run.recipe_sha256[:12]}-{run.manifest_sha256[:12]}.csv"


def _checked(row: Kept) -> Kept:
    """Return a row whose numbers are numbers and whose settings are such; DataError where they are not."""
    table, of = ("runs.csv", row.variant) if isinstance(row, RunRow) else ("searches.csv", f"trial {row.trial}")
    for name in NUMBERS & {field.name for field in fields(row)}:
        value, kind = getattr(row, name), int if name in WHOLE else float
        try:
            if value or name in NEEDED:
                kind(value)
        except ValueError:
            wanted = "a whole number" if name in WHOLE else "a number"
            raise DataError(f"{table}: {name} of {of!r} is {value!r}; expected {wanted}") from None
    if isinstance(row, TrialRow):
        try:
            settings = json.loads(row.settings)
        except ValueError:
            settings = None
        if not isinstance(settings, dict):
            raise DataError(f"{table}: settings of {of!r} are {row.settings!r}; expected a JSON object")
    return row


def _numbered(row: dict[str, str]) -> dict[str, str]:
    """Return a row of results.csv whose scores are numbers; DataError where they are not."""
    for name in SCORES:
        try:
            (int if name in COUNTS else float)(row[name])
        except ValueError:
            raise DataError(f"results.csv: {name} of {row['model']!r} is {row[name]!r}; expected a number") from None
    return row


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

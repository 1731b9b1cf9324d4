"""What the sections of the page are made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from mien.classify import Classifier
from mien.data.manifest import SPLITS, Dataset, take
from mien.data.prepare import gather, listed
from mien.data.sources import Problem
from mien.errors import InputError, RecipeError
from mien.evaluate.measure import record, score_subsets, sha256_of_dataset
from mien.evaluate.score import Progress, SampleTable, Scores, predict_split, seen_before
from mien.faces.detect import make_detector
from mien.labels import FER2013, FERPLUS
from mien.metrics import wilson_interval
from mien.paper.ledger import Ledger, RunRow, TrialRow
from mien.paper.studies import Run, SearchPlan, Studies, identity, search_identity
from mien.types import BoolArray
from mien.weights import catalogue

__all__ = [
    "DATA",
    "LEFT_OUT",
    "NATURAL",
    "STUDIES",
    "Context",
    "Measured",
    "interval",
    "number",
    "percent",
    "rate",
    "share",
]

# In Context.failed:
DATA, NATURAL, LEFT_OUT, STUDIES = "the dataset", "the natural pictures", "natural pictures left out", "the studies"
FER2013_SPLITS = (28_709, 3_589, 3_589)  # faces in train, val and test

Score = TypeVar("Score")


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a model said of a split, and how right that was."""

    table: SampleTable
    subsets: dict[str, Scores]


@dataclass(slots=True)
class Context:
    """What there is to make the page from."""

    data: Path
    dataset: Dataset
    natural: Path | None  # pictures with labels; None: none were named
    pictures: list[Path]  # whose faces are shown
    studies: Studies
    ledger: Ledger
    is_sample: bool = False  # the dataset is a sample, for a quick look
    on_progress: Progress | None = None
    failed: dict[str, str] = field(default_factory=dict)  # what could not be read or trained, by name, and why
    _gathered: dict[str, Dataset] = field(default_factory=dict)  # natural, by detector
    _measured: dict[tuple[str, str, str], Measured] = field(default_factory=dict)  # by model, split and detector
    _seen: dict[str, BoolArray] = field(default_factory=dict)  # by split

    @property
    def is_fer2013(self) -> bool:
        """Return whether the dataset is FER2013 in its own three splits, which the paper's numbers are of."""
        return tuple(len(self.dataset.manifest.rows_in(split)) for split in SPLITS) == FER2013_SPLITS

    def seen(self, split: str) -> BoolArray:
        """Return which faces of a split of the dataset stand in one that training or choosing saw as well."""
        if split not in self._seen:
            self._seen[split] = seen_before(self.dataset, self.dataset.manifest.rows_in(split), split)
        return self._seen[split]

    def row(self, run: Run) -> RunRow | None:
        """Return what the ledger has of a run; None where it was not trained yet, or cannot be, which is noted."""
        try:
            row = self.find(identity(run.recipe))
        except RecipeError as error:  # a teacher that is not there
            self.failed[run.recipe.name] = str(error)
            return None
        if row and run.is_tested and len(self.dataset.manifest.rows_in("test")) and not self.ledger.score(row, "test"):
            return None  # the same training, in a study that does without
        return row

    def find(self, sha256: str) -> RunRow | None:
        """Return what the ledger has of what is identified so, on this dataset; None where it was not measured yet."""
        row = self.ledger.find(sha256, self.dataset.manifest.sha256)
        return row if row and self.ledger.score(row, "val") else None

    def unseen(self, row: RunRow, split: str) -> dict[str, str] | None:
        """Return the row of results.csv that a run has of the unseen faces of a split; None where there is none."""
        return self._unseen(self.ledger.scores(row, split), split)

    def _unseen(self, subsets: Mapping[str, Score], split: str) -> Score | None:
        """Return the scores of the unseen faces, which are those of all where all of them are new; None for no face."""
        return None if self.seen(split).all() else subsets.get("unseen", subsets.get("all"))

    def scores(self, runs: list[Run]) -> dict[Run, dict[str, str]]:
        """Return the rows of results.csv on validation, unseen, of those of some runs that were trained."""
        found = {}
        for run in runs:
            if row := self.row(run):
                # A part of a cross-validation is new as a whole: identical faces are in one.
                whole = self.ledger.score(row, "val")
                found[run] = whole if run.recipe.data.folds else self.unseen(row, "val")
        return {run: score for run, score in found.items() if score}

    def trials(self, plan: SearchPlan, strategy: str) -> list[TrialRow]:
        """Return the trials of the search by a strategy; [] where there was none, or can be none, which is noted."""
        try:
            return self.ledger.trials(search_identity(plan), self.dataset.manifest.sha256, strategy)
        except RecipeError as error:
            self.failed[f"search {strategy}"] = str(error)
            return []

    def missing(self, runs: list[Run]) -> str:
        """Return which of some runs are missing, and why; empty where none is."""
        absent = [run for run in runs if self.row(run) is None]
        reasons = sorted(
            {self.failed[name] for run in absent for name in (run.recipe.name, DATA) if name in self.failed}
        )
        if not absent:
            return ""
        return f"{len(absent)} of {len(runs)} runs were not trained" + (f" ({'; '.join(reasons)})" if reasons else "")

    def unusable(self, study: str) -> list[str]:
        """Return which variants of a study cannot be trained, and why, or why nothing is known of them."""
        if STUDIES in self.failed:
            return [self.failed[STUDIES]]
        return [f"“{variant}”: {why}" for variant, why in self.studies.unusable.get(study, {}).items()]

    def accuracy(self, study: str, variant: str) -> str:
        """Return the accuracy on validation, unseen, of a variant's first seed with its interval; a dash for none."""
        scores = self.scores(self.studies.of(study).get(variant, [])[:1])
        return percent(next(iter(scores.values()), None))

    def shipped(self, model: str, split: str, subset: str) -> dict[str, str] | Scores | None:
        """Return what results.csv has of a shipped model on a split of the dataset, measured now where it has nothing.

        None where the split is empty.  Errors as of `measure`.
        """
        manifest = self.dataset.manifest
        if not len(manifest.rows_in(split)):
            return None
        known = self.ledger.score_of(catalogue.SHIPPED[model].sha256, manifest.sha256, split, model)
        found: Mapping[str, dict[str, str] | Scores] = known or self.measure(model, split).subsets
        return self._unseen(found, split) if subset == "unseen" else found[subset]

    def measure(self, model: str, split: str) -> Measured:
        """Return what a shipped model says of a split of the dataset; its scores go to results.csv.

        Errors as of `evaluate.score.predict_split`.
        """
        return self._measure(model, self.dataset, self.data, split, "")

    def measure_natural(self, model: str, *, detector: str = "dlib") -> Measured:
        """Return what a shipped model says of the natural faces; InputError where there are none that can be used.

        What cannot be used of them is left out and noted.
        """
        if self.natural is None or NATURAL in self.failed:
            raise InputError(
                self.failed.get(NATURAL, "no natural faces; --natural names a folder with faces/ and labels.csv")
            )
        if detector not in self._gathered:
            crop = Classifier.load(model).spec.crop
            gathered = gather(
                self.natural, crop=replace(crop, contrast="none"), detector=make_detector(detector), split="test",
                skip_bad=True, on_progress=self.on_progress,
            )  # fmt: skip
            manifest = gathered.dataset.manifest
            seven = manifest.label < len(FER2013)
            left_out = [
                *gathered.dropped,
                *(
                    Problem(manifest.source[row], f"{FERPLUS[manifest.label[row]]} is none of the paper's seven")
                    for row in np.flatnonzero(~seven)
                ),
            ]
            if left_out:
                told = f"{self.natural}: {len(left_out):,} of {len(manifest) + len(gathered.dropped):,} left out"
                self.failed[LEFT_OUT] = f"{told}\n{listed(left_out)}"
            self._gathered[detector] = take(gathered.dataset, np.flatnonzero(seven))
        return self._measure(model, self._gathered[detector], self.natural, "test", detector)

    def _measure(self, model: str, dataset: Dataset, folder: Path, split: str, detector: str) -> Measured:
        """Return what a model says, once; its scores are written down where they were not yet."""
        key = (model, split, detector)
        if key in self._measured:
            return self._measured[key]
        classifier = Classifier.load(model)
        table = predict_split(
            classifier.predict, dataset, split, labels=classifier.spec.labels, crop=classifier.spec.crop,
            on_progress=self.on_progress,
        )  # fmt: skip
        subsets = score_subsets(table)
        sha256, manifest_sha256 = catalogue.SHIPPED[model].sha256, sha256_of_dataset(dataset)
        if not self.ledger.score_of(sha256, manifest_sha256, split, classifier.spec.name, detector=detector):
            record(
                self.ledger.results, subsets, model=classifier.spec.name, model_sha256=sha256,
                data=folder.resolve().name, dataset=dataset, split=split, detector=detector,
            )  # fmt: skip
        self._measured[key] = Measured(table, subsets)
        return self._measured[key]


def number(score: dict[str, str] | None, column: str = "accuracy") -> float:
    """Return a number of a row of results.csv, its accuracy where no column is named; NaN where there is no row."""
    if score is None:
        return math.nan
    # The column of accuracies is rounded.
    return int(score["correct"]) / int(score["n"]) if column == "accuracy" else float(score[column])


def share(value: float) -> str:
    """Return a share from 0 to 1 as percent."""
    return f"{100 * value:.2f}%"


def percent(scores: Scores | dict[str, str] | None) -> str:
    """Return an accuracy with its 95% interval; a dash where there is none."""
    if scores is None:
        return "-"
    if isinstance(scores, Scores):
        return rate(scores.correct, scores.n)
    return rate(int(scores["correct"]), int(scores["n"]))


def rate(correct: int, total: int) -> str:
    """Return a share as percent with its 95% interval; a dash for a share of nothing."""
    return f"{share(correct / total)} {interval(correct, total)}" if total else "-"


def interval(correct: int, total: int) -> str:
    """Return the 95% interval of a share in percent."""
    low, high = wilson_interval(correct, total)
    return f"({100 * low:.1f} to {100 * high:.1f})"

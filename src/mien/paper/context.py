"""What the sections of the page are made from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from mien.classify import Classifier
from mien.data.manifest import Dataset
from mien.data.prepare import gather
from mien.errors import InputError
from mien.evaluate.measure import record, score_subsets, sha256_of_dataset
from mien.evaluate.score import Progress, SampleTable, Scores, predict_split
from mien.faces.detect import make_detector
from mien.metrics import wilson_interval
from mien.paper.ledger import Ledger, RunRow
from mien.paper.studies import Run, Studies, identity
from mien.weights import catalogue

__all__ = ["DATA", "NATURAL", "Context", "Measured", "interval", "percent", "rate", "share"]

DATA, NATURAL = "the dataset", "the natural pictures"  # in Context.failed


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

    def row(self, run: Run) -> RunRow | None:
        """Return what the ledger has of a run; None where it was not trained yet."""
        return self.find(identity(run.recipe))

    def find(self, sha256: str) -> RunRow | None:
        """Return what the ledger has of what is identified so, on this dataset; None where it was not measured yet."""
        row = self.ledger.find(sha256, self.dataset.manifest.sha256)
        return row if row and self.ledger.score(row, "val") else None

    def scores(self, runs: list[Run]) -> dict[Run, dict[str, str]]:
        """Return the rows of results.csv on validation, unseen, of those of some runs that were trained."""
        found = {run: self.ledger.unseen(row, "val") for run in runs if (row := self.row(run))}
        return {run: score for run, score in found.items() if score}

    def missing(self, runs: list[Run]) -> str:
        """Return which of some runs are missing, and why; empty where none is."""
        absent = [run for run in runs if self.row(run) is None]
        reasons = sorted(
            {self.failed[name] for run in absent for name in (run.recipe.name, DATA) if name in self.failed}
        )
        if not absent:
            return ""
        return f"{len(absent)} of {len(runs)} runs were not trained" + (f" ({'; '.join(reasons)})" if reasons else "")

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
        found = self.ledger.score_of(catalogue.SHIPPED[model].sha256, manifest.sha256, split, model)
        if not found:
            subsets = self.measure(model, split).subsets
            return subsets.get(subset, subsets["all"])
        return found.get(subset, found["all"])

    def measure(self, model: str, split: str) -> Measured:
        """Return what a shipped model says of a split of the dataset; its scores go to results.csv.

        Errors as of `evaluate.score.predict_split`.
        """
        return self._measure(model, self.dataset, self.data, split, "")

    def measure_natural(self, model: str, *, detector: str = "dlib") -> Measured:
        """Return what a shipped model says of the natural faces; InputError where none were named."""
        if self.natural is None or NATURAL in self.failed:
            raise InputError(
                self.failed.get(NATURAL, "no natural faces; --natural names a folder with faces/ and labels.csv")
            )
        if detector not in self._gathered:
            crop = Classifier.load(model).spec.crop
            gathered = gather(
                self.natural, crop=replace(crop, contrast="none"), detector=make_detector(detector), split="test",
                on_progress=self.on_progress,
            )  # fmt: skip
            self._gathered[detector] = gathered.dataset
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

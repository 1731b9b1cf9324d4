"""What a model said, as rows of results.csv: scores with and without twins, and under what they were measured."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from dataclasses import replace
from pathlib import Path

from mien.data.manifest import Dataset, digest
from mien.evaluate.report import Measurement, add_to_results
from mien.evaluate.score import SampleTable, Scores, score
from mien.files import printable

__all__ = ["commit", "describe", "hardware", "record", "score_subsets", "sha256_of_dataset"]


def score_subsets(table: SampleTable) -> dict[str, Scores]:
    """Return the scores of "all" samples and, where some were seen before, of the "unseen" ones."""
    subsets = {"all": score(table)}
    if table.seen.any() and not table.seen.all():
        subsets["unseen"] = score(table, ~table.seen)
    return subsets


def record(
    results: str | Path,
    subsets: dict[str, Scores],
    *,
    model: str,
    model_sha256: str,
    data: str,
    dataset: Dataset,
    split: str,
    truth: str = "label",
    views: str = "own",
    change: str = "",
    detector: str = "",
) -> None:
    """Add the scores of a model's name and file on a dataset, under its name, to a results.csv.

    Raises DataError where the file is there and is not a results.csv.
    """
    template = describe(
        model=model, model_sha256=model_sha256, data=data, dataset=dataset, split=split, truth=truth, views=views,
        change=change, detector=detector,
    )  # fmt: skip
    add_to_results(results, [(replace(template, subset=subset), scores) for subset, scores in subsets.items()])


def describe(
    *,
    model: str,
    model_sha256: str,
    data: str,
    dataset: Dataset,
    split: str,
    truth: str,
    views: str,
    change: str,
    detector: str,
) -> Measurement:
    """Return under what something is measured here and now, of all samples."""
    return Measurement(
        model=model,
        data=printable(data),
        split=split,
        subset="all",
        truth=truth,
        views=views,
        change=change,
        detector=detector,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        hardware=hardware(),
        commit=commit(),
        model_sha256=model_sha256,
        manifest_sha256=sha256_of_dataset(dataset),
    )


def sha256_of_dataset(dataset: Dataset) -> str:
    """Return the hash of a dataset's rows and pixels, also of one that was gathered just now."""
    return dataset.manifest.sha256 or digest(dataset.manifest, dataset.crops)


def hardware() -> str:
    """Return what this machine computes with."""
    return f"{os.cpu_count()} cores, {platform.machine()}"


def commit() -> str:
    """Return the commit of mien's own repository, with + where its code has changed since; empty for other copies."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=here.parent)
        return told.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)
        changed = git("status", "--porcelain", "--", ":/src")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""

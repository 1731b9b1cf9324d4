"""`mien evaluate`: a model's scores on one split, with their intervals."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from mien.cli.console import err, out, progress_bar
from mien.errors import InputError

if TYPE_CHECKING:
    from mien.data.manifest import Dataset
    from mien.evaluate.report import Measurement
    from mien.evaluate.score import Scores
    from mien.spec import CropSpec

__all__ = ["evaluate"]

DEFAULT_OUT = Path(".runs/evaluate")


def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or an ONNX file.")],
    data: Annotated[Path, typer.Option(help="A prepared dataset, or a source that `mien data prepare` reads.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    detector: Annotated[str, typer.Option(help="For pictures that are not prepared: what finds the face.")] = "dlib",
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Where confusion matrix and per-sample table go.")
    ] = None,
    results: Annotated[Path, typer.Option(help="The table that the scores are added to.")] = Path(
        "results/results.csv"
    ),
) -> None:
    """Score a model on one split: accuracy with its 95% interval, recall of each expression, confusion matrix.

    Example: mien evaluate paper-cnn --data data/fer2013 --split test

    Given pictures with labels (faces/ beside labels.csv), the face is found first, of several the largest; where none
    is found, that is an error of the model.  Crops that stand in train as well are reported apart.
    """
    from mien.classify import Classifier
    from mien.data.manifest import SPLITS
    from mien.evaluate.report import add_to_results, draw_confusion, read_results, write_confusion
    from mien.evaluate.score import predict_split, score, write_samples
    from mien.files import check_folder, sha256_of
    from mien.weights import catalogue

    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
    read_results(results)  # what cannot be written is told of now, not after the work
    check_folder(results.parent)
    check_folder(out_dir or DEFAULT_OUT)
    classifier = Classifier.load(model)
    spec, model_sha256 = classifier.spec, sha256_of(catalogue.find(model))
    dataset, found_by = _open(data, spec.crop, detector, split)
    with progress_bar("reading", unit="faces") as advance:
        table = predict_split(
            classifier.predict, dataset, split, labels=spec.labels, crop=spec.crop, on_progress=advance
        )
    subsets = {"all": score(table)}
    if table.train_twin.any() and not table.train_twin.all():
        subsets["no train twin"] = score(table, ~table.train_twin)
    name = data.resolve().name
    title = f"{spec.name} on {name}, {split}"
    _show(subsets, title)

    plain = "-".join(re.sub(r"[^\w.-]+|^\.+", "_", part) for part in (spec.name, name, split))
    folder = out_dir or DEFAULT_OUT / plain
    write_samples(folder / "samples.csv", table)
    write_confusion(folder / "confusion.csv", subsets["all"])
    draw_confusion(folder / "confusion.png", subsets["all"], title=title)
    template = _measurement(spec.name, model_sha256, dataset, data=name, split=split, detector=found_by)
    add_to_results(results, [(replace(template, subset=subset), scores) for subset, scores in subsets.items()])
    err.print(f"confusion matrix and per-sample table in {folder}; scores added to {results}", markup=False)


def _open(data: Path, crop: CropSpec, detector: str, split: str) -> tuple[Dataset, str]:
    """Return the dataset, and what found its faces: nothing where its crops were cut already."""
    from mien.data.manifest import is_dataset, read
    from mien.data.prepare import gather, is_labelled_faces
    from mien.faces.detect import make_detector

    if is_dataset(data):
        return read(data), ""
    pictures = is_labelled_faces(data)
    finder = make_detector(detector) if pictures else None
    with progress_bar("finding faces" if pictures else "opening", unit="pictures") as advance:
        gathered = gather(data, crop=crop, detector=finder, split=split, on_progress=advance)
    return gathered.dataset, detector.partition(":")[0] if pictures else ""


def _measurement(
    model: str, model_sha256: str, dataset: Dataset, *, data: str, split: str, detector: str
) -> Measurement:
    """Return under what the whole split was measured."""
    from mien.data.manifest import digest
    from mien.evaluate.report import Measurement

    return Measurement(
        model=model,
        data=data,
        split=split,
        subset="all",
        detector=detector,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        hardware=f"{os.cpu_count()} cores, {platform.machine()}",
        commit=_commit(),
        model_sha256=model_sha256,
        manifest_sha256=dataset.manifest.sha256 or digest(dataset.manifest, dataset.crops),
    )


def _show(subsets: dict[str, Scores], title: str) -> None:
    """Print the scores and the confusion matrix."""
    summary = Table(
        "samples", "n", "correct", "accuracy", "95% interval", "macro recall", "macro F1", "missed", title=escape(title)
    )
    for subset, scores in subsets.items():
        low, high = scores.interval
        summary.add_row(
            subset, f"{scores.n:,}", f"{scores.correct:,}", f"{100 * scores.accuracy:.2f}%",
            f"{100 * low:.2f} to {100 * high:.2f}%", f"{100 * scores.macro_recall:.2f}%", f"{scores.macro_f1:.4f}",
            str(scores.missed),
        )  # fmt: skip
    out.print(summary)
    scores = subsets["all"]
    confusion = Table("actual", *scores.labels, "no face", "recall", title="confusion matrix, all samples")
    for label, counts, recall in zip(scores.labels, scores.confusion, scores.recall, strict=True):
        confusion.add_row(label, *(str(count) for count in counts), f"{100 * recall:.1f}%" if recall == recall else "")
    out.print(confusion)


def _commit() -> str:
    """Return the commit of mien's own repository, with + where it has changed since; empty for an installed copy."""
    here = Path(__file__)
    in_repository = ["git", "ls-files", "--error-unmatch", here.name]
    describe = ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        subprocess.run(in_repository, capture_output=True, check=True, cwd=here.parent)
        told = subprocess.run(describe, capture_output=True, text=True, check=True, cwd=here.parent)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return told.stdout.strip()

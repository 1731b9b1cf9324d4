"""`mien evaluate`: a model's scores on one split, with their intervals."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mien.cli.console import err, out, progress_bar

if TYPE_CHECKING:
    from mien.evaluate.score import Scores

__all__ = ["evaluate"]


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
    from mien.data import manifest as manifests
    from mien.data.prepare import gather
    from mien.evaluate.report import Measurement, add_to_results, draw_confusion, write_confusion
    from mien.evaluate.score import predict_split, score, write_samples
    from mien.faces.detect import make_detector
    from mien.files import sha256_of
    from mien.weights import catalogue

    classifier = Classifier.load(model)
    spec = classifier.spec
    if manifests.is_dataset(data):
        dataset, found_by = manifests.read(data), ""
    else:
        finder = make_detector(detector) if detector != "none" else None
        with progress_bar("finding faces", unit="pictures") as advance:
            dataset = gather(data, crop=spec.crop, detector=finder, split=split, on_progress=advance).dataset
        found_by = detector.partition(":")[0]
    with progress_bar("reading", unit="faces") as advance:
        table = predict_split(
            classifier.predict, dataset, split, labels=spec.labels, crop=spec.crop, on_progress=advance
        )
    subsets = {"all": score(table)}
    if table.train_twin.any():
        subsets["no train twin"] = score(table, ~table.train_twin)
    _show(subsets, f"{spec.name} on {data.name}, {split}")

    folder = out_dir or Path(".runs/evaluate") / f"{spec.name}-{data.stem}-{split}"
    write_samples(folder / "samples.csv", table)
    write_confusion(folder / "confusion.csv", subsets["all"])
    draw_confusion(folder / "confusion.png", subsets["all"], title=f"{spec.name} on {data.name}, {split}")
    measured = [
        (
            Measurement(
                model=spec.name,
                data=data.name,
                split=split,
                subset=subset,
                detector=found_by,
                date=datetime.datetime.now(datetime.UTC).date().isoformat(),
                hardware=f"{os.cpu_count()} cores, {platform.machine()}",
                commit=_commit(),
                model_sha256=sha256_of(catalogue.find(model)),
                manifest_sha256=dataset.manifest.sha256 or manifests.digest(dataset.manifest, dataset.crops),
            ),
            scores,
        )
        for subset, scores in subsets.items()
    ]
    add_to_results(results, measured)
    err.print(f"confusion matrix and per-sample table in {folder}; scores added to {results}", markup=False)


def _show(subsets: dict[str, Scores], title: str) -> None:
    """Print the scores and the confusion matrix."""
    summary = Table(
        "samples", "n", "correct", "accuracy", "95% interval", "macro recall", "macro F1", "missed", title=title
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
    """Return the commit of the working tree, with + where it has changed since; empty outside a repository."""
    try:
        command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""

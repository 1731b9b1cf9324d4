"""`mien evaluate`: a model's scores on one split, with their intervals."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from mien.cli.console import err, out, progress_bar, refuse_ignored, tell_gathered
from mien.errors import InputError
from mien.files import check_folder, printable, shortened

if TYPE_CHECKING:
    from mien.data.manifest import Dataset
    from mien.evaluate.compare import Comparison
    from mien.evaluate.ensemble import Ensemble
    from mien.evaluate.score import Scores
    from mien.spec import CropSpec

__all__ = ["evaluate"]

DEFAULT_OUT = Path(".runs/evaluate")
LONGEST_NAME = 200  # bytes of a folder's name; systems take 255
DETECTOR = "dlib"
CHANGES = ("", "cameras")


def evaluate(
    context: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="A shipped model's name or an ONNX file; several are averaged."),
    ],
    data: Annotated[Path, typer.Option(help="A prepared dataset, or a source that `mien data prepare` reads.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    against: Annotated[
        str, typer.Option(help="A second model, as before: what was gained and lost, and whether that is chance.")
    ] = "",
    answer: Annotated[str, typer.Option(help="Which answer of a file that gives several, by name.")] = "",
    truth: Annotated[str, typer.Option(help="label; or what FER+'s taggers said, by majority or plurality.")] = "label",
    views: Annotated[str, typer.Option(help="own: what the model does by itself; ten-crop: ten windows.")] = "own",
    change: Annotated[str, typer.Option(help="cameras: re-cut, blur and relight each crop first.")] = "",
    mixed: Annotated[
        bool,
        typer.Option("--mixed", help="Mixed expressions and calibration beside what FER+'s taggers said, instead."),
    ] = False,
    detector: Annotated[str, typer.Option(help="For faces/ with labels.csv: what finds the face.")] = DETECTOR,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Where confusion matrix and per-sample table go.")
    ] = None,
    results: Annotated[Path, typer.Option(help="The table that the scores are added to.")] = Path(
        "results/results.csv"
    ),
) -> None:
    """Score a model on one split: accuracy with its 95% interval, recall of each expression, confusion matrix.

    Example: mien evaluate paper-cnn --data data/fer2013 --split test

    `mien evaluate AFTER.onnx --against mien --data data/own` compares two models on the same faces and writes
    compare.html, one page that holds all it shows.  `--mixed` measures distributions, words and confidence and adds
    them to mixtures.csv beside the table of --results.

    Given pictures with labels (faces/ beside labels.csv), the face is found first, of several the largest; where none
    is found, that is an error of the model.  Scores without crops that stand in train (or, of the test split, in val)
    as well are reported apart.  Rows and pictures that cannot be used are left out and told of, and the exit code is 1.
    """
    from mien.cli.mixed import measure_mixed
    from mien.data.manifest import SPLITS
    from mien.data.prepare import is_labelled_faces
    from mien.evaluate.cameras import as_cameras
    from mien.evaluate.compare import compare_subsets, remove_page
    from mien.evaluate.ensemble import VIEWS, Ensemble
    from mien.evaluate.measure import record, score_subsets
    from mien.evaluate.mixture_rows import NAME, read_mixtures
    from mien.evaluate.report import draw_confusion, read_results, write_confusion
    from mien.evaluate.score import predict_split, write_samples
    from mien.evaluate.truth import TRUTHS

    for name, value, known in (
        ("split", split, SPLITS), ("truth", truth, TRUTHS), ("views", views, VIEWS), ("change", change, CHANGES)
    ):  # fmt: skip
        if value not in known:
            raise InputError(f"unknown {name} {value!r}; expected one of {', '.join(filter(None, known))}")
    if mixed and (against or truth != "label" or out_dir):
        raise InputError(
            "--mixed measures one model, beside what the taggers said, and adds rows alone: leave --against, --truth "
            "and --out out"
        )
    table_of, read_table = (results.with_name(NAME), read_mixtures) if mixed else (results, read_results)
    read_table(table_of)  # what cannot be written is told of now, not after the work
    check_folder(results.parent)
    ensemble = Ensemble.load(models, answer=answer, views=views)
    other = Ensemble.load([against], answer=answer, views=views) if against else None
    if other:
        _check_pair(ensemble, other)
    name, pictures = printable(data.resolve().name), is_labelled_faces(data)
    if not pictures and os.path.exists(data):  # noqa: PTH110  pathlib's own raises where a name is too long
        refuse_ignored(context, ("detector",), f"it is for faces/ beside labels.csv, which {data} does not hold")
    usual = ("label", "own", "", DETECTOR)
    how = [part for part, plain in zip((truth, views, change, detector), usual, strict=True) if part != plain]
    told = [ensemble.name, *([f"against {other.name}"] if other else []), name, split, *how]
    folder = out_dir or DEFAULT_OUT / _plain(told)
    if not mixed:
        check_folder(folder)
    if pictures and (mixed or truth != "label"):
        raise InputError(f"{data}: labelled pictures have no votes; leave {'--mixed' if mixed else '--truth'} out")
    dataset, found_by, dropped = _open(data, ensemble.crop, detector, split)
    if mixed:
        measure_mixed(ensemble, dataset, split, table_of, data=name, views=views, change=change, detector=found_by)
        if dropped:
            raise typer.Exit(1)
        return
    tables = []
    for read in filter(None, (ensemble, other)):
        with progress_bar("reading", unit="faces") as advance:
            table = predict_split(
                read.predict, dataset, split, labels=read.labels, crop=read.crop, by=truth,
                change=as_cameras if change else None, on_progress=advance,
            )  # fmt: skip
        tables.append(table)
    scored = [score_subsets(table) for table in tables]
    subsets = scored[0]
    title = ", ".join([f"{ensemble.name} on {name}", split, *how])
    if left_out := tables[0].left_out:
        err.print(f"{left_out:,} samples left out: no {truth}, or one that the model does not know", markup=False)

    for read, scores in zip(filter(None, (ensemble, other)), scored, strict=True):
        record(
            results, scores, model=read.name, model_sha256=read.sha256, data=name, dataset=dataset,
            split=split, truth=truth, views=views, change=change, detector=found_by,
        )  # fmt: skip
    page = folder / "compare.html"
    remove_page(page)  # one of other models does not belong beside the new tables
    write_samples(folder / "samples.csv", tables[0])
    write_confusion(folder / "confusion.csv", subsets["all"])
    draw_confusion(folder / "confusion.png", subsets["all"], title=title)
    err.print(f"confusion matrix and per-sample table in {folder}; scores added to {results}", markup=False)
    where = title.removeprefix(f"{ensemble.name} on ")
    comparisons = compare_subsets(tables[1], tables[0]) if other else {}
    if other:
        _write_comparison(page, comparisons, ensemble, other, where)

    _show(subsets, title)  # last: a reader of stdout who has seen enough cuts nothing off
    if other:
        _show_comparisons(comparisons, *_names(ensemble, other), where)
    if dropped:
        raise typer.Exit(1)


def _plain(parts: list[str]) -> str:
    """Return the name of a folder that tells what was measured; a long one ends in a hash of the whole."""
    return shortened("-".join(re.sub(r"[^\w.-]+|^\.+", "_", part) for part in parts), LONGEST_NAME)


def _check_pair(after: Ensemble, before: Ensemble) -> None:
    """Raise InputError, before the work, where two models cannot be compared."""
    if after.labels != before.labels:
        raise InputError(
            f"--against wants a model of the same labels: {after.name} knows {', '.join(after.labels)}, {before.name} "
            f"{', '.join(before.labels)}; name an answer that both have with --answer"
        )
    if after.crop.geometry != before.crop.geometry:
        raise InputError(f"--against wants a model of the same crops: {after.crop}, against {before.crop}")


def _names(after: Ensemble, before: Ensemble) -> tuple[str, str]:
    """Return what two models are called beside each other."""
    if after.name == before.name:  # two runs of one recipe
        return f"{after.name} {after.sha256[:8]}", f"{before.name} {before.sha256[:8]}"
    return after.name, before.name


def _write_comparison(
    page: Path, comparisons: dict[str, Comparison], after: Ensemble, before: Ensemble, where: str
) -> None:
    """Write what the first model has over the second as a page, and tell of it."""
    from mien.evaluate.compare import write_page

    names = _names(after, before)
    facts = [
        f"Faces: {where}.",
        *(f"{name}: SHA-256 {read.sha256}" for name, read in zip(names, (after, before), strict=True)),
    ]
    write_page(page, comparisons, after=names[0], before=names[1], facts=facts)
    err.print(f"the comparison as a page: {page}", markup=False)


def _show_comparisons(comparisons: dict[str, Comparison], after: str, before: str, where: str) -> None:
    """Print what the first model has over the second."""
    from mien.evaluate.compare import HEAD, rows_of, verdict

    for subset, comparison in comparisons.items():
        shown = Table(*HEAD, title=escape(f"{after} against {before} on {where}, {subset} samples"))
        for row in rows_of(comparison):
            shown.add_row(*row)
        out.print(shown)
        out.print(verdict(comparison, after=after, before=before), markup=False, soft_wrap=True)


def _open(data: Path, crop: CropSpec, detector: str, split: str) -> tuple[Dataset, str, bool]:
    """Return the dataset, what found its faces (nothing where its crops were cut already), and if rows were dropped.

    What was dropped and decided on the way is told.
    """
    from mien.data.manifest import is_dataset, read
    from mien.data.prepare import gather, is_labelled_faces
    from mien.faces.detect import make_detector

    if is_dataset(data):
        return read(data), "", False
    pictures = is_labelled_faces(data)
    finder = make_detector(detector) if pictures else None
    with progress_bar("finding faces" if pictures else "opening", unit="pictures") as advance:
        gathered = gather(data, crop=crop, detector=finder, split=split, skip_bad=True, on_progress=advance)
    tell_gathered(gathered)
    return gathered.dataset, detector.partition(":")[0] if pictures else "", bool(gathered.dropped)


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

"""From a source as people have it to a dataset on disk."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mien.data.datasheet import AUDIT_NAME, DATASHEET_NAME
from mien.data.faceset import is_faceset
from mien.data.ferplus import Votes, read_ferplus
from mien.data.labelled_set import LabelRules, dataset_of_set
from mien.data.manifest import SPLITS, Dataset, Manifest, is_dataset, write
from mien.data.sources import (
    Problem,
    Sample,
    count_pictures,
    describe_validation,
    folder_splits,
    read_fer2013_csv,
    read_folders,
    read_labelled_faces,
)
from mien.errors import DataError
from mien.faces.detect import Detector
from mien.files import check_folder
from mien.spec import CropSpec

__all__ = ["Gathered", "cuts_validation", "gather", "is_labelled_faces", "listed", "prepare"]

Progress = Callable[[int, int], None]
PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """What a source held: a dataset, and the rows that were dropped."""

    dataset: Dataset
    dropped: list[Problem]


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    ferplus: str | Path | None = None,
    crop: CropSpec | None = None,
    detector: Detector | None = None,
    split: str = "test",
    skip_bad: bool = False,
    seed: int = 0,
    labels: LabelRules | None = None,
    on_progress: Progress | None = None,
) -> Gathered:
    """Read a source and write its dataset into the folder `out`; return both it and what was dropped.

    A dataset that is there already is replaced, and its datasheet taken away; what else lies in the folder stays.
    Arguments and errors as `gather`; OutputError where `out` cannot be written.
    """
    out = Path(out)
    if is_faceset(out):
        raise DataError(f"{out}: holds a set of faces; give the dataset a folder of its own with --out")
    check_folder(out)  # before hours of reading
    gathered = gather(
        source,
        ferplus=ferplus,
        crop=crop,
        detector=detector,
        split=split,
        skip_bad=skip_bad,
        seed=seed,
        labels=labels,
        on_progress=on_progress,
    )
    replaced = is_dataset(out)
    manifest = write(gathered.dataset.manifest, gathered.dataset.crops, out)
    for name in (DATASHEET_NAME, AUDIT_NAME):
        if replaced and (out / name).is_file():
            (out / name).unlink()
    return Gathered(Dataset(manifest, gathered.dataset.crops), gathered.dropped)


def gather(
    source: str | Path,
    *,
    ferplus: str | Path | None = None,
    crop: CropSpec | None = None,
    detector: Detector | None = None,
    split: str = "test",
    skip_bad: bool = False,
    seed: int = 0,
    labels: LabelRules | None = None,
    on_progress: Progress | None = None,
) -> Gathered:
    """Read a source into memory: fer2013.csv, class folders, `faces/` beside `labels.csv`, or a labelled set of faces.

    ferplus: fer2013new.csv, whose votes are joined row for row.  crop: geometry of the crops (None: the default).
    detector: finds the face in the pictures of a labelled folder; None takes each picture as one face.
    split: for labelled faces without a split column.  seed: of the cut of validation where a source has none, and of
    the splits and copies of a set.  labels: how the answers given to a set become labels (None: the defaults).
    Raises DataError where the source is not one of these, where rows are bad, unless skip_bad drops them, and where
    FER+ has other rows than the source.
    """
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
    source, crop = Path(source), crop or CropSpec()
    if is_faceset(source):
        return _of_set(source, labels or LabelRules(), ferplus=ferplus, seed=seed, on_progress=on_progress)
    rows, total, notes = _open(source, crop, detector, split, seed)
    votes = read_ferplus(_existing(Path(ferplus))) if ferplus else None
    samples: list[Sample] = []
    problems: list[Problem] = []
    for seen, row in enumerate(rows, start=1):
        joined = _join(row, votes) if votes and isinstance(row, Sample) else row
        if isinstance(joined, Sample):
            samples.append(joined)
        else:
            problems.append(joined)
        if on_progress:
            on_progress(seen, total)
    if votes and source.is_file():
        problems += _counted_otherwise(votes, len(samples) + sum(problem.row is not None for problem in problems))
    _refuse(problems, source, skip_bad=skip_bad)
    if not samples:
        raise DataError(f"{source}: no usable face in it ({_number_of(problems)})")
    notes += [f"dropped {_number_of(problems)}"] if problems else []
    return Gathered(_dataset(samples, crop, notes), problems)


def _of_set(
    folder: Path, how: LabelRules, *, ferplus: str | Path | None, seed: int, on_progress: Progress | None
) -> Gathered:
    """Return the dataset of a set of faces that `mien data build` made."""
    if ferplus:
        raise DataError(f"{folder}: FER+'s votes belong to fer2013.csv; those of a set come in by `mien data agree`")
    dataset, _ = dataset_of_set(folder, how=how, seed=seed, on_progress=on_progress)
    return Gathered(dataset, [])


def listed(problems: list[Problem]) -> str:
    """Return the first problems, a line each, and how many more there are."""
    shown = [f"  {problem}" for problem in problems[:PROBLEMS_SHOWN]]
    if len(problems) > PROBLEMS_SHOWN:
        shown.append(f"  ... and {len(problems) - PROBLEMS_SHOWN:,} more")
    return "\n".join(shown)


def is_labelled_faces(folder: Path) -> bool:
    """Return whether the folder is `faces/` beside `labels.csv`."""
    # os.path, as pathlib's own raise where a name is too long.
    return os.path.isfile(folder / "labels.csv") and os.path.isdir(folder / "faces")  # noqa: PTH112, PTH113


def cuts_validation(source: Path) -> bool:
    """Return whether a source is class folders that name no validation: it is cut from train, by the seed."""
    return source.is_dir() and not is_labelled_faces(source) and folder_splits(source)[1]


def _open(
    source: Path, crop: CropSpec, detector: Detector | None, split: str, seed: int
) -> tuple[Iterator[Sample | Problem], int, list[str]]:
    """Return the rows of a source, about how many there are, and what was decided on the way."""
    _existing(source)
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise DataError(f"{source}: expected fer2013.csv or a folder")
        return read_fer2013_csv(source, crop), _lines(source) - 1, []
    if is_labelled_faces(source):
        return read_labelled_faces(source, crop, detector, split=split), _lines(source / "labels.csv") - 1, []
    if (source / "train").is_dir() or (source / "test").is_dir():
        note = f"validation: {describe_validation(source, seed=seed)}"
        return read_folders(source, crop, seed=seed), count_pictures(source), [note]
    raise DataError(
        f"{source}: no layout that mien knows; expected fer2013.csv, train|test/<emotion>/*.png, "
        "faces/ beside labels.csv, or a set of `mien data build`"
    )


def _existing(path: Path) -> Path:
    """Return the path; DataError where nothing is there."""
    if not os.path.exists(path):  # noqa: PTH110 - pathlib's raises where a name is too long
        raise DataError(f"{path}: no such file or folder")
    return path


def _lines(path: Path) -> int:
    """Return how many lines a file has, without decoding it."""
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 24), b""))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _join(sample: Sample, votes: Votes) -> Sample | Problem:
    """Return a sample with FER+'s votes, or why there are none; fatal where FER+ belongs to another copy of FER2013."""
    row = sample.row if sample.row is not None else votes.row_of.get(sample.ferplus_name)
    if row is None:
        return Problem(sample.source, "FER+ has no row for it, as far as its name tells")
    if row >= len(votes.usage):
        return Problem(sample.source, f"row {row:,} of fer2013.csv, but FER+ has {len(votes.usage):,}", row, fatal=True)
    if sample.usage and sample.usage != votes.usage[row]:
        told = reprlib.repr(votes.usage[row])
        return Problem(sample.source, f"Usage is {sample.usage!r}, but {told} in the same row of FER+", row, fatal=True)
    return replace(sample, votes=votes.counts[row])


def _counted_otherwise(votes: Votes, rows: int) -> list[Problem]:
    """Return the problem that FER+ has another number of rows, where it has."""
    if len(votes.usage) == rows:
        return []
    return [Problem("FER+", f"{len(votes.usage):,} rows, but fer2013.csv has {rows:,}", fatal=True)]


def _refuse(problems: list[Problem], source: Path, *, skip_bad: bool) -> None:
    """Raise DataError where there are problems that are not, or cannot be, skipped."""
    if not skip_bad and any(not problem.fatal for problem in problems):
        what = f"{_number_of(problems)}; nothing was written; `mien data prepare --skip-bad` drops and counts them"
        raise DataError(f"{source}: {what}\n{listed(problems)}")
    if fatal := [problem for problem in problems if problem.fatal]:
        what = "FER+ does not belong to it, row for row; nothing was written"
        raise DataError(f"{source}: {what}\n{listed(fatal)}")


def _number_of(problems: list[Problem]) -> str:
    """Return how many problems there are, in words."""
    return f"{len(problems):,} bad row{'' if len(problems) == 1 else 's'}"


def _dataset(samples: list[Sample], crop: CropSpec, notes: list[str]) -> Dataset:
    """Return the samples as a dataset in memory."""
    votes = [sample.votes for sample in samples if sample.votes is not None]
    manifest = Manifest(
        crop=crop,
        source=[sample.source for sample in samples],
        person=[sample.person for sample in samples],
        label=np.array([sample.label for sample in samples], np.int64),
        votes=np.stack(votes) if votes else None,
        split=np.array([SPLITS.index(sample.split) for sample in samples], np.int64),
        licence=[sample.licence for sample in samples],
        missed=np.array([sample.missed for sample in samples], np.bool_),
        notes=tuple(notes),
    )
    return Dataset(manifest, np.stack([sample.crop for sample in samples]))

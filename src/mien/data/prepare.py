"""From a source as people have it to a dataset on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.data.manifest import SPLITS, Dataset, Manifest, write
from mien.data.sources import (
    Problem,
    Sample,
    Votes,
    folder_splits,
    read_fer2013_csv,
    read_ferplus,
    read_folders,
    read_labelled_faces,
)
from mien.errors import DataError
from mien.faces.detect import Detector
from mien.labels import VOTES
from mien.media import find_images
from mien.spec import CropSpec

__all__ = ["Gathered", "gather", "is_labelled_faces", "prepare"]

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
    on_progress: Progress | None = None,
) -> Gathered:
    """Read a source and write its dataset into the folder `out`; return both it and what was dropped.

    Arguments and errors as `gather`; OutputError where `out` cannot be written.
    """
    gathered = gather(
        source,
        ferplus=ferplus,
        crop=crop,
        detector=detector,
        split=split,
        skip_bad=skip_bad,
        seed=seed,
        on_progress=on_progress,
    )
    manifest = write(gathered.dataset.manifest, gathered.dataset.crops, out)
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
    on_progress: Progress | None = None,
) -> Gathered:
    """Read a source into memory: fer2013.csv, class folders, or `faces/` beside `labels.csv`.

    ferplus: fer2013new.csv, whose votes are joined row for row.  crop: geometry of the crops (None: the default).
    detector: finds the face in the pictures of a labelled folder; None takes each picture as one face.
    split: for labelled faces without a split column.  seed: of the cut of validation where a source has none.
    Raises DataError where the source is not one of these or where rows are bad, unless skip_bad drops them.
    """
    source, crop = Path(source), crop or CropSpec()
    rows, total, notes = _open(source, crop, detector, split, seed)
    votes = read_ferplus(_existing(Path(ferplus))) if ferplus else None
    samples: list[Sample] = []
    problems: list[Problem] = []
    counts: list[np.ndarray] = []
    seen = 0
    for seen, row in enumerate(rows, start=1):
        joined = _join(row, votes) if votes and isinstance(row, Sample) else None
        if isinstance(row, Problem) or isinstance(joined, Problem):
            problems.append(row if isinstance(row, Problem) else joined)  # type: ignore[arg-type]
        else:
            samples.append(row)
            counts.append(joined if joined is not None else np.zeros(len(VOTES), np.uint8))
        if on_progress:
            on_progress(seen, total)
    if votes and source.is_file() and len(votes.name) != seen:
        raise DataError(f"{ferplus}: {len(votes.name):,} rows, but {source} has {seen:,}; they must match row for row")
    if problems and not skip_bad:
        raise DataError(_report(problems, source))
    if not samples:
        raise DataError(f"{source}: no usable face ({len(problems)} bad rows)")
    manifest = Manifest(
        crop=crop,
        source=[sample.source for sample in samples],
        person=[sample.person for sample in samples],
        label=np.array([sample.label for sample in samples], np.int64),
        votes=np.stack(counts) if votes else None,
        split=np.array([SPLITS.index(sample.split) for sample in samples], np.int64),
        licence=[sample.licence for sample in samples],
        missed=np.array([sample.missed for sample in samples], np.bool_),
        notes=(*notes, *([f"dropped {len(problems)} bad rows"] if problems else [])),
    )
    return Gathered(Dataset(manifest, np.stack([sample.crop for sample in samples])), problems)


def is_labelled_faces(folder: Path) -> bool:
    """Return whether the folder is `faces/` beside `labels.csv`."""
    return (folder / "labels.csv").is_file() and (folder / "faces").is_dir()


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
        by_name, cuts = folder_splits(source)
        note = "validation: the test pictures named PublicTest_*" if by_name else "validation: the folder of that name"
        if cuts:
            note = f"validation: one in ten train pictures, by a hash of name and seed {seed} (the source names none)"
        return read_folders(source, crop, seed=seed), sum(1 for _ in find_images(source)), [note]
    raise DataError(
        f"{source}: no layout that mien knows; expected fer2013.csv, train|test/<emotion>/*.png, "
        "or faces/ beside labels.csv"
    )


def _existing(path: Path) -> Path:
    """Return the path; DataError where nothing is there."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    return path


def _lines(path: Path) -> int:
    """Return how many lines a file has, without decoding it."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 24), b""))


def _join(sample: Sample, votes: Votes) -> np.ndarray | Problem:
    """Return FER+'s votes for a sample, or why there are none."""
    if sample.row is None or sample.row >= len(votes.name):
        return Problem(sample.source, "no row of FER+ belongs to it (the name or place tells none)", sample.row)
    split = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}.get(votes.usage[sample.row])
    if split != sample.split:
        return Problem(sample.source, f"FER+ has it in {votes.usage[sample.row] or 'no split'}, not {sample.split}")
    counted: np.ndarray = votes.counts[sample.row]
    return counted


def _report(problems: list[Problem], source: Path) -> str:
    """Return the error that names the bad rows."""
    shown = [f"  {problem}" for problem in problems[:PROBLEMS_SHOWN]]
    if len(problems) > PROBLEMS_SHOWN:
        shown.append(f"  ... and {len(problems) - PROBLEMS_SHOWN:,} more")
    count = f"{len(problems):,} bad row{'s' if len(problems) > 1 else ''}"
    return "\n".join([f"{source}: {count}; nothing was written (--skip-bad drops and counts them)", *shown])

"""A dataset on disk: `manifest.parquet`, one row a crop, beside `crops.npy`, the pixels, which are mapped and not read.

Columns of the manifest: source (file, and row where a file holds many), person (or clip; null where not known), label
(one of labels.FERPLUS), votes (ten counts in the order of labels.VOTES; null where nobody voted), split (train, val
or test), licence, consent, provenance (where it comes from; each null where not known), origin (of a copy made to
balance the labels, the source of the row that it was made from; else null), missed (no face was found: the crop is
blank and counts as an error in evaluation).  The file's metadata, under the key "mien", is JSON: format, crop (a
CropSpec), sha256 (of rows and pixels), notes (what was decided or dropped in preparing it).
"""

from __future__ import annotations

import hashlib
import json
import os
import tokenize
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from mien.errors import DataError, InputError
from mien.files import atomic_folder
from mien.labels import FERPLUS, VOTES
from mien.spec import CropSpec
from mien.types import BoolArray, ImageArray, IntArray

__all__ = ["SPLITS", "Dataset", "Manifest", "digest", "is_dataset", "read", "take", "write"]

SPLITS = ("train", "val", "test")
MANIFEST_NAME = "manifest.parquet"
CROPS_NAME = "crops.npy"
FORMAT = 1

#: What reading a damaged file is seen to raise; numpy reads the header of crops.npy as Python.
_DAMAGE = (
    OSError, LookupError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError, SyntaxError,
    tokenize.TokenError, pa.ArrowException, InputError,
)  # fmt: skip
_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("person", pa.string()),
        ("label", pa.string()),
        ("votes", pa.list_(pa.uint8(), len(VOTES))),
        ("split", pa.string()),
        ("licence", pa.string()),
        ("missed", pa.bool_()),
        ("consent", pa.string()),
        ("provenance", pa.string()),
        ("origin", pa.string()),
    ]
)
_OPTIONAL = ("consent", "provenance", "origin")  # columns that datasets made before they existed do not have
_COLUMNS = ("source", "person", "label", "votes", "split", "licence", "missed", *_OPTIONAL)


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """The rows of a dataset, as columns of N."""

    crop: CropSpec
    source: list[str]
    person: list[str | None]
    label: IntArray  # (N,) index in labels.FERPLUS, of which the first seven are labels.FER2013
    votes: NDArray[np.uint8] | None  # (N, 10) counts in the order of labels.VOTES
    split: IntArray  # (N,) index in SPLITS
    licence: list[str | None]
    missed: BoolArray  # (N,) no face was found
    notes: tuple[str, ...] = ()
    consent: list[str | None] | None = None  # None: not known of any
    provenance: list[str | None] | None = None
    origin: list[str | None] | None = None
    sha256: str = ""  # filled in by `write` and `read`

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.source)

    def rows_in(self, split: str) -> IntArray:
        """Return the indices of the rows of one split, in order."""
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.split == SPLITS.index(split))


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A manifest and the crops that it describes, row for row."""

    manifest: Manifest
    crops: ImageArray  # (N, S, S) or (N, S, S, 3), mapped from disk; contrast not yet enhanced


def is_dataset(folder: Path) -> bool:
    """Return whether the folder holds a prepared dataset."""
    return os.path.isfile(folder / MANIFEST_NAME)  # noqa: PTH113 - pathlib's raises where a name is too long


def take(dataset: Dataset, rows: IntArray) -> Dataset:
    """Return some rows (M,) of a dataset, in that order, with all that is known of them, as one that is not on disk."""
    manifest = dataset.manifest
    columns = {name: column for name in _COLUMNS if (column := getattr(manifest, name)) is not None}
    taken: dict[str, Any] = {
        name: column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]
        for name, column in columns.items()
    }
    return Dataset(replace(manifest, **taken, sha256=""), dataset.crops[rows])


def write(manifest: Manifest, crops: ImageArray, folder: str | Path) -> Manifest:
    """Write the dataset into the folder, whole or not at all, and return the manifest with its hash filled in.

    Raises DataError where columns and crops do not fit together, OutputError where the folder cannot be written.
    """
    _check(manifest, crops)
    manifest = replace(manifest, sha256=digest(manifest, crops))
    votes = pa.nulls(len(manifest), _SCHEMA.field("votes").type)
    if manifest.votes is not None:
        votes = pa.FixedSizeListArray.from_arrays(pa.array(manifest.votes.ravel(), pa.uint8()), len(VOTES))
    table = pa.table(
        [
            pa.array(manifest.source, pa.string()),
            pa.array(manifest.person, pa.string()),
            pa.array([FERPLUS[index] for index in manifest.label], pa.string()),
            votes,
            pa.array([SPLITS[index] for index in manifest.split], pa.string()),
            pa.array(manifest.licence, pa.string()),
            pa.array(manifest.missed),
            *(pa.array(getattr(manifest, name) or [None] * len(manifest), pa.string()) for name in _OPTIONAL),
        ],
        schema=_SCHEMA,
    )
    described = {
        "format": FORMAT,
        "crop": manifest.crop.to_json(),
        "sha256": manifest.sha256,
        "notes": list(manifest.notes),
    }
    with atomic_folder(folder) as temporary:
        # Files are opened here, as pyarrow takes no name that is not UTF-8.
        with (temporary / MANIFEST_NAME).open("wb") as file:
            pq.write_table(table.replace_schema_metadata({"mien": json.dumps(described)}), file)
        with (temporary / CROPS_NAME).open("wb") as file:  # not np.save, which does not say that the disk is full
            npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": crops.shape})
            file.write(np.ascontiguousarray(crops).data)
    return manifest


def read(folder: str | Path) -> Dataset:
    """Return the dataset of a folder, its pixels mapped.  DataError where it is missing, damaged or not ours."""
    folder = Path(folder)
    if not is_dataset(folder):
        raise DataError(f"{folder}: no dataset there ({MANIFEST_NAME} is missing); make one with `mien data prepare`")
    try:
        with (folder / MANIFEST_NAME).open("rb") as file:
            table = pq.ParquetFile(file).read()
        described = json.loads((table.schema.metadata or {})[b"mien"])
        if described["format"] != FORMAT:
            raise DataError(f"{folder}: made by another version of mien; prepare it again")
        for name in _OPTIONAL:
            if name not in table.schema.names:
                table = table.append_column(name, pa.nulls(len(table), pa.string()))
        table = table.select(_SCHEMA.names).cast(_SCHEMA)
        if empty := [name for name in ("source", "label", "split", "missed") if table[name].null_count]:
            raise ValueError(f"rows without {', '.join(empty)}")
        columns = {name: table[name].to_pylist() for name in _SCHEMA.names if name != "votes"}
        manifest = Manifest(
            crop=CropSpec.from_json(described["crop"]),
            source=columns["source"],
            person=columns["person"],
            label=np.array([FERPLUS.index(name) for name in columns["label"]], np.int64),
            votes=_votes(table["votes"]),
            split=np.array([SPLITS.index(name) for name in columns["split"]], np.int64),
            licence=columns["licence"],
            missed=np.array(columns["missed"], np.bool_),
            notes=tuple(str(note) for note in described["notes"]),
            sha256=str(described["sha256"]),
            **{name: columns[name] if any(columns[name]) else None for name in _OPTIONAL},
        )
        crops = npy.open_memmap(folder / CROPS_NAME, mode="r")
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(f"{folder}: the dataset is damaged ({error}); prepare it again") from error
    if crops.dtype != np.uint8 or crops.shape != (len(manifest), *manifest.crop.shape):
        raise DataError(f"{folder}: {CROPS_NAME} does not fit {MANIFEST_NAME} ({crops.shape}); prepare it again")
    return Dataset(manifest, crops)


def digest(manifest: Manifest, crops: ImageArray) -> str:
    """Return the SHA-256 of what training and evaluation depend on: rows, splits, geometry and pixels."""
    summed = hashlib.sha256(json.dumps([manifest.crop.to_json(), manifest.source, manifest.person]).encode())
    for column in (manifest.label, manifest.split):
        summed.update(np.ascontiguousarray(column, np.int64).data)
    for flags in (manifest.missed, manifest.votes):
        summed.update(b"-" if flags is None else np.ascontiguousarray(flags).data)
    summed.update(np.ascontiguousarray(crops).data)
    return summed.hexdigest()


def _check(manifest: Manifest, crops: ImageArray) -> None:
    """Raise DataError where a column has another length than the others or an index stands for nothing."""
    rows = len(manifest)
    if crops.dtype != np.uint8 or crops.shape != (rows, *manifest.crop.shape):
        raise DataError(f"crops {crops.shape} of {crops.dtype}; expected {(rows, *manifest.crop.shape)} of uint8")
    for name in _COLUMNS:
        column = getattr(manifest, name)
        if column is not None and len(column) != rows:
            raise DataError(f"{name}: {len(column):,} values for {rows:,} rows")
    if manifest.votes is not None and manifest.votes.shape != (rows, len(VOTES)):
        raise DataError(f"votes {manifest.votes.shape}; expected {(rows, len(VOTES))}")
    for name, indices, known in (("label", manifest.label, FERPLUS), ("split", manifest.split, SPLITS)):
        if rows and not 0 <= int(indices.min()) <= int(indices.max()) < len(known):
            raise DataError(f"{name}: {indices.min()} to {indices.max()}; expected 0 to {len(known) - 1}")


def _votes(column: pa.ChunkedArray) -> NDArray[np.uint8] | None:
    """Return the votes (N, 10), zeros in rows without any; None where no row has them."""
    cast = column.combine_chunks()
    voted = cast.is_valid().to_numpy(zero_copy_only=False)
    if not voted.any():
        return None
    counts = np.zeros((len(cast), len(VOTES)), np.uint8)
    counts[voted] = cast.flatten().to_numpy().reshape(-1, len(VOTES))
    return counts

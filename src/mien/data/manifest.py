"""A dataset on disk: `manifest.parquet`, one row a crop, beside `crops.npy`, the pixels, which are mapped and not read.

Columns of the manifest: source (file, and row where a file holds many), person (or clip; null where not known), label
(one of labels.FERPLUS), votes (ten counts in the order of labels.VOTES; null where nobody voted), split (train, val
or test), licence (null where not known), missed (no face was found: the crop is blank and counts as an error in
evaluation).  The file's metadata, under the key "mien", is JSON: format, crop (a CropSpec), sha256 (of rows and
pixels), notes (what was decided or dropped in preparing it).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mien.errors import DataError, InputError
from mien.files import atomic_folder
from mien.labels import FERPLUS, VOTES
from mien.spec import CropSpec
from mien.types import BoolArray, ImageArray, IntArray

__all__ = ["SPLITS", "Dataset", "Manifest", "is_dataset", "read", "write"]

SPLITS = ("train", "val", "test")
MANIFEST_NAME = "manifest.parquet"
CROPS_NAME = "crops.npy"
FORMAT = 1

_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("person", pa.string()),
        ("label", pa.string()),
        ("votes", pa.list_(pa.uint8(), len(VOTES))),
        ("split", pa.string()),
        ("licence", pa.string()),
        ("missed", pa.bool_()),
    ]
)


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
    return (folder / MANIFEST_NAME).is_file()


def write(manifest: Manifest, crops: ImageArray, folder: str | Path) -> Manifest:
    """Write the dataset into the folder, whole or not at all, and return the manifest with its hash filled in."""
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
        pq.write_table(table.replace_schema_metadata({"mien": json.dumps(described)}), temporary / MANIFEST_NAME)
        np.save(temporary / CROPS_NAME, crops)
    return manifest


def read(folder: str | Path) -> Dataset:
    """Return the dataset of a folder, its pixels mapped.  DataError where it is missing, damaged or not ours."""
    folder = Path(folder)
    if not is_dataset(folder):
        raise DataError(f"{folder}: no dataset there ({MANIFEST_NAME} is missing); make one with `mien data prepare`")
    try:
        table = pq.read_table(folder / MANIFEST_NAME)
        described = json.loads((table.schema.metadata or {})[b"mien"])
        if described["format"] != FORMAT:
            raise DataError(f"{folder}: made by another version of mien; prepare it again")
        columns = {name: table[name].to_pylist() for name in _SCHEMA.names if name != "votes"}
        votes = table["votes"].combine_chunks()
        counted = votes.null_count < len(votes)
        manifest = Manifest(
            crop=CropSpec.from_json(described["crop"]),
            source=columns["source"],
            person=columns["person"],
            label=np.array([FERPLUS.index(name) for name in columns["label"]], np.int64),
            votes=np.array(votes.fill_null([0] * len(VOTES)).to_pylist(), np.uint8) if counted else None,
            split=np.array([SPLITS.index(name) for name in columns["split"]], np.int64),
            licence=columns["licence"],
            missed=np.array(columns["missed"], np.bool_),
            notes=tuple(described["notes"]),
            sha256=described["sha256"],
        )
        crops = np.load(folder / CROPS_NAME, mmap_mode="r", allow_pickle=False)
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException, InputError) as error:
        raise DataError(f"{folder}: the dataset is damaged ({error}); prepare it again") from error
    if crops.dtype != np.uint8 or crops.shape != (len(manifest), *manifest.crop.shape):
        raise DataError(f"{folder}: {CROPS_NAME} does not fit {MANIFEST_NAME} ({crops.shape}); prepare it again")
    return Dataset(manifest, crops)


def digest(manifest: Manifest, crops: ImageArray) -> str:
    """Return the SHA-256 of what training and evaluation depend on: rows, splits, geometry and pixels."""
    summed = hashlib.sha256(json.dumps([manifest.crop.to_json(), manifest.source, manifest.person]).encode())
    for column in (manifest.label, manifest.split, manifest.missed, manifest.votes):
        summed.update(b"-" if column is None else np.ascontiguousarray(column).tobytes())
    summed.update(np.ascontiguousarray(crops).data)
    return summed.hexdigest()

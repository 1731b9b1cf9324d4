"""What a dataset holds and what is wrong with it: class balance, identical crops, label conflicts, constant crops."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from mien.data.manifest import SPLITS, Dataset
from mien.labels import FERPLUS
from mien.types import BoolArray, ImageArray, IntArray

__all__ = ["Audit", "audit", "fingerprints", "group_identical", "has_twin"]


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """The findings of an audit."""

    labels: tuple[str, ...]  # those that occur, in the order of labels.FERPLUS
    balance: dict[str, list[int]]  # split -> crops of each label
    twins: dict[str, dict[str, int]]  # split -> other split -> crops that have an identical one there
    identical_within: dict[str, int]  # split -> crops that repeat an earlier one of the same split
    groups: int  # of identical crops
    conflicts: list[list[str]]  # each a group of identical crops with different labels: "source: label"
    constant: list[str]  # sources of crops of a single colour
    missed: int  # rows in which no face was found
    voted: int  # rows with votes


def group_identical(crops: ImageArray, rows: IntArray) -> IntArray:
    """Return (len(rows),) for each row the first of these rows whose crop has the same pixels."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(_fingerprint(crops[row]), row) for row in rows.tolist()], np.int64)


def has_twin(dataset: Dataset, rows: IntArray, among: str) -> BoolArray:
    """Return (len(rows),) whether each row's crop has an identical one in the split `among`."""
    known = set(fingerprints(dataset, dataset.manifest.rows_in(among)))
    return np.array([_fingerprint(dataset.crops[row]) in known for row in rows], np.bool_)


def fingerprints(dataset: Dataset, rows: IntArray) -> list[bytes]:
    """Return 16 bytes for each of these rows that has a face; identical crops have the same."""
    return [_fingerprint(dataset.crops[row]) for row in rows[~dataset.manifest.missed[rows]]]


def audit(dataset: Dataset) -> Audit:
    """Return what a dataset holds and what is wrong with it.  Rows without a face are counted and otherwise ignored."""
    manifest = dataset.manifest
    usable = np.flatnonzero(~manifest.missed)
    group = group_identical(dataset.crops, usable)
    split = manifest.split[usable]
    members: dict[int, list[int]] = {}
    for row, first in zip(usable.tolist(), group.tolist(), strict=True):
        members.setdefault(first, []).append(row)
    repeated = [rows for rows in members.values() if len(rows) > 1]
    present = [label for label in range(len(FERPLUS)) if (manifest.label == label).any()]
    groups_of = [set(group[split == index].tolist()) for index in range(len(SPLITS))]
    in_split = [int((split == index).sum()) for index in range(len(SPLITS))]
    return Audit(
        labels=tuple(FERPLUS[label] for label in present),
        balance={
            name: [int(((manifest.split == index) & (manifest.label == label)).sum()) for label in present]
            for index, name in enumerate(SPLITS)
        },
        twins={
            name: {
                other: int(np.isin(group[split == index], list(groups_of[number])).sum())
                for number, other in enumerate(SPLITS)
                if other != name
            }
            for index, name in enumerate(SPLITS)
        },
        identical_within={name: in_split[index] - len(groups_of[index]) for index, name in enumerate(SPLITS)},
        groups=len(repeated),
        conflicts=[
            [f"{manifest.source[row]}: {FERPLUS[manifest.label[row]]}" for row in rows]
            for rows in repeated
            if len({int(manifest.label[row]) for row in rows}) > 1
        ],
        constant=[manifest.source[row] for row in usable if _is_constant(dataset.crops[row])],
        missed=int(manifest.missed.sum()),
        voted=0 if manifest.votes is None else int((manifest.votes.sum(axis=1) > 0).sum()),
    )


def _fingerprint(crop: ImageArray) -> bytes:
    """Return 16 bytes that stand for the pixels, so that those of a large dataset need not be held in memory."""
    return hashlib.blake2b(crop.tobytes(), digest_size=16).digest()


def _is_constant(crop: ImageArray) -> bool:
    """Return whether all pixels are alike."""
    return bool((crop == crop[:1, :1]).all())

"""What a dataset holds and what is wrong with it: class balance, identical crops, label conflicts, constant crops."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from mien.data.manifest import SPLITS, Dataset, Manifest
from mien.data.people import person_key, person_keys
from mien.data.split import crossing
from mien.labels import FER2013, FERPLUS
from mien.types import BoolArray, ImageArray, IntArray

__all__ = ["Audit", "audit", "fingerprints", "group_identical", "has_twin"]

FEW_FACES = 20  # of a label in a split: the interval of its recall is then wider than 40 points
FEW_PEOPLE = 10


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
    people: dict[str, list[int]]  # split -> people or clips that show each label
    people_crossing: list[str]  # people or clips that stand in more than one split
    copies: int  # rows that were made to balance the labels
    copies_crossing: list[str]  # sources of copies that stand in another split than what they were made from
    gaps: list[str]  # what the dataset cannot tell, in words


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
    labels = tuple(FERPLUS[label] for label in present)
    origins = manifest.origin or [None] * len(manifest)
    is_copy = np.array([origin is not None for origin in origins], np.bool_)
    balance = _balance(manifest, present, np.ones(len(manifest), np.bool_))
    twins = {
        name: {
            other: int(np.isin(group[split == index], list(groups_of[number])).sum())
            for number, other in enumerate(SPLITS)
            if other != name
        }
        for index, name in enumerate(SPLITS)
    }
    people = {name: _people(manifest, index, present) for index, name in enumerate(SPLITS)}
    spelled = {person_key(name): name for name in reversed(manifest.person) if name is not None}  # as it came first
    people_crossing = sorted(spelled[key] for key in crossing(person_keys(manifest.person), manifest.split))
    copies_crossing = _copies_crossing(manifest)
    originals = _balance(manifest, present, ~is_copy)
    return Audit(
        labels=labels,
        balance=balance,
        twins=twins,
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
        people=people,
        people_crossing=people_crossing,
        copies=int(is_copy.sum()),
        copies_crossing=copies_crossing,
        gaps=_gaps(manifest, labels, originals, people, twins, people_crossing, copies_crossing),
    )


def _balance(manifest: Manifest, present: list[int], wanted: BoolArray) -> dict[str, list[int]]:
    """Return how many of the wanted rows of each split carry each of the labels."""
    return {
        name: [int((wanted & (manifest.split == index) & (manifest.label == label)).sum()) for label in present]
        for index, name in enumerate(SPLITS)
    }


def _people(manifest: Manifest, split: int, labels: list[int]) -> list[int]:
    """Return how many people or clips of a split show each of the labels."""
    shown: dict[int, set[str]] = {label: set() for label in labels}
    for row in np.flatnonzero(manifest.split == split).tolist():
        if person := manifest.person[row]:
            shown[int(manifest.label[row])].add(person_key(person))
    return [len(shown[label]) for label in labels]


def _copies_crossing(manifest: Manifest) -> list[str]:
    """Return the sources of copies whose original is in another split, or not there."""
    if manifest.origin is None:
        return []
    home = dict(zip(manifest.source, manifest.split.tolist(), strict=True))
    pairs = zip(manifest.source, manifest.origin, manifest.split.tolist(), strict=True)
    return [source for source, origin, split in pairs if origin is not None and home.get(origin) != split]


def _gaps(
    manifest: Manifest,
    labels: tuple[str, ...],
    originals: dict[str, list[int]],
    people: dict[str, list[int]],
    twins: dict[str, dict[str, int]],
    people_crossing: list[str],
    copies_crossing: list[str],
) -> list[str]:
    """Return in words what the dataset lacks and what its scores therefore cannot tell.

    originals: the balance without copies, which are no faces more.
    """
    rows = len(manifest)
    gaps = [f"no face is labelled {label}" for label in FER2013 if label not in labels]
    for split, counts in originals.items():
        if not sum(counts):
            gaps.append(f"the split {split} is empty")
            continue
        for label, count in zip(labels, counts, strict=True):
            if count < FEW_FACES:
                gaps.append(f"{split} has {count} faces labelled {label}: what is measured on them is uncertain")
    if any(manifest.person):
        for label, shown in zip(labels, np.sum(list(people.values()), axis=0).tolist(), strict=True):
            if shown < FEW_PEOPLE:
                gaps.append(f"{label} is shown by {shown} people: a network may learn them instead of it")
    for column, what in (("person", "whose face it is"), ("consent", "whether the person consented"),
                         ("licence", "the licence"), ("provenance", "where it comes from")):  # fmt: skip
        silent = rows - sum(value is not None for value in getattr(manifest, column) or ())
        if silent:
            gaps.append(f"of {silent:,} of {rows:,} faces it is not known {what}")
    seen = [(twins[split]["train"], split) for split in ("val", "test")]
    gaps += [f"{count:,} crops of {split} stand in train as well" for count, split in seen if count]
    if people_crossing:
        gaps.append(f"{len(people_crossing):,} people or clips stand in more than one split")
    if copies_crossing:
        gaps.append(f"{len(copies_crossing):,} copies stand in another split than their originals")
    if manifest.votes is None:
        gaps.append("one label each, no votes: how sure the labels are is not known")
    gaps.append("age, sex and origin of the people are not recorded: differences between groups cannot be measured")
    return gaps


def _fingerprint(crop: ImageArray) -> bytes:
    """Return 16 bytes that stand for the pixels, so that those of a large dataset need not be held in memory."""
    return hashlib.blake2b(crop.tobytes(), digest_size=16).digest()


def _is_constant(crop: ImageArray) -> bool:
    """Return whether all pixels are alike."""
    return bool((crop == crop[:1, :1]).all())

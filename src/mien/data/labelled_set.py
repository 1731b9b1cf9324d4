"""A set of faces and the answers of its annotators to a dataset: labels by a rule, splits by person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mien.data.agreement import measured_in_words
from mien.data.annotate import LabelStore
from mien.data.balance import copies_wanted, turned_and_relit
from mien.data.faceset import UNFINISHED, FaceRow, FaceSet
from mien.data.gathering import KNOWN
from mien.data.manifest import SPLITS, Dataset, Manifest
from mien.data.people import person_keys
from mien.data.ratings import gather
from mien.data.rules import HALVES_NOTE, RULES, label_ratings
from mien.data.split import assign_splits, crossing, join_groups
from mien.errors import DataError
from mien.files import printable
from mien.media import read_image
from mien.types import ImageArray, IntArray

__all__ = ["LabelRules", "dataset_of_set"]


@dataclass(frozen=True, slots=True)
class LabelRules:
    """How the answers of a set become a dataset."""

    rule: str = "majority"  # one of rules.RULES
    least: int = 1  # answers that a face needs
    shares: tuple[float, float, float] = (0.6, 0.15, 0.25)  # of train, val and test
    balance: bool = False  # copies of rare expressions into train


def dataset_of_set(
    folder: str | Path, *, how: LabelRules, seed: int, on_progress: Callable[[int, int], None] | None = None
) -> tuple[Dataset, Counter[str]]:
    """Return the dataset of a set's labelled faces, and why the others have no label, counted.

    Raises DataError where the set is missing or damaged, no face has a label, or a split would stay empty.
    """
    if how.rule not in RULES:
        raise DataError(f"unknown rule {how.rule!r}; expected one of {', '.join(RULES)}")
    faceset = FaceSet(folder)
    if UNFINISHED in faceset.settings:
        raise DataError(f"{folder}: its build has not come to its end; run the same `mien data build` again")
    faces, group = _known_faces(faceset)
    ratings = gather([face.key for face in faces], LabelStore(folder).answers())
    ruled = label_ratings(ratings, how.rule, least=how.least)
    without = Counter(why for why in ruled.reason if why)
    rows = np.flatnonzero(ruled.label >= 0)
    if not len(rows):
        told = ", ".join(f"{why}: {count:,}" for why, count in without.most_common()) or "the set is empty"
        raise DataError(f"{folder}: no face has a label by {how.rule} ({told}); `mien data label` gives them")
    used = [faces[row] for row in rows]
    label = ruled.label[rows]
    files = [face.name for face in used]
    people = [face.person for face in used]
    split = assign_splits(group[rows], label, shares=how.shares, seed=seed)
    if shared := crossing(files, split) + crossing(person_keys(people), split):
        raise AssertionError(f"in two splits: {shared[:3]}")  # what assign_splits promises
    notes = [
        f"labels by {how.rule} of at least {how.least} answers of {len(ratings.annotators)} annotators",
        f"agreement on the set: {measured_in_words(ratings.counts())}",
        *([HALVES_NOTE] if ruled.halves else []),
        f"split by person and file with seed {seed}: " + ", ".join(
            f"{name} {share:g} wanted, {(split == index).mean():.2f} come to be"
            for index, (name, share) in enumerate(zip(SPLITS, how.shares, strict=True))
        ),
        *(f"no label, {why}: {count:,} faces" for why, count in without.most_common()),
    ]  # fmt: skip
    votes = ruled.votes[rows]
    crops = faceset.crops([face.key for face in used])
    origin: list[str | None] = [None] * len(used)
    source = [_source(face) for face in used]
    if how.balance:
        train = np.flatnonzero(split == 0)
        copied = train[copies_wanted(label[train], seed=seed)]
        made = _copies(faceset, [used[row] for row in copied], seed=seed, on_progress=on_progress)
        notes.append(
            f"{len(copied):,} turned, mirrored, relit and recoloured copies in train, so that its labels are as many"
        )
        numbers: Counter[int] = Counter()
        for row in copied.tolist():
            numbers[row] += 1
            origin.append(source[row])
            source.append(f"{source[row]}, copy {numbers[row]}")
        used += [used[row] for row in copied]
        crops = np.concatenate([crops, made])
        label, votes, split = (np.concatenate([column, column[copied]]) for column in (label, votes, split))
    manifest = Manifest(
        crop=faceset.crop,
        source=source,
        person=[face.person for face in used],
        label=label,
        votes=votes,
        split=split,
        licence=[face.licence for face in used],
        missed=np.zeros(len(used), np.bool_),
        notes=tuple(notes),
        consent=[face.consent for face in used],
        provenance=[face.source for face in used],
        origin=origin,
    )
    return Dataset(manifest, crops), without


def _known_faces(faceset: FaceSet) -> tuple[list[FaceRow], IntArray]:
    """Return the kept faces, and the group (N,) of each: those of one person or one file, and of files with copies.

    What is not said of a kept face but of a copy of it, such as whose it is, holds for it too.
    """
    faces = faceset.faces()
    copies = [face for face in faceset.faces(kept=False) if face.copy_of]
    everybody = [*faces, *copies]
    names = [face.name for face in everybody]
    people = person_keys([face.person for face in everybody])
    group = join_groups(names, people, [face.copy_of or face.key for face in everybody])[: len(faces)]
    place = {face.key: index for index, face in enumerate(faces)}
    for copy in copies:
        if (index := place.get(copy.copy_of or "")) is not None:
            said = {name: getattr(copy, name) for name in KNOWN if getattr(faces[index], name) is None}
            faces[index] = replace(faces[index], **said)
    return faces, group


def _source(face: FaceRow) -> str:
    """Return a face's row in words: its file, the time in a video, its key in the set."""
    return f"{face.name}{'' if face.time_s is None else f' at {face.time_s:.2f} s'} ({face.key})"


def _copies(
    faceset: FaceSet, faces: Sequence[FaceRow], *, seed: int, on_progress: Callable[[int, int], None] | None
) -> ImageArray:
    """Return a changed crop for each of these faces."""
    made = np.zeros((len(faces), *faceset.crop.shape), np.uint8)
    framed = faceset.settings.get("detector") == "none"
    for number, face in enumerate(faces):
        view = faceset.view(face.key)
        if not view.is_file():
            raise DataError(f"{printable(view)}: the picture of a face is missing; build the set again in a new folder")
        generator = np.random.default_rng([seed, number])
        made[number] = turned_and_relit(read_image(view), faceset.crop, generator, framed=framed)
        if on_progress:
            on_progress(number + 1, len(faces))
    return made

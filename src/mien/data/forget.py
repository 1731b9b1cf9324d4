"""A person or a file taken out of a set of faces, with all that shows the same pictures: consent can be withdrawn."""

from __future__ import annotations

import numpy as np

from mien.data.faceset import FaceRow, FaceSet
from mien.data.likeness import copies_of
from mien.data.people import person_key

__all__ = ["files_of", "forget"]


def files_of(faceset: FaceSet, person: str) -> list[str]:
    """Return the names of a person's files, however the name is spelled; [] where the set has none."""
    wanted = person_key(person)
    return [file.name for file in faceset.files() if file.person and person_key(file.person) == wanted]


def forget(faceset: FaceSet, names: list[str]) -> int:
    """Take out files with their faces and pictures; return how many faces that were.

    So are all copies of these faces in other files, also where one of the two was dropped for its quality, and pictures
    that a stopped build left without a face.  Their answers stay in `labels.sqlite`, where they say nothing without the
    faces.  A source that is built again and still has them brings them back.
    """
    everybody = [*faceset.faces(), *faceset.faces(kept=False)]
    asked = set(names)
    gone = _with_copies({face.key for face in everybody if face.name in asked}, everybody)
    # A build looks for copies among the faces that are fit.  Others may be taken with care: of 197 news photographs,
    # shrunk to a third or blurred, none counts as a copy of another one as it was (38,612 pairs).
    others = [face.key for face in everybody if face.key not in gone]
    alike = copies_of(faceset.crops(others), faceset.crops(sorted(gone)))
    gone = _with_copies(gone | {others[index] for index in np.flatnonzero(alike)}, everybody)
    faceset.take_out(names, gone)
    return len(gone)


def _with_copies(keys: set[str], faces: list[FaceRow]) -> set[str]:
    """Return the keys with those of all copies, which are copies of the first of their kind."""
    firsts = {face.copy_of or face.key for face in faces if face.key in keys}
    return keys | {face.key for face in faces if (face.copy_of or face.key) in firsts}

"""Answers in and out of a set of faces: a CSV of answers, a CSV of votes in FER+'s layout, folders of expressions.

* Answers: columns face, annotator, answer, second; a row an answer, every annotator for themselves.  Nothing is lost
  but the time.
* Votes: the columns of FER+'s fer2013new.csv, a row a face, `KEY.jpg` in "Image name" and "Training" in Usage; "none"
  is a vote for "unknown".  Read, each vote becomes the plain answer of a made annotator: of a face's votes, in the
  order of labels.VOTES, the first is of "NAME 1", the second of "NAME 2".  Such annotators are nobody in particular:
  kappa and alpha, which take a face's answers together, mean something; what is told of one of them does not.  And
  votes in halves come back as twice as many annotators who agree in pairs, which makes kappa and alpha too high.
  Contempt, unknown and NF become "none".
* Folders: `<expression>/KEY.jpg`, the label of each face; read, they are the answers of one annotator.
"""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mien.data.annotate import ANSWERS, NONE, Answer, LabelStore, check_annotator, check_answer
from mien.data.faceset import FaceSet
from mien.data.ferplus import read_ferplus
from mien.data.records import read_records
from mien.data.rules import Ruled
from mien.errors import DataError, InputError, OutputError
from mien.files import atomic_folder, atomic_path, printable
from mien.labels import FER2013, FERPLUS, FERPLUS_COLUMNS, VOTES, parse_label
from mien.media import find_images

__all__ = ["Imported", "add_answers", "export_answers", "export_folders", "export_votes", "read_answers"]

ANSWER_COLUMNS = ("face", "annotator", "answer", "second")
USAGE = "Training"


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the answers that were read."""

    added: int
    same: int  # that the set had already
    replaced: int  # that an annotator had given otherwise
    unknown: int  # of faces that are not in the set


def export_answers(keys: Sequence[str], answers: Iterable[Answer], path: str | Path) -> int:
    """Write the answers for these faces as a CSV of answers, whole or not at all; return how many there are."""
    known = set(keys)
    rows = [(each.face, each.annotator, each.answer, each.second or "") for each in answers if each.face in known]
    _write_csv(path, ANSWER_COLUMNS, rows)
    return len(rows)


def export_votes(keys: Sequence[str], ruled: Ruled, path: str | Path) -> int:
    """Write the votes for these faces in FER+'s layout, whole or not at all; return for how many there are any."""
    order = [VOTES.index(answer) for answer in FERPLUS_COLUMNS.values()]
    rows = [
        (USAGE, f"{key}.jpg", *(int(votes[column]) for column in order))
        for key, votes in zip(keys, ruled.votes, strict=True)
        if votes.any()
    ]
    _write_csv(path, ("Usage", "Image name", *FERPLUS_COLUMNS), rows)
    return len(rows)


def export_folders(faceset: FaceSet, keys: Sequence[str], ruled: Ruled, folder: str | Path) -> int:
    """Copy each labelled face's picture to `<expression>/KEY.jpg` in a new or empty folder; return how many.

    Raises OutputError where the folder holds something, DataError where a picture is missing.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(
            f"{folder}: not empty, and old pictures among new ones would be taken for labels; name another"
        )
    labelled = [(key, FERPLUS[label]) for key, label in zip(keys, ruled.label.tolist(), strict=True) if label >= 0]
    with atomic_folder(folder) as temporary:
        for name in sorted({name for _, name in labelled}):
            (temporary / name).mkdir()
        for key, name in labelled:
            if not (view := faceset.view(key)).is_file():
                raise DataError(f"{printable(view)}: the picture of a face is missing; build the set again")
            shutil.copyfile(view, temporary / name / view.name)
    return len(labelled)


def read_answers(path: str | Path, annotator: str | None) -> list[Answer]:
    """Return the answers of a CSV of answers, a CSV of votes or a folder of expressions, told apart by what is there.

    annotator: who gave them, where the source does not say: of votes and folders.
    Raises DataError or LabelError, which names the row, where something is not as it should be, InputError where the
    annotator is missing or is named twice.
    """
    path = Path(path)
    if path.is_dir():
        found = _of_folders(path, _needed(annotator, path))
    elif _has_votes(path):
        found = _of_votes(path, _needed(annotator, path))
    elif annotator is not None:
        raise InputError(f"{path}: says itself who gave each answer; leave --annotator out")
    else:
        found = _of_rows(path)
    seen: dict[tuple[str, str], Answer] = {}
    for where, answer in found:
        try:
            check_annotator(answer.annotator)
            check_answer(answer.answer, answer.second)
        except InputError as error:
            raise type(error)(f"{where}: {error}") from error
        other = seen.setdefault((answer.annotator, answer.face), answer)
        if _says(other) != _says(answer):
            raise DataError(
                f"{where}: {answer.annotator} says of {answer.face} {_told(answer)}, and {_told(other)} before"
            )
    return list(seen.values())


def add_answers(store: LabelStore, keys: Sequence[str], answers: Sequence[Answer], *, replace: bool) -> Imported:
    """Add the answers for these faces to a set, all or none, and return what became of them.

    replace: an annotator's answer takes the place of another one that they gave before; without it that is an
    InputError.
    """
    known = set(keys)
    given = {(answer.annotator, answer.face): answer for answer in store.answers()}
    of_set = [answer for answer in answers if answer.face in known]
    new = [answer for answer in of_set if (answer.annotator, answer.face) not in given]
    changed = [
        answer
        for answer in of_set
        if (before := given.get((answer.annotator, answer.face))) is not None and _says(before) != _says(answer)
    ]
    if changed and not replace:
        first = changed[0]
        earlier = _told(given[first.annotator, first.face])
        raise InputError(
            f"{len(changed):,} answers contradict what the same annotators have said before, such as {first.annotator}"
            f" of {first.face}: {earlier}, now {_told(first)}; nothing is imported: --replace takes the new ones"
        )
    if new or changed:
        store.save_many([*new, *changed])
    return Imported(len(new), len(of_set) - len(new) - len(changed), len(changed), len(answers) - len(of_set))


def _of_rows(path: Path) -> Iterator[tuple[str, Answer]]:
    """Yield the answers of a CSV of answers, each with its place."""
    now = time.time()
    for line, record in read_records(path, ANSWER_COLUMNS):
        where = f"{printable(path)}:{line}"
        if isinstance(record, str):
            raise DataError(f"{where}: {record}")
        if record:
            face, annotator, answer, second = (record[column] for column in ANSWER_COLUMNS)
            yield where, Answer(annotator, face, answer, second or None, now)


def _has_votes(path: Path) -> bool:
    """Return whether a CSV has the columns of votes; DataError where it has neither these nor those of answers."""
    wanted = {"votes": ("Image name", *FERPLUS_COLUMNS), "answers": ANSWER_COLUMNS}
    for kind, columns in wanted.items():
        try:
            next(read_records(path, columns), None)
        except DataError:
            if not path.is_file():
                raise
            continue
        return kind == "votes"
    raise DataError(f"{path}: expected the columns {', '.join(ANSWER_COLUMNS)}, or those of FER+'s fer2013new.csv")


def _of_votes(path: Path, annotator: str) -> Iterator[tuple[str, Answer]]:
    """Yield the votes of a CSV in FER+'s layout as plain answers of made annotators, each with its place.

    Raises DataError where a row has no name, or one that another row has: FER+'s own file knows both, but there a row
    belongs to one of fer2013.csv, and here to the face that it names.
    """
    now = time.time()
    votes = read_ferplus(path)
    line_of: dict[str, int] = {}
    for row, (name, line) in enumerate(zip(votes.name, votes.line, strict=True)):
        if not name:
            raise DataError(
                f"{printable(path)}:{line}: its Image name is empty; expected the face that is voted on, as KEY.jpg"
            )
        if (first := line_of.setdefault(_key(name), line)) != line:
            raise DataError(f"{printable(path)}:{line}: {name} is in line {first} already; give a face one row")
        number = 0
        for said, count in zip(VOTES, votes.counts[row].tolist(), strict=True):
            for _ in range(count):
                number += 1
                answer = said if said in FER2013 else NONE
                yield f"{printable(path)}:{line}", Answer(f"{annotator} {number}", _key(name), answer, None, now)


def _of_folders(root: Path, annotator: str) -> Iterator[tuple[str, Answer]]:
    """Yield the pictures of `<expression>/` as answers, each with its place; a folder `none` is of that answer."""
    now = time.time()
    folders = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
    if not folders:
        raise DataError(f"{printable(root)}: expected folders named as expressions with pictures KEY.jpg in them")
    for folder in folders:
        where = printable(folder)
        answer = folder.name if folder.name in ANSWERS else FER2013[parse_label(folder.name, where=where)]
        for path in find_images(folder, on_left_out=_refuse):
            yield printable(path), Answer(annotator, path.stem, answer, None, now)


def _refuse(name: str, why: str) -> None:
    """Raise DataError: answers would be lost."""
    raise DataError(f"{printable(name)}: {why}")


def _key(name: str) -> str:
    """Return the key of a face from the name of its picture."""
    return PurePosixPath(name).stem


def _needed(annotator: str | None, path: Path) -> str:
    """Return the annotator; InputError where none is given."""
    if annotator is None:
        raise InputError(f"{path}: does not say who gave these answers; name them with --annotator")
    return check_annotator(annotator)


def _says(answer: Answer) -> tuple[str, str | None]:
    """Return what is said."""
    return answer.answer, answer.second


def _told(answer: Answer) -> str:
    """Return what is said in words."""
    return answer.answer if answer.second is None else f"{answer.answer} with {answer.second}"


def _write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)

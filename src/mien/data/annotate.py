"""What people say of the faces of a set: `labels.sqlite`, on disk the moment that it is said, by any number at once."""

from __future__ import annotations

import re
import reprlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mien.errors import DataError, InputError, LabelError, OutputError
from mien.labels import FER2013

__all__ = ["ANSWERS", "NONE", "SKIP", "Answer", "LabelStore", "check_annotator"]

LABELS_NAME = "labels.sqlite"
FORMAT = 1
NONE = "none"  # none of these: no expression of the seven, or no face
SKIP = "skip"  # cannot tell, or would rather not: no answer, and not asked again
ANSWERS: tuple[str, ...] = (*FER2013, NONE, SKIP)
WAIT_S = 30.0  # for another process that is writing
_SCHEMA = """
create table if not exists answers (
    number integer primary key autoincrement, annotator text not null, face text not null, answer text not null,
    second text, given_at real not null, withdrawn integer not null default 0, client text, withdrawn_by text
);
create index if not exists by_annotator on answers (annotator, withdrawn, face, number);
create unique index if not exists by_client on answers (annotator, client);
"""
#: Marks all answers of an annotator to a face but the newest, so that undoing that one brings none of them back.
_GIVE_WAY = (
    "update answers set withdrawn = 1 where annotator = ?1 and face = ?2 and not withdrawn and number <"
    " (select max(number) from answers where annotator = ?1 and face = ?2)"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one annotator says of one face."""

    annotator: str
    face: str  # its key in the set
    answer: str  # one of ANSWERS
    second: str | None  # of two mixed expressions the weaker, one of labels.FER2013
    given_at: float  # seconds since 1970


class LabelStore:
    """The answers of a set.  Every answer is kept; one that is undone or given anew is marked, never overwritten."""

    def __init__(self, folder: str | Path) -> None:
        """Open the answers of a set's folder; where there are none yet, the file is made by the first one.

        Raises DataError where `labels.sqlite` is damaged or not ours.
        """
        self.path = Path(folder) / LABELS_NAME
        if self._any():
            with self._reading() as database:
                (version,) = database.execute("pragma user_version").fetchone()
            if version != FORMAT:
                raise DataError(f"{self.path}: not a file of labels of this version of mien; move it away")

    def save(
        self, annotator: str, face: str, answer: str, second: str | None = None, *, client: str | None = None
    ) -> None:
        """Write an answer; when this returns, it is on disk.  An earlier one of the same annotator gives way to it.

        client: the sender's own name of this answer: sent again, as after a lost connection, it counts once.
        Raises LabelError for an answer that is none, InputError for an unusable name, OutputError where the disk is
        full or read-only.
        """
        check_annotator(annotator)
        check_answer(answer, second)
        with self._writing() as database:
            told = database.execute(
                "insert into answers (annotator, face, answer, second, given_at, client) values (?, ?, ?, ?, ?, ?)"
                " on conflict (annotator, client) do nothing",
                (annotator, face, answer, second, time.time(), client),
            )
            if told.rowcount == 1:
                database.execute(_GIVE_WAY, (annotator, face))

    def save_many(self, answers: list[Answer]) -> None:
        """Write many answers, all or none; errors as `save`."""
        for answer in answers:
            check_annotator(answer.annotator)
            check_answer(answer.answer, answer.second)
        with self._writing() as database:
            database.executemany(
                "insert into answers (annotator, face, answer, second, given_at) values (?, ?, ?, ?, ?)",
                [(each.annotator, each.face, each.answer, each.second, each.given_at) for each in answers],
            )
            database.executemany(_GIVE_WAY, [(each.annotator, each.face) for each in answers])

    def undo(self, annotator: str, face: str | None = None, *, client: str | None = None) -> str | None:
        """Withdraw an annotator's newest answer and return the face that it was of; None where there is none left.

        face: the newest one of this face alone.  client: the sender's own name of this step: sent again, it undoes
        nothing more.
        """
        if not self._any():
            return None
        with self._writing() as database:
            done = database.execute(
                "select face from answers where annotator = ? and withdrawn_by = ?", (annotator, client)
            ).fetchone()
            if done is not None:
                return str(done[0])
            newest = database.execute(
                "select number, face from answers where annotator = ?1 and not withdrawn and (?2 is null or face = ?2)"
                " order by number desc limit 1",
                (annotator, face),
            ).fetchone()
            if newest is None:
                return None
            database.execute("update answers set withdrawn = 1, withdrawn_by = ? where number = ?", (client, newest[0]))
            return str(newest[1])

    def answers(self, annotator: str | None = None) -> list[Answer]:
        """Return what stands, of one annotator or of all, a face once for each, in the order in which it was given."""
        if not self._any():
            return []
        with self._reading() as database:
            rows = database.execute(
                "select annotator, face, answer, second, given_at from answers where number in (select max(number) from"
                " answers where not withdrawn and (?1 is null or annotator = ?1) group by annotator, face)"
                " order by number",
                (annotator,),
            ).fetchall()
        return [Answer(*row) for row in rows]

    def annotators(self) -> list[str]:
        """Return the names of those who have answered, sorted."""
        return sorted({answer.annotator for answer in self.answers()})

    def _any(self) -> bool:
        """Return whether there is a file with something in it: the first answer's may have been cut off before that."""
        try:
            return self.path.stat().st_size > 0
        except FileNotFoundError:
            return False
        except OSError as error:
            raise DataError(f"{self.path}: the labels cannot be read: {error.strerror or error}") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the database within one transaction, which is on disk when the block has ended well."""
        try:
            with closing(self._connect()) as database:
                database.execute("begin immediate")
                if database.execute("pragma user_version").fetchone()[0] != FORMAT:
                    for statement in filter(str.strip, _SCHEMA.split(";")):
                        database.execute(statement)
                    database.execute(f"pragma user_version = {FORMAT}")
                yield database
                database.execute("commit")
        except sqlite3.Error as error:
            raise OutputError(f"{self.path}: the answer cannot be written: {error}; make room or rights, then go on") \
                from error  # fmt: skip

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the database; DataError where it is damaged."""
        try:
            with closing(self._connect()) as database:
                yield database
        except sqlite3.Error as error:
            raise DataError(f"{self.path}: the labels cannot be read ({error}); put back a copy of the file") from error

    def _connect(self) -> sqlite3.Connection:
        """Return a connection that waits for others and, when it has committed, has committed to the disk.

        The journal is SQLite's own rollback journal: unlike the write-ahead log it works on shared folders too.
        """
        database = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
        database.execute("pragma synchronous = full")
        return database


def check_answer(answer: str, second: str | None) -> None:
    """Raise LabelError where an answer, or the weaker of two mixed expressions, is none."""
    if answer not in ANSWERS:
        raise LabelError(f"unknown answer {reprlib.repr(answer)}; expected one of {', '.join(ANSWERS)}")
    if second is not None and (second not in FER2013 or answer not in FER2013 or second == answer):
        told = f"{reprlib.repr(answer)} with {reprlib.repr(second)}"
        raise LabelError(f"{told} cannot be mixed; expected two different ones of {', '.join(FER2013)}")


def check_annotator(name: str) -> str:
    """Return an annotator's name; InputError where it is empty, longer than 40 characters or odd in a URL or table."""
    if not re.fullmatch(r"\w[\w .-]{0,39}", name) or name != name.strip():
        raise InputError(f"annotator {reprlib.repr(name)}: expected 1 to 40 letters, digits, spaces, dots or dashes")
    return name

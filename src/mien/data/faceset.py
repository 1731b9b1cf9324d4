"""A set of faces on its way to a dataset: `set.sqlite`, what was found and why it was kept or dropped, and `faces/`.

`mien data build` fills it file by file, each in one transaction, so that it can be killed and go on; `mien data label`
adds `labels.sqlite` beside it; `mien data prepare` makes a dataset of both.  Tables: meta (key, value), files (a row
for each that was read, whole or not), faces (a row for each that was found: where, how good, why dropped, its crop).
`faces/KEY.jpg` is each kept face in colour, larger than its crop and with some surroundings, for people to look at.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import numpy as np

from mien.data.gathering import SET_NAME, SourceFile
from mien.data.quality import Quality
from mien.errors import DataError, InputError, OutputError
from mien.files import make_folder, printable, write_text
from mien.locks import only_one
from mien.spec import CropSpec
from mien.types import ImageArray

__all__ = [
    "DUPLICATE",
    "UNFINISHED",
    "FaceRow",
    "FaceSet",
    "FileRow",
    "FoundFace",
    "at_work",
    "check_place",
    "is_faceset",
    "stamp_of",
]

VIEWS_NAME = "faces"
VIEW = re.compile(r"[0-9a-f]{16}\.(jpg|part)")  # a picture there, or one that was being written
IGNORED_NAME, IGNORED = ".gitignore", "*\n"
LOCK_NAME = ".build.lock"
FORMAT = 1
WAIT_S = 30.0
OF_THE_SYSTEM = (".DS_Store", "desktop.ini", "Thumbs.db")  # that it leaves in a folder which was only looked at
UNFINISHED = "unfinished"  # among the settings while a build has added faces and not looked for copies yet
DUPLICATE = "duplicate"  # why a face is dropped that another one of the set nearly equals
QUALITIES = tuple(field.name for field in fields(Quality))
_COLUMNS = ", ".join(("key, name, time_s, x0, y0, x1, y1, score", *QUALITIES, "reason, crop"))
_SCHEMA = f"""
create table if not exists meta (key text primary key, value text not null);
create table if not exists files (
    name text primary key, path blob not null, stamp text not null, person text, consent text, source text,
    licence text, error text, pictures integer not null, faces integer not null
);
create table if not exists faces (
    number integer primary key, key text not null unique, name text not null references files (name), time_s real,
    x0 real not null, y0 real not null, x1 real not null, y1 real not null, score real not null,
    {", ".join(f"{quality} real" for quality in QUALITIES)},
    reason text not null, copy_of text, crop blob not null
);
create index if not exists faces_by_file on faces (name);
"""


@dataclass(frozen=True, slots=True)
class FileRow:
    """One file that was read, with what its source says of it."""

    name: str  # its path below the source that it came from, printable; no other file of the set has it
    path: Path  # where it lies
    stamp: str  # size and time of change: what else has it, is the same file
    person: str | None = None
    consent: str | None = None
    source: str | None = None
    licence: str | None = None
    error: str | None = None  # why it could not be read, or not to its end
    pictures: int = 0  # that were looked at: 1 of a photograph, of a video the frames
    faces: int = 0  # that were found, dropped ones included


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """One face as it was found."""

    key: str
    time_s: float | None  # in a video
    box_xyxy: tuple[float, float, float, float]  # the detector's, in pixels of the picture
    score: float
    quality: Quality
    reason: str  # why it is dropped: names of quality numbers joined by ", "; empty where it is kept
    crop: bytes  # pixels of the crop
    view: bytes  # JPEG for people to look at; empty for a dropped face


@dataclass(frozen=True, slots=True)
class FaceRow:
    """One face of the set, without its pixels."""

    key: str
    name: str  # of its file
    path: Path  # where that lay when the set was built
    time_s: float | None
    box_xyxy: tuple[float, float, float, float]
    score: float
    quality: Quality
    reason: str  # empty where it is kept
    copy_of: str | None  # the key of the kept face that it is a copy of
    person: str | None
    consent: str | None
    source: str | None
    licence: str | None


def check_place(folder: Path) -> None:
    """Raise DataError where a folder holds something else than a set of faces."""
    if not folder.is_dir() or is_faceset(folder):
        return
    if foreign := sorted(path.name for path in folder.iterdir() if not _is_begun(path)):
        raise DataError(f"{folder}: no set of faces, and {printable(foreign[0])} is in it; name an empty folder")


def at_work(folder: str | Path) -> AbstractContextManager[None]:
    """Hold a set while it is built or faces are taken out; InputError where another process does."""
    return only_one(Path(folder) / LOCK_NAME, busy=f"{folder}: another `mien data` is at work on it; wait for it")


class FaceSet:
    """A folder with a set of faces."""

    def __init__(self, folder: str | Path) -> None:
        """Open the set of a folder.  DataError where there is none, or it is damaged or of another version."""
        self.folder = Path(folder)
        if not is_faceset(self.folder):
            raise DataError(f"{folder}: no set of faces there ({SET_NAME} is missing); make one with `mien data build`")
        with self._reading() as database:
            (version,) = database.execute("pragma user_version").fetchone()
            if version != FORMAT:
                raise DataError(f"{self.folder}: a set of another version of mien; build it again in a new folder")
            self.settings: dict[str, str] = dict(database.execute("select key, value from meta").fetchall())
        try:
            self.crop = CropSpec.from_json(json.loads(self.settings["crop"]))
        except (KeyError, ValueError, InputError) as error:
            raise DataError(f"{self.folder}: {SET_NAME} is damaged ({error}); build it again in a new folder") \
                from error  # fmt: skip

    @classmethod
    def create(cls, folder: str | Path, *, crop: CropSpec, settings: dict[str, str]) -> FaceSet:
        """Return the set of a folder, made where it is missing.

        settings: what faces were found and kept by, by name.  Raises DataError where the set that is there was built
        by other settings, whose faces would not go together with new ones.
        """
        folder = make_folder(folder)
        wanted = {"crop": json.dumps(crop.to_json(), sort_keys=True), **settings}
        if not is_faceset(folder):
            make_folder(folder / VIEWS_NAME)
            # Pictures of people: no version control and no backup tool that heeds it takes them by accident.
            write_text(folder / IGNORED_NAME, IGNORED)
            _make(folder / SET_NAME, wanted)
        made = cls(folder)
        if other := sorted(key for key in wanted if made.settings.get(key) != wanted[key]):
            told = ", ".join(f"{key} {made.settings.get(key)}, now {wanted[key]}" for key in other)
            raise DataError(f"{folder}: built with other settings ({told}); give the same ones, or another --out")
        return made

    def add(self, file: FileRow, found: Sequence[FoundFace]) -> None:
        """Add a file and its faces, all or none; what an earlier reading of the same file gave is replaced.

        Faces that come again with the same pixels keep their key, and so their labels.  Where a reading that failed
        lacks faces that an earlier one found, these stay beside those that it found.
        Raises OutputError where the disk is full or read-only.
        """
        with self._reading() as database:
            before = dict(database.execute("select key, number from faces where name = ?", (file.name,)).fetchall())
            counted = database.execute("select pictures, faces from files where name = ?", (file.name,)).fetchone()
        if keeps := file.error is not None and bool(before.keys() - {face.key for face in found}):
            pictures, faces = (max(one, two) for one, two in zip(counted, (file.pictures, file.faces), strict=True))
            file = replace(file, error=f"{file.error}; its faces from before stay", pictures=pictures, faces=faces)
        for face in found:  # the pictures first: a row never points to one that is not there
            if face.view:
                self._write_view(face)
        with self._writing() as database:
            if not keeps:
                database.execute("delete from faces where name = ?", (file.name,))
            database.execute("insert or replace into meta values (?, '')", (UNFINISHED,))
            database.execute(
                "insert into files values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (name) do update set"
                " path = excluded.path, stamp = excluded.stamp, person = coalesce(excluded.person, person),"
                " consent = coalesce(excluded.consent, consent), source = coalesce(excluded.source, source),"
                " licence = coalesce(excluded.licence, licence), error = excluded.error,"
                " pictures = excluded.pictures, faces = excluded.faces",
                (file.name, os.fsencode(file.path), file.stamp, file.person, file.consent, file.source, file.licence,
                 file.error, file.pictures, file.faces),
            )  # fmt: skip
            database.executemany(
                f"insert into faces (number, {_COLUMNS})"  # noqa: S608
                f" values ({', '.join('?' * (11 + len(QUALITIES)))}) on conflict (key) do nothing",
                [
                    (before.get(face.key), face.key, file.name, face.time_s, *face.box_xyxy, face.score,
                     *astuple(face.quality), face.reason, face.crop)
                    # Those with a number first: a new one gets what is then free.
                    for face in sorted(found, key=lambda face: face.key not in before)
                ],
            )  # fmt: skip
        for gone in () if keeps else before.keys() - {face.key for face in found if face.view}:
            self.view(gone).unlink(missing_ok=True)

    def describe(self, files: Sequence[SourceFile]) -> None:
        """Set what is said of files, where something is said now; what was said before and is not now stays."""
        said = [(file.person, file.consent, file.source, file.licence, file.name) for file in files]
        if said := [row for row in said if any(row[:-1])]:
            with self._writing() as database:
                database.executemany(
                    "update files set person = coalesce(?, person), consent = coalesce(?, consent),"
                    " source = coalesce(?, source), licence = coalesce(?, licence) where name = ?",
                    said,
                )

    def files(self) -> list[FileRow]:
        """Return the files that were read, in the order of their names."""
        with self._reading() as database:
            rows = database.execute("select * from files order by name").fetchall()
        return [FileRow(row[0], Path(os.fsdecode(row[1])), *row[2:]) for row in rows]

    def faces(self, *, kept: bool = True) -> list[FaceRow]:
        """Return the faces that are kept, or with `kept=False` those that were dropped, by file and time."""
        with self._reading() as database:
            rows = database.execute(
                f"select key, name, path, time_s, x0, y0, x1, y1, score, {', '.join(QUALITIES)}, reason, copy_of,"  # noqa: S608
                " person, consent, source, licence from faces join files using (name)"
                f" where reason {'=' if kept else '!='} '' order by name, time_s, number"
            ).fetchall()
        start = 9 + len(QUALITIES)
        return [
            FaceRow(
                row[0], row[1], Path(os.fsdecode(row[2])), row[3], row[4:8], row[8],
                Quality(*(float("nan") if value is None else value for value in row[9:start])), *row[start:],
            )
            for row in rows
        ]  # fmt: skip

    def crops(self, keys: Sequence[str]) -> ImageArray:
        """Return the crops (N, S, S) or (N, S, S, 3) of these faces.  DataError where one is not in the set."""
        crops = np.zeros((len(keys), *self.crop.shape), np.uint8)
        missing = 0
        with self._reading() as database:
            for crop, key in zip(crops, keys, strict=True):
                if row := database.execute("select crop from faces where key = ?", (key,)).fetchone():
                    crop[:] = np.frombuffer(row[0], np.uint8).reshape(self.crop.shape)
                else:
                    missing += 1
        if missing:
            raise DataError(f"{self.folder}: {missing:,} faces are not in the set")
        return crops

    def view(self, key: str) -> Path:
        """Return where a kept face's picture for people lies."""
        return self.folder / VIEWS_NAME / f"{key}.jpg"

    def fit(self) -> tuple[list[str], ImageArray]:
        """Return the keys and crops of the faces that are fit, kept ones and duplicates, as they came into the set."""
        with self._reading() as database:
            rows = database.execute(
                "select key, crop from faces where reason in ('', ?) order by number", (DUPLICATE,)
            ).fetchall()
        pixels = b"".join(crop for _, crop in rows)
        return [key for key, _ in rows], np.frombuffer(pixels, np.uint8).reshape(-1, *self.crop.shape)

    def mark_copies(self, copies: Iterable[tuple[str, str | None]], *, ended: bool = True) -> None:
        """Set of which face each fit one is a copy, given as (key, key of that one or None), all or none.

        ended: the build that added faces has come to its end.
        """
        rows = [(DUPLICATE if of else "", of, key) for key, of in copies]
        with self._writing() as database:
            database.executemany("update faces set reason = ?, copy_of = ? where key = ?", rows)
            if ended:
                database.execute("delete from meta where key = ?", (UNFINISHED,))

    def take_out(self, names: Iterable[str], keys: Iterable[str]) -> None:
        """Take out these files and these faces, with all pictures that are then of no face; nothing of them stays."""
        names, keys = list(names), set(keys)
        with self._reading() as database:
            left = {self.view(key).name for (key,) in database.execute("select key from faces") if key not in keys}
        # The pictures first: stopped here, the same command takes out the rest, as the rows still name whose they are.
        for picture in (self.folder / VIEWS_NAME).iterdir():
            if picture.name not in left and VIEW.fullmatch(picture.name):
                picture.unlink(missing_ok=True)
        with self._writing() as database:
            database.execute("pragma secure_delete = on")  # what is taken out is overwritten, not only marked as free
            database.executemany("delete from faces where key = ?", [(key,) for key in keys])
            database.executemany("delete from files where name = ?", [(name,) for name in names])

    def _write_view(self, face: FoundFace) -> None:
        """Write a face's picture, whole or not at all."""
        path = self.view(face.key)
        temporary = path.with_suffix(".part")
        try:
            temporary.write_bytes(face.view)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}; make room, then go on") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the database within one transaction."""
        path = self.folder / SET_NAME
        try:
            with closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as database:
                database.execute("begin immediate")
                yield database
                database.execute("commit")
        except sqlite3.Error as error:
            raise OutputError(f"{path}: cannot be written: {error}; make room or rights, then go on") from error

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the database; DataError where it is damaged."""
        path = self.folder / SET_NAME
        try:
            with closing(sqlite3.connect(path, timeout=WAIT_S)) as database:
                yield database
        except sqlite3.Error as error:
            raise DataError(f"{path}: the set cannot be read ({error}); build it again in a new folder") from error


def stamp_of(path: Path) -> str:
    """Return by what a set knows a file again: its size and the time of its last change.  OSError where it is gone."""
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def is_faceset(folder: Path) -> bool:
    """Return whether the folder holds a set of faces."""
    return os.path.isfile(folder / SET_NAME)  # noqa: PTH113 - pathlib's raises where a name is too long


def _is_begun(path: Path) -> bool:
    """Return whether something in a folder is what a set there begins with."""
    if path.name == IGNORED_NAME:
        return path.is_file() and path.read_bytes() == IGNORED.encode()
    if path.name == VIEWS_NAME:
        return path.is_dir() and not any(path.iterdir())
    return path.name in (LOCK_NAME, Path(SET_NAME).with_suffix(".part").name, *OF_THE_SYSTEM)


def _make(path: Path, settings: dict[str, str]) -> None:
    """Make an empty set's database, whole or not at all."""
    temporary = path.with_suffix(".part")
    try:
        temporary.unlink(missing_ok=True)
        with closing(sqlite3.connect(temporary)) as database:
            database.executescript(_SCHEMA)
            database.executemany("insert into meta values (?, ?)", settings.items())
            database.execute(f"pragma user_version = {FORMAT}")
            database.commit()
        temporary.replace(path)
    except (sqlite3.Error, OSError) as error:
        raise OutputError(f"{path}: cannot be written: {error}; choose another place") from error

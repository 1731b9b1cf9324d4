"""What a set of faces is built from: folders, photographs, videos and lists, each once, with what is known of it."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mien.data.people import person_key
from mien.data.records import not_utf8, read_records
from mien.errors import DataError
from mien.files import printable
from mien.media import UNDECODED_SUFFIXES, find_files, image_suffixes
from mien.video import VIDEO_SUFFIXES, is_video, opens

__all__ = ["KNOWN", "SET_NAME", "SourceFile", "gather_files", "named_apart"]

SET_NAME = "set.sqlite"  # in the folder of a set of faces
#: What a list of files may tell of each, beside its path in the column `file`.
KNOWN = ("person", "consent", "source", "licence")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A photograph or a video, and what its source says of it."""

    path: Path
    name: str  # printable: the folder that was named, or that of the list, and the path below it
    person: str | None = None
    consent: str | None = None
    source: str | None = None
    licence: str | None = None

    @property
    def is_video(self) -> bool:
        """Return whether it is read as a video."""
        return is_video(self.path) or (self.path.suffix.lower() not in image_suffixes() and opens(self.path))


def gather_files(
    sources: Iterable[Path], *, on_other: Callable[[Path], None] | None = None
) -> tuple[list[SourceFile], list[str]]:
    """Return the files that the sources name, each once and in a fixed order, and what could not be taken, in words.

    A source is a folder (with those below it), a photograph, a video, or a CSV with the column `file` (paths from the
    CSV's folder) and any of person, consent, source and licence.  What a list says of a file holds also where a folder
    has it.  Files of sets of faces that lie in a folder are no part of it.
    on_other: called with each other file of a folder that is no picture, as far as its name tells, and no source.
    Raises DataError where a source is missing or holds nothing.
    """
    sources = list(sources)
    files: dict[str, SourceFile] = {}
    others: dict[str, Path] = {}
    problems: list[str] = []
    for source in sources:
        if not os.path.lexists(source):
            raise DataError(f"{source}: no such file or folder; expected photographs, videos, folders or a CSV of them")
        found, own = 0, dict[str, Path]()
        for item in _of(source, own):
            found += 1
            if isinstance(item, str):
                problems.append(item)
                continue
            key = os.path.realpath(item.path)
            known = files.get(key)
            if known:  # what one list leaves open another may have told
                if item.person and known.person and person_key(item.person) != person_key(known.person):
                    problems.append(
                        f"{item.name}: said to show {known.person} and {item.person}; a file has one person, and "
                        f"{known.person} stays"
                    )
                    item = replace(item, person=known.person)
                told = {column: getattr(item, column) or getattr(known, column) for column in KNOWN}
                item = replace(known, **told)
            files[key] = item
        if not found and not any(_undecoded(own.values())):
            raise DataError(f"{source}: neither photographs nor videos in it; expected files such as .jpg, .png, .mp4")
        others |= own
    named = files.keys() | {os.path.realpath(source) for source in sources}  # a list lies beside its pictures
    left_out = [path for key, path in others.items() if key not in named]
    problems += _undecoded(left_out)
    for path in left_out:
        if on_other and path.suffix.lower() not in UNDECODED_SUFFIXES:
            on_other(path)
    taken: set[str] = set()
    return [named_apart(file, taken) for file in files.values()], problems


def _undecoded(paths: Iterable[Path]) -> Iterator[str]:
    """Yield in words how many of these files are pictures of a kind that cannot be read, one line a kind."""
    of_kind: dict[str, list[Path]] = {}
    for path in sorted(paths):
        if (kind := path.suffix.lower()) in UNDECODED_SUFFIXES:
            of_kind.setdefault(kind, []).append(path)
    for kind, these in of_kind.items():
        several = f" and {len(these) - 1:,} more" if len(these) > 1 else ""
        yield f"{printable(these[0])}{several}: pictures as {kind} cannot be read here; save them as JPEG"


def _of(source: Path, others: dict[str, Path]) -> Iterator[SourceFile | str]:
    """Yield the files of one source, or in words what is wrong with a part of it.

    others: where a folder's other files are added, by their real path.
    """
    if source.is_dir():
        top = source.resolve().name
        made: dict[Path, bool] = {}  # whether a folder is a set or lies in one: what a build wrote is no source of it
        left_out: list[str] = []

        def leave_out(name: str, why: str) -> None:
            left_out.append(f"{printable(name)}: {why}")

        def other(path: Path) -> None:
            if not _in_a_set(path.parent, source, made):
                others[os.path.realpath(path)] = path

        suffixes = image_suffixes() | VIDEO_SUFFIXES
        for path in find_files(source, suffixes, on_left_out=leave_out, on_other=other):
            if _in_a_set(path.parent, source, made):
                continue
            yield SourceFile(path, printable(Path(top) / path.relative_to(source)))
        yield from left_out
    elif source.suffix.lower() == ".csv":
        yield from _listed(source)
    else:
        yield SourceFile(source, printable(Path(source.absolute().parent.name) / source.name))


def _in_a_set(folder: Path, top: Path, known: dict[Path, bool]) -> bool:
    """Return whether a folder at or below `top` is a set of faces or lies in one; `known`: what was found before."""
    if folder not in known:
        known[folder] = (folder / SET_NAME).is_file() or (folder != top and _in_a_set(folder.parent, top, known))
    return known[folder]


def _listed(path: Path) -> Iterator[SourceFile | str]:
    """Yield the files of a list."""
    top = path.absolute().parent
    for line, record in read_records(path, ("file",), KNOWN):
        where = f"{printable(path)}:{line}"
        if isinstance(record, str):
            yield f"{where}: {record}"
            continue
        if not record:
            continue
        file = top / record["file"]
        if not record["file"] or not os.path.isfile(file):  # noqa: PTH113 - pathlib's raises for odd names
            yield f"{where}: no file {reprlib.repr(record['file'])} in {printable(top)}"
            continue
        if why := not_utf8(record, KNOWN):
            yield f"{where}: {why}"
            continue
        told = {column: printable(record.get(column, "")) or None for column in KNOWN}
        yield SourceFile(file, printable(Path(top.name) / record["file"]), **told)


def named_apart(file: SourceFile, taken: set[str]) -> SourceFile:
    """Return the file with a free name, a number behind it where its own is taken; it is taken then."""
    name, number = file.name, 2
    while name in taken:
        name, number = f"{file.name} ({number})", number + 1
    taken.add(name)
    return replace(file, name=name)

"""What `mien recognize` was given: pictures, videos, folders of both; and where their annotated copies go."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mien import video
from mien.errors import InputError
from mien.files import check_folder, printable
from mien.media import DANGLING, LINK, SOFTWARE, find_files, image_suffixes, software_of
from mien.video import VIDEO_SUFFIXES, is_video

__all__ = ["Inputs", "copies_of", "gather", "recording_of", "report_files", "reports_of"]

Found = tuple[Path, Path]  # a file, and its path below what was named


@dataclass(frozen=True, slots=True)
class Inputs:
    """Files, each once, in the order in which they were named."""

    pictures: list[Found]
    videos: list[Found]
    left_out: int  # other files in the folders, and folders behind links
    closed: list[str]  # folders that could not be read, and why


def gather(paths: Iterable[Path], *, leave_out: Iterable[Path] = ()) -> Inputs:
    """Return the pictures and videos that paths name or hold.

    A file that is named may have any suffix; one whose name tells nothing and that FFmpeg cannot open is a picture.

    leave_out: folders that are written to; where they lie in a folder that is read, they are no part of that, and where
    one is itself read, what mien wrote there is none.
    Raises InputError where a path is missing, or a folder holds neither pictures nor videos.
    """
    suffixes = image_suffixes() | VIDEO_SUFFIXES
    outputs = [folder for folder in leave_out if folder.is_dir()]
    found: dict[Path, Found] = {}
    videos: set[Path] = set()
    others: set[Path] = set()
    closed: dict[str, str] = {}
    for path in paths:
        try:
            path.stat()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"{printable(path)}: {reason}; expected a picture, a video or a folder of these"
            ) from error
        if not path.is_dir():
            found.setdefault(_identity(path), (path, Path(path.name)))
            known = path.suffix.lower() in suffixes or not path.is_file()
            if not known and video.opens(path):
                videos.add(_identity(path))
            continue
        skipped = {below for folder in outputs if (below := _below(folder, path)) is not None}
        written_to = path.resolve() in {folder.resolve() for folder in outputs}
        refused: dict[str, str] = {}
        files = [
            file
            for file in find_files(path, suffixes, on_left_out=refused.__setitem__)
            if not skipped & {*file.parents} and not (written_to and _is_ours(file))
        ]
        refused = {
            name: why
            for name, why in refused.items()
            if why not in (LINK, DANGLING)  # which are counted below
            and not skipped & {Path(name), *Path(name).parents}
        }
        closed |= {printable(name): f"{printable(name)}: {why}" for name, why in refused.items()}
        if not files and refused:
            raise InputError(f"{printable(path)}: no picture or video could be found ({next(iter(refused.values()))})")
        if not files:
            such = ", ".join(sorted(suffixes & {".jpg", ".png", ".webp", ".tif", ".bmp", ".gif"}))
            raise InputError(
                f"{printable(path)}: no pictures and no videos in this folder; expected files such as {such}, .mp4"
            )
        for file in files:
            found.setdefault(_identity(file), (file, file.relative_to(path)))
        for folder, folders, names in os.walk(path):
            here = Path(folder)
            if not skipped & {here, *here.parents}:
                links = (name for name in folders if (here / name).is_symlink())
                others |= {_identity(here / name) for name in (*names, *links)}
    others -= found.keys()
    videos |= {identity for identity, (path, _) in found.items() if is_video(path)}
    return Inputs(
        [one for identity, one in found.items() if identity not in videos],
        [one for identity, one in found.items() if identity in videos],
        len(others),
        list(closed.values()),
    )


def copies_of(inputs: Inputs, folder: Path) -> dict[Path, Path]:
    """Return the annotated copy's path of each file: no two the same, and none a file that mien did not write.

    Raises OutputError where the folder could not be written.
    """
    names = [(path, below.with_suffix(_suffix_of_copy(below))) for path, below in inputs.pictures]
    names += [(path, below.with_suffix(".mp4")) for path, below in inputs.videos]
    sources = {_key(path) for path, _ in names}
    return _places(names, folder, is_free=lambda copy: _key(copy) not in sources and _free_for_copy(copy))


def reports_of(inputs: Inputs, folder: Path) -> dict[Path, Path]:
    """Return where the report of each video goes: what its files' names begin with; otherwise as `copies_of`."""
    names = [(path, below.with_suffix(".mp4")) for path, below in inputs.videos]
    places = _places(names, folder, is_free=lambda place: _free_for_report(place.with_suffix("")))
    return {path: place.with_suffix("") for path, place in places.items()}


def recording_of(name: str, folder: Path) -> Path:
    """Return where the annotated video of a camera or a stream goes, by its name; otherwise as `copies_of`."""
    (place,) = _places([(Path(name), Path(name))], folder, is_free=_free_for_copy).values()
    return place


def _free_for_copy(path: Path) -> bool:
    """Return whether an annotated copy may be written to a path: what is there, if anything, mien wrote."""
    return not os.path.isfile(path) or _is_ours(path)  # noqa: PTH113 - pathlib's raises where a name is too long


def report_files(place: Path) -> tuple[Path, Path, Path]:
    """Return the timeline, the summary and the folder of faces of a report."""
    return (
        place.with_name(f"{place.name}-timeline.png"),
        place.with_name(f"{place.name}-summary.json"),
        place.with_name(f"{place.name}-faces"),
    )


def _free_for_report(place: Path) -> bool:
    """Return whether the report of a place may be written: where it was before, there is the timeline of mien's."""
    timeline, *others = report_files(place)
    exists = os.path.exists  # pathlib's raises where a name is too long
    return _is_ours(timeline) if exists(timeline) else not any(map(exists, others))


def _suffix_of_copy(path: Path) -> str:
    """Return the suffix of a picture's copy: its own where that is a format that copies are written in."""
    return path.suffix if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp") else ".png"


def _places(names: list[Found], folder: Path, *, is_free: Callable[[Path], bool]) -> dict[Path, Path]:
    """Return a path in the folder for each file, by the name that it would like, no two the same."""
    check_folder(folder)
    taken: set[str] = set()
    used: Counter[Path] = Counter()
    places: dict[Path, Path] = {}
    for path, name in names:
        first = place = folder / name
        while _key(place) in taken or not is_free(place):
            used[first] += 1
            place = first.with_name(f"{first.stem}-{used[first] + 1}{first.suffix}")
        taken.add(_key(place))
        places[path] = place
    return places


def _key(path: Path) -> str:
    """Return what two names of one file may share, as a file system may tell no cases apart."""
    return os.path.realpath(path).casefold()  # pathlib's raises where links lead in a circle


def _is_ours(path: Path) -> bool:
    """Return whether mien wrote a picture or a video."""
    return (video.software_of(path) if is_video(path) else software_of(path)) == SOFTWARE


def _identity(path: Path) -> Path:
    """Return what two names of one file share; a link is a file of its own."""
    return path.parent.resolve() / path.name


def _below(folder: Path, above: Path) -> Path | None:
    """Return the folder as a path that begins with another, in which it lies; None where it does not lie in it."""
    inner, outer = folder.resolve(), above.resolve()
    return above / inner.relative_to(outer) if outer in inner.parents else None

"""What `mien recognize` was given: pictures, videos, folders of both; and where their annotated copies go."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mien import video
from mien.errors import InputError
from mien.files import check_folder, printable
from mien.media import SOFTWARE, find_files, image_suffixes, software_of
from mien.video import VIDEO_SUFFIXES, is_video

__all__ = ["Inputs", "copies_of", "gather"]

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
            known = path.suffix.lower() in image_suffixes() | VIDEO_SUFFIXES or not path.is_file()
            if not known and video.opens(path):
                videos.add(_identity(path))
            continue
        skipped = {below for folder in outputs if (below := _below(folder, path)) is not None}
        written_to = path.resolve() in {folder.resolve() for folder in outputs}
        refused: list[OSError] = []
        files = [
            file
            for file in find_files(path, image_suffixes() | VIDEO_SUFFIXES, on_error=refused.append)
            if not skipped & {*file.parents} and not (written_to and _is_ours(file))
        ]
        closed |= {printable(error.filename): f"{printable(error.filename)}: {error.strerror}" for error in refused}
        if not files and refused:
            raise InputError(f"{printable(path)}: no picture or video could be found ({refused[0].strerror})")
        if not files:
            such = ", ".join(sorted(image_suffixes() & {".jpg", ".png", ".webp", ".tif", ".bmp", ".gif"}))
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
        others -= {_identity(file) for file in files}
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

    def key(path: Path) -> str:
        return str(path.resolve()).casefold()  # as a file system may tell no cases apart

    check_folder(folder)
    files = [*inputs.pictures, *inputs.videos]
    videos = {path for path, _ in inputs.videos}
    taken = {key(path) for path, _ in files}
    used: Counter[Path] = Counter()
    copies: dict[Path, Path] = {}
    for path, below in files:
        suffix = ".mp4" if path in videos else below.suffix
        if suffix.lower() not in (".mp4", ".jpg", ".jpeg", ".png", ".webp"):
            suffix = ".png"
        first = copy = folder / below.with_suffix(suffix)
        while key(copy) in taken or (copy.is_file() and not _is_ours(copy)):
            used[first] += 1
            copy = first.with_name(f"{first.stem}-{used[first] + 1}{suffix}")
        taken.add(key(copy))
        copies[path] = copy
    return copies


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

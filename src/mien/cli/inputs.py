"""What `mien recognize` was given: pictures, videos, folders of both; and where their annotated copies go."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mien.errors import InputError
from mien.files import check_folder, printable
from mien.media import find_files, image_suffixes
from mien.video import VIDEO_SUFFIXES, is_video

__all__ = ["Inputs", "copies_of", "gather"]

Found = tuple[Path, Path]  # a file, and its path below what was named


@dataclass(frozen=True, slots=True)
class Inputs:
    """Files, each once, in the order in which they were named."""

    pictures: list[Found]
    videos: list[Found]
    left_out: int  # other files in the folders


def gather(paths: Iterable[Path], *, leave_out: Iterable[Path] = ()) -> Inputs:
    """Return the pictures and videos that paths name or hold; a file that is named is a picture where it is no video.

    leave_out: folders that are written to; where they lie in a folder that is read, they are no part of that.
    Raises InputError where a path is missing, or a folder holds neither pictures nor videos.
    """
    outputs = [folder for folder in leave_out if folder.is_dir()]
    found: dict[Path, Found] = {}
    left_out = 0
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
            continue
        skipped = {below for folder in outputs if (below := _below(folder, path)) is not None}
        files = [file for file in find_files(path, image_suffixes() | VIDEO_SUFFIXES) if not skipped & {*file.parents}]
        if not files:
            known = ", ".join(sorted(image_suffixes() & {".jpg", ".png", ".webp", ".tif", ".bmp", ".gif"}))
            raise InputError(f"{path}: no pictures and no videos in this folder; expected files such as {known}, .mp4")
        for file in files:
            found.setdefault(_identity(file), (file, file.relative_to(path)))
        folders = ((Path(folder), names) for folder, _, names in os.walk(path))
        left_out += sum(len(names) for folder, names in folders if not skipped & {folder, *folder.parents}) - len(files)
    videos = [one for one in found.values() if is_video(one[0])]
    return Inputs([one for one in found.values() if not is_video(one[0])], videos, left_out)


def copies_of(inputs: Inputs, folder: Path) -> dict[Path, Path]:
    """Return the annotated copy's path of each file: no two the same, and none a file of a folder that is read.

    Raises OutputError where the folder could not be written.
    """

    def key(path: Path) -> str:
        return str(path.resolve()).casefold()  # as a file system may tell no cases apart

    check_folder(folder)
    files = [*inputs.pictures, *inputs.videos]
    taken = {key(path) for path, _ in files}
    sources = {path.parent.resolve() for path, _ in files}
    used: Counter[Path] = Counter()
    copies: dict[Path, Path] = {}
    for path, below in files:
        suffix = ".mp4" if is_video(path) else below.suffix
        if suffix.lower() not in (".mp4", ".jpg", ".jpeg", ".png", ".webp"):
            suffix = ".png"
        first = copy = folder / below.with_suffix(suffix)
        while key(copy) in taken or (copy.exists() and copy.parent.resolve() in sources):
            used[first] += 1
            copy = first.with_name(f"{first.stem}-{used[first] + 1}{suffix}")
        taken.add(key(copy))
        copies[path] = copy
    return copies


def _identity(path: Path) -> Path:
    """Return what two names of one file share; a link is a file of its own."""
    return path.parent.resolve() / path.name


def _below(folder: Path, above: Path) -> Path | None:
    """Return the folder as a path that begins with another, in which it lies; None where it does not lie in it."""
    inner, outer = folder.resolve(), above.resolve()
    return above / inner.relative_to(outer) if outer in inner.parents else None

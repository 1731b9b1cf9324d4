"""Photographs and video to a set of faces: found, cut out, graded, copies dropped; resumable, all counted."""

from __future__ import annotations

import errno
import hashlib
import math
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path

import cv2
import numpy as np

from mien.data.faceset import FaceSet, FileRow, FoundFace, at_work, check_place, stamp_of
from mien.data.gathering import SourceFile, named_apart
from mien.data.likeness import duplicates, same_picture
from mien.data.quality import THRESHOLDS, grade, reasons
from mien.errors import ImageError, InputError, OutputError, VideoError
from mien.faces.crop import cut
from mien.faces.detect import Detector, make_detector, smallest_face_px
from mien.files import printable
from mien.media import encode_jpeg, read_image
from mien.spec import CropSpec
from mien.types import Face, ImageArray
from mien.video import frames

__all__ = ["BuildSettings", "Built", "build", "mark_copies", "parse_thresholds", "view_crop"]

VIEW_PX = 256
VIEW_MARGIN = 0.35  # of the detector's box, on each side, beyond the crop's own margin
VIEW_QUALITY = 90  # of JPEG
ON_CHANGE_S = 0.2  # how often a video is looked at where a face is taken when it changes
SAME_PLACE = 0.5  # of the larger side by which a face may have moved and still be the one that was taken before
#: Of the system's errors; FFmpeg gives others of them for damaged files too.
PASSING = {errno.EACCES, errno.ENOENT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
AHEAD = 8  # files for each process that may wait to be written


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How faces are found and which are kept."""

    crop: CropSpec = field(default_factory=CropSpec)
    detector: str = "dlib"
    min_face_px: float = 48.0  # somewhat below what is kept, so that small faces are counted
    every_s: float = 1.0  # of a video; 0 with on_change: whenever a face has changed
    on_change: bool = False
    thresholds: tuple[tuple[str, float], ...] = tuple(THRESHOLDS.items())

    def described(self) -> dict[str, str]:
        """Return what must be the same for faces of one set, as text."""
        return {
            "detector": self.detector,
            "min_face_px": f"{self.min_face_px:g}",
            "thresholds": ", ".join(f"{name} {least:g}" for name, least in self.thresholds),
        }


@dataclass(frozen=True, slots=True)
class Built:
    """What a set holds after a build."""

    files: int
    new: int  # of these read now
    unreadable: tuple[tuple[str, str], ...]  # file, why it was not read, or not to its end
    pictures: int  # photographs and frames of video that were looked at
    faces: int
    kept: int
    dropped: dict[str, int]  # why -> faces; a face with several reasons counts under each
    unlooked_px: tuple[float, ...]  # of each file read now that is too large for the smallest face: from what size on


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """What came of one file."""

    row: FileRow
    found: list[FoundFace]
    smallest_px: float  # from which size on faces were looked for in its largest picture


def build(
    files: Sequence[SourceFile],
    folder: str | Path,
    *,
    settings: BuildSettings,
    jobs: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Built:
    """Fill the set of a folder from files and return what it holds; files that it has already are not read again.

    jobs: processes; 0: as many as there are cores.  on_progress: called with how many files are done, and of how many.
    A file that cannot be read is written down with the reason, and the rest is done.  Killed at any moment, the same
    call goes on with the file after the last whole one.
    Raises DataError where the set was built with other settings or the folder holds something else, InputError where
    another build is at work on it, OutputError where it cannot be written.
    """
    check_place(Path(folder))
    with at_work(folder):
        return _build(files, folder, settings, jobs, on_progress)


def _build(
    files: Sequence[SourceFile],
    folder: str | Path,
    settings: BuildSettings,
    jobs: int,
    on_progress: Callable[[int, int], None] | None,
) -> Built:
    """Do what `build` says, alone in the folder."""
    faceset = FaceSet.create(folder, crop=settings.crop, settings=settings.described())
    there = {os.path.realpath(row.path): row for row in faceset.files()}
    names = {row.name for row in there.values()}
    wanted: list[tuple[SourceFile, str]] = []
    same: list[SourceFile] = []
    for file in files:
        row = there.get(os.path.realpath(file.path))
        named = named_apart(file, names) if row is None else replace(file, name=row.name)
        try:
            stamp = stamp_of(file.path)
        except OSError:  # it is gone since; reading it tells
            stamp = ""
        if row is not None and row.stamp == stamp:
            same.append(named)
        else:
            wanted.append((named, stamp))
    faceset.describe(same)
    done = len(files) - len(wanted)
    unlooked_px: list[float] = []
    for number, read in enumerate(_read_all(wanted, settings, jobs), start=1):
        faceset.add(read.row, read.found)
        if read.smallest_px > settings.min_face_px + 0.5:  # told in whole pixels
            unlooked_px.append(read.smallest_px)
        if on_progress:
            on_progress(done + number, len(files))
    mark_copies(faceset)
    return _counted(faceset, new=len(wanted), unlooked_px=unlooked_px)


def view_crop(crop: CropSpec) -> CropSpec:
    """Return how the picture of a face that people look at is cut: in colour, larger, with some surroundings."""
    return CropSpec(
        size_px=VIEW_PX, margin=crop.margin + VIEW_MARGIN, offset_y=crop.offset_y, colour="rgb", normalisation="none"
    )


def _read_all(wanted: list[tuple[SourceFile, str]], settings: BuildSettings, jobs: int) -> Iterator[_Read]:
    """Yield what each file holds, in order, read by several processes at once."""
    processes = min(jobs or os.cpu_count() or 1, len(wanted))
    if processes <= 1:
        _start(settings)
        yield from map(_read, wanted)
        return
    # Not fork: threads of OpenCV that the parent has would be missing in the child, which then waits for them.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker, initargs=(settings,)) as pool:
        items = iter(wanted)
        waiting = [pool.submit(_read, item) for item in islice(items, processes * AHEAD)]
        try:
            while waiting:
                result = waiting.pop(0).result()
                waiting += [pool.submit(_read, item) for item in islice(items, 1)]
                yield result
        except BrokenProcessPool as error:
            raise OutputError(
                "a process that reads pictures was ended from outside (out of memory?); "
                "run the same command again, with --jobs 1"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


_detector: Detector
_settings: BuildSettings


def _start(settings: BuildSettings) -> None:
    """Make a process ready: one detector, one thread."""
    global _detector, _settings
    cv2.setNumThreads(1)
    _settings = settings
    _detector = make_detector(settings.detector, min_face_px=settings.min_face_px)


def _start_worker(settings: BuildSettings) -> None:
    """Make a process of its own ready, which ends where the one that started it is killed."""
    _start(settings)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _read(item: tuple[SourceFile, str]) -> _Read:
    """Return a file's row and its faces; where it cannot be read to its end, what came before, and why."""
    file, stamp = item
    found: list[FoundFace] = []
    pictures = 0
    smallest_px = 0.0
    error = None
    try:
        for picture, faces in _taken(file):
            pictures += 1
            found += faces
            smallest_px = max(smallest_px, smallest_face_px(_detector, *picture.shape[:2]))
            del picture
    except (ImageError, VideoError) as problem:
        error = printable(str(problem)).removeprefix(f"{printable(file.path)}: ")
        if _may_pass(problem.__cause__):
            stamp = ""  # it is no file that is known: the next build tries again
    row = FileRow(
        file.name, file.path.absolute(), stamp, file.person, file.consent, file.source, file.licence, error, pictures,
        len(found),
    )  # fmt: skip
    return _Read(row, found, smallest_px)


def _may_pass(cause: BaseException | None) -> bool:
    """Return whether a file was not read for what is not its own fault: rights, a disk that is away, memory."""
    return isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in PASSING)


def _taken(file: SourceFile) -> Iterator[tuple[ImageArray, list[FoundFace]]]:
    """Yield each picture of a file that is looked at, and the faces that are taken from it."""
    if not file.is_video:
        image_rgb = read_image(file.path)
        yield image_rgb, [_found(file, image_rgb, face, None) for face in _detector(image_rgb)]
        return
    before: list[tuple[Face, ImageArray]] = []
    for frame in frames(file.path, every_s=ON_CHANGE_S if _settings.on_change else _settings.every_s):
        faces = _detector(frame.image_rgb)
        crops = [_small_grey(frame.image_rgb, face) for face in faces]
        changed = [
            not (_settings.on_change and any(_is_same(face, crop, *other) for other in before))
            for face, crop in zip(faces, crops, strict=True)
        ]
        taken = [face for face, is_new in zip(faces, changed, strict=True) if is_new]
        if _settings.on_change:  # what was taken stays what later ones are compared with, where it was
            new = [pair for pair, is_new in zip(zip(faces, crops, strict=True), changed, strict=True) if is_new]
            before = [old for old in before if not any(_in_place(old[0], face) for face, _ in new)] + new
        yield frame.image_rgb, [_found(file, frame.image_rgb, face, frame.time_s) for face in taken]


def _small_grey(image_rgb: ImageArray, face: Face) -> ImageArray:
    """Return a face as `same_picture` compares it."""
    return cut(image_rgb, face, CropSpec())


def _is_same(face: Face, crop: ImageArray, other: Face, other_crop: ImageArray) -> bool:
    """Return whether a face shows what another one in its place has shown."""
    return _in_place(face, other) and same_picture(crop, other_crop)


def _in_place(face: Face, other: Face) -> bool:
    """Return whether two faces of different frames lie in about the same place."""
    first, second = face.box_xyxy.reshape(2, 2), other.box_xyxy.reshape(2, 2)
    side = max(float((first[1] - first[0]).max()), float((second[1] - second[0]).max()))
    return bool(np.abs(first.mean(axis=0) - second.mean(axis=0)).max() < SAME_PLACE * side)


def _found(file: SourceFile, image_rgb: ImageArray, face: Face, time_s: float | None) -> FoundFace:
    """Return a face with its crop, its grade and, where it is kept, its picture for people."""
    crop = cut(image_rgb, face, _settings.crop)
    quality = grade(image_rgb, face, _settings.crop)
    why = ", ".join(reasons(quality, dict(_settings.thresholds)))
    view = b""
    if not why:
        picture = cut(image_rgb, face, view_crop(_settings.crop))
        view = encode_jpeg(picture, quality=VIEW_QUALITY)
    x0, y0, x1, y1 = (float(value) for value in face.box_xyxy)
    # The same pixels of the same file have the same key whenever the set is built: labels find their faces again.
    named = f"{file.name}|{time_s}|{x0:.1f} {y0:.1f}|".encode()
    key = hashlib.blake2b(named + crop.tobytes(), digest_size=8).hexdigest()
    return FoundFace(key, time_s, (x0, y0, x1, y1), face.score, quality, why, crop.tobytes(), view)


def mark_copies(faceset: FaceSet, *, ended: bool = True) -> None:
    """Find near-duplicates among all faces of the set that are fit: the one that came first is kept.

    ended: the build has come to its end.
    """
    keys, crops = faceset.fit()
    copies = duplicates(crops)
    marked = ((key, keys[of] if of >= 0 else None) for key, of in zip(keys, copies.tolist(), strict=True))
    faceset.mark_copies(marked, ended=ended)


def _counted(faceset: FaceSet, *, new: int, unlooked_px: Sequence[float]) -> Built:
    """Return what the set holds."""
    files = faceset.files()
    dropped = faceset.faces(kept=False)
    why = Counter(reason for face in dropped for reason in face.reason.split(", "))
    kept = len(faceset.faces())
    return Built(
        len(files), new, tuple((row.name, row.error) for row in files if row.error), sum(row.pictures for row in files),
        kept + len(dropped), kept, dict(why.most_common()), tuple(unlooked_px),
    )  # fmt: skip


def parse_thresholds(changes: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Return the thresholds with changes such as "sharpness=0.2" or "frontal=off"; InputError where one is neither."""
    thresholds = dict(THRESHOLDS)
    for change in changes:
        name, _, text = change.partition("=")
        if name not in thresholds:
            raise InputError(f"threshold {change!r}: expected NAME=NUMBER or NAME=off with {', '.join(thresholds)}")
        try:
            thresholds[name] = -math.inf if text == "off" else float(text)
        except ValueError:
            thresholds[name] = math.nan
        if not thresholds[name] < math.inf:
            raise InputError(f"threshold {change!r}: expected a number or off behind {name}=")
    return tuple(thresholds.items())

"""`mien recognize` of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mien.cli.console import progress_bar
from mien.cli.rows import Write
from mien.draw import annotate
from mien.errors import ImageError, OutputError
from mien.faces.detect import smallest_face_px
from mien.media import read_image, write_image
from mien.recognize import Recognizer, Source
from mien.sinks import to_row

__all__ = ["SMALL_FACE_PX", "PicturesRead", "read_pictures"]


SMALL_FACE_PX = 40  # what is looked for in pictures of up to a megapixel; of larger ones it may have to be asked for


@dataclass(slots=True)
class PicturesRead:
    """What came of pictures."""

    pictures: int = 0  # that could be read
    faces: int = 0
    empty: int = 0  # pictures without a face
    unlooked_px: list[float] = field(
        default_factory=list
    )  # of copies for which small faces were not looked for: how small
    bad: dict[Source, ImageError] = field(default_factory=dict)
    unwritten: list[str] = field(default_factory=list)  # why some copies could not be written


def read_pictures(
    recognizer: Recognizer, paths: Sequence[Path], write: Write, *, copies: Mapping[Path, Path], blur_faces: bool
) -> PicturesRead:
    """Read pictures into rows and annotated copies; return what came of them.  A bad one is noted, the rest is done."""
    told = PicturesRead()
    with progress_bar("reading", unit="pictures", total=len(paths)) as go:
        read = recognizer.read_many(paths, on_error=told.bad.__setitem__)
        for number, (path, readings) in enumerate(zip(paths, read, strict=True), start=1):
            if path not in told.bad:
                write([to_row(str(path), face, reading) for face, reading in enumerate(readings)])
                told.faces += len(readings)
                told.empty += not readings
            if path in copies and path not in told.bad:
                try:
                    image_rgb = read_image(path)
                    smallest_px = smallest_face_px(recognizer.detector, *image_rgb.shape[:2])
                    if smallest_px > SMALL_FACE_PX:
                        told.unlooked_px.append(smallest_px)
                    write_image(copies[path], annotate(image_rgb, readings, blur_faces=blur_faces))
                except ImageError as error:  # it has changed since it was read
                    told.bad[path] = error
                except OutputError as error:
                    told.unwritten.append(str(error))
            go(number)
    told.pictures = len(paths) - len(told.bad)
    return told

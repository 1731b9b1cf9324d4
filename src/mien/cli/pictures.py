"""`mien recognize` of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mien.cli.console import progress_bar
from mien.cli.rows import Write
from mien.draw import annotate
from mien.errors import ImageError, OutputError
from mien.media import read_image, write_image
from mien.recognize import Recognizer, Source
from mien.sinks import to_row

__all__ = ["PicturesRead", "read_pictures"]


LARGE_PIXELS = 1_000_000  # above it the smallest face that the detector sees grows


@dataclass(slots=True)
class PicturesRead:
    """What came of pictures."""

    pictures: int = 0  # that could be read
    faces: int = 0
    empty: int = 0  # pictures without a face
    large: int = 0  # of which copies were drawn
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
                    told.large += image_rgb.shape[0] * image_rgb.shape[1] > LARGE_PIXELS
                    write_image(copies[path], annotate(image_rgb, readings, blur_faces=blur_faces))
                except ImageError as error:  # it has changed since it was read
                    told.bad[path] = error
                except OutputError as error:
                    told.unwritten.append(str(error))
            go(number)
    told.pictures = len(paths) - len(told.bad)
    return told

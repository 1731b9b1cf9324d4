"""`mien recognize`: pictures and folders to readings."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from mien.cli.console import err, out, progress_bar
from mien.draw import annotate as draw_readings
from mien.errors import ImageError, InputError
from mien.faces.detect import DETECTORS
from mien.files import make_folder, printable
from mien.media import find_images, image_suffixes, read_image, write_image
from mien.recognize import Recognizer, Source
from mien.sinks import FORMATS, Row, open_sink, to_row
from mien.weights import catalogue

__all__ = ["recognize"]


class Format(StrEnum):
    """What comes out."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


def recognize(
    # readable=False: one picture that may not be read is told as any other bad one, and the rest is done.
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Pictures and folders of pictures.", readable=False)
    ],
    fmt: Annotated[Format | None, typer.Option("--format", help="What comes out.")] = None,
    out_path: Annotated[Path | None, typer.Option("--out", help="Write to this file or folder, not to stdout.")] = None,
    annotate: Annotated[
        Path | None, typer.Option(help="Write copies with the readings drawn in to this folder.")
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model's name, or an ONNX file.")] = catalogue.DEFAULT,
    answer: Annotated[str, typer.Option(help="Which answer of a file that gives several, by name.")] = "",
    detector: Annotated[str, typer.Option(help=f"What finds the faces: {DETECTORS}.")] = "dlib",
    min_face: Annotated[float | None, typer.Option(help="Smallest face to look for, in pixels.")] = None,
    blur_faces: Annotated[
        bool, typer.Option("--blur-faces", help="Blur the faces that are found in the copies.")
    ] = False,
) -> None:
    """Read the expression of every face in pictures.

    Example: mien recognize holiday/ --format csv --out readings.csv --annotate annotated/

    A picture without a face gives no line and is no error.
    Exit code 0: all read; 1: some pictures could not be read, the rest are done; 2: nothing could be done.
    Nothing is uploaded and nothing is kept but what you ask for.
    """
    if blur_faces and annotate is None:
        raise InputError("--blur-faces is for the copies that --annotate DIR writes; name a folder")
    kind, target = _output(fmt, out_path)
    recognizer = Recognizer.load(model, answer=answer, detector=detector, min_face_px=min_face)
    pictures, left_out = _pictures(paths, annotate)
    copies = _copies(pictures, annotate) if annotate else {}
    bad: dict[Source, ImageError] = {}
    faces = empty = 0
    with (
        _rows_to(kind, target, recognizer) as write,
        progress_bar("reading", unit="pictures", total=len(pictures)) as go,
    ):
        read = recognizer.read_many((path for path, _ in pictures), on_error=bad.__setitem__)
        for number, ((path, _), readings) in enumerate(zip(pictures, read, strict=True), start=1):
            if path not in bad:
                write([to_row(str(path), face, reading) for face, reading in enumerate(readings)])
                faces += len(readings)
                empty += not readings
            if path in copies and path not in bad:
                try:
                    write_image(copies[path], draw_readings(read_image(path), readings, blur_faces=blur_faces))
                except ImageError as error:  # it has changed since it was read
                    bad[path] = error
            go(number)
        if len(bad) == len(pictures):
            raise _nothing_read(list(bad.values()))
    summary = f"{_count(len(pictures) - len(bad), 'picture')}, {_count(faces, 'face')}"
    summary += f"; {empty} without a face" if empty else ""
    summary += f"; {len(bad)} not read" if bad else ""
    summary += f"; {_count(left_out, 'other file')} left out" if left_out else ""
    err.print(Text(summary + (f"; annotated copies in {annotate}" if annotate else "")))
    if blur_faces and empty:
        err.print(f"nothing was blurred in {_count(empty, 'copy', 'copies')} in which no face was found: look at them")
    for why in bad.values():
        err.print(Text(f"not read: {why}"))
    if bad:
        raise typer.Exit(1)


def _count(number: int, what: str, several: str = "") -> str:
    """Return so many of a thing in words."""
    return f"{number} {what}" if number == 1 else f"{number} {several or what + 's'}"


def _nothing_read(bad: list[ImageError]) -> InputError:
    """Return the error of a run in which no picture could be read."""
    if len(bad) == 1:
        return bad[0]
    return InputError("\n".join([f"none of the {len(bad)} pictures could be read:", *(f"  {error}" for error in bad)]))


def _output(fmt: Format | None, out_path: Path | None) -> tuple[Format, Path | None]:
    """Return the format and the file (None: stdout) that the options mean together."""
    suffix = out_path.suffix.lstrip(".").lower() if out_path else ""
    kind = fmt or (Format(suffix) if suffix in FORMATS else Format.JSONL if out_path else Format.TABLE)
    if out_path is None:
        if kind is Format.PARQUET:
            raise InputError("Parquet cannot go to the terminal; name a file with --out")
        return kind, None
    if f".{suffix}" in image_suffixes():
        raise InputError(f"{out_path}: --out is for the readings; pictures are written with --annotate FOLDER")
    if kind is Format.TABLE:
        raise InputError("a table is for the terminal; with --out choose --format jsonl, csv or parquet")
    if suffix in FORMATS and suffix != kind and not out_path.is_dir():
        raise InputError(f"{out_path}: the name says {suffix}, but --format says {kind}; let them agree")
    if out_path.is_dir() or (not suffix and not out_path.exists()):
        return kind, out_path / f"readings.{kind}"
    return kind, out_path


def _pictures(paths: list[Path], annotate: Path | None) -> tuple[list[tuple[Path, Path]], int]:
    """Return each picture once, with its path below what was named, and how many other files the folders hold.

    annotate: a folder of annotated copies; where it lies in a folder that is read, it is no part of that.
    """
    pictures: dict[Path, tuple[Path, Path]] = {}
    left_out = 0
    for path in paths:
        try:
            path.stat()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{path}: {reason}; expected a picture or a folder of pictures") from error
        if not path.is_dir():
            pictures.setdefault(path.parent.resolve() / path.name, (path, Path(path.name)))
            continue
        copies = _below(annotate, path) if annotate else None
        found = [picture for picture in find_images(path) if copies not in picture.parents]
        if not found:
            known = ", ".join(sorted(image_suffixes() & {".jpg", ".png", ".webp", ".tif", ".bmp", ".gif"}))
            raise InputError(f"{path}: no pictures in this folder; expected files such as {known}")
        for picture in found:
            pictures.setdefault(picture.parent.resolve() / picture.name, (picture, picture.relative_to(path)))
        folders = ((Path(folder), names) for folder, _, names in os.walk(path))
        left_out += sum(len(names) for folder, names in folders if copies not in (folder, *folder.parents)) - len(found)
    return list(pictures.values()), left_out


def _below(folder: Path, above: Path) -> Path | None:
    """Return the folder as a path that begins with another, in which it lies; None where it does not lie in it."""
    inner, outer = folder.resolve(), above.resolve()
    return above / inner.relative_to(outer) if outer in inner.parents else None


def _copies(pictures: list[tuple[Path, Path]], folder: Path) -> dict[Path, Path]:
    """Return the annotated copy's path of each picture: no two the same, and none a file of a folder that is read."""

    def key(path: Path) -> str:
        return str(path.resolve()).casefold()  # as a file system may tell no cases apart

    make_folder(folder)
    taken = {key(path) for path, _ in pictures}
    sources = {path.parent.resolve() for path, _ in pictures}
    used: Counter[Path] = Counter()
    copies: dict[Path, Path] = {}
    for path, below in pictures:
        suffix = below.suffix if below.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp") else ".png"
        first = copy = folder / below.with_suffix(suffix)
        while key(copy) in taken or (copy.exists() and copy.parent.resolve() in sources):
            used[first] += 1
            copy = first.with_name(f"{first.stem}-{used[first] + 1}{suffix}")
        taken.add(key(copy))
        copies[path] = copy
    return copies


@contextmanager
def _rows_to(kind: Format, target: Path | None, recognizer: Recognizer) -> Iterator[Callable[[list[Row]], None]]:
    """Yield a function that takes rows."""
    labels = recognizer.classifier.spec.labels
    if kind is not Format.TABLE:
        if target is None and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # whatever the terminal's: another program reads this
        with open_sink(target or sys.stdout, kind, labels) as sink:
            yield sink.write
        return
    table = Table(
        "picture", "face", Column("box", no_wrap=True), "expression", "probability", Column("next", no_wrap=True)
    )

    def add(rows: list[Row]) -> None:
        for row in rows:
            second = sorted(row["probabilities"].items(), key=lambda item: -item[1])[1]
            box = ", ".join(f"{value:.0f}" for value in row["box"])
            table.add_row(
                Text(printable(row["source"])), str(row["face"]), box, Text(row["expression"]),
                f"{100 * row['confidence']:.1f}%", Text(f"{second[0]} {100 * second[1]:.1f}%"),
            )  # fmt: skip

    yield add
    if table.row_count:
        out.print(table)

"""`mien recognize`: pictures and folders to readings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from mien.cli.console import err, out, progress_bar
from mien.draw import annotate as draw_readings
from mien.errors import ImageError, InputError
from mien.faces.detect import DETECTORS
from mien.files import make_folder
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
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures and folders of pictures.")],
    fmt: Annotated[Format | None, typer.Option("--format", help="What comes out.")] = None,
    out_path: Annotated[Path | None, typer.Option("--out", help="Write to this file or folder, not to stdout.")] = None,
    annotate: Annotated[
        Path | None, typer.Option(help="Write copies with the readings drawn in to this folder.")
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model's name, or an ONNX file.")] = catalogue.DEFAULT,
    detector: Annotated[str, typer.Option(help=f"What finds the faces: {DETECTORS}.")] = "dlib",
    min_face: Annotated[float | None, typer.Option(help="Smallest face to look for, in pixels.")] = None,
    blur_faces: Annotated[bool, typer.Option("--blur-faces", help="Make faces unrecognizable in the copies.")] = False,
) -> None:
    """Read the expression of every face in pictures.

    Example: mien recognize holiday/ --format csv --out readings.csv --annotate annotated/

    A picture without a face gives no line and is no error.  Exit code 0: all read; 1: some pictures could not be read,
    the rest are done; 2: nothing could be done.  Nothing is uploaded and nothing is kept but what you ask for.
    """
    kind, target = _output(fmt, out_path)
    recognizer = Recognizer.load(model, detector=detector, min_face_px=min_face)
    pictures, left_out = _pictures(paths)
    copies = _copies(pictures, annotate) if annotate else {}
    bad: dict[Source, ImageError] = {}
    faces = empty = 0
    with (
        _rows_to(kind, target, recognizer) as write,
        progress_bar("reading", unit="pictures", total=len(pictures)) as go,
    ):
        read = recognizer.read_many((path for path, _ in pictures), on_error=bad.__setitem__)
        for number, ((path, _), readings) in enumerate(zip(pictures, read, strict=True), start=1):
            write([to_row(str(path), face, reading) for face, reading in enumerate(readings)])
            faces += len(readings)
            empty += not readings and path not in bad
            if path in copies and path not in bad:
                write_image(copies[path], draw_readings(read_image(path), readings, blur_faces=blur_faces))
            go(number)
        if len(bad) == len(pictures):
            raise _nothing_read(list(bad.values()))
    summary = f"{len(pictures) - len(bad)} pictures, {faces} faces, {empty} pictures without a face"
    summary += f"; {left_out} other files left out" if left_out else ""
    err.print(summary + (f"; annotated copies in {annotate}" if annotate else ""), markup=False)
    for error in bad.values():
        err.print(f"not read: {error}", markup=False)
    if bad:
        raise typer.Exit(1)


def _nothing_read(bad: list[ImageError]) -> InputError:
    """Return the error of a run in which no picture could be read."""
    if len(bad) == 1:
        return bad[0]
    return InputError("\n".join([f"none of the {len(bad)} pictures could be read:", *(f"  {error}" for error in bad)]))


def _output(fmt: Format | None, out_path: Path | None) -> tuple[Format, Path | None]:
    """Return the format and the file (None: stdout) that the options mean together."""
    suffix = out_path.suffix.lstrip(".") if out_path else ""
    kind = fmt or (Format(suffix) if suffix in FORMATS else Format.JSONL if out_path else Format.TABLE)
    if out_path is None:
        if kind is Format.PARQUET:
            raise InputError("Parquet cannot go to the terminal; name a file with --out")
        return kind, None
    if kind is Format.TABLE:
        raise InputError("a table is for the terminal; with --out choose --format jsonl, csv or parquet")
    if out_path.is_dir() or (not suffix and not out_path.exists()):
        return kind, out_path / f"readings.{kind}"
    return kind, out_path


def _pictures(paths: list[Path]) -> tuple[list[tuple[Path, Path]], int]:
    """Return each picture with its path below what was named, and how many other files the folders hold."""
    pictures: list[tuple[Path, Path]] = []
    left_out = 0
    for path in paths:
        if path.is_dir():
            found = list(find_images(path))
            if not found:
                known = ", ".join(sorted(image_suffixes() & {".jpg", ".png", ".webp", ".tif", ".bmp", ".gif"}))
                raise InputError(f"{path}: no pictures in this folder; expected files such as {known}")
            pictures += [(picture, picture.relative_to(path)) for picture in found]
            left_out += sum(1 for file in path.rglob("*") if file.is_file()) - len(found)
        elif path.exists():
            pictures.append((path, Path(path.name)))
        else:
            raise InputError(f"{path}: no such file or folder")
    return list(dict.fromkeys(pictures)), left_out


def _copies(pictures: list[tuple[Path, Path]], folder: Path) -> dict[Path, Path]:
    """Return the annotated copy's path of each picture: no two the same, none a picture that is read."""
    make_folder(folder)
    taken = {path.resolve() for path, _ in pictures}
    copies: dict[Path, Path] = {}
    for path, below in pictures:
        suffix = below.suffix if below.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp") else ".png"
        copy, number = folder / below.with_suffix(suffix), 2
        while copy.resolve() in taken:
            copy, number = copy.with_name(f"{below.stem}-{number}{suffix}"), number + 1
        taken.add(copy.resolve())
        copies[path] = copy
    return copies


@contextmanager
def _rows_to(kind: Format, target: Path | None, recognizer: Recognizer) -> Iterator[Callable[[list[Row]], None]]:
    """Yield a function that takes rows."""
    labels = recognizer.classifier.spec.labels
    if kind is not Format.TABLE:
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
                row["source"], str(row["face"]), box, row["expression"],
                f"{100 * row['confidence']:.1f}%", f"{second[0]} {100 * second[1]:.1f}%",
            )  # fmt: skip

    yield add
    if table.row_count:
        out.print(table)

"""`mien data build`: photographs and video to a set of faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mien.cli.console import err, interrupted_by_sigterm, out, plural, progress_bar, refuse_ignored
from mien.errors import InputError
from mien.faces.detect import DETECTORS
from mien.files import printable
from mien.spec import COLOURS, CropSpec

__all__ = ["build"]

DEFAULT_CROP = CropSpec()
UNREADABLE_SHOWN = 20


def build(
    context: typer.Context,
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="Folders, photographs, videos, or a CSV: file and any of person, consent, source, licence.",
        ),
    ],
    out_dir: Annotated[Path, typer.Option("--out", help="The set's folder; one that is there is added to.")],
    every: Annotated[float, typer.Option(help="Of a video: a face every so many seconds.")] = 1.0,
    on_change: Annotated[
        bool, typer.Option("--on-change", help="Of a video: a face whenever it changes, not every so many seconds.")
    ] = False,
    min_face: Annotated[float, typer.Option(help="Smallest face to look for, in pixels.")] = 48.0,
    threshold: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="Another threshold of quality, or NAME=off; can be repeated."),
    ] = None,
    detector: Annotated[str, typer.Option(help=f"What finds the faces: {DETECTORS}.")] = "dlib",
    size: Annotated[int, typer.Option(help="Side of a crop in pixels.")] = DEFAULT_CROP.size_px,
    colour: Annotated[str, typer.Option(help=" or ".join(COLOURS))] = DEFAULT_CROP.colour,
    jobs: Annotated[int, typer.Option(help="Processes; 0: one for each core.", min=0)] = 0,
) -> None:
    """Find the faces of photographs and videos, cut them out, grade them, and drop what is unfit or a copy.

    Example: mien data build photos/ clip.mp4 people.csv --out faces/

    What was dropped is counted with the reason and shown in contact-sheet.jpg.  Killed at any moment, the same command
    goes on; a file that the set has is read again only where it changed or could not be opened, not for another
    --every.  The folder holds pictures of people: keep it where only those may look who must.
    Exit code 0: all files read; 1: some could not be read, the rest is done; 2: nothing could be done.
    """
    from mien.data.build import BuildSettings, parse_thresholds
    from mien.data.build import build as build_set
    from mien.data.contact_sheet import draw_contact_sheet, in_words
    from mien.data.faceset import FaceSet
    from mien.data.gathering import gather_files
    from mien.data.set_datasheet import write_set_datasheet
    from mien.faces.detect import make_detector

    if on_change:
        refuse_ignored(context, ("every",), "--on-change takes a face whenever it changes")
    if not 0 < every < 1e6:
        raise InputError(f"--every is {every:g} seconds; expected more than 0")
    make_detector(detector, min_face_px=min_face)  # what is wrong with it is told now
    settings = BuildSettings(
        crop=CropSpec(size_px=size, colour=colour), detector=detector, min_face_px=min_face, every_s=every,
        on_change=on_change, thresholds=parse_thresholds(threshold or ()),
    )  # fmt: skip
    others: list[Path] = []
    files, problems = gather_files(sources, on_other=others.append)
    if not files:
        raise InputError("\n".join(["no file to read:", *problems[:UNREADABLE_SHOWN]]))
    with progress_bar("finding faces", unit="files", total=len(files)) as advance:
        try:
            with interrupted_by_sigterm():
                built = build_set(files, out_dir, settings=settings, jobs=jobs, on_progress=advance)
        except KeyboardInterrupt:
            err.print("stopped; the same command goes on")
            raise typer.Exit(130) from None
    faceset = FaceSet(out_dir)
    sheet, page = draw_contact_sheet(faceset), write_set_datasheet(faceset)
    table = Table(
        "faces", "", title=Text(f"{built.files:,} files, {built.pictures:,} pictures in {printable(out_dir)}")
    )
    table.add_row("found", f"{built.faces:,}")
    table.add_row("kept", f"{built.kept:,}")
    for reason, count in built.dropped.items():
        table.add_row(f"dropped: {in_words(reason)}", f"{count:,}")
    out.print(table)
    err.print(
        f"{built.new:,} files read now; {printable(sheet)} shows kept and dropped; {printable(page)}", markup=False
    )
    if others:
        err.print(f"{len(others):,} other {plural(len(others), 'file')} left out")
    if number := len(built.unlooked_px):
        err.print(
            f"in {number:,} {plural(number, 'file')} read now, of too many pixels for that, faces of less than about "
            f"{max(built.unlooked_px):.0f} pixels were not looked for, though --min-face is {min_face:g}"
        )
    told = [*problems, *(f"{name}: {why}" for name, why in built.unreadable)]
    for line in told[:UNREADABLE_SHOWN]:
        err.print(Text(f"not read: {line}"))
    if len(told) > UNREADABLE_SHOWN:
        err.print(f"... and {len(told) - UNREADABLE_SHOWN:,} more; the datasheet has all that could not be opened")
    if not built.kept:
        err.print("no face was kept; --threshold NAME=off keeps what one number drops")
    if told:
        raise typer.Exit(1)

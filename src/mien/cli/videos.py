"""`mien recognize` of videos."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from mien.cli.console import err, out, progress_bar
from mien.cli.inputs import report_files
from mien.cli.rows import Write
from mien.errors import OutputError, VideoError
from mien.files import made_for_now, make_folder, printable, write_text
from mien.locks import only_one
from mien.media import write_image
from mien.recognize import Recognizer
from mien.sinks import Row
from mien.summary import COLUMNS, Person, as_json, remove_thumbnails, table, write_thumbnails
from mien.types import FrameReading
from mien.video import duration_of
from mien.video_run import VideoRun, VideoSettings, is_marked

__all__ = ["VideosRead", "Wanted", "print_people", "read_videos", "remove_runs", "work_folder"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to come of videos beside rows."""

    settings: VideoSettings
    copies: dict[Path, Path]  # annotated ones, by video
    reports: dict[Path, Path]  # where the pictures and files of a report go, by video, without a suffix
    thumbnails: bool  # in the reports
    tables: bool  # on the terminal
    model: str  # all that decides what is read
    resume: bool
    kept: bool  # something is written, beside which a run that is stopped stays


@dataclass(slots=True)
class VideosRead:
    """What came of videos."""

    videos: int = 0  # that could be read, to their ends or not
    frames: int = 0
    faces: int = 0
    bad: list[VideoError] = field(default_factory=list)  # those that could not be read at all
    cut_short: list[str] = field(default_factory=list)  # why some could not be read to their ends
    unwritten: list[str] = field(default_factory=list)  # why some copies and reports could not be written


def read_videos(
    recognizer: Recognizer, paths: Sequence[Path], write: Write, wanted: Wanted, *, work: Path
) -> VideosRead:
    """Read videos into rows and what else is wanted; return what came of them.  A bad one is noted, the rest is done.

    work: a folder in which each video has one, from which a later call goes on where this one is stopped, or writes
    what this one could not.
    """
    told = VideosRead()
    for number, path in enumerate(paths):
        try:
            run = _read(recognizer, path, write, wanted, work / str(number))
        except VideoError as error:
            told.bad.append(error)
            continue
        progress = run.progress
        told.videos += 1
        told.frames += progress.frames
        told.faces += progress.faces
        if progress.broke_off:
            told.cut_short.append(progress.broke_off)
        for write_output in (_tell_people, _write_copy):
            try:
                write_output(run, path, wanted)
            except (OutputError, VideoError) as error:  # rows that took hours are worth more than what is made of them
                told.unwritten.append(str(error))
    return told


def remove_runs(work: Path) -> None:
    """Remove the runs in a folder for runs: nothing is left to do."""
    for folder in _runs(work):
        shutil.rmtree(folder, ignore_errors=True)


def _read(recognizer: Recognizer, path: Path, write: Write, wanted: Wanted, folder: Path) -> VideoRun:
    """Return the run of a video that has been read, its rows written."""
    name = printable(path)
    duration_s = duration_of(path)
    run = VideoRun(folder, path, wanted.settings, name=str(path), model=wanted.model, resume=wanted.resume)
    for row in run.rows():
        write([row])
    with progress_bar(path.name, unit="s of video", total=None if duration_s is None else round(duration_s)) as go:

        def show(reading: FrameReading, rows: list[Row]) -> None:
            write(rows)
            go(round(reading.time_s))

        try:
            run.read(recognizer, on_frame=show)
        except KeyboardInterrupt:
            kept = "; the same command with --resume goes on from there"
            if not (wanted.kept and is_marked(folder)):
                kept = ""
            err.print(Text(f"{name}: stopped at {run.progress.time_s:.1f} s{kept}"))
            raise typer.Exit(130) from None
    return run


def _write_copy(run: VideoRun, path: Path, wanted: Wanted) -> None:
    """Write the annotated copy of a video."""
    if path in wanted.copies:
        run.write_annotated(make_folder(wanted.copies[path].parent) / wanted.copies[path].name)


def _tell_people(run: VideoRun, path: Path, wanted: Wanted) -> None:
    """Print who is in a video, and write its report."""
    if path not in wanted.reports and not wanted.tables:
        return
    summary, timeline = run.describe()
    people = summary.people()
    if wanted.tables:
        print_people(str(path), people)
    if path in wanted.reports:
        timeline_path, summary_path, faces = report_files(wanted.reports[path])
        duration_s = run.progress.time_s
        write_image(timeline_path, timeline.draw(duration_s=duration_s))
        about = {
            "source": printable(path), "duration_s": round(duration_s, 3), "frames": run.progress.frames,
            **{key: value for key, value in asdict(wanted.settings).items() if key in ("every_s", "smooth_s")},
        }  # fmt: skip
        told = json.dumps(about | as_json(people), indent=1, ensure_ascii=False)
        write_text(summary_path, told + "\n")
        remove_thumbnails(faces)  # of an earlier report
        if wanted.thumbnails:
            write_thumbnails(path, people, faces)


def print_people(source: str, people: Sequence[Person]) -> None:
    """Print a table of the people of a video."""
    shown = Table(*COLUMNS, title=Text(printable(source)), title_justify="left")
    for row in table(people):
        shown.add_row(*map(Text, row))
    if people:
        out.print(shown)


@contextmanager
def work_folder(output: Path | None, *, is_folder: bool) -> Iterator[Path]:
    """Yield a folder for runs, beside an output or in it where that is (or will be) a folder.

    It stays where the block leaves a run that can be gone on with, and is removed otherwise.  None: nothing is written,
    so that there is nothing to resume, and the folder is removed in any case.
    Raises InputError where another run is at work there.
    """
    if output is None:
        with tempfile.TemporaryDirectory(prefix="mien-") as scratch:
            yield Path(scratch)
        return
    folder = output / ".mien-run" if is_folder else output.parent / f".{output.name}-run"
    busy = f"{printable(output)}: another run is writing there; wait for it, or write elsewhere"
    with made_for_now(folder.parent), only_one(folder / "lock", busy=busy):
        try:
            yield folder
        finally:
            for run in _runs(folder):
                if not is_marked(run):
                    shutil.rmtree(run, ignore_errors=True)
            if not _runs(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _runs(work: Path) -> list[Path]:
    """Return the folders of the runs in a folder for runs."""
    return [folder for folder in work.iterdir() if folder.is_dir()]

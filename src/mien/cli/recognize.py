"""`mien recognize`: pictures, videos and cameras to readings."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from mien.cli.cameras import read_camera
from mien.cli.console import err, interrupted_by_sigterm, plural, refuse_ignored
from mien.cli.inputs import copies_of, gather, recording_of, reports_of
from mien.cli.pictures import SMALL_FACE_PX, PicturesRead, read_pictures
from mien.cli.rows import Format, choose, rows_to
from mien.cli.videos import VideosRead, Wanted, print_people, read_videos, remove_runs, work_folder
from mien.errors import ImageError, InputError
from mien.faces.detect import DETECTORS
from mien.files import is_device, make_folder, printable, sha256_of
from mien.live import is_live, name_of
from mien.recognize import Recognizer
from mien.temporal import SMOOTH_S, check_smooth
from mien.video_run import VideoSettings
from mien.weights import catalogue

__all__ = ["recognize"]

UNBLURRED = "in videos a face is not blurred in the frames in which it was not found: look at them"
OF_VIDEOS = ("report", "every", "resume", "smooth")
_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "min": 60.0, "h": 3600.0}


def _seconds(text: str | float) -> float:
    """Return a length of time in seconds: "0.2s", "200ms", "2min", or a bare number of seconds."""
    if isinstance(text, float):  # a default
        return text
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|min|h|)\s*", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no length of time; expected such as 0.2s, 200ms or 2min")
    return float(found[1]) * _UNITS[found[2]]


@dataclass(frozen=True, slots=True)
class _Options:
    """What was asked for, beside the sources and the recognizer."""

    kind: Format
    target: Path | None
    annotate: Path | None
    report: Path | None
    thumbnails: bool
    settings: VideoSettings
    resume: bool
    for_s: float
    asks_small: bool  # for faces as small as SMALL_FACE_PX


def recognize(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...", help="Pictures, videos and folders of these; or a camera (camera:0) or rtsp://..."
        ),
    ],
    fmt: Annotated[Format | None, typer.Option("--format", help="What comes out.")] = None,
    out_path: Annotated[Path | None, typer.Option("--out", help="Write to this file or folder, not to stdout.")] = None,
    annotate: Annotated[
        Path | None, typer.Option(help="Write copies with the readings drawn in to this folder.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Of videos: write a timeline picture and a summary to this folder.")
    ] = None,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="With --report: the faces of each person's strongest moments too.")
    ] = False,
    every: Annotated[
        float, typer.Option(parser=_seconds, metavar="TIME", help="Of videos: read a frame every 0.2s, say, not each.")
    ] = 0.0,
    smooth: Annotated[
        float,
        typer.Option(parser=_seconds, metavar="TIME", help="Of videos: smooth over so long on either side; 0: not."),
    ] = SMOOTH_S,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with videos that were stopped.")] = False,
    for_s: Annotated[
        float | None, typer.Option("--for", parser=_seconds, metavar="TIME", help="Of a camera: stop after so long.")
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model's name, or an ONNX file.")] = catalogue.DEFAULT,
    answer: Annotated[str, typer.Option(help="Which answer of a file that gives several, by name.")] = "",
    detector: Annotated[str, typer.Option(help=f"What finds the faces: {DETECTORS}.")] = "dlib",
    min_face: Annotated[
        float | None,
        typer.Option(help="Smallest face to look for, in pixels; dlib's own is about 40, and 110 at 12 megapixels."),
    ] = None,
    blur_faces: Annotated[
        bool, typer.Option("--blur-faces", help="Blur the faces that are found in the copies.")
    ] = False,
) -> None:
    """Read the expression of every face in pictures and videos, or before a camera.

    Example: mien recognize holiday/ --format csv --out readings.csv --annotate annotated/

    Example: mien recognize clip.mp4 --out clip.csv --annotate annotated/ --report report/

    Example: mien recognize camera:0

    In a video a person keeps a number, and probabilities are smoothed in time: in a file without delay, live with a
    delay of a third of --smooth.  A picture or a frame without a face gives no line and is no error.
    Exit code 0: all read; 1: some files could not be read, or not to their ends, or some copies not written, the rest
    is done; 2: nothing could be done.  Nothing is uploaded and nothing is kept but what you ask for.
    """
    if blur_faces and annotate is None:
        raise InputError("--blur-faces is for the copies that --annotate DIR writes; name a folder")
    if thumbnails and (report is None or blur_faces):
        raise InputError("--thumbnails are faces for --report DIR; name a folder, and leave --blur-faces out")
    check_smooth(smooth)
    kind, target = choose(fmt, out_path)
    settings = VideoSettings(every, smooth, annotate is not None, blur_faces)
    options = _Options(
        kind, target, annotate, report, thumbnails, settings, resume, float("inf") if for_s is None else for_s,
        min_face is not None and min_face <= SMALL_FACE_PX,
    )  # fmt: skip
    recognizer = Recognizer.load(model, answer=answer, detector=detector, min_face_px=min_face)
    if "" in paths:
        raise InputError("a source is an empty text; name pictures, videos, folders or a camera")
    live = [path for path in paths if is_live(path)]
    if live:
        if len(paths) > 1:
            raise InputError(f"{name_of(live[0])}: a camera or a stream is read alone; name nothing beside it")
        failed = _read_camera(recognizer, live[0], options)
    else:
        if for_s is not None:
            raise InputError("--for is of a camera or a stream; a file is read to its end, so leave it out")
        what = " ".join([sha256_of(catalogue.find(model)[0]), recognizer.classifier.answer, detector, str(min_face)])
        failed = _read_files(context, recognizer, [Path(path) for path in paths], options, what)
    if failed:
        raise typer.Exit(1)


def _read_files(
    context: typer.Context, recognizer: Recognizer, paths: list[Path], options: _Options, model: str
) -> bool:
    """Read pictures and videos and say what came of them; return whether something could not be done."""
    if options.resume and options.target is options.annotate is options.report is None:
        raise InputError("--resume goes on with what --out, --annotate or --report was writing; name it again")
    outputs = [folder for folder in (options.annotate, options.report) if folder is not None]
    inputs = gather(paths, leave_out=outputs)
    if not inputs.videos:
        refuse_ignored(context, OF_VIDEOS, "it is of videos, and there is none")
    read = {path.resolve() for path, _ in (*inputs.pictures, *inputs.videos)}
    # os.path, as pathlib's raises where links lead in a circle.
    if options.target is not None and Path(os.path.realpath(options.target)) in read:
        raise InputError(f"{printable(options.target)}: it is read, so the readings cannot go there; name another file")
    if options.annotate is not None:
        for path, _ in inputs.pictures:
            if not path.is_file():
                raise InputError(f"{printable(path)}: can be read but once; save it to a file, or leave --annotate out")
    copies = copies_of(inputs, options.annotate) if options.annotate else {}
    reports = reports_of(inputs, options.report) if options.report else {}
    # A pipe keeps nothing, so that there is nothing to go on with.
    target = None if options.target is None or is_device(options.target) else options.target
    kept_by = target or options.annotate or options.report
    wanted = Wanted(
        options.settings, copies, reports,
        thumbnails=options.thumbnails, tables=options.kind is Format.TABLE, model=model, resume=options.resume,
        kept=kept_by is not None,
    )  # fmt: skip
    pictures, films = PicturesRead(), VideosRead()
    labels = recognizer.classifier.spec.labels
    with interrupted_by_sigterm(), ExitStack() as stack:
        work = stack.enter_context(work_folder(kept_by, is_folder=target is None)) if inputs.videos else None
        with rows_to(options.kind, options.target, labels) as write:
            if inputs.pictures:
                files = [path for path, _ in inputs.pictures]
                pictures = read_pictures(
                    recognizer, files, write, copies=copies, blur_faces=options.settings.blur_faces
                )
            if work is not None:
                films = read_videos(recognizer, [path for path, _ in inputs.videos], write, wanted, work=work)
            bad: list[InputError] = [*pictures.bad.values(), *films.bad]
            if len(bad) == len(inputs.pictures) + len(inputs.videos):
                raise _nothing_read(bad)
        if work is not None and not films.unwritten:
            remove_runs(work)  # now that the rows are where they belong
    err.print(Text(_summary(pictures, films, len(bad), inputs.left_out, options)))
    if options.settings.blur_faces:
        _warn_of_unblurred(pictures, films, asks_small=options.asks_small)
    for why in [*bad, *films.cut_short]:
        err.print(Text(f"not read{'' if why in bad else ' to its end'}: {why}"))
    for why in inputs.closed:
        err.print(Text(f"not read: {why}"))
    again = [f"{why}; the same command with --resume tries again" for why in films.unwritten]
    for why in [*pictures.unwritten, *again]:
        err.print(Text(f"not written: {why}"))
    return bool(bad or films.cut_short or inputs.closed or pictures.unwritten or films.unwritten)


def _read_camera(recognizer: Recognizer, source: str, options: _Options) -> bool:
    """Read a camera or a stream and say what came of it; return whether it broke off."""
    if options.report is not None or options.resume:
        raise InputError("--report and --resume are for files; a camera is not there twice")
    copy = None
    if options.annotate is not None:
        name = re.sub(r"[^0-9A-Za-z.-]+", "-", name_of(source).removesuffix(".mp4")).strip("-.")[:80]
        copy = recording_of(f"{name}.mp4", make_folder(options.annotate))
    with rows_to(options.kind, options.target, recognizer.classifier.spec.labels) as write:
        told, people = read_camera(
            recognizer, source, write, every_s=options.settings.every_s, smooth_s=options.settings.smooth_s,
            for_s=options.for_s, copy=copy, blur_faces=options.settings.blur_faces, tell=options.kind is Format.TABLE,
        )  # fmt: skip
    if options.kind is Format.TABLE:
        print_people(name_of(source), people)
    err.print(Text(f"{told.seconds:.1f} s; {told.frames} of {told.given} frames read; {_count(told.faces, 'reading')}"))
    if options.settings.blur_faces:
        err.print(UNBLURRED)
    if told.broke_off is not None:
        err.print(Text(f"not read to its end: {told.broke_off}"))
    if told.unwritten:
        err.print(Text(f"not written: {told.unwritten}"))
    return told.broke_off is not None or bool(told.unwritten)


def _summary(pictures: PicturesRead, read: VideosRead, bad: int, left_out: int, options: _Options) -> str:
    """Return in a line what was read."""
    told = []
    if pictures.pictures or not read.videos:
        told.append(f"{_count(pictures.pictures, 'picture')}, {_count(pictures.faces, 'face')}")
    if pictures.empty:
        told.append(f"{pictures.empty} without a face")
    if read.videos:
        told.append(f"{_count(read.videos, 'video')}, {_count(read.frames, 'frame')}, {_count(read.faces, 'reading')}")
    if bad:
        told.append(f"{bad} not read")
    if left_out:
        told.append(f"{_count(left_out, 'other file')} left out")
    if options.annotate:
        told.append(f"annotated copies in {printable(options.annotate)}")
    if options.report:
        told.append(f"reports in {printable(options.report)}")
    return "; ".join(told)


def _warn_of_unblurred(pictures: PicturesRead, read: VideosRead, *, asks_small: bool) -> None:
    """Say where faces may have been missed."""
    if pictures.empty:
        copies = _count(pictures.empty, "copy", "copies")
        err.print(f"nothing was blurred in {copies} in which no face was found: look at them")
    if pictures.unlooked_px:
        where, size = _count(len(pictures.unlooked_px), "picture"), f"{max(pictures.unlooked_px):.0f} pixels"
        advice = "" if asks_small else f"; --min-face {SMALL_FACE_PX} looks for smaller ones"
        err.print(f"in {where} faces of less than about {size} were not looked for, so not blurred{advice}")
    if read.videos:
        err.print(UNBLURRED)


def _count(number: int, what: str, several: str = "") -> str:
    """Return so many of a thing in words."""
    return f"{number} {plural(number, what, several)}"


def _nothing_read(bad: list[InputError]) -> InputError:
    """Return the error of a run in which no file could be read."""
    if len(bad) == 1:
        return bad[0]
    what = "pictures" if all(isinstance(error, ImageError) for error in bad) else "files"
    return InputError("\n".join([f"none of the {len(bad)} {what} could be read:", *(f"  {error}" for error in bad)]))

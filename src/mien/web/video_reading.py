"""One video to the files that its sender fetches: rows, summary, timeline and, where asked for, an annotated copy."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mien.draw import annotate
from mien.errors import VideoError
from mien.files import write_text
from mien.media import write_image
from mien.recognize import Recognizer
from mien.sinks import FORMATS, open_sink, to_row
from mien.summary import Summary, as_json
from mien.temporal import VideoReader
from mien.timeline import Timeline
from mien.video import Frame, frames
from mien.video_writer import VideoWriter, join

__all__ = ["ANNOTATED", "SUMMARY", "TIMELINE", "Cancelled", "Task", "read_video", "rows_name"]

ANNOTATED, SUMMARY, TIMELINE = "annotated.mp4", "summary.json", "timeline.png"


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """Nobody waits for this video any more."""


@dataclass(slots=True)
class Task:
    """A video to read, and how far that is."""

    folder: Path  # it lies there as `source`, and what it comes to beside it
    name: str  # it came with
    every_s: float
    annotate: bool
    max_s: float
    duration_s: float | None = None
    time_s: float = 0.0
    faces: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def source(self) -> Path:
        """Return where the video lies."""
        return self.folder / "source"

    def check_duration(self) -> None:
        """Raise VideoError where the video says that it lasts longer than is taken."""
        if self.duration_s is not None and self.duration_s > self.max_s:
            raise VideoError(f"{self.name}: lasts {self.duration_s:.0f} s, longer than the {self.max_s:g} s taken")

    @contextmanager
    def own_words(self) -> Iterator[None]:
        """Have a VideoError name the video as it came, not as it lies here."""
        try:
            yield
        except VideoError as error:
            raise VideoError(str(error).replace(str(self.source), self.name)) from error


def rows_name(kind: str) -> str:
    """Return the name of the file of rows in one of `sinks.FORMATS`."""
    return f"rows.{kind}"


def read_video(recognizer: Recognizer, task: Task) -> str | None:
    """Read a task's video into its folder and remove it; return why that broke off before its end, None where not.

    Raises VideoError where nothing could be read, Cancelled, and OutputError.
    """
    summary, timeline = Summary(every_s=task.every_s), Timeline(every_s=task.every_s)
    part = task.folder / "part.mp4"
    broke_off = None
    with ExitStack() as stack:
        labels = recognizer.classifier.spec.labels
        sinks = [stack.enter_context(open_sink(task.folder / rows_name(kind), kind, labels)) for kind in FORMATS]
        writer = stack.enter_context(VideoWriter(part)) if task.annotate else None
        read = stack.enter_context(closing(VideoReader(recognizer).read(_frames(task))))
        began = False
        try:
            with task.own_words():
                for frame, reading in read:
                    began = True
                    rows = [to_row(task.name, face, one, frame=reading) for face, one in enumerate(reading.readings)]
                    for sink in sinks:
                        sink.write(rows)
                    for row in rows:
                        summary.add(row)
                        timeline.add(row)
                    if writer is not None:
                        writer.write(annotate(frame.image_rgb, reading.readings), frame.time_s)
                    task.time_s, task.faces = frame.time_s, task.faces + len(rows)
        except VideoError as error:
            if not began:
                raise
            broke_off = str(error)
    write_text(task.folder / SUMMARY, json.dumps(as_json(summary.people())))
    write_image(task.folder / TIMELINE, timeline.draw())
    if task.annotate:
        join([part], task.source, task.folder / ANNOTATED)
        part.unlink()
    task.source.unlink()
    return broke_off


def _frames(task: Task) -> Iterator[Frame]:
    """Yield the frames of a task's video; VideoError where it goes on for too long, Cancelled where nobody waits."""
    for frame in frames(task.source, every_s=task.every_s):
        if task.cancelled.is_set():
            raise Cancelled
        if frame.time_s > task.max_s:
            raise VideoError(f"{task.name}: longer than the {task.max_s:g} s taken; what is before that is read")
        yield frame

"""One video to the files that its sender fetches: rows, summary, timeline and, where asked for, an annotated copy."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mien.errors import VideoError
from mien.files import write_text
from mien.media import write_image
from mien.recognize import Recognizer
from mien.sinks import FORMATS, Row, open_sink
from mien.summary import as_json
from mien.types import FrameReading
from mien.video_run import VideoRun, VideoSettings

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
            raise VideoError(self.named(str(error))) from error

    def named(self, told: str) -> str:
        """Return what is told of the video with the name that it came with."""
        return told.replace(str(self.source), self.name)


def rows_name(kind: str) -> str:
    """Return the name of the file of rows in one of `sinks.FORMATS`."""
    return f"rows.{kind}"


def read_video(recognizer: Recognizer, task: Task) -> str | None:
    """Read a task's video into its folder and remove it; return why that broke off before its end, None where not.

    Raises VideoError where nothing could be read, Cancelled, and OutputError.
    """

    def check(reading: FrameReading, rows: list[Row]) -> None:
        task.time_s, task.faces = reading.time_s, task.faces + len(rows)
        if task.cancelled.is_set():
            raise Cancelled
        if reading.time_s > task.max_s:
            raise VideoError(f"{task.name}: longer than the {task.max_s:g} s taken; what is before that is read")

    settings = VideoSettings(every_s=task.every_s, annotate=task.annotate)
    run = VideoRun(task.folder / "run", task.source, settings, name=task.name, model="")
    with task.own_words():
        run.read(recognizer, on_frame=check)
    summary, timeline = run.describe()
    write_text(task.folder / SUMMARY, json.dumps(as_json(summary.people())))
    write_image(task.folder / TIMELINE, timeline.draw(duration_s=run.progress.time_s))
    with ExitStack() as stack:
        labels = recognizer.classifier.spec.labels
        sinks = [stack.enter_context(open_sink(task.folder / rows_name(kind), kind, labels)) for kind in FORMATS]
        for row in run.rows():
            for sink in sinks:
                sink.write([row])
    if task.annotate:
        run.write_annotated(task.folder / ANNOTATED)
    run.remove()
    task.source.unlink()
    broke_off = run.progress.broke_off
    return None if broke_off is None else task.named(broke_off)

"""One video read into a folder, from which its outputs are made; what was stopped goes on from where it stood.

The folder holds `rows.jsonl` (see `mien.sinks`), `part-N.mp4` of the annotated copy, and `run.json`: what is read and
how, how far that is, and all that going on needs.  It is written anew every MARK_S seconds of work, once the rows and
parts that it tells of are on the disk; those that came after it are dropped and made again, the same.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from mien.draw import annotate
from mien.errors import InputError, OutputError, VideoError
from mien.files import make_folder, output_errors, printable, write_text
from mien.recognize import Recognizer
from mien.sinks import JsonLinesSink, Row, to_row
from mien.summary import Summary, longest_gap_s
from mien.temporal import SMOOTH_S, VideoReader
from mien.timeline import Timeline
from mien.types import FrameReading
from mien.video import Frame, frames
from mien.video_writer import VideoWriter, join

__all__ = ["VideoRun", "VideoSettings", "is_marked"]

MARK_S = 10.0
_ROWS, _STATE = "rows.jsonl", "run.json"

OnFrame = Callable[[FrameReading, list[Row]], None]


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """How a video is read."""

    every_s: float = 0.0  # seconds between the frames that are read; 0: every frame
    smooth_s: float = SMOOTH_S  # see `mien.temporal`
    annotate: bool = False  # make a copy with the readings drawn in
    blur_faces: bool = False  # in that copy


@dataclass(slots=True)
class _Progress:
    """How far a run is."""

    frames: int = 0
    faces: int = 0
    time_s: float = 0.0  # of the last frame
    rows_bytes: int = 0
    parts: int = 0
    size: tuple[int, int] | None = None  # of the annotated copy
    copy_failed: str | None = None  # why that could not be made; rows are read all the same
    done: bool = False
    broke_off: str | None = None  # why not all could be read


class VideoRun:
    """The reading of one video, in a folder of its own."""

    def __init__(
        self, folder: Path, source: Path, settings: VideoSettings, *, name: str, model: str, resume: bool = False
    ) -> None:
        """Begin, or with `resume` go on where there is something to go on with.

        name: what rows call the source.  model: all that decides what the recognizer says.
        Raises InputError where what was begun is of another source, model or settings, VideoError where there is none.
        """
        self._folder, self._source, self._settings, self._name = folder, source, settings, name
        try:
            found = source.stat()
        except (OSError, ValueError) as error:
            raise VideoError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
        self._about = {
            "source": os.fsencode(source.resolve()).decode("utf-8", "backslashreplace"),
            "stamp": [found.st_size, found.st_mtime_ns], "model": model, "settings": asdict(settings),
        }  # fmt: skip
        self.progress = _Progress()
        self._reader_state: dict[str, Any] | None = None
        goes_on = resume and is_marked(folder)
        if goes_on:
            self._restore()
        if self.progress.done and self.progress.copy_failed:  # which only reading all frames once more can mend
            self.progress, self._reader_state, goes_on = _Progress(), None, False
        if not goes_on:
            shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)

    def read(self, recognizer: Recognizer, *, on_frame: OnFrame | None = None) -> None:
        """Read the video to its end, or as far as it can be read; what was read by an earlier run is not read again.

        on_frame: called with each frame's reading and rows.  Raises VideoError where not one frame could be read.
        """
        if self.progress.done:
            return
        reader = VideoReader(recognizer, smooth_s=self._settings.smooth_s, state=self._reader_state)
        source = frames(self._source, every_s=self._settings.every_s, first=reader.first_frame)
        with (
            (self._folder / _ROWS).open("a", encoding="utf-8", newline="") as file,
            _Parts(self, self._settings, self._part) as parts,
        ):
            sink = JsonLinesSink(file, recognizer.classifier.spec.labels)

            def mark(state: dict[str, Any]) -> None:
                self._save(file, parts, state)

            try:
                with closing(reader.read(source, mark_every_s=MARK_S, on_mark=mark)) as read:
                    for frame, reading in read:
                        rows = [
                            to_row(self._name, face, one, frame=reading) for face, one in enumerate(reading.readings)
                        ]
                        sink.write(rows)
                        parts.write(frame, reading)
                        self._count(reading)
                        if on_frame is not None:
                            on_frame(reading, rows)
            except VideoError as error:
                if not self.progress.frames:
                    raise
                self.progress.broke_off = str(error)
            self.progress.done = True
            self._save(file, parts, None)

    def rows(self) -> Iterator[Row]:
        """Yield the rows that have been read, from the folder."""
        path = self._folder / _ROWS
        if path.exists():
            with path.open(encoding="utf-8") as file:
                yield from map(json.loads, file)

    def describe(self) -> tuple[Summary, Timeline]:
        """Return the summary and the timeline of what has been read."""
        every_s, progress = self._settings.every_s, self.progress
        # Of slides and time-lapse, whose frames lie further apart than a person is held to stay without one.
        spacing_s = progress.time_s / (progress.frames - 1) if progress.frames > 1 else 0.0
        if 2 * spacing_s > longest_gap_s(every_s):
            every_s = spacing_s
        summary, timeline = Summary(every_s=every_s), Timeline(every_s=every_s)
        for row in self.rows():
            summary.add(row)
            timeline.add(row)
        return summary, timeline

    def write_annotated(self, target: Path) -> None:
        """Write the annotated copy with the sound of the video; OutputError where that is or was not possible."""
        if self.progress.copy_failed:
            raise OutputError(f"{self._name}: its annotated copy {self.progress.copy_failed}")
        join([self._part(number) for number in range(self.progress.parts)], self._source, target)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _count(self, reading: FrameReading) -> None:
        """Count a frame."""
        self.progress.frames += 1
        self.progress.faces += len(reading.readings)
        self.progress.time_s = reading.time_s

    def _part(self, number: int) -> Path:
        """Return where a part of the annotated copy lies."""
        return self._folder / f"part-{number}.mp4"

    def _save(self, file: IO[str], parts: _Parts, state: dict[str, Any] | None) -> None:
        """Keep how far the run is."""
        parts.close()
        file.flush()
        os.fsync(file.fileno())
        self.progress.rows_bytes = os.fstat(file.fileno()).st_size
        kept = {"about": self._about, "progress": asdict(self.progress), "reader": state}
        write_text(self._folder / _STATE, json.dumps(kept))

    def _restore(self) -> None:
        """Go on where an earlier run stood."""
        try:
            kept = json.loads((self._folder / _STATE).read_text(encoding="utf-8"))
            about, progress, self._reader_state = kept["about"], _Progress(**kept["progress"]), kept["reader"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{printable(self._folder)}: cannot be resumed from ({error}); leave --resume out to begin anew"
            ) from error
        if about != self._about:
            differing = ", ".join(key for key in self._about if about.get(key) != self._about[key])
            raise InputError(
                f"{self._name}: what was stopped differs from this in {differing}; leave --resume out to begin anew"
            )
        if lost := self._lost(progress):
            raise InputError(
                f"{printable(self._folder)}: cannot be resumed from ({lost}); leave --resume out to begin anew"
            )
        os.truncate(self._folder / _ROWS, progress.rows_bytes)
        self.progress = progress
        self.progress.size = None if progress.size is None else (progress.size[0], progress.size[1])

    def _lost(self, progress: _Progress) -> str:
        """Return which file holds less than it did when a run was so far; "" where none does."""
        rows = self._folder / _ROWS
        if not rows.is_file() or rows.stat().st_size < progress.rows_bytes:
            return f"{_ROWS} is shorter than it was"
        missing = (path.name for number in range(progress.parts) if not (path := self._part(number)).is_file())
        return next((f"{name} is missing" for name in missing), "")


def is_marked(folder: Path) -> bool:
    """Return whether a folder holds a run that can be gone on with."""
    return (folder / _STATE).is_file()


class _Parts:
    """The annotated copy, a part at a time; nothing where none is wanted."""

    def __init__(self, run: VideoRun, settings: VideoSettings, place: Callable[[int], Path]) -> None:
        """Begin without a part."""
        self._progress = run.progress
        self._settings = settings
        self._place = place
        self._writer: VideoWriter | None = None

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the part that is open; it does not count, as nothing is kept of how far it is."""
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def write(self, frame: Frame, reading: FrameReading) -> None:
        """Add a frame with its readings drawn in."""
        if not self._settings.annotate or self._progress.copy_failed:
            return
        with self._not_fatal():
            if self._writer is None:
                self._writer = VideoWriter(self._place(self._progress.parts), size=self._progress.size)
            blur = self._settings.blur_faces
            drawn = annotate(frame.image_rgb, reading.readings, blur_faces=blur, unread=reading.unread)
            self._writer.write(drawn, frame.time_s)

    def close(self) -> None:
        """Complete the part that is open, if there is one; the next frame begins another."""
        writer, self._writer = self._writer, None
        path = self._place(self._progress.parts)
        if writer is not None:
            with self._not_fatal():
                writer.__exit__(None, None, None)
                with output_errors(path), path.open("rb+") as file:
                    os.fsync(file.fileno())
                self._progress.size = writer.size
                self._progress.parts += 1

    @contextmanager
    def _not_fatal(self) -> Iterator[None]:
        """Note why the copy cannot be written, and give it up: the rows are worth more."""
        try:
            yield
        except OutputError as error:
            self._progress.copy_failed = str(error).removeprefix(f"{printable(self._place(self._progress.parts))}: ")
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.__exit__(type(error), error, None)
            for number in range(self._progress.parts + 1):  # of no use, and in the way of the rows on a full disk
                self._place(number).unlink(missing_ok=True)
            self._progress.parts = 0
